//! The account: somebody who acts, local or remote.
//!
//! ```text
//!            Created            HandleGranted
//! Nothing ───────────▶ Claiming ─────────────▶ Living ──Erased──▶ Erased
//!                         │ HandleRefused
//!                         └─────────────▶ Refused
//!
//! Living:  Unconfirmed ─EmailConfirmed─▶ Pending ─Approved─▶ Active        (Pending is left out where nobody approves)
//!          in each scope besides: nothing ⇄ Limited, Suspended            (a scope is a server, or 0 for all of them)
//! ```
//!
//! A remote account is Created and Granted in one append, since nobody here gives its handle.

mod decide;

use super::authority::{NotAllowed, Role};
use super::profile::{Change, Preferences, Profile};
use super::sealed::{BlindKey, Sealed};
use std::collections::BTreeMap;

/// What kind of account it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A remote account that states none.
    #[default]
    Unstated,
    Personal,
    Creator,
    Corporate,
}

/// How far an account has come into life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Life {
    #[default]
    Nothing,
    /// Its handle is being claimed.
    Claiming,
    Refused(Taken),
    Living,
    Erased,
}

/// A name that has one owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    Handle,
    Email,
}

/// What a living account still waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    Unconfirmed,
    Pending,
    #[default]
    Active,
}

/// A restriction in one scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    Limited,
    Suspended,
}

/// What an account may do and be seen doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    Unconfirmed,
    Pending,
    Active,
    Limited,
    Suspended,
    Erased,
}

impl State {
    /// Whether it may act.
    #[must_use]
    pub const fn acts(self) -> bool {
        matches!(self, Self::Active | Self::Limited)
    }
}

/// An account as it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    pub life: Life,
    pub born: Born,
    pub standing: Standing,
    pub email_confirmed: bool,
    pub measures: BTreeMap<u64, Measure>,
    pub role: Role,
    pub kind: Kind,
    pub locked: bool,
    pub profile: Profile,
    pub preferences: Preferences,
    pub activity_pub: Sealed,
    pub prefix_keys: Vec<BlindKey>,
    pub handle_characters: u32,
    /// The credential that holds its password's hash.
    pub credential: u64,
}

/// What an account is born with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Born {
    pub id: u64,
    /// 0: elsewhere.
    pub home: u64,
    pub kind: Kind,
    pub standing: Standing,
    pub role: Role,
    pub handle: Sealed,
    pub handle_key: BlindKey,
    /// Of a remote account; empty for one of the installation's servers.
    pub host: String,
    pub email: Option<Sealed>,
    pub email_confirmed: bool,
    pub reason: Option<Sealed>,
    pub activity_pub: Sealed,
    pub activity_pub_key: BlindKey,
    pub profile: Change,
    pub locked: bool,
    pub preferences: Preferences,
    pub app: u64,
    /// 0: when its id says.
    pub published_ms: u64,
    /// The credential that holds its password's hash; 0 for one of elsewhere.
    pub credential: u64,
}

/// Beginnings of a handle, by which it is completed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beginnings {
    pub keys: Vec<BlindKey>,
    pub characters: u32,
}

/// What can be asked of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Create(Box<Born>),
    /// A remote account, whose handle is given elsewhere.
    Register(Box<Born>, Beginnings),
    Grant(Beginnings),
    Refuse(Taken),
    /// The e-mail address was shown to be its owner's. `approval`: moderators approve on its home.
    ConfirmEmail {
        approval: bool,
    },
    Approve,
    Limit {
        scope: u64,
    },
    Suspend {
        scope: u64,
    },
    Restore {
        scope: u64,
    },
    Erase,
    SetRole(Role),
    SetKind(Kind),
    /// A new password, held by this credential; the one session that stays, 0 for none.
    ChangePassword {
        credential: u64,
        kept_session: u64,
    },
    Update(Box<Update>),
}

/// What changes of an account by its own will, or its host's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    pub profile: Change,
    pub locked: Option<bool>,
    pub preferences: Option<Preferences>,
    pub activity_pub: Option<Sealed>,
    /// Of remote accounts only.
    pub kind: Option<Kind>,
}

/// What happened to an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Created(Box<Born>),
    HandleGranted {
        account: u64,
        home: u64,
        handle: Sealed,
        handle_key: BlindKey,
        beginnings: Beginnings,
        host: String,
        kind: Kind,
        standing: Standing,
    },
    HandleRefused {
        account: u64,
        home: u64,
        taken: Taken,
    },
    AddressesChanged {
        account: u64,
        activity_pub: Sealed,
    },
    EmailConfirmed {
        account: u64,
        home: u64,
        standing: Standing,
    },
    Approved {
        account: u64,
        home: u64,
    },
    Limited {
        account: u64,
        home: u64,
        scope: u64,
    },
    Suspended {
        account: u64,
        home: u64,
        scope: u64,
    },
    Restored {
        account: u64,
        home: u64,
        scope: u64,
    },
    Erased {
        account: u64,
        home: u64,
        handle_key: BlindKey,
        activity_pub_key: BlindKey,
        beginnings: Beginnings,
    },
    RoleChanged {
        account: u64,
        home: u64,
        role: Role,
    },
    KindChanged {
        account: u64,
        home: u64,
        kind: Kind,
    },
    ProfileUpdated {
        account: u64,
        home: u64,
        change: Box<Change>,
    },
    Locked {
        account: u64,
        home: u64,
    },
    Unlocked {
        account: u64,
        home: u64,
    },
    PreferencesChanged {
        account: u64,
        preferences: Preferences,
    },
    PasswordChanged {
        account: u64,
        home: u64,
        kept_session: u64,
        credential: u64,
    },
}

