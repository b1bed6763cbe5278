//! To whom something is addressed: `to` and `cc` out of a visibility, and back.
//!
//! It refuses to know which hosts stand behind the addresses.

use crate::ActorId;

/// The collection of everybody, as it is written.
pub const PUBLIC: &str = "https://www.w3.org/ns/activitystreams#Public";

/// Whether an address means everybody; hosts write it in three ways.
#[must_use]
pub fn is_public(address: &str) -> bool {
    matches!(address, PUBLIC | "as:Public" | "Public")
}

/// Who may see something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Visibility {
    Public,
    /// Like public, but in no public timeline.
    Unlisted,
    Followers,
    /// Those who are mentioned.
    Direct,
}

/// The two lists of an activity and of its object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addressing {
    pub to: Vec<String>,
    pub cc: Vec<String>,
}

impl Addressing {
    /// Addresses something to whom it is for. `followers` is the author's collection.
    #[must_use]
    pub fn of(visibility: Visibility, followers: &str, mentioned: &[ActorId]) -> Self {
        let (public, followers) = (PUBLIC.to_owned(), followers.to_owned());
        let mut named: Vec<String> = Vec::new();
        for actor in mentioned {
            if !named.iter().any(|one| one == actor.as_str()) {
                named.push(actor.to_string());
            }
        }
        let before = |first: String| std::iter::once(first).chain(named.clone()).collect();
        match visibility {
            Visibility::Public => Self { to: vec![public], cc: before(followers) },
            Visibility::Unlisted => Self { to: vec![followers], cc: before(public) },
            Visibility::Followers => Self { to: vec![followers], cc: named },
            Visibility::Direct => Self { to: named, cc: Vec::new() },
        }
    }

    /// Who may see what is addressed so. Whatever is not recognised counts as direct, the narrowest.
    #[must_use]
    pub fn visibility(&self, followers: &str) -> Visibility {
        if self.to.iter().any(|address| is_public(address)) {
            return Visibility::Public;
        }
        if self.cc.iter().any(|address| is_public(address)) {
            return Visibility::Unlisted;
        }
        let theirs = |address: &String| !followers.is_empty() && address == followers;
        if self.to.iter().chain(&self.cc).any(theirs) { Visibility::Followers } else { Visibility::Direct }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Loopback;
    use proptest::prelude::*;

    const FOLLOWERS: &str = "https://a.example/ap/users/1/followers";

    fn actor(n: u8) -> ActorId {
        ActorId::parse(format!("https://b.example/users/{n}"), Loopback::Refused).unwrap()
    }

    #[test]
    fn everybody_is_written_in_three_ways() {
        for to in ["as:Public", "Public", PUBLIC] {
            let addressed = Addressing { to: vec![to.to_owned()], cc: vec![] };
            assert_eq!(addressed.visibility(FOLLOWERS), Visibility::Public, "{to}");
            let beside = Addressing { to: vec![], cc: vec![to.to_owned()] };
            assert_eq!(beside.visibility(FOLLOWERS), Visibility::Unlisted, "{to}");
        }
        for no in ["public", "as:public", "https://www.w3.org/ns/activitystreams#public", ""] {
            let addressed = Addressing { to: vec![no.to_owned()], cc: vec![] };
            assert_eq!(addressed.visibility(FOLLOWERS), Visibility::Direct, "{no}");
        }
        assert_eq!(Addressing { to: vec![String::new()], cc: vec![] }.visibility(""), Visibility::Direct);
    }

    #[test]
    fn a_direct_post_names_nobody_else() {
        let addressed = Addressing::of(Visibility::Direct, FOLLOWERS, &[actor(1), actor(1)]);
        assert_eq!(addressed, Addressing { to: vec![actor(1).to_string()], cc: vec![] });
    }

    proptest! {
        #[test]
        fn what_is_addressed_is_read_back(which in 0..4_usize, named in prop::collection::vec(0..9_u8, 0..5)) {
            use Visibility::{Direct, Followers, Public, Unlisted};
            let visibility = [Public, Unlisted, Followers, Direct][which];
            let named: Vec<ActorId> = named.into_iter().map(actor).collect();
            let addressed = Addressing::of(visibility, FOLLOWERS, &named);
            prop_assert_eq!(addressed.visibility(FOLLOWERS), visibility);
            for actor in &named {
                let all = addressed.to.iter().chain(&addressed.cc);
                prop_assert_eq!(all.filter(|one| *one == actor.as_str()).count(), 1);
            }
        }
    }
}
