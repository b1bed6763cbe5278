//! The actor of a command, whom he names, and what he may do to them.

use super::Stopped;
use crate::domain::rules::{Policies, Standing, check_message};
use crate::domain::{Actor, Rejection, Visibility};
use crate::view::standings::{self, Identity};
use crate::wire::kind_from_wire;
use p92_kernel::{AccountId, ServerId};
use p92_proto::event::v1::ReadOptions;
use p92_proto::identity::v1::{
    self as identity, Account, AccountState, ActivityPubIds, CheckInteractionsResponse, Preferences, Server,
};
use p92_proto::posting::v1::Mention;
use std::collections::BTreeSet;

/// The account that acts.
#[derive(Clone, Debug)]
pub struct Acting {
    pub actor: Actor,
    pub activity_pub: ActivityPubIds,
    /// Its server; `None` for elsewhere.
    pub home: Option<Server>,
    /// What it wants where a post says nothing.
    pub preferences: Preferences,
    /// Whether it approves its followers.
    pub locked: bool,
}

impl Acting {
    /// Asks who acts, and whether he may do anything at all.
    pub async fn ask(identity: &Identity, options: &ReadOptions) -> Result<Self, Stopped> {
        let acts = identity.actor(options).await.map_err(|failure| match failure.into() {
            Stopped::Rejected(_) => Stopped::Rejected(Rejection::NotActive),
            failed @ Stopped::Failed(_) => failed,
        })?;
        let facts = acts.facts.unwrap_or_default();
        if !matches!(facts.state(), AccountState::Active | AccountState::Limited) {
            return Err(Rejection::NotActive.into());
        }
        let id = AccountId::new(facts.id).ok_or(Rejection::NotActive)?;
        Ok(Self {
            actor: Actor { id, home: ServerId::new(facts.server_id), kind: kind_from_wire(facts.kind()) },
            activity_pub: acts.activity_pub.unwrap_or_default(),
            home: acts.home,
            preferences: acts.preferences.unwrap_or_default(),
            locked: facts.locked,
        })
    }

    /// Who sees a post that does not say it.
    #[must_use]
    pub fn visibility(&self) -> Visibility {
        match self.preferences.visibility() {
            identity::Visibility::Public => Visibility::Public,
            identity::Visibility::Unlisted => Visibility::Unlisted,
            identity::Visibility::Followers => Visibility::Followers,
            identity::Visibility::Direct => Visibility::Direct,
            identity::Visibility::Unspecified if self.locked => Visibility::Followers,
            identity::Visibility::Unspecified => Visibility::Public,
        }
    }

    /// The rules of its home; elsewhere has none here.
    #[must_use]
    pub fn policies(&self) -> Option<Policies> {
        let home = self.home.as_ref()?;
        Some(standings::policies(&home.policies.clone().unwrap_or_default()))
    }

    /// Characters that a post may have.
    #[must_use]
    pub fn characters(&self) -> usize {
        let policies = self.home.as_ref().and_then(|home| home.policies.as_ref());
        match policies.map_or(0, |policies| policies.post_characters) {
            0 => crate::domain::draft::CHARACTERS,
            characters => characters as usize,
        }
    }

    /// Base of links to tags.
    #[must_use]
    pub fn tags_url(&self) -> String {
        self.home.as_ref().map(|home| format!("{}/tags/", home.public_url)).unwrap_or_default()
    }

    /// Names that mean its home in a handle.
    #[must_use]
    pub fn home_hosts(&self) -> Vec<String> {
        let Some(home) = &self.home else { return Vec::new() };
        let mut hosts = vec![home.domain.clone(), home.web_host.clone()];
        hosts.dedup();
        hosts
    }

    /// The ids of what it makes: below its own, which is stored and not derived.
    #[must_use]
    pub fn object_id(&self, kind: &str, id: u64) -> String {
        format!("{}/{kind}/{id}", self.activity_pub.id)
    }

    /// A mention of an account, as seen from its home.
    #[must_use]
    pub fn mention(&self, account: &Account) -> Mention {
        let near = self.actor.home.is_some_and(|home| home.get() == account.server_id);
        let activity_pub = account.activity_pub.clone().unwrap_or_default();
        Mention {
            account_id: account.id,
            handle: if near {
                account.handle.clone()
            } else {
                format!("{}@{}", account.handle, account.domain)
            },
            url: if activity_pub.url.is_empty() { activity_pub.id.clone() } else { activity_pub.url },
            object_id: activity_pub.id,
        }
    }
}

/// What the actor may do to those whom his command concerns.
#[derive(Clone, Debug, Default)]
pub struct Interactions(CheckInteractionsResponse);

/// One of those, as rules want it.
#[derive(Clone, Debug, Default)]
pub struct Towards {
    pub standing: Standing,
    pub policies: Option<Policies>,
}

impl Interactions {
    /// Asks about these accounts; the actor himself is left out.
    pub async fn ask(
        identity: &Identity,
        options: &ReadOptions,
        targets: impl IntoIterator<Item = u64>,
    ) -> Result<Self, Stopped> {
        let targets: BTreeSet<u64> =
            targets.into_iter().filter(|id| *id != 0 && *id != options.viewer_id).collect();
        if targets.is_empty() {
            return Ok(Self::default());
        }
        // The question takes 500 at once; a post that was written here concerns far fewer.
        let targets: Vec<u64> = targets.into_iter().collect();
        let mut all = CheckInteractionsResponse::default();
        for targets in targets.chunks(500) {
            let answer = identity.interactions(options, targets.to_vec()).await?;
            all.interactions.extend(answer.interactions);
        }
        Ok(Self(all))
    }

    /// How the actor stands to an account. To one that is not known he stands as a stranger who sees nothing.
    #[must_use]
    pub fn towards(&self, account: u64) -> Towards {
        let found =
            self.0.interactions.iter().find(|one| one.target.as_ref().is_some_and(|t| t.id == account));
        found.map_or_else(Towards::default, |one| Towards {
            standing: standings::standing_to(one),
            policies: one.policies.as_ref().map(standings::policies),
        })
    }

    /// The mentions that become part of a post: nobody whom the author blocks. Of a direct post from elsewhere only
    /// those who take it; one that was written here is refused if somebody does not.
    pub fn admit(
        &self,
        acting: &Acting,
        visibility: Visibility,
        mentions: Vec<Mention>,
    ) -> Result<Vec<Mention>, Rejection> {
        let home = acting.policies();
        let mut refused = None;
        let mut admitted = Vec::with_capacity(mentions.len());
        for mention in mentions {
            let own = mention.account_id == acting.actor.id.get();
            let towards = self.towards(mention.account_id);
            if towards.standing.blocks {
                continue;
            }
            if visibility == Visibility::Direct && !own {
                let homes = [home.as_ref(), towards.policies.as_ref()];
                if let Err(rejection) = check_message(homes, towards.standing) {
                    if acting.home.is_some() {
                        return Err(rejection);
                    }
                    refused = Some(rejection);
                    continue;
                }
            }
            admitted.push(mention);
        }
        match refused {
            Some(rejection) if admitted.is_empty() => Err(rejection),
            _ => Ok(admitted),
        }
    }
}
