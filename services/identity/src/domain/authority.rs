//! Who may do what to whom: roles, and the one place that compares them.

/// What a member may do on its home. The order is the order of power.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    #[default]
    Member,
    Moderator,
    Admin,
    Owner,
}

/// Who acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The operator of the installation, or P92 itself.
    Operator,
    /// The account that it is about.
    Itself,
    /// A member of a server.
    Member { server: u64, role: Role },
}

/// What it is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over {
    /// Its home; 0: elsewhere.
    pub home: u64,
    pub role: Role,
}

/// Why somebody may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAllowed {
    #[error("Your role on this server does not allow that.")]
    Role,
    #[error("That account is not beneath you on this server.")]
    NotBeneath,
    #[error("That account is a member of another server.")]
    NotAMember,
}

/// Whether somebody with at least `needed` may act on an account in the scope of a server.
pub fn moderate(by: By, needed: Role, scope: u64, over: Over) -> Result<(), NotAllowed> {
    match by {
        By::Operator => Ok(()),
        By::Itself => Err(NotAllowed::Role),
        By::Member { server, role } => {
            if server == 0 || server != scope || role < needed {
                return Err(NotAllowed::Role);
            }
            let beneath = over.home != server || role == Role::Owner || role > over.role;
            if beneath { Ok(()) } else { Err(NotAllowed::NotBeneath) }
        }
    }
}

/// The same for what only the account's home may do.
pub fn govern(by: By, needed: Role, over: Over) -> Result<(), NotAllowed> {
    if let By::Member { server, .. } = by
        && server != over.home
    {
        return Err(NotAllowed::NotAMember);
    }
    moderate(by, needed, over.home, over)
}

/// Whether a role may be given.
pub fn give(by: By, role: Role, over: Over) -> Result<(), NotAllowed> {
    govern(by, Role::Admin, over)?;
    match by {
        By::Member { role: own, .. } if own < Role::Owner && role >= own => Err(NotAllowed::Role),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOME: u64 = 7;

    fn member(role: Role) -> By {
        By::Member { server: HOME, role }
    }

    fn over(role: Role) -> Over {
        Over { home: HOME, role }
    }

    #[test]
    fn moderators_act_on_members_only() {
        assert_eq!(govern(member(Role::Moderator), Role::Moderator, over(Role::Member)), Ok(()));
        let equal = govern(member(Role::Moderator), Role::Moderator, over(Role::Moderator));
        assert_eq!(equal, Err(NotAllowed::NotBeneath));
        assert_eq!(govern(member(Role::Member), Role::Moderator, over(Role::Member)), Err(NotAllowed::Role));
        assert_eq!(govern(By::Operator, Role::Owner, over(Role::Owner)), Ok(()));
        assert_eq!(govern(By::Itself, Role::Moderator, over(Role::Member)), Err(NotAllowed::Role));
    }

    #[test]
    fn another_servers_members_are_judged_in_the_own_scope_only() {
        let foreign = Over { home: 8, role: Role::Owner };
        assert_eq!(moderate(member(Role::Moderator), Role::Moderator, HOME, foreign), Ok(()));
        assert_eq!(moderate(member(Role::Owner), Role::Moderator, 8, foreign), Err(NotAllowed::Role));
        assert_eq!(moderate(member(Role::Owner), Role::Moderator, 0, foreign), Err(NotAllowed::Role));
        assert_eq!(govern(member(Role::Owner), Role::Moderator, foreign), Err(NotAllowed::NotAMember));
    }

    #[test]
    fn owners_make_owners() {
        assert_eq!(give(member(Role::Owner), Role::Owner, over(Role::Owner)), Ok(()));
        assert_eq!(give(member(Role::Admin), Role::Moderator, over(Role::Member)), Ok(()));
        assert_eq!(give(member(Role::Admin), Role::Admin, over(Role::Member)), Err(NotAllowed::Role));
        assert_eq!(give(member(Role::Admin), Role::Member, over(Role::Admin)), Err(NotAllowed::NotBeneath));
        assert_eq!(give(member(Role::Moderator), Role::Member, over(Role::Member)), Err(NotAllowed::Role));
    }

    fn any_role() -> impl Strategy<Value = Role> {
        prop::sample::select(vec![Role::Member, Role::Moderator, Role::Admin, Role::Owner])
    }

    proptest! {
        #[test]
        fn nobody_gives_more_than_he_has(own in any_role(), given in any_role(), standing in any_role()) {
            if give(member(own), given, over(standing)).is_ok() {
                prop_assert!(given <= own && standing <= own);
            }
        }
    }
}
