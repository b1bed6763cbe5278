//! What stands in timelines: posts and boosts of posts, named by a key of eight bytes.

/// A post or a boost in the order of ids: the id, and in the lowest bit whether it is a boost.
///
/// Ids have 63 bits, so the key fits eight bytes and sorts as the id does. This is the entry of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u64);

impl Key {
    /// The key of a post.
    #[must_use]
    pub const fn post(id: u64) -> Self {
        Self(id << 1)
    }

    /// The key of a boost.
    #[must_use]
    pub const fn boost(id: u64) -> Self {
        Self(id << 1 | 1)
    }

    /// The id.
    #[must_use]
    pub const fn id(self) -> u64 {
        self.0 >> 1
    }

    /// Whether it is a boost.
    #[must_use]
    pub const fn is_boost(self) -> bool {
        self.0 & 1 == 1
    }

    /// As a ring holds it.
    #[must_use]
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// As a ring held it.
    #[must_use]
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }
}

/// Who may see a post, besides its author.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Everybody; stands in public timelines.
    Public,
    /// Everybody; stands in no public timeline.
    Unlisted,
    /// Followers, and those whom it names.
    Followers,
    /// Those whom it names.
    Direct,
}

/// Whether a post answers another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply<A> {
    /// It answers nothing.
    No,
    /// It answers a post of this account.
    To(A),
    /// It answers a post whose author is not known any more.
    ToUnknown,
}

/// A language as posts and follows name it: the first part of its tag, so that `pt-BR` and `pt` are one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Language(u32);

impl Language {
    /// The language of a tag; none if it is no tag of at most four letters.
    #[must_use]
    pub fn of(tag: &str) -> Self {
        let first = tag.split(['-', '_']).next().unwrap_or_default().as_bytes();
        let fits = first.len() <= 4 && first.iter().all(u8::is_ascii_alphabetic);
        let packed =
            first.iter().fold(0, |packed, letter| packed << 8 | u32::from(letter.to_ascii_lowercase()));
        if fits { Self(packed) } else { Self(0) }
    }

    /// Whether no language is named.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// What the definition of home needs to know of a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Post<'a, A> {
    pub author: A,
    pub visibility: Visibility,
    pub reply: Reply<A>,
    /// Accounts that it names.
    pub mentions: &'a [A],
    pub language: Language,
}

/// An entry of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<A> {
    /// The boost's id for a boost, else the post's.
    pub id: u64,
    pub post: u64,
    pub author: A,
    /// Who boosted it.
    pub booster: Option<A>,
}

#[cfg(test)]
mod tests {
    use super::{Key, Language};

    #[test]
    fn languages_are_told_by_their_first_part() {
        assert_eq!(Language::of("pt-BR"), Language::of("PT"));
        assert!(Language::of("en") != Language::of("ne") && Language::of("").is_none());
        assert!(Language::of("klingon").is_none() && Language::of("e1").is_none());
    }

    #[test]
    fn keys_sort_as_ids_and_tell_what_they_are() {
        let last = (1_u64 << 63) - 1;
        assert!(
            Key::boost(7) < Key::post(8) && Key::post(8) < Key::boost(8) && Key::boost(8) < Key::post(last)
        );
        assert_eq!((Key::boost(last).id(), Key::boost(last).is_boost()), (last, true));
        assert_eq!((Key::post(7).id(), Key::post(7).is_boost()), (7, false));
    }
}
