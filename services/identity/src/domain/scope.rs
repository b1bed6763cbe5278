//! OAuth scopes: coarse and fine names, and which covers which.

use std::collections::BTreeSet;
use std::fmt;

/// A token or app has at most this many.
const MOST: usize = 100;

/// Coarse scopes without parts.
const PLAIN: [&str; 3] = ["follow", "push", "profile"];
/// Parts of `read`.
const READ: [&str; 12] = [
    "accounts",
    "blocks",
    "bookmarks",
    "favourites",
    "filters",
    "follows",
    "lists",
    "me",
    "mutes",
    "notifications",
    "search",
    "statuses",
];
/// Parts of `write`.
const WRITE: [&str; 13] = [
    "accounts",
    "blocks",
    "bookmarks",
    "conversations",
    "favourites",
    "filters",
    "follows",
    "lists",
    "media",
    "mutes",
    "notifications",
    "reports",
    "statuses",
];
/// Parts of `admin:read` and `admin:write`.
const ADMIN: [&str; 7] = [
    "accounts",
    "reports",
    "domain_allows",
    "domain_blocks",
    "ip_blocks",
    "email_domain_blocks",
    "canonical_email_blocks",
];
/// What the old scope `follow` stands for.
const FOLLOW: [&str; 6] =
    ["read:blocks", "read:follows", "read:mutes", "write:blocks", "write:follows", "write:mutes"];

/// Why a list of scopes is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadScopes {
    #[error("There is no scope {0:?}.")]
    Unknown(String),
    #[error("There are at most {MOST} scopes.")]
    TooMany,
    #[error("The app has not asked for the scope {0}.")]
    NotCovered(String),
}

/// A set of scopes, each of which exists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(BTreeSet<String>);

impl Scopes {
    /// Reads names; none means `read`.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, BadScopes> {
        let mut scopes = BTreeSet::new();
        for name in names {
            if !exists(name) {
                return Err(BadScopes::Unknown(name.chars().take(60).collect()));
            }
            scopes.insert(name.to_owned());
            if scopes.len() > MOST {
                return Err(BadScopes::TooMany);
            }
        }
        if scopes.is_empty() {
            scopes.insert("read".to_owned());
        }
        Ok(Self(scopes))
    }

    /// Whether what `needed` names is allowed.
    #[must_use]
    pub fn cover(&self, needed: &str) -> bool {
        self.0.iter().any(|had| covers(had, needed))
    }

    /// The first of `asked` that is not allowed.
    pub fn check(&self, asked: &Self) -> Result<(), BadScopes> {
        match asked.0.iter().find(|scope| !self.cover(scope)) {
            Some(scope) => Err(BadScopes::NotCovered(scope.clone())),
            None => Ok(()),
        }
    }

    /// The names, in order.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.0.iter().cloned().collect()
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(" "))
    }
}

fn exists(name: &str) -> bool {
    match name.split_once(':') {
        None => matches!(name, "read" | "write" | "admin") || PLAIN.contains(&name),
        Some(("read", part)) => READ.contains(&part),
        Some(("write", part)) => WRITE.contains(&part),
        Some(("admin", part)) => match part.split_once(':') {
            None => matches!(part, "read" | "write"),
            Some(("read" | "write", part)) => ADMIN.contains(&part),
            Some(_) => false,
        },
        Some(_) => false,
    }
}

/// Whether who has `had` may do what `needed` names: itself, a part of it, or what the old `follow` stands for.
fn covers(had: &str, needed: &str) -> bool {
    had == needed
        || needed.strip_prefix(had).is_some_and(|rest| rest.starts_with(':'))
        || (had == "follow" && FOLLOW.contains(&needed))
        // `profile` lets an app learn who signed in, and so does everything that may read accounts.
        || (needed == "profile" && matches!(had, "read" | "read:accounts" | "read:me"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(text: &str) -> Scopes {
        Scopes::parse(text.split_whitespace()).unwrap()
    }

    #[test]
    fn coarse_covers_fine_and_never_the_other_way() {
        assert!(of("read").cover("read:statuses"));
        assert!(!of("read:statuses").cover("read"));
        assert!(!of("read").cover("write:statuses"));
        assert!(of("admin").cover("admin:read:accounts"));
        assert!(of("admin:read").cover("admin:read:accounts"));
        assert!(!of("admin:read").cover("admin:write:accounts"));
        assert!(!of("write").cover("admin:write:accounts"));
        assert!(!of("read").cover("admin:read"));
    }

    #[test]
    fn the_old_follow_scope() {
        assert!(of("follow").cover("write:blocks") && of("follow").cover("read:mutes"));
        assert!(!of("follow").cover("read:statuses") && !of("follow").cover("read"));
        assert!(!of("read write").cover("follow"));
    }

    #[test]
    fn who_signed_in() {
        assert!(of("profile").cover("profile") && of("read").cover("profile"));
        assert!(!of("profile").cover("read:accounts") && !of("write").cover("profile"));
    }

    #[test]
    fn only_scopes_that_exist() {
        assert_eq!(Scopes::parse([]).unwrap().to_string(), "read");
        for bad in [
            "",
            "Read",
            "read:",
            "read:everything",
            "readx",
            "admin:x",
            "admin:read:x",
            "read:statuses:x",
            ":read",
        ] {
            assert!(matches!(Scopes::parse([bad]), Err(BadScopes::Unknown(_))), "{bad:?}");
        }
    }

    #[test]
    fn a_token_gets_no_more_than_its_app() {
        assert_eq!(of("read write").check(&of("read:accounts write")), Ok(()));
        assert_eq!(of("read").check(&of("read write")), Err(BadScopes::NotCovered("write".to_owned())));
    }

    fn any_scope() -> impl Strategy<Value = String> {
        let fine = READ
            .iter()
            .map(|part| format!("read:{part}"))
            .chain(WRITE.iter().map(|part| format!("write:{part}")));
        let admin = ADMIN.iter().map(|part| format!("admin:read:{part}"));
        let coarse = ["read", "write", "follow", "push", "profile", "admin", "admin:read"].map(str::to_owned);
        prop::sample::select(fine.chain(admin).chain(coarse).collect::<Vec<_>>())
    }

    proptest! {
        #[test]
        fn covering_is_a_partial_order(a in any_scope(), b in any_scope(), c in any_scope()) {
            prop_assert!(covers(&a, &a));
            if covers(&a, &b) && covers(&b, &c) {
                prop_assert!(covers(&a, &c), "{} {} {}", a, b, c);
            }
            if covers(&a, &b) && covers(&b, &a) {
                prop_assert_eq!(a, b);
            }
        }

        #[test]
        fn names_come_back(scopes in prop::collection::vec(any_scope(), 1..10)) {
            let set = Scopes::parse(scopes.iter().map(String::as_str)).unwrap();
            prop_assert_eq!(Scopes::parse(set.names().iter().map(String::as_str)).unwrap(), set);
        }
    }
}
