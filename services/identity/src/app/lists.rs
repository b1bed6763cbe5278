//! Reading relationships: lists in the order of their ids, edges for other services, and what decides an interaction.

use super::App;
use super::answers::Viewer;
use super::relations::shown;
use super::servers::bad_page_token;
use crate::domain::relationship::Pair;
use crate::domain::{Account, Server};
use crate::error::{no_actor, too_many};
use crate::tables::{self, EDGES, List, RELATIONSHIPS};
use crate::view::relationships::edge_id;
use crate::wire::rows::relationship_in;
use crate::wire::server::policies_out;
use p92_kernel::{Failure, PageSize};
use p92_proto::event::v1::IdWindow;
use p92_proto::identity::v1;
use p92_storage::{Direction, Range};
use prost::Message;
use std::collections::HashMap;

const RELATIONSHIPS_AT_ONCE: usize = 1_000;
const COUNTS_AT_ONCE: usize = 500;
const TARGETS: usize = 500;
/// Pages that one answer reads when most entries may not be seen.
const TRIES: usize = 5;

/// One entry of a list with its id.
type Entry = (u64, v1::EdgeRow);

/// Ids strictly between two, the newest (or, `rising`, the oldest) first.
#[derive(Clone, Copy, Debug)]
struct Window {
    above: u64,
    below: u64,
    rising: bool,
    limit: usize,
}

impl Window {
    fn of(window: Option<IdWindow>) -> Self {
        let window = window.unwrap_or_default();
        Self {
            above: window.since_id.max(window.min_id),
            below: if window.max_id == 0 { u64::MAX } else { window.max_id },
            rising: window.min_id != 0,
            limit: PageSize::clamp(window.limit, 40, 80).get(),
        }
    }

    /// Behind an entry in the direction of the window.
    fn behind(self, id: u64) -> Self {
        if self.rising { Self { above: id, ..self } } else { Self { below: id, ..self } }
    }
}

fn follow_edge((follow_id, row): Entry) -> v1::FollowEdge {
    let options = row.options.unwrap_or_default();
    v1::FollowEdge {
        follow_id,
        account_id: row.account_id,
        show_boosts: options.show_boosts,
        notify: options.notify,
        languages: options.languages,
    }
}

fn restriction(list: List, (id, row): Entry) -> v1::Restriction {
    v1::Restriction {
        id,
        account_id: row.account_id,
        blocking: list == List::Blocks,
        blocked_by: list == List::BlockedBy,
        muting: list == List::Mutes,
        muting_notifications: row.notifications,
        mute_expires_ms: row.expires_ms,
    }
}

impl App {
    /// Entries of a list within a window, joined from its buckets.
    async fn entries(&self, account: u64, list: List, window: Window) -> Result<Vec<Entry>, Failure> {
        if window.below <= window.above.saturating_add(1) {
            return Ok(Vec::new());
        }
        let range =
            Range { from: Some(tables::falling(window.below - 1)), to: Some(tables::falling(window.above)) };
        let direction = if window.rising { Direction::Backward } else { Direction::Forward };
        let limit = window.limit.min(1_000);
        let mut entries: Vec<Entry> = Vec::new();
        for bucket in list.buckets() {
            let partition = tables::edges(account, list, bucket);
            let page = self.reads().scan(&EDGES, partition, range.clone(), direction, limit, None).await?;
            for (clustering, row) in page.rows {
                let id = edge_id(&clustering).ok_or_else(|| Failure::internal("an edge without id"))?;
                entries.push((id, v1::EdgeRow::decode(row.value).map_err(Failure::internal)?));
            }
        }
        entries.sort_unstable_by_key(|(id, _)| *id);
        if !window.rising {
            entries.reverse();
        }
        entries.truncate(limit);
        Ok(entries)
    }

