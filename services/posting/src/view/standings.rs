//! How accounts stand, asked of identity at the moment of reading, so that a block or a suspension binds at once.
//!
//! Nothing is kept. If identity does not answer, nobody is shown anything: the failure goes to the caller.

use crate::domain::rules::{Messages, Policies, Replies, Seen, Standing};
use crate::wire::kind_from_wire;
use futures::future::try_join;
use p92_chassis::Transport;
use p92_chassis::status::from_status;
use p92_kernel::{AccountId, Failure};
use p92_proto::event::v1::{Position, ReadOptions};
use p92_proto::identity::v1::account_service_client::AccountServiceClient;
use p92_proto::identity::v1::relationship_service_client::RelationshipServiceClient;
use p92_proto::identity::v1::{
    self, AccountFacts, AccountState, BatchGetAccountFactsRequest, CheckInteractionsRequest,
    CheckInteractionsResponse, GetActorRequest, GetActorResponse, GetRelationshipsRequest, Relationship,
    ResolveHandlesRequest, ResolvedHandle,
};
use std::collections::{BTreeSet, HashMap};

/// Accounts in one question.
const AT_ONCE: usize = 500;

/// Identity, as posting asks it.
#[derive(Clone, Debug)]
pub struct Identity {
    accounts: AccountServiceClient<Transport>,
    relationships: RelationshipServiceClient<Transport>,
}

/// What identity says of accounts towards one viewer.
#[derive(Clone, Debug, Default)]
pub struct Standings(HashMap<u64, Standing>);

impl Standings {
    /// How somebody who may act stands to himself.
    #[must_use]
    pub fn of_oneself(account: AccountId) -> Self {
        Self(HashMap::from([(account.get(), Standing { seen: Seen::Everything, ..Standing::default() })]))
    }

    /// How the viewer stands to an account. To one that is not known he stands so that he sees nothing.
    #[must_use]
    pub fn to(&self, account: u64) -> Standing {
        self.0.get(&account).copied().unwrap_or_default()
    }
}

impl Identity {
    /// Over the way to identity.
    #[must_use]
    pub fn new(transport: &Transport) -> Self {
        // A page of accounts can be large; what identity answers is bounded there.
        Self {
            accounts: AccountServiceClient::new(transport.clone()).max_decoding_message_size(usize::MAX),
            relationships: RelationshipServiceClient::new(transport.clone())
                .max_decoding_message_size(usize::MAX),
        }
    }

    /// How the viewer of a read stands to these accounts.
    pub async fn standings(
        &self,
        options: &ReadOptions,
        accounts: impl IntoIterator<Item = u64>,
    ) -> Result<Standings, Failure> {
        let accounts: BTreeSet<u64> = accounts.into_iter().filter(|id| *id != 0).collect();
        let accounts: Vec<u64> = accounts.into_iter().collect();
        let mut out = Standings::default();
        for accounts in accounts.chunks(AT_ONCE) {
            let (facts, relations) =
                try_join(self.facts(options, accounts), self.relations(options, accounts)).await?;
            for fact in facts {
                out.0.entry(fact.id).or_default().seen = seen(fact.state());
            }
            for relation in relations {
                if let Some(standing) = out.0.get_mut(&relation.account_id) {
                    *standing = Standing { seen: standing.seen, ..standing_of(&relation) };
                }
            }
        }
        Ok(out)
    }

    async fn facts(&self, options: &ReadOptions, ids: &[u64]) -> Result<Vec<AccountFacts>, Failure> {
        let request = BatchGetAccountFactsRequest { options: Some(options_for(options)), ids: ids.to_vec() };
        let answer = self.accounts.clone().batch_get_account_facts(request).await;
        Ok(answer.map_err(from_status)?.into_inner().accounts)
    }