/// Why it cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("There is no such account.")]
    NoSuchAccount,
    #[error("There is such an account already.")]
    Exists,
    #[error("This account waits for no approval.")]
    NotPending,
    #[error(
        "A remote account has no role, password or e-mail address here, and says itself what kind it is."
    )]
    Remote,
    #[error("A member of this installation is personal, creator or corporate.")]
    KindNeeded,
    #[error(transparent)]
    NotAllowed(#[from] NotAllowed),
}

impl Account {
    /// Its state as a server has it; 0 for the installation. `None` if nobody ever met it.
    #[must_use]
    pub fn state_for(&self, server: u64) -> Option<State> {
        match self.life {
            Life::Nothing | Life::Claiming | Life::Refused(_) => return None,
            Life::Erased => return Some(State::Erased),
            Life::Living => {}
        }
        // The home's word and the installation's hold for everybody, the asking server's for its own people.
        let scopes = [self.born.home, 0, server];
        let measure = scopes.iter().filter_map(|scope| self.measures.get(scope)).max();
        Some(match (measure, self.standing) {
            (Some(Measure::Suspended), _) => State::Suspended,
            (_, Standing::Unconfirmed) => State::Unconfirmed,
            (_, Standing::Pending) => State::Pending,
            (Some(Measure::Limited), Standing::Active) => State::Limited,
            (None, Standing::Active) => State::Active,
        })
    }

    /// Whether it has its home elsewhere.
    #[must_use]
    pub const fn is_remote(&self) -> bool {
        self.born.home == 0
    }

    /// The account after an event. Total.
    #[must_use]
    pub fn evolve(mut self, event: &Event) -> Self {
        match event {
            Event::Created(born) => return Self::newborn(born),
            Event::HandleGranted { beginnings, .. } => {
                self.life = Life::Living;
                self.prefix_keys.clone_from(&beginnings.keys);
                self.handle_characters = beginnings.characters;
            }
            Event::HandleRefused { taken, .. } => self.life = Life::Refused(*taken),
            Event::AddressesChanged { activity_pub, .. } => self.activity_pub = activity_pub.clone(),
            Event::EmailConfirmed { standing, .. } => {
                self.standing = *standing;
                self.email_confirmed = true;
            }
            Event::Approved { .. } => self.standing = Standing::Active,
            Event::Limited { scope, .. } => {
                self.measures.insert(*scope, Measure::Limited);
            }
            Event::Suspended { scope, .. } => {
                self.measures.insert(*scope, Measure::Suspended);
            }
            Event::Restored { scope, .. } => {
                self.measures.remove(scope);
            }
            Event::Erased { .. } => return self.buried(),
            Event::RoleChanged { role, .. } => self.role = *role,
            Event::KindChanged { kind, .. } => self.kind = *kind,
            Event::ProfileUpdated { change, .. } => self.profile = self.profile.after(change),
            Event::Locked { .. } => self.locked = true,
            Event::Unlocked { .. } => self.locked = false,
            Event::PreferencesChanged { preferences, .. } => self.preferences = preferences.clone(),
            Event::PasswordChanged { credential, .. } => self.credential = *credential,
        }
        self
    }

    fn newborn(born: &Born) -> Self {
        Self {
            life: Life::Claiming,
            // What changes later stands once, beside what is born.
            born: Born {
                profile: Change::default(),
                preferences: Preferences::default(),
                activity_pub: Sealed::default(),
                credential: 0,
                ..born.clone()
            },
            standing: born.standing,
            email_confirmed: born.email_confirmed,
            measures: BTreeMap::new(),
            role: born.role,
            kind: born.kind,
            locked: born.locked,
            profile: Profile::default().after(&born.profile),
            preferences: born.preferences.clone(),
            activity_pub: born.activity_pub.clone(),
            prefix_keys: Vec::new(),
            handle_characters: 0,
            credential: born.credential,
        }
    }

    /// What is left of an erased account: that there was one, where, and the name that nobody gets again.
    fn buried(self) -> Self {
        Self {
            life: Life::Erased,
            born: Born {
                id: self.born.id,
                home: self.born.home,
                handle_key: self.born.handle_key,
                activity_pub_key: self.born.activity_pub_key,
                host: self.born.host,
                // Sealed; kept so that the claim on it can still be given back before its key is destroyed.
                email: self.born.email,
                ..Born::default()
            },
            kind: self.kind,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests;