    /// Entries that a viewer may see, newest first, and whether there may be more in the direction of the window.
    async fn seen(
        &self,
        account: u64,
        list: List,
        mut window: Window,
        viewer: Viewer,
    ) -> Result<(Vec<Entry>, bool), Failure> {
        let now = self.now().0;
        let wanted = window.limit;
        let mut seen: Vec<Entry> = Vec::new();
        let mut more = false;
        for _ in 0..TRIES {
            window.limit = wanted - seen.len();
            let entries = self.entries(account, list, window).await?;
            more = entries.len() == window.limit;
            let Some((last, _)) = entries.last() else { break };
            window = window.behind(*last);
            let ids: Vec<u64> = entries.iter().map(|(_, row)| row.account_id).collect();
            let others = self.accounts(&ids).await?;
            let visible = entries.into_iter().zip(others).filter(|((_, row), other)| {
                let ended = list == List::Mutes && row.expires_ms != 0 && row.expires_ms <= now;
                !ended && other.as_ref().is_some_and(|other| viewer.sees(other).is_some())
            });
            seen.extend(visible.map(|(entry, _)| entry));
            if !more || seen.len() == wanted {
                break;
            }
        }
        if window.rising {
            seen.reverse();
        }
        Ok((seen, more))
    }

    /// Follows of an account, if the viewer may see them.
    async fn open_list(
        &self,
        account: u64,
        list: List,
        window: Option<IdWindow>,
        viewer: Viewer,
    ) -> Result<(Vec<v1::FollowEdge>, bool), Failure> {
        let found = self.account(account).await?.ok_or_else(|| Failure::not_found("account"))?;
        if viewer.sees(&found).is_none() {
            return Err(Failure::not_found("account"));
        }
        if found.profile.hide_follows && viewer.account != account {
            return Ok((Vec::new(), false));
        }
        let (entries, more) = self.seen(account, list, Window::of(window), viewer).await?;
        Ok((entries.into_iter().map(follow_edge).collect(), more))
    }

    /// Those who follow an account.
    pub async fn list_followers(
        &self,
        request: v1::ListFollowersRequest,
    ) -> Result<v1::ListFollowersResponse, Failure> {
        let options = self.fresh(request.options).await?;
        let viewer = Viewer::from(&options);
        let (edges, more) =
            self.open_list(request.account_id, List::Followers, request.window, viewer).await?;
        Ok(v1::ListFollowersResponse { edges, more })
    }

    /// Those whom an account follows.
    pub async fn list_following(
        &self,
        request: v1::ListFollowingRequest,
    ) -> Result<v1::ListFollowingResponse, Failure> {
        let options = self.fresh(request.options).await?;
        let viewer = Viewer::from(&options);
        let (edges, more) =
            self.open_list(request.account_id, List::Following, request.window, viewer).await?;
        Ok(v1::ListFollowingResponse { edges, more })
    }

    /// Those who wait for the viewer's approval.
    pub async fn list_follow_requests(
        &self,
        request: v1::ListFollowRequestsRequest,
    ) -> Result<v1::ListFollowRequestsResponse, Failure> {
        let options = self.fresh(request.options).await?;
        let viewer = somebody(Viewer::from(&options))?;
        let (entries, more) =
            self.seen(viewer.account, List::Requests, Window::of(request.window), viewer).await?;
        let edges = entries.into_iter().map(follow_edge).collect();
        Ok(v1::ListFollowRequestsResponse { edges, more })
    }

    /// Those whom the viewer blocks.
    pub async fn list_blocks(
        &self,
        request: v1::ListBlocksRequest,
    ) -> Result<v1::ListBlocksResponse, Failure> {
        let options = self.fresh(request.options).await?;
        let viewer = somebody(Viewer::from(&options))?;
        let (entries, more) =
            self.seen(viewer.account, List::Blocks, Window::of(request.window), viewer).await?;
        let blocks = entries.into_iter().map(|entry| restriction(List::Blocks, entry)).collect();
        Ok(v1::ListBlocksResponse { blocks, more })
    }

    /// Those whom the viewer mutes.
    pub async fn list_mutes(&self, request: v1::ListMutesRequest) -> Result<v1::ListMutesResponse, Failure> {
        let options = self.fresh(request.options).await?;
        let viewer = somebody(Viewer::from(&options))?;
        let (entries, more) =
            self.seen(viewer.account, List::Mutes, Window::of(request.window), viewer).await?;
        let mutes = entries.into_iter().map(|entry| restriction(List::Mutes, entry)).collect();
        Ok(v1::ListMutesResponse { mutes, more })
    }

