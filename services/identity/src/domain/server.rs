//! The server (tenant): a handle domain, a host, rules and policies.
//!
//! ```text
//! Nothing ─Created─▶ Claiming ─NamesGranted─▶ Active ─Closed─▶ Closed
//!                       └─NamesRefused─▶ Refused
//! ```

use super::account::Kind;
use super::authority::{By, NotAllowed, Over, Role, govern};
use super::tag::is_tag;

pub const NAME_CHARACTERS: usize = 100;
pub const DESCRIPTION_CHARACTERS: usize = 2_000;
pub const RULES: usize = 50;
pub const RULE_CHARACTERS: usize = 300;
pub const HINT_CHARACTERS: usize = 2_000;
pub const LANGUAGES: usize = 20;
pub const POST_CHARACTERS: u32 = 500;
pub const MOST_POST_CHARACTERS: u32 = 100_000;

/// One rule that members agree to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// 0 asks for a new one.
    pub id: u32,
    pub text: String,
    pub hint: String,
}

/// Who gets an account by signing up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Registration {
    Open,
    Approval,
    #[default]
    Closed,
}

/// Who may reply to members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replies {
    Off,
    Followers,
    #[default]
    Everyone,
}

/// Who may send direct posts to members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Messages {
    Off,
    Mutuals,
    #[default]
    Everyone,
}

/// What a server allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policies {
    pub replies: Replies,
    pub messages: Messages,
    pub boost_kinds: Vec<Kind>,
    pub post_characters: u32,
    pub confirm_email: bool,
}

impl Default for Policies {
    fn default() -> Self {
        Self {
            replies: Replies::Everyone,
            messages: Messages::Everyone,
            boost_kinds: vec![Kind::Personal],
            post_characters: POST_CHARACTERS,
            confirm_email: false,
        }
    }
}

/// What can be changed of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Face {
    pub name: String,
    pub description: String,
    pub rules: Vec<Rule>,
    pub registration: Registration,
    pub policies: Policies,
    pub contact_email: String,
    pub languages: Vec<String>,
}

/// ActivityPub ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    pub id: String,
    pub inbox: String,
    pub shared_inbox: String,
    pub outbox: String,
    pub followers: String,
    pub following: String,
    pub url: String,
    pub key_id: String,
    pub featured: String,
}

/// What a server is born with, for ever.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Born {
    pub id: u64,
    pub domain: String,
    pub web_host: String,
    pub public_url: String,
    pub instance_actor: Addresses,
}

/// How far a server has come into life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Life {
    #[default]
    Nothing,
    Claiming,
    Refused,
    Active,
    Closed,
}

/// A server as it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Server {
    pub life: Life,
    pub born: Born,
    pub face: Face,
    /// The largest id that a rule ever had.
    pub last_rule: u32,
    /// The name that another server has; empty unless refused.
    pub taken: String,
}

/// What can be asked of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Create(Box<Born>, Box<Face>),
    Grant,
    Refuse { taken: String },
    Update(Box<Face>),
    Close,
}

/// What happened to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Created { born: Box<Born>, face: Box<Face> },
    NamesGranted { server: u64, domain: String, web_host: String },
    NamesRefused { server: u64, taken: String },
    Updated { server: u64, face: Box<Face> },
    Closed { server: u64 },
}

/// Why it cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("There is no such server.")]
    NoSuchServer,
    #[error("There is such a server already.")]
    Exists,
    #[error("A server has a name of 1 to {NAME_CHARACTERS} characters, on one line.")]
    Name,
    #[error("The text about a server has at most {DESCRIPTION_CHARACTERS} characters.")]
    Description,
    #[error(
        "A server has at most {RULES} rules; a rule has 1 to {RULE_CHARACTERS} characters, its hint at most {HINT_CHARACTERS}."
    )]
    Rules,
    #[error("A rule with this id was never there.")]
    UnknownRule,
    #[error("A post has between 1 and {MOST_POST_CHARACTERS} characters.")]
    PostCharacters,
    #[error("Only personal, creator and corporate accounts can be named here.")]
    BoostKinds,
    #[error("At most {LANGUAGES} well-formed language tags.")]
    Languages,
    #[error("This is no e-mail address.")]
    ContactEmail,
    #[error(transparent)]
    NotAllowed(#[from] NotAllowed),
}

impl Rejection {
    /// The field of the request that is at fault, if one is.
    #[must_use]
    pub const fn field(self) -> Option<&'static str> {
        match self {
            Self::Name => Some("name"),
            Self::Description => Some("description"),
            Self::Rules | Self::UnknownRule => Some("rules"),
            Self::PostCharacters => Some("policies.post_characters"),
            Self::BoostKinds => Some("policies.boost_kinds"),
            Self::Languages => Some("languages"),
            Self::ContactEmail => Some("contact_email"),
            Self::NoSuchServer | Self::Exists | Self::NotAllowed(_) => None,
        }
    }
}

