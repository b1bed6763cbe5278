//! What follows from a command to an account, and who may give it.

use super::{Account, Beginnings, Born, Command, Event, Kind, Life, Measure, Rejection, Standing, Update};
use crate::domain::authority::{By, Over, Role, give, govern, moderate};

impl Account {
    const fn over(&self) -> Over {
        Over { home: self.born.home, role: self.role }
    }

    const fn ids(&self) -> (u64, u64) {
        (self.born.id, self.born.home)
    }

    fn living(&self) -> Result<(), Rejection> {
        if self.life == Life::Living { Ok(()) } else { Err(Rejection::NoSuchAccount) }
    }

    fn member(&self) -> Result<(), Rejection> {
        self.living()?;
        if self.is_remote() { Err(Rejection::Remote) } else { Ok(()) }
    }

    /// What follows from a command. No events: nothing has to change.
    pub fn decide(&self, command: Command, by: By) -> Result<Vec<Event>, Rejection> {
        let (account, home) = self.ids();
        match command {
            Command::Create(born) => match self.life {
                Life::Nothing => Ok(vec![Event::Created(born)]),
                _ => Err(Rejection::Exists),
            },
            Command::Register(born, beginnings) => self.register(born, beginnings),
            Command::Grant(beginnings) => Ok(self.grant(beginnings)),
            Command::Refuse(taken) => Ok(match self.life {
                Life::Claiming => vec![Event::HandleRefused { account, home, taken }],
                _ => Vec::new(),
            }),
            Command::ConfirmEmail { approval } => self.confirm_email(approval, by),
            Command::Approve => self.approve(by),
            Command::Limit { scope } => self.measure(scope, Some(Measure::Limited), by),
            Command::Suspend { scope } => self.measure(scope, Some(Measure::Suspended), by),
            Command::Restore { scope } => self.measure(scope, None, by),
            Command::Erase => self.erase(by),
            Command::SetRole(role) => self.set_role(role, by),
            Command::SetKind(kind) => self.set_kind(kind, by),
            Command::ChangePassword { credential, kept_session } => {
                self.member()?;
                if by != By::Itself {
                    govern(by, Role::Admin, self.over())?;
                }
                Ok(vec![Event::PasswordChanged { account, home, kept_session, credential }])
            }
            Command::Update(update) => self.update(*update),
        }
    }

    fn register(&self, born: Box<Born>, beginnings: Beginnings) -> Result<Vec<Event>, Rejection> {
        if self.life != Life::Nothing {
            return Err(Rejection::Exists);
        }
        let granted = Event::HandleGranted {
            account: born.id,
            home: born.home,
            handle: born.handle.clone(),
            handle_key: born.handle_key,
            beginnings,
            host: born.host.clone(),
            kind: born.kind,
            standing: born.standing,
        };
        Ok(vec![Event::Created(born), granted])
    }

    fn grant(&self, beginnings: Beginnings) -> Vec<Event> {
        if self.life != Life::Claiming {
            return Vec::new();
        }
        let born = &self.born;
        vec![Event::HandleGranted {
            account: born.id,
            home: born.home,
            handle: born.handle.clone(),
            handle_key: born.handle_key,
            beginnings,
            host: born.host.clone(),
            kind: self.kind,
            standing: self.standing,
        }]
    }

    fn confirm_email(&self, approval: bool, by: By) -> Result<Vec<Event>, Rejection> {
        self.member()?;
        govern(by, Role::Admin, self.over())?;
        if self.standing != Standing::Unconfirmed {
            return Ok(Vec::new());
        }
        let standing = if approval { Standing::Pending } else { Standing::Active };
        let (account, home) = self.ids();
        Ok(vec![Event::EmailConfirmed { account, home, standing }])
    }

    fn approve(&self, by: By) -> Result<Vec<Event>, Rejection> {
        self.member()?;
        govern(by, Role::Moderator, self.over())?;
        let (account, home) = self.ids();
        match self.standing {
            Standing::Pending => Ok(vec![Event::Approved { account, home }]),
            Standing::Active => Ok(Vec::new()),
            Standing::Unconfirmed => Err(Rejection::NotPending),
        }
    }

    fn measure(&self, scope: u64, measure: Option<Measure>, by: By) -> Result<Vec<Event>, Rejection> {
        self.living()?;
        moderate(by, Role::Moderator, scope, self.over())?;
        if self.measures.get(&scope).copied() == measure {
            return Ok(Vec::new());
        }
        let (account, home) = self.ids();
        Ok(vec![match measure {
            Some(Measure::Limited) => Event::Limited { account, home, scope },
            Some(Measure::Suspended) => Event::Suspended { account, home, scope },
            None => Event::Restored { account, home, scope },
        }])
    }

    fn erase(&self, by: By) -> Result<Vec<Event>, Rejection> {
        match self.life {
            Life::Erased => return Ok(Vec::new()),
            Life::Nothing | Life::Refused(_) => return Err(Rejection::NoSuchAccount),
            // A claim under way ends here: a handle that comes too late is refused to the erased.
            Life::Claiming | Life::Living => {}
        }
        if by != By::Itself {
            govern(by, Role::Admin, self.over())?;
        }
        let (account, home) = self.ids();
        Ok(vec![Event::Erased {
            account,
            home,
            handle_key: self.born.handle_key,
            activity_pub_key: self.born.activity_pub_key,
            beginnings: Beginnings { keys: self.prefix_keys.clone(), characters: self.handle_characters },
        }])
    }

    fn set_role(&self, role: Role, by: By) -> Result<Vec<Event>, Rejection> {
        self.member()?;
        give(by, role, self.over())?;
        let (account, home) = self.ids();
        Ok(if self.role == role { Vec::new() } else { vec![Event::RoleChanged { account, home, role }] })
    }

    fn set_kind(&self, kind: Kind, by: By) -> Result<Vec<Event>, Rejection> {
        self.member()?;
        govern(by, Role::Moderator, self.over())?;
        if kind == Kind::Unstated {
            return Err(Rejection::KindNeeded);
        }
        let (account, home) = self.ids();
        Ok(if self.kind == kind { Vec::new() } else { vec![Event::KindChanged { account, home, kind }] })
    }

    fn update(&self, update: Update) -> Result<Vec<Event>, Rejection> {
        self.living()?;
        let (account, home) = self.ids();
        let mut events = Vec::new();
        if let Some(kind) = update.kind.filter(|kind| self.is_remote() && *kind != self.kind) {
            events.push(Event::KindChanged { account, home, kind });
        }
        if let Some(activity_pub) = update.activity_pub.filter(|_| self.is_remote()) {
            events.push(Event::AddressesChanged { account, activity_pub });
        }
        if !update.profile.is_empty() {
            events.push(Event::ProfileUpdated { account, home, change: Box::new(update.profile) });
        }
        match update.locked.filter(|locked| *locked != self.locked) {
            Some(true) => events.push(Event::Locked { account, home }),
            Some(false) => events.push(Event::Unlocked { account, home }),
            None => {}
        }
        if let Some(preferences) = update.preferences.filter(|new| *new != self.preferences) {
            events.push(Event::PreferencesChanged { account, preferences });
        }
        Ok(events)
    }
}