    /// How the viewer stands to others.
    pub async fn get_relationships(
        &self,
        request: v1::GetRelationshipsRequest,
    ) -> Result<v1::GetRelationshipsResponse, Failure> {
        let options = self.fresh(request.options).await?;
        let viewer = somebody(Viewer::from(&options))?;
        if request.account_ids.len() > RELATIONSHIPS_AT_ONCE {
            return Err(too_many("account_ids", RELATIONSHIPS_AT_ONCE));
        }
        let accounts = self.accounts(&request.account_ids).await?;
        let known = accounts.iter().flatten().filter(|account| account.state_for(viewer.server).is_some());
        let ids: Vec<u64> = known.map(|account| account.born.id).collect();
        let relationships = self.stand(viewer.account, &ids).await?;
        Ok(v1::GetRelationshipsResponse { relationships })
    }

    /// How one stands to others, in the order of the ids.
    async fn stand(&self, viewer: u64, others: &[u64]) -> Result<Vec<v1::Relationship>, Failure> {
        let now = self.now();
        let pairs = others.iter().map(|other| Pair { from: viewer, to: *other });
        let keys = pairs.clone().map(tables::relationship);
        let rows = self.reads().get_many(&RELATIONSHIPS, keys).await?;
        let mut out = Vec::with_capacity(rows.len());
        for (pair, row) in pairs.zip(rows) {
            let row = row.map(|row| v1::RelationshipRow::decode(row.value).map_err(Failure::internal));
            let relationship = relationship_in(row.transpose()?.unwrap_or_default());
            out.push(shown(&relationship, pair, now));
        }
        Ok(out)
    }

    /// Counts of follows.
    pub async fn batch_count_follows(
        &self,
        request: v1::BatchCountFollowsRequest,
    ) -> Result<v1::BatchCountFollowsResponse, Failure> {
        self.fresh(request.options).await?;
        if request.account_ids.len() > COUNTS_AT_ONCE {
            return Err(too_many("account_ids", COUNTS_AT_ONCE));
        }
        let mut counts = Vec::with_capacity(request.account_ids.len());
        for account_id in request.account_ids {
            let row = self.counts(account_id).await?;
            counts.push(v1::FollowCounts {
                account_id,
                followers: row.followers,
                following: row.following,
                requests: row.requests,
            });
        }
        Ok(v1::BatchCountFollowsResponse { counts })
    }

    /// Edges of an account, for services.
    pub async fn list_follow_edges(
        &self,
        request: v1::ListFollowEdgesRequest,
    ) -> Result<v1::ListFollowEdgesResponse, Failure> {
        self.fresh(request.options).await?;
        let list = match v1::FollowDirection::try_from(request.direction) {
            Ok(v1::FollowDirection::Following) => List::Following,
            Ok(v1::FollowDirection::Followers) => List::Followers,
            _ => return Err(Failure::invalid("direction", "DIRECTION_NEEDED", "In which direction?")),
        };
        let size = PageSize::clamp(request.page_size, 1_000, 5_000).get();
        let below = match request.page_token.as_str() {
            "" => u64::MAX,
            token => token.parse().map_err(|_| bad_page_token())?,
        };
        let (entries, more) = self.walk(request.account_id, list, below, size).await?;
        let next = entries.last().filter(|_| more).map(|(id, _)| id.to_string());
        Ok(v1::ListFollowEdgesResponse {
            edges: entries.into_iter().map(follow_edge).collect(),
            next_page_token: next.unwrap_or_default(),
        })
    }

    /// Entries below an id, newest first, as many as asked for, and whether there may be more.
    async fn walk(
        &self,
        account: u64,
        list: List,
        below: u64,
        size: usize,
    ) -> Result<(Vec<Entry>, bool), Failure> {
        let mut window = Window { above: 0, below, rising: false, limit: 0 };
        let mut out: Vec<Entry> = Vec::new();
        while out.len() < size {
            window.limit = (size - out.len()).min(1_000);
            let entries = self.entries(account, list, window).await?;
            let whole = entries.len() < window.limit;
            if let Some((last, _)) = entries.last() {
                window = window.behind(*last);
            }
            out.extend(entries);
            if whole {
                return Ok((out, false));
            }
        }
        Ok((out, true))
    }