    async fn relations(&self, options: &ReadOptions, ids: &[u64]) -> Result<Vec<Relationship>, Failure> {
        let others: Vec<u64> = ids.iter().copied().filter(|id| *id != options.viewer_id).collect();
        if options.viewer_id == 0 || others.is_empty() {
            return Ok(Vec::new());
        }
        let request = GetRelationshipsRequest { options: Some(options_for(options)), account_ids: others };
        let answer = self.relationships.clone().get_relationships(request).await;
        Ok(answer.map_err(from_status)?.into_inner().relationships)
    }

    /// Everything that decides what an actor may do to these accounts.
    pub async fn interactions(
        &self,
        options: &ReadOptions,
        targets: Vec<u64>,
    ) -> Result<CheckInteractionsResponse, Failure> {
        let request = CheckInteractionsRequest {
            options: Some(options_for(options)),
            actor_id: options.viewer_id,
            target_ids: targets,
        };
        let answer = self.relationships.clone().check_interactions(request).await;
        Ok(answer.map_err(from_status)?.into_inner())
    }

    /// The account that acts, and its home.
    pub async fn actor(&self, options: &ReadOptions) -> Result<GetActorResponse, Failure> {
        let request = GetActorRequest { options: Some(options_for(options)) };
        Ok(self.accounts.clone().get_actor(request).await.map_err(from_status)?.into_inner())
    }

    /// Whom handles name, as seen from the server of the options.
    pub async fn resolve(
        &self,
        options: &ReadOptions,
        handles: Vec<String>,
    ) -> Result<Vec<ResolvedHandle>, Failure> {
        if handles.is_empty() {
            return Ok(Vec::new());
        }
        let request = ResolveHandlesRequest { options: Some(options_for(options)), handles };
        let answer = self.accounts.clone().resolve_handles(request).await;
        Ok(answer.map_err(from_status)?.into_inner().handles)
    }
}

/// The same question for identity: only its own positions concern it.
fn options_for(options: &ReadOptions) -> ReadOptions {
    let own = |position: &&Position| position.service == p92_kernel::Service::Identity.name();
    ReadOptions {
        at_least: options.at_least.iter().filter(own).cloned().collect(),
        viewer_id: options.viewer_id,
        server_id: options.server_id,
    }
}

/// How much of an account in this state is to be seen.
#[must_use]
pub const fn seen(state: AccountState) -> Seen {
    match state {
        AccountState::Active => Seen::Everything,
        AccountState::Limited => Seen::Limited,
        AccountState::Unspecified
        | AccountState::Unconfirmed
        | AccountState::Pending
        | AccountState::Suspended
        | AccountState::Erased => Seen::Nothing,
    }
}

fn standing_of(relation: &Relationship) -> Standing {
    Standing {
        seen: Seen::Nothing,
        follows: relation.following() == v1::FollowState::Following,
        followed_by: relation.followed_by() == v1::FollowState::Following,
        blocks: relation.blocking,
        blocked_by: relation.blocked_by,
        mutes: relation.muting,
    }
}

/// How the actor stands to the target of an interaction.
#[must_use]
pub fn standing_to(interaction: &v1::Interaction) -> Standing {
    let seen = interaction.target.as_ref().map_or(Seen::Nothing, |target| seen(target.state()));
    let relation = interaction.relationship.as_ref().map(standing_of).unwrap_or_default();
    Standing { seen, ..relation }
}

/// The policies of a server as rules read them.
#[must_use]
pub fn policies(policies: &v1::ServerPolicies) -> Policies {
    Policies {
        replies: match policies.replies() {
            v1::ReplyPolicy::Off => Replies::Off,
            v1::ReplyPolicy::Followers => Replies::Followers,
            v1::ReplyPolicy::Everyone | v1::ReplyPolicy::Unspecified => Replies::Everyone,
        },
        messages: match policies.messages() {
            v1::MessagePolicy::Off => Messages::Off,
            v1::MessagePolicy::Mutuals => Messages::Mutuals,
            v1::MessagePolicy::Everyone | v1::MessagePolicy::Unspecified => Messages::Everyone,
        },
        boost_kinds: policies.boost_kinds().map(kind_from_wire).collect(),
    }
}
