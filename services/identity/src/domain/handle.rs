//! Handles: which texts are one, when two are the same, and by which beginnings one is completed.

use unicode_normalization::UnicodeNormalization;

/// Characters of a handle on a server of this installation.
pub const LOCAL_CHARACTERS: usize = 30;
/// Bytes of a handle from elsewhere.
pub const REMOTE_BYTES: usize = 255;
/// Beginnings longer than this are not kept; what they find is filtered by the handle itself.
pub const PREFIX_CHARACTERS: usize = 12;

/// Names that would let a member pass for those who run the server. An operator may still give them.
const RESERVED: [&str; 14] = [
    "abuse",
    "admin",
    "administrator",
    "contact",
    "help",
    "hostmaster",
    "mod",
    "moderator",
    "owner",
    "postmaster",
    "root",
    "security",
    "support",
    "webmaster",
];

/// Why a text is no handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHandle {
    #[error("A handle is needed.")]
    Empty,
    #[error("A handle has at most {LOCAL_CHARACTERS} characters.")]
    TooLong,
    #[error("A handle is made of the letters a to z, digits and underscores.")]
    Characters,
    #[error("This handle is kept for those who run the server.")]
    Reserved,
}

/// A handle as its owner writes it, and as it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handle {
    written: String,
    folded: String,
}

impl Handle {
    /// A handle for an account of this installation: ASCII only, so that no two look alike.
    pub fn local(text: &str) -> Result<Self, BadHandle> {
        if text.is_empty() {
            return Err(BadHandle::Empty);
        }
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(BadHandle::Characters);
        }
        if text.len() > LOCAL_CHARACTERS {
            return Err(BadHandle::TooLong);
        }
        Ok(Self { written: text.to_owned(), folded: fold(text) })
    }

    /// A handle that somebody may take by signing up.
    pub fn for_sign_up(text: &str) -> Result<Self, BadHandle> {
        let handle = Self::local(text)?;
        if RESERVED.contains(&handle.folded.as_str()) {
            return Err(BadHandle::Reserved);
        }
        Ok(handle)
    }

    /// A handle as a remote host writes it.
    pub fn remote(text: &str) -> Result<Self, BadHandle> {
        if text.is_empty() {
            return Err(BadHandle::Empty);
        }
        if text.len() > REMOTE_BYTES {
            return Err(BadHandle::TooLong);
        }
        if !text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-')) {
            return Err(BadHandle::Characters);
        }
        Ok(Self { written: text.to_owned(), folded: fold(text) })
    }

    /// As written.
    #[must_use]
    pub fn written(&self) -> &str {
        &self.written
    }

    /// As compared.
    #[must_use]
    pub fn folded(&self) -> &str {
        &self.folded
    }

    /// Its beginnings, shortest first, as far as they are kept.
    pub fn prefixes(&self) -> impl Iterator<Item = &str> {
        prefixes(&self.folded)
    }
}

/// A handle as it is compared: compatibility-composed, in lower case.
#[must_use]
pub fn fold(text: &str) -> String {
    text.nfkc().flat_map(char::to_lowercase).collect()
}

/// Beginnings of a folded text, shortest first, as far as they are kept.
pub fn prefixes(folded: &str) -> impl Iterator<Item = &str> {
    folded.char_indices().take(PREFIX_CHARACTERS).filter_map(|(at, c)| folded.get(..at + c.len_utf8()))
}

/// A mention as people write it: `name`, `@name`, `name@domain` or `@name@domain`. The domain is not checked.
#[must_use]
pub fn split_mention(text: &str) -> Option<(&str, Option<&str>)> {
    let text = text.strip_prefix('@').unwrap_or(text);
    let (name, domain) = match text.split_once('@') {
        Some((name, domain)) => (name, Some(domain)),
        None => (text, None),
    };
    let whole = !name.is_empty() && domain.is_none_or(|domain| !domain.is_empty() && !domain.contains('@'));
    whole.then_some((name, domain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn local_handles_are_plain() {
        assert_eq!(Handle::local("Alice_9").map(|handle| handle.folded), Ok("alice_9".to_owned()));
        assert_eq!(Handle::local(""), Err(BadHandle::Empty));
        assert_eq!(Handle::local("a b"), Err(BadHandle::Characters));
        // Cyrillic а, which looks like the Latin letter.
        assert_eq!(Handle::local("\u{430}lice"), Err(BadHandle::Characters));
        assert_eq!(Handle::local("a.b"), Err(BadHandle::Characters));
        assert!(Handle::local(&"a".repeat(30)).is_ok());
        assert_eq!(Handle::local(&"a".repeat(31)), Err(BadHandle::TooLong));
    }

    #[test]
    fn nobody_signs_up_as_those_who_run_the_server() {
        assert_eq!(Handle::for_sign_up("Admin"), Err(BadHandle::Reserved));
        assert!(Handle::local("admin").is_ok());
        assert!(Handle::for_sign_up("administratrix").is_ok());
    }

    #[test]
    fn remote_handles_are_compared_folded() {
        let one = Handle::remote("\u{ff21}lice").unwrap();
        assert_eq!(one.folded(), "alice");
        assert!(Handle::remote("a/b").is_err());
        assert!(Handle::remote(&"a".repeat(256)).is_err());
    }

    #[test]
    fn beginnings_come_shortest_first() {
        let handle = Handle::remote("Zoë").unwrap();
        assert_eq!(handle.prefixes().collect::<Vec<_>>(), ["z", "zo", "zoë"]);
        let long = Handle::local("abcdefghijklmnop").unwrap();
        assert_eq!(long.prefixes().last(), Some("abcdefghijkl"));
    }

    #[test]
    fn mentions_come_apart() {
        assert_eq!(split_mention("@a@b.example"), Some(("a", Some("b.example"))));
        assert_eq!(split_mention("a"), Some(("a", None)));
        for bad in ["", "@", "@@", "a@", "@a@b@c", "@@b"] {
            assert_eq!(split_mention(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn folding_twice_is_folding_once(text in "\\PC{0,40}") {
            let once = fold(&text);
            // Lower-casing may leave what composes anew, so the second folding is the one that must hold still.
            let twice = fold(&once);
            prop_assert_eq!(fold(&twice), twice);
        }

        #[test]
        fn case_never_makes_another_handle(text in "[a-zA-Z0-9_]{1,30}") {
            let upper = Handle::local(&text.to_uppercase()).unwrap();
            let lower = Handle::local(&text.to_lowercase()).unwrap();
            prop_assert_eq!(upper.folded(), lower.folded());
        }

        #[test]
        fn every_kept_beginning_is_one(text in "\\w{1,40}") {
            let folded = fold(&text);
            for prefix in prefixes(&folded) {
                prop_assert!(folded.starts_with(prefix) && !prefix.is_empty());
            }
        }
    }
}
