//! What timelines asks identity and posting: relations and outboxes, for merges and for judging at reading.

use crate::domain::entry::Language;
use crate::domain::home::Follow;
use crate::domain::memory::Candidate;
use crate::domain::merge::Relations;
use crate::domain::window::Window;
use crate::wire::{candidate, window_to_wire};
use p92_chassis::Transport;
use p92_chassis::status::from_status;
use p92_kernel::Failure;
use p92_proto::event::v1::{IdWindow, Position, ReadOptions};
use p92_proto::identity::v1 as identity;
use p92_proto::identity::v1::account_service_client::AccountServiceClient;
use p92_proto::identity::v1::relationship_service_client::RelationshipServiceClient;
use p92_proto::posting::v1 as posting;
use p92_proto::posting::v1::post_service_client::PostServiceClient;
use p92_proto::posting::v1::reaction_service_client::ReactionServiceClient;
use std::collections::{BTreeSet, HashMap};

/// How a viewer stands to somebody, and how that account stands at the viewer's server.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standing {
    /// Nothing of the account may be shown: a block either way, a mute, a suspension, or it is gone.
    pub barred: bool,
    /// A mute that spares notifications.
    pub notifies: bool,
    /// It may be shown to those who follow it.
    pub limited: bool,
    /// The viewer follows it.
    pub followed: bool,
}

/// The clients of other services.
#[derive(Clone, Debug)]
pub struct Clients {
    accounts: AccountServiceClient<Transport>,
    relationships: RelationshipServiceClient<Transport>,
    posts: PostServiceClient<Transport>,
    reactions: ReactionServiceClient<Transport>,
}

/// Who looks, where, and how fresh.
#[derive(Clone, Debug, Default)]
pub struct Question {
    pub viewer: u64,
    pub server: u64,
    pub at_least: Vec<Position>,
}

impl Question {
    /// As other services take it: nobody is left out for a viewer.
    fn impartial(&self) -> Option<ReadOptions> {
        Some(ReadOptions { at_least: self.at_least.clone(), viewer_id: 0, server_id: self.server })
    }
}

const PAGE: u32 = 5_000;
const FACTS_AT_ONCE: usize = 1_000;

impl Clients {
    /// Clients over the ways to identity and posting.
    #[must_use]
    pub fn new(identity: Transport, posting: Transport) -> Self {
        Self {
            accounts: AccountServiceClient::new(identity.clone()),
            relationships: RelationshipServiceClient::new(identity),
            posts: PostServiceClient::new(posting.clone()),
            reactions: ReactionServiceClient::new(posting),
        }
    }

    /// Whom a viewer follows, and what stands between him and others. States of accounts are not in it yet.
    pub async fn relations(&self, question: &Question) -> Result<Relations, Failure> {
        let (follows, restrictions) = tokio::join!(self.follows(question), self.restrictions(question));
        let mut relations = Relations { viewer: question.viewer, ..Relations::default() };
        for edge in follows? {
            relations.follows.insert(edge.account_id, Follow { boosts: edge.show_boosts });
            if !edge.languages.is_empty() {
                let languages = edge.languages.iter().map(|tag| Language::of(tag)).collect();
                relations.languages.insert(edge.account_id, languages);
            }
        }
        for restriction in restrictions? {
            let avoided = restriction.blocking || restriction.muting;
            if avoided {
                relations.avoided.insert(restriction.account_id);
            }
            if avoided || restriction.blocked_by {
                relations.barred.insert(restriction.account_id);
            }
        }
        Ok(relations)
    }