    /// Blocks of both directions and mutes of an account, for services.
    pub async fn list_restrictions(
        &self,
        request: v1::ListRestrictionsRequest,
    ) -> Result<v1::ListRestrictionsResponse, Failure> {
        const LISTS: [List; 3] = [List::Blocks, List::BlockedBy, List::Mutes];
        self.fresh(request.options).await?;
        let size = PageSize::clamp(request.page_size, 1_000, 5_000).get();
        let (first, mut below) = match request.page_token.as_str() {
            "" => (0, u64::MAX),
            token => restriction_token(token).ok_or_else(bad_page_token)?,
        };
        let now = self.now().0;
        let mut restrictions: Vec<v1::Restriction> = Vec::new();
        for (index, list) in LISTS.into_iter().enumerate().skip(first) {
            let (entries, more) =
                self.walk(request.account_id, list, below, size.saturating_sub(restrictions.len())).await?;
            let last = entries.last().map_or(below, |(id, _)| *id);
            let holding = entries.into_iter().filter(|(_, row)| row.expires_ms == 0 || row.expires_ms > now);
            restrictions.extend(holding.map(|entry| restriction(list, entry)));
            if more {
                let next_page_token = format!("{index}.{last}");
                return Ok(v1::ListRestrictionsResponse { restrictions, next_page_token });
            }
            below = u64::MAX;
        }
        Ok(v1::ListRestrictionsResponse { restrictions, next_page_token: String::new() })
    }

    /// What decides what one account may do to others.
    pub async fn check_interactions(
        &self,
        request: v1::CheckInteractionsRequest,
    ) -> Result<v1::CheckInteractionsResponse, Failure> {
        let options = self.fresh(request.options).await?;
        if request.target_ids.len() > TARGETS {
            return Err(too_many("target_ids", TARGETS));
        }
        let server = options.server_id;
        let actor = self.account(request.actor_id).await?.ok_or_else(|| Failure::not_found("account"))?;
        let facts = Self::facts(&actor, server).ok_or_else(|| Failure::not_found("account"))?;
        let mut homes = HashMap::new();
        let policies = self.policies(&actor, &mut homes).await?;
        let targets: Vec<Account> = self.accounts(&request.target_ids).await?.into_iter().flatten().collect();
        let ids: Vec<u64> = targets.iter().map(|target| target.born.id).collect();
        let stands = self.stand(request.actor_id, &ids).await?;
        let mut interactions = Vec::with_capacity(targets.len());
        for (target, relationship) in targets.iter().zip(stands) {
            let Some(facts) = Self::facts(target, server) else { continue };
            interactions.push(v1::Interaction {
                target: Some(facts),
                policies: self.policies(target, &mut homes).await?,
                relationship: Some(relationship),
            });
        }
        Ok(v1::CheckInteractionsResponse { actor: Some(facts), policies, interactions })
    }

    /// The policies of an account's home; `homes`: servers that were asked for while this answer is made.
    async fn policies(
        &self,
        account: &Account,
        homes: &mut HashMap<u64, Option<Server>>,
    ) -> Result<Option<v1::ServerPolicies>, Failure> {
        let home = account.born.home;
        if home != 0 && !homes.contains_key(&home) {
            homes.insert(home, self.server(home).await?);
        }
        let home = homes.get(&home).and_then(Option::as_ref);
        Ok(home.map(|server| policies_out(&server.face.policies)))
    }
}

fn somebody(viewer: Viewer) -> Result<Viewer, Failure> {
    if viewer.account == 0 { Err(no_actor()) } else { Ok(viewer) }
}

fn restriction_token(token: &str) -> Option<(usize, u64)> {
    let (list, below) = token.split_once('.')?;
    Some((list.parse().ok()?, below.parse().ok()?))
}