impl Face {
    fn check(&self) -> Result<(), Rejection> {
        let count = |text: &str| text.chars().count();
        let control = |text: &str| text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'));
        if !(1..=NAME_CHARACTERS).contains(&count(&self.name)) || self.name.chars().any(char::is_control) {
            return Err(Rejection::Name);
        }
        if count(&self.description) > DESCRIPTION_CHARACTERS || control(&self.description) {
            return Err(Rejection::Description);
        }
        let rule = |rule: &Rule| {
            (1..=RULE_CHARACTERS).contains(&count(&rule.text))
                && count(&rule.hint) <= HINT_CHARACTERS
                && !control(&rule.text)
                && !control(&rule.hint)
        };
        if self.rules.len() > RULES || !self.rules.iter().all(rule) {
            return Err(Rejection::Rules);
        }
        if !(1..=MOST_POST_CHARACTERS).contains(&self.policies.post_characters) {
            return Err(Rejection::PostCharacters);
        }
        if self.policies.boost_kinds.contains(&Kind::Unstated) || self.policies.boost_kinds.len() > 3 {
            return Err(Rejection::BoostKinds);
        }
        if self.languages.len() > LANGUAGES || !self.languages.iter().all(|tag| is_tag(tag)) {
            return Err(Rejection::Languages);
        }
        if !self.contact_email.is_empty() && super::email::Email::parse(&self.contact_email).is_err() {
            return Err(Rejection::ContactEmail);
        }
        Ok(())
    }
}

impl Server {
    /// Whether somebody is at home there.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        matches!(self.life, Life::Active | Life::Closed)
    }

    /// What follows from a command. No events: nothing has to change.
    pub fn decide(&self, command: Command, by: By) -> Result<Vec<Event>, Rejection> {
        let server = self.born.id;
        match command {
            Command::Create(born, face) => {
                if self.life != Life::Nothing {
                    return Err(Rejection::Exists);
                }
                if by != By::Operator {
                    return Err(NotAllowed::Role.into());
                }
                let face = Box::new(self.numbered(*face)?);
                face.check()?;
                Ok(vec![Event::Created { born, face }])
            }
            Command::Grant => Ok(match self.life {
                Life::Claiming => {
                    let Born { domain, web_host, .. } = self.born.clone();
                    vec![Event::NamesGranted { server, domain, web_host }]
                }
                _ => Vec::new(),
            }),
            Command::Refuse { taken } => Ok(match self.life {
                Life::Claiming => vec![Event::NamesRefused { server, taken }],
                _ => Vec::new(),
            }),
            Command::Update(face) => {
                self.governed(by, Role::Admin)?;
                let face = Box::new(self.numbered(*face)?);
                face.check()?;
                Ok(if *face == self.face { Vec::new() } else { vec![Event::Updated { server, face }] })
            }
            Command::Close => {
                if self.life == Life::Closed {
                    return Ok(Vec::new());
                }
                self.governed(by, Role::Owner)?;
                Ok(vec![Event::Closed { server }])
            }
        }
    }

    fn governed(&self, by: By, needed: Role) -> Result<(), Rejection> {
        if self.life != Life::Active {
            return Err(Rejection::NoSuchServer);
        }
        Ok(govern(by, needed, Over { home: self.born.id, role: Role::Member })?)
    }

    /// New rules get ids of their own, which were never another's.
    fn numbered(&self, mut face: Face) -> Result<Face, Rejection> {
        let mut last = self.last_rule;
        let mut seen = std::collections::BTreeSet::new();
        for rule in &mut face.rules {
            if rule.id == 0 {
                last = last.saturating_add(1);
                rule.id = last;
            } else if rule.id > self.last_rule {
                return Err(Rejection::UnknownRule);
            }
            if !seen.insert(rule.id) {
                return Err(Rejection::Rules);
            }
        }
        Ok(face)
    }

    /// The server after an event. Total.
    #[must_use]
    pub fn evolve(mut self, event: &Event) -> Self {
        match event {
            Event::Created { born, face } => {
                self.life = Life::Claiming;
                self.born = (**born).clone();
                self.show(face);
            }
            Event::NamesGranted { .. } => self.life = Life::Active,
            Event::NamesRefused { taken, .. } => {
                self.life = Life::Refused;
                self.taken.clone_from(taken);
            }
            Event::Updated { face, .. } => self.show(face),
            Event::Closed { .. } => self.life = Life::Closed,
        }
        self
    }

    fn show(&mut self, face: &Face) {
        self.face = face.clone();
        let largest = face.rules.iter().map(|rule| rule.id).max().unwrap_or(0);
        self.last_rule = self.last_rule.max(largest);
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