    async fn follows(&self, question: &Question) -> Result<Vec<identity::FollowEdge>, Failure> {
        let mut follows = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = identity::ListFollowEdgesRequest {
                options: question.impartial(),
                account_id: question.viewer,
                direction: identity::FollowDirection::Following.into(),
                page_size: PAGE,
                page_token,
            };
            let answer = self.relationships.clone().list_follow_edges(request).await.map_err(from_status)?;
            let answer = answer.into_inner();
            follows.extend(answer.edges);
            if answer.next_page_token.is_empty() {
                return Ok(follows);
            }
            page_token = answer.next_page_token;
        }
    }

    async fn restrictions(&self, question: &Question) -> Result<Vec<identity::Restriction>, Failure> {
        let mut restrictions = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = identity::ListRestrictionsRequest {
                options: question.impartial(),
                account_id: question.viewer,
                page_size: PAGE,
                page_token,
            };
            let answer = self.relationships.clone().list_restrictions(request).await.map_err(from_status)?;
            let answer = answer.into_inner();
            restrictions.extend(answer.restrictions);
            if answer.next_page_token.is_empty() {
                return Ok(restrictions);
            }
            page_token = answer.next_page_token;
        }
    }

    /// Facts of accounts as the asking server has them.
    async fn facts(
        &self,
        question: &Question,
        accounts: impl IntoIterator<Item = u64>,
    ) -> Result<HashMap<u64, identity::AccountFacts>, Failure> {
        let ids: BTreeSet<u64> = accounts.into_iter().collect();
        let ids: Vec<u64> = ids.into_iter().collect();
        let mut facts = HashMap::new();
        for ids in ids.chunks(FACTS_AT_ONCE) {
            let request =
                identity::BatchGetAccountFactsRequest { options: question.impartial(), ids: ids.to_vec() };
            let answer = self.accounts.clone().batch_get_account_facts(request).await.map_err(from_status)?;
            facts.extend(answer.into_inner().accounts.into_iter().map(|facts| (facts.id, facts)));
        }
        Ok(facts)
    }

    /// Bars those of the accounts that are suspended or gone.
    pub async fn bar_hidden(
        &self,
        question: &Question,
        relations: &mut Relations,
        accounts: impl IntoIterator<Item = u64>,
    ) -> Result<(), Failure> {
        let accounts: BTreeSet<u64> = accounts.into_iter().collect();
        let facts = self.facts(question, accounts.iter().copied()).await?;
        let hidden =
            accounts.into_iter().filter(|id| facts.get(id).is_none_or(|facts| is_hidden(facts.state)));
        relations.barred.extend(hidden);
        Ok(())
    }

    /// How a viewer (0 for a stranger) stands to accounts. One that is not known is barred.
    pub async fn standings(
        &self,
        question: &Question,
        accounts: impl IntoIterator<Item = u64>,
    ) -> Result<HashMap<u64, Standing>, Failure> {
        let ids: BTreeSet<u64> = accounts.into_iter().collect();
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let facts = self.facts(question, ids.iter().copied()).await?;
        let relations = self.relationships(question, ids.iter().copied()).await?;
        let standing = |id: u64| {
            let Some(facts) = facts.get(&id) else { return Standing { barred: true, ..Standing::default() } };
            let relation = relations.get(&id);
            let is = |of: fn(&identity::Relationship) -> bool| relation.is_some_and(of);
            let blocked = is(|r| r.blocking) || is(|r| r.blocked_by);
            let hidden = is_hidden(facts.state);
            Standing {
                barred: hidden || blocked || is(|r| r.muting),
                notifies: !hidden && !blocked && !is(|r| r.muting && r.muting_notifications),
                limited: facts.state == i32::from(identity::AccountState::Limited),
                followed: is(|r| r.following == i32::from(identity::FollowState::Following)),
            }
        };
        Ok(ids.into_iter().map(|id| (id, standing(id))).collect())
    }

    async fn relationships(
        &self,
        question: &Question,
        accounts: impl IntoIterator<Item = u64>,
    ) -> Result<HashMap<u64, identity::Relationship>, Failure> {
        let mut relations = HashMap::new();
        if question.viewer == 0 {
            return Ok(relations);
        }
        let ids: Vec<u64> = accounts.into_iter().filter(|id| *id != question.viewer).collect();
        for ids in ids.chunks(FACTS_AT_ONCE) {
            let options = ReadOptions {
                at_least: question.at_least.clone(),
                viewer_id: question.viewer,
                server_id: question.server,
            };
            let request =
                identity::GetRelationshipsRequest { options: Some(options), account_ids: ids.to_vec() };
            let answer = self.relationships.clone().get_relationships(request).await.map_err(from_status)?;
            let answer = answer.into_inner().relationships;
            relations.extend(answer.into_iter().map(|relation| (relation.account_id, relation)));
        }
        Ok(relations)
    }

    /// Candidates out of the outboxes of accounts, newest first.
    pub async fn outboxes(
        &self,
        question: &Question,
        accounts: &[u64],
        window: &Window,
    ) -> Result<Vec<Candidate>, Failure> {
        const AUTHORS: usize = 10_000;
        let mut all = Vec::new();
        for accounts in accounts.chunks(AUTHORS) {
            let request = posting::ListOutboxesRequest {
                options: question.impartial(),
                author_ids: accounts.to_vec(),
                window: Some(window_to_wire(window)),
                include_direct: true,
            };
            let answer = self.posts.clone().list_outboxes(request).await.map_err(from_status)?;
            all.extend(answer.into_inner().entries.iter().map(candidate));
        }
        Ok(window.cut(all, |candidate| candidate.key.id()))
    }

    /// Public posts with a tag, as posting lists them, newest first.
    pub async fn tagged(
        &self,
        question: &Question,
        tag: &str,
        window: &Window,
    ) -> Result<Vec<posting::OutboxEntry>, Failure> {
        let request = posting::ListByTagRequest {
            options: question.impartial(),
            tag: tag.to_owned(),
            window: Some(window_to_wire(window)),
        };
        let answer = self.posts.clone().list_by_tag(request).await.map_err(from_status)?;
        Ok(answer.into_inner().entries)
    }

    /// Who boosted a post before a boost (`u64::MAX` for all), as ids and boosters, the oldest first.
    pub async fn boosts(
        &self,
        question: &Question,
        post: u64,
        before: u64,
    ) -> Result<Vec<(u64, u64)>, Failure> {
        const AT_ONCE: u32 = 80;
        let mut boosts = Vec::new();
        let mut max_id = if before == u64::MAX { 0 } else { before };
        loop {
            let window = IdWindow { max_id, limit: AT_ONCE, ..IdWindow::default() };
            let request = posting::ListBoostedByRequest {
                options: question.impartial(),
                post_id: post,
                window: Some(window),
            };
            let reactors = match self.reactions.clone().list_boosted_by(request).await {
                Ok(answer) => answer.into_inner().reactors,
                // The post is gone, or nobody but its followers may see it: then only its author can have boosted it.
                Err(status) if status.code() == tonic::Code::NotFound => Vec::new(),
                Err(status) => return Err(from_status(status)),
            };
            boosts.extend(reactors.iter().map(|reactor| (reactor.reaction_id, reactor.account_id)));
            match reactors.last() {
                Some(last) if reactors.len() >= AT_ONCE as usize => max_id = last.reaction_id,
                _ => break,
            }
        }
        boosts.reverse();
        Ok(boosts)
    }
}

fn is_hidden(state: i32) -> bool {
    !matches!(
        identity::AccountState::try_from(state),
        Ok(identity::AccountState::Active | identity::AccountState::Limited)
    )
}
