//! What somebody typed, on its way to a post: limits, and whom and what it names.
//!
//! | limit | how much |
//! |---|---|
//! | characters, warning counted in | what the server's policy says, 500 unless it says otherwise |
//! | bytes of a text | 8 KiB, or 16 for each allowed character if that is more: no grapheme needs them |
//! | accounts mentioned | 20 in a post written here, 1,000 in one from elsewhere |
//! | tags | 30 in a post written here, 100 of one from elsewhere are kept |
//! | HTML of a post from elsewhere | 128 KiB |

use super::Rejection;
use super::text::{Piece, count, pieces, tag};

/// Least bytes that a text may have, whatever the policy.
pub const BYTES: usize = 8 * 1024;
/// Bytes for each allowed character.
const BYTES_PER_CHARACTER: usize = 16;
/// Characters if the policy does not say.
pub const CHARACTERS: usize = 500;
/// Accounts that a post written here may mention.
pub const MENTIONS: usize = 20;
/// Accounts that a post from elsewhere may mention.
pub const REMOTE_MENTIONS: usize = 1_000;
/// Tags of a post written here.
pub const TAGS: usize = 30;
/// Tags of a post from elsewhere that are kept.
pub const REMOTE_TAGS: usize = 100;
/// Bytes of HTML of a post from elsewhere.
pub const REMOTE_BYTES: usize = 128 * 1024;

/// A text that may be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub text: String,
    pub content_warning: String,
    pub sensitive: bool,
    pub language: String,
    /// Handles as typed, without the first sign, each once.
    pub handles: Vec<String>,
    /// Tags as typed, each once.
    pub tags: Vec<String>,
}

/// As it was typed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Typed<'a> {
    pub text: &'a str,
    pub content_warning: &'a str,
    pub sensitive: bool,
    pub language: &'a str,
}

impl Draft {
    /// Checks and takes apart what was typed.
    pub fn of(typed: Typed<'_>, characters: usize) -> Result<Self, Rejection> {
        let (mut text, mut warning) = (typed.text.trim(), typed.content_warning.trim());
        let sensitive = typed.sensitive || !warning.is_empty();
        if text.is_empty() {
            // A warning before nothing is the text itself, as Mastodon has it.
            (text, warning) = (warning, "");
        }
        if text.is_empty() {
            return Err(Rejection::Blank);
        }
        // Bytes first: what comes after takes time for each of them.
        let allowed = BYTES.max(characters.saturating_mul(BYTES_PER_CHARACTER));
        let bytes = text.len().max(warning.len());
        if bytes > allowed {
            return Err(Rejection::TooManyBytes { bytes, allowed });
        }
        let counted = count::characters(warning, text);
        if counted > characters {
            return Err(Rejection::TooLong { counted, allowed: characters });
        }
        let (handles, tags) = named(text);
        if handles.len() > MENTIONS {
            return Err(Rejection::TooManyMentions { allowed: MENTIONS });
        }
        if tags.len() > TAGS {
            return Err(Rejection::TooManyTags { allowed: TAGS });
        }
        Ok(Self {
            text: text.to_owned(),
            content_warning: warning.to_owned(),
            sensitive,
            language: language(typed.language)?,
            handles,
            tags,
        })
    }
}

/// Handles and tags of a text, each once, in their order.
fn named(text: &str) -> (Vec<String>, Vec<String>) {
    let (mut handles, mut tags): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for piece in pieces(text) {
        match piece {
            Piece::Mention { text, .. } => {
                let handle = text.trim_start_matches('@').to_owned();
                if !handles.iter().any(|other| other.eq_ignore_ascii_case(&handle)) {
                    handles.push(handle);
                }
            }
            Piece::Tag { name, .. } => {
                let folded = tag::folded(name);
                if !tags.iter().any(|other| tag::folded(other) == folded) {
                    tags.push(name.to_owned());
                }
            }
            Piece::Plain(_) | Piece::Link(_) => {}
        }
    }
    (handles, tags)
}

/// A language code of the shape that ISO 639 and BCP 47 give it, or nothing.
pub fn language(code: &str) -> Result<String, Rejection> {
    let mut parts = code.split('-');
    let primary = parts.next().unwrap_or_default();
    let subtag =
        |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
    let well_formed = (2..=3).contains(&primary.len())
        && primary.bytes().all(|b| b.is_ascii_alphabetic())
        && parts.all(subtag)
        && code.len() <= 35;
    if code.is_empty() || well_formed { Ok(code.to_owned()) } else { Err(Rejection::BadLanguage) }
}

#[cfg(test)]
mod tests {
    use super::super::text::tests::nasty_text;
    use super::*;
    use proptest::prelude::*;

    fn draft(text: &str, content_warning: &str) -> Result<Draft, Rejection> {
        Draft::of(Typed { text, content_warning, ..Typed::default() }, 500)
    }

    #[test]
    fn a_draft_names_each_once() {
        let draft = draft("@bob #Tag @Bob #tag @carol@b.example", "").unwrap();
        assert_eq!(draft.handles, ["bob", "carol@b.example"]);
        assert_eq!(draft.tags, ["Tag"]);
    }

    #[test]
    fn a_warning_before_nothing_is_the_text() {
        let draft = draft(" ", "beware").unwrap();
        assert_eq!(
            (draft.text.as_str(), draft.content_warning.as_str(), draft.sensitive),
            ("beware", "", true)
        );
        assert_eq!(super::Draft::of(Typed::default(), 500), Err(Rejection::Blank));
    }

    #[test]
    fn limits_hold() {
        assert!(draft(&"a".repeat(500), "").is_ok());
        assert_eq!(draft(&"a".repeat(499), "bb"), Err(Rejection::TooLong { counted: 501, allowed: 500 }));
        let marks = format!("a{}", "\u{301}".repeat(4_096));
        assert_eq!(draft(&marks, ""), Err(Rejection::TooManyBytes { bytes: 8_193, allowed: BYTES }));
        let mentions: String = (0..21).map(|n| format!("@a{n} ")).collect();
        assert_eq!(draft(&mentions, ""), Err(Rejection::TooManyMentions { allowed: 20 }));
        let tags: String = (0..31).map(|n| format!("#a{n} ")).collect();
        assert_eq!(draft(&tags, ""), Err(Rejection::TooManyTags { allowed: 30 }));
    }

    #[test]
    fn languages_are_codes() {
        for code in ["", "de", "zh-CN", "sr-Latn-RS", "yue"] {
            assert_eq!(language(code), Ok(code.to_owned()));
        }
        for code in ["d", "deutsch", "d3", "de-", "de--x", "de_DE", "日本"] {
            assert_eq!(language(code), Err(Rejection::BadLanguage), "{code}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd_to_judge(text in nasty_text(), warning in nasty_text()) {
            if let Ok(draft) = draft(&text, &warning) {
                prop_assert!(!draft.text.is_empty());
                prop_assert!(count::characters(&draft.content_warning, &draft.text) <= 500);
            }
        }
    }
}
