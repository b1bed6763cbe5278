//! Profiles: limits of what an account says of itself, checked on plain text before it is sealed.

use super::Sealed;
use super::tag::is_tag;
use unicode_segmentation::UnicodeSegmentation;

pub const DISPLAY_NAME_CHARACTERS: usize = 30;
pub const NOTE_CHARACTERS: usize = 500;
pub const FIELDS: usize = 4;
pub const FIELD_CHARACTERS: usize = 255;
/// Remote accounts: what is longer is cut or left out, since their host has other rules.
pub const REMOTE_DISPLAY_NAME_CHARACTERS: usize = 100;
pub const REMOTE_FIELDS: usize = 16;
pub const REMOTE_FIELD_CHARACTERS: usize = 2_047;
/// Remote accounts: what is longer is refused.
pub const REMOTE_NOTE_BYTES: usize = 64 * 1024;
pub const URL_BYTES: usize = 2_000;
pub const KEY_BYTES: usize = 16 * 1024;
/// A character that people see may be made of many; a text of n of them has at most this many times n code points.
const PILED: usize = 10;

/// A name and what it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Field {
    pub name: String,
    pub value: String,
}

/// A profile as far as it changes, in the open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    pub display_name: Option<String>,
    pub note: Option<String>,
    pub fields: Option<Vec<Field>>,
    /// Empty for none.
    pub avatar_url: Option<String>,
    /// Empty for none.
    pub header_url: Option<String>,
}

/// Why a profile is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadProfile {
    #[error("A display name has at most {DISPLAY_NAME_CHARACTERS} characters, on one line.")]
    DisplayName,
    #[error("The text about an account has at most {NOTE_CHARACTERS} characters.")]
    Note,
    #[error("A profile has at most {FIELDS} fields.")]
    TooManyFields,
    #[error("A field has a name and a value of at most {FIELD_CHARACTERS} characters each, on one line.")]
    Field,
    #[error("A picture is an http or https address of at most {URL_BYTES} bytes.")]
    Picture,
    #[error("The text about a remote account has at most {REMOTE_NOTE_BYTES} bytes.")]
    RemoteNote,
    #[error("A key is a PEM of at most {KEY_BYTES} bytes.")]
    Key,
    #[error("This is no language tag.")]
    Language,
}

impl BadProfile {
    /// The field of the request that is at fault.
    #[must_use]
    pub const fn field(self) -> &'static str {
        match self {
            Self::DisplayName => "display_name",
            Self::Note | Self::RemoteNote => "note",
            Self::TooManyFields | Self::Field => "fields",
            Self::Picture => "avatar_url",
            Self::Key => "public_key_pem",
            Self::Language => "preferences.language",
        }
    }
}

impl Draft {
    /// What a member may say of itself.
    pub fn check_local(&self) -> Result<(), BadProfile> {
        if self.display_name.as_deref().is_some_and(|name| !one_line(name, DISPLAY_NAME_CHARACTERS)) {
            return Err(BadProfile::DisplayName);
        }
        if self.note.as_deref().is_some_and(|note| !fits(note, NOTE_CHARACTERS) || has_control(note, true)) {
            return Err(BadProfile::Note);
        }
        if let Some(fields) = &self.fields {
            if fields.len() > FIELDS {
                return Err(BadProfile::TooManyFields);
            }
            let good = |field: &Field| {
                !field.name.trim().is_empty()
                    && one_line(&field.name, FIELD_CHARACTERS)
                    && one_line(&field.value, FIELD_CHARACTERS)
            };
            if !fields.iter().all(good) {
                return Err(BadProfile::Field);
            }
        }
        self.check_pictures()
    }

    /// What a remote account says of itself, cut to what is kept.
    pub fn cut_remote(mut self) -> Result<Self, BadProfile> {
        if self.note.as_ref().is_some_and(|note| note.len() > REMOTE_NOTE_BYTES) {
            return Err(BadProfile::RemoteNote);
        }
        if let Some(name) = &mut self.display_name {
            *name = cut(name, REMOTE_DISPLAY_NAME_CHARACTERS);
        }
        if let Some(fields) = &mut self.fields {
            fields.truncate(REMOTE_FIELDS);
            for field in fields {
                field.name = cut(&field.name, FIELD_CHARACTERS);
                field.value = cut(&field.value, REMOTE_FIELD_CHARACTERS);
            }
        }
        self.check_pictures()?;
        Ok(self)
    }

    fn check_pictures(&self) -> Result<(), BadProfile> {
        let pictures = self.avatar_url.iter().chain(&self.header_url);
        if pictures.filter(|url| !url.is_empty()).all(|url| is_web_address(url)) {
            Ok(())
        } else {
            Err(BadProfile::Picture)
        }
    }
}

/// Whether a text is an http or https address with a host.
#[must_use]
pub fn is_web_address(text: &str) -> bool {
    text.len() <= URL_BYTES
        && !text.contains(|c: char| c.is_whitespace() || c.is_control())
        && url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// Whether a key may be kept. Whether it is good, whoever verifies with it finds out.
#[must_use]
pub fn is_key(pem: &str) -> bool {
    pem.is_empty()
        || (pem.len() <= KEY_BYTES && pem.is_ascii() && pem.trim_start().starts_with("-----BEGIN "))
}

fn fits(text: &str, characters: usize) -> bool {
    text.len() <= characters * PILED * 4
        && text.chars().count() <= characters * PILED
        && text.graphemes(true).count() <= characters
}

fn has_control(text: &str, lines: bool) -> bool {
    text.chars().any(|c| c.is_control() && !(lines && matches!(c, '\n' | '\r' | '\t')))
}

fn one_line(text: &str, characters: usize) -> bool {
    fits(text, characters) && !has_control(text, false)
}

fn cut(text: &str, characters: usize) -> String {
    let kept = text.graphemes(true).take(characters).flat_map(str::chars);
    kept.filter(|c| !c.is_control()).take(characters * PILED).collect()
}

/// Who sees posts that do not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    Public,
    Unlisted,
    Followers,
    Direct,
}

/// How an account prefers to post and read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preferences {
    /// `None`: public, or followers if the account is locked.
    pub visibility: Option<Visibility>,
    pub language: String,
    pub sensitive: bool,
    pub locale: String,
}

impl Preferences {
    /// Whether they may be kept.
    pub fn check(&self) -> Result<(), BadProfile> {
        let good = [&self.language, &self.locale].into_iter().all(|tag| tag.is_empty() || is_tag(tag));
        if good { Ok(()) } else { Err(BadProfile::Language) }
    }
}

/// A profile as it is kept: what is personal is sealed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    pub display_name: Option<Sealed>,
    pub note: Option<Sealed>,
    pub fields: Option<Sealed>,
    pub avatar_url: Option<Sealed>,
    pub header_url: Option<Sealed>,
    pub bot: bool,
    pub discoverable: bool,
    pub indexable: bool,
    pub hide_follows: bool,
    pub public_key_pem: String,
}

/// A profile as far as it changes, sealed. What is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    pub display_name: Option<Sealed>,
    pub note: Option<Sealed>,
    pub fields: Option<Sealed>,
    pub avatar_url: Option<Sealed>,
    pub header_url: Option<Sealed>,
    pub bot: Option<bool>,
    pub discoverable: Option<bool>,
    pub indexable: Option<bool>,
    pub hide_follows: Option<bool>,
    pub public_key_pem: Option<String>,
}

impl Change {
    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Profile {
    /// The profile after a change.
    #[must_use]
    pub fn after(self, change: &Change) -> Self {
        fn newer<T: Clone>(new: &Option<T>, old: Option<T>) -> Option<T> {
            new.clone().or(old)
        }
        Self {
            display_name: newer(&change.display_name, self.display_name),
            note: newer(&change.note, self.note),
            fields: newer(&change.fields, self.fields),
            avatar_url: newer(&change.avatar_url, self.avatar_url),
            header_url: newer(&change.header_url, self.header_url),
            bot: change.bot.unwrap_or(self.bot),
            discoverable: change.discoverable.unwrap_or(self.discoverable),
            indexable: change.indexable.unwrap_or(self.indexable),
            hide_follows: change.hide_follows.unwrap_or(self.hide_follows),
            public_key_pem: change.public_key_pem.clone().unwrap_or(self.public_key_pem),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn named(name: &str) -> Draft {
        Draft { display_name: Some(name.to_owned()), ..Draft::default() }
    }

    fn field(name: &str, value: &str) -> Field {
        Field { name: name.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn limits_count_what_people_see() {
        // One family of four is one character of seven code points.
        let family = "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}\u{200d}\u{1f466}";
        assert_eq!(named(&family.repeat(30)).check_local(), Ok(()));
        assert_eq!(named(&family.repeat(31)).check_local(), Err(BadProfile::DisplayName));
        assert_eq!(named("a\nb").check_local(), Err(BadProfile::DisplayName));
        assert_eq!(named("").check_local(), Ok(()));
        // One letter under a thousand accents.
        assert_eq!(
            named(&format!("a{}", "\u{301}".repeat(1_000))).check_local(),
            Err(BadProfile::DisplayName)
        );
    }

    #[test]
    fn notes_and_fields() {
        let note = |text: String| Draft { note: Some(text), ..Draft::default() }.check_local();
        assert_eq!(note("x\n".repeat(250)), Ok(()));
        assert_eq!(note("x".repeat(501)), Err(BadProfile::Note));
        assert_eq!(note("a\u{0}".to_owned()), Err(BadProfile::Note));
        let fields = |fields: Vec<Field>| Draft { fields: Some(fields), ..Draft::default() }.check_local();
        assert_eq!(fields(vec![field("web", "https://a.example"); 4]), Ok(()));
        assert_eq!(fields(vec![field("web", ""); 5]), Err(BadProfile::TooManyFields));
        assert_eq!(fields(vec![field(" ", "x")]), Err(BadProfile::Field));
        assert_eq!(fields(vec![field("a", &"x".repeat(256))]), Err(BadProfile::Field));
    }

    #[test]
    fn pictures_are_addresses() {
        let picture =
            |url: &str| Draft { avatar_url: Some(url.to_owned()), ..Draft::default() }.check_local();
        assert_eq!(picture(""), Ok(()));
        assert_eq!(picture("https://a.example/x.png"), Ok(()));
        for bad in ["javascript:x", "file:///etc/passwd", "/x.png", "data:image/png,x", "https://a b"] {
            assert_eq!(picture(bad), Err(BadProfile::Picture), "{bad}");
        }
    }

    #[test]
    fn remote_profiles_are_cut() {
        let draft = Draft {
            display_name: Some("x".repeat(1_000)),
            fields: Some(vec![field(&"n".repeat(300), "v"); 50]),
            ..Draft::default()
        };
        let cut = draft.cut_remote().unwrap();
        assert_eq!(cut.display_name.unwrap().len(), 100);
        let fields = cut.fields.unwrap();
        assert_eq!((fields.len(), fields[0].name.len()), (16, 255));
        let huge = Draft { note: Some("x".repeat(REMOTE_NOTE_BYTES + 1)), ..Draft::default() };
        assert_eq!(huge.cut_remote(), Err(BadProfile::RemoteNote));
    }

    #[test]
    fn a_change_leaves_the_rest() {
        let sealed =
            |text: &'static str| Some(Sealed { ciphertext: text.as_bytes().into(), ..Sealed::default() });
        let old = Profile { display_name: sealed("a"), note: sealed("b"), bot: true, ..Profile::default() };
        let change = Change { note: sealed("c"), discoverable: Some(true), ..Change::default() };
        let new = old.after(&change);
        assert_eq!(
            (new.display_name, new.note, new.bot, new.discoverable),
            (sealed("a"), sealed("c"), true, true)
        );
    }

    proptest! {
        #[test]
        fn what_is_cut_once_is_cut_for_good(name in "\\PC{0,300}") {
            let once = named(&name).cut_remote().unwrap();
            prop_assert_eq!(once.clone().cut_remote().unwrap(), once);
        }
    }
}
