//! Rows as plans. The only place that knows in which order: wait, read, judge, name hosts.

use crate::config::Config;
use crate::domain::plan::Told;
use crate::domain::{self, Activity, Kind, Reason, World};
use crate::error;
use crate::metrics::Metrics;
use crate::tables::{self, ACTIVITIES, FOLLOWERS, REMOTES};
use crate::wire::{activity_in, kind_out, reason_out, remote_in, spans_in, visibility_out};
use bytes::Bytes;
use p92_activitypub::{InboxUrl, Loopback};
use p92_eventlog::Runtime;
use p92_kernel::{Failure, PageSize, Service};
use p92_proto::federation_delivery::v1 as proto;
use p92_proto::identity::v1::ActivityPubIds;
use p92_storage::{Direction, KeyReader, Range, Row, Table};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Rows in one read.
const AT_ONCE: usize = 500;
/// Activities of one post that one answer takes.
const MOST_ACTIVITIES: usize = 10_000;

/// Federation-delivery at work.
#[derive(Debug)]
pub struct App {
    pub runtime: Arc<Runtime>,
    pub config: Config,
    pub metrics: Metrics,
}

/// Where something must go.
#[derive(Clone, Debug, Default)]
struct Place {
    reasons: BTreeSet<Reason>,
    inboxes: BTreeSet<String>,
}

impl App {
    /// Who must get what happened to a post.
    pub async fn plans(
        &self,
        request: proto::GetDeliveryPlanRequest,
    ) -> Result<proto::GetDeliveryPlanResponse, Failure> {
        if request.post_id == 0 {
            return Err(error::nothing_named("post_id"));
        }
        self.runtime.reads().at_least(&request.options.unwrap_or_default().at_least).await?;
        let activities = self.activities(request.post_id).await?;
        let (world, rows) = self.world(&activities).await?;
        let told = domain::plan(&activities, &world);
        let wanted = |activity: &Activity| request.activity_id == 0 || activity.id == request.activity_id;
        let mut plans = Vec::new();
        for (activity, told) in activities.iter().zip(told).filter(|(activity, _)| wanted(activity)) {
            let destinations = self.destinations(&told, &rows).await?;
            self.metrics.plan(destinations.len());
            plans.push(plan_out(activity, destinations));
        }
        if plans.is_empty() && request.activity_id != 0 {
            return Err(Failure::not_found("activity"));
        }
        Ok(proto::GetDeliveryPlanResponse { plans })
    }

    async fn activities(&self, post: u64) -> Result<Vec<Activity>, Failure> {
        let rows = self.all(&ACTIVITIES, tables::of(post), MOST_ACTIVITIES).await?;
        let rows = rows.into_iter().map(|(_, row)| decode(row).and_then(activity_in));
        rows.collect()
    }

    /// A whole partition, or a refusal if it has more than `most` rows.
    async fn all(
        &self,
        table: &'static Table,
        partition: Bytes,
        most: usize,
    ) -> Result<Vec<(Bytes, Row)>, Failure> {
        let (mut out, mut after): (Vec<(Bytes, Row)>, Option<Bytes>) = (Vec::new(), None);
        loop {
            let reads = self.runtime.reads();
            let range = Range::all();
            let page =
                reads.scan(table, partition.clone(), range, Direction::Forward, AT_ONCE, after).await?;
            after = page.rows.last().map(|(clustering, _)| clustering.clone());
            let full = page.rows.len() >= AT_ONCE;
            out.extend(page.rows);
            if out.len() > most {
                return Err(error::too_much());
            }
            if !full {
                return Ok(out);
            }
        }
    }

    /// What the plans of these activities depend on, and the rows of the accounts in it.
    async fn world(
        &self,
        activities: &[Activity],
    ) -> Result<(World, BTreeMap<u64, proto::RemoteRow>), Failure> {
        let mut world = World::default();
        let mut accounts = BTreeSet::new();
        for activity in activities {
            accounts.extend(activity.mentioned.iter().copied());
            accounts.insert(activity.toward);
            let spreads = matches!(activity.kind, Kind::Create | Kind::Update | Kind::Announce);
            if spreads && !world.followers.contains_key(&activity.actor) {
                world.followers.insert(activity.actor, self.followers(activity.actor).await?);
            }
        }
        accounts.extend(world.followers.values().flatten().map(|(follower, _)| *follower));
        let rows = self.remotes(accounts.into_iter().filter(|account| *account != 0)).await?;
        world.remotes = rows.iter().map(|(account, row)| (*account, remote_in(row))).collect();
        Ok((world, rows))
    }

    async fn followers(&self, account: u64) -> Result<Vec<(u64, domain::Spans)>, Failure> {
        let rows = self.all(&FOLLOWERS, tables::of(account), usize::MAX).await?;
        let follower = |(clustering, row): (Bytes, Row)| {
            let follower = KeyReader::new(&clustering).num().map_err(Failure::internal)?;
            let row: proto::FollowerRow = decode(row)?;
            Ok((follower, spans_in(&row.held)))
        };
        rows.into_iter().map(follower).collect()
    }

    async fn remotes(
        &self,
        accounts: impl Iterator<Item = u64>,
    ) -> Result<BTreeMap<u64, proto::RemoteRow>, Failure> {
        let accounts: Vec<u64> = accounts.collect();
        let mut out = BTreeMap::new();
        for accounts in accounts.chunks(AT_ONCE) {
            let keys = accounts.iter().map(|account| (tables::remote(*account), Bytes::new()));
            let rows = self.runtime.reads().get_many(&REMOTES, keys).await?;
            for (account, row) in accounts.iter().zip(rows) {
                if let Some(row) = row {
                    out.insert(*account, decode(row)?);
                }
            }
        }
        Ok(out)
    }

    async fn destinations(
        &self,
        told: &Told,
        rows: &BTreeMap<u64, proto::RemoteRow>,
    ) -> Result<Vec<proto::Destination>, Failure> {
        let mut places: BTreeMap<String, Place> = BTreeMap::new();
        for (account, reasons) in told {
            let Some(row) = rows.get(account) else { continue };
            let (host, inbox) = self.place(row).await?;
            let place = places.entry(host).or_default();
            place.reasons.extend(reasons);
            place.inboxes.extend(inbox.map(|inbox| inbox.to_string()));
        }
        let out = |(host, place): (String, Place)| proto::Destination {
            host,
            reasons: place.reasons.into_iter().map(|reason| reason_out(reason).into()).collect(),
            inboxes: place.inboxes.into_iter().collect(),
        };
        Ok(places.into_iter().map(out).collect())
    }

    /// The host of an account, and where it takes activities, if that is known and may be called.
    async fn place(&self, row: &proto::RemoteRow) -> Result<(String, Option<InboxUrl>), Failure> {
        let keyring = &self.runtime.platform().keyring;
        let opened = match &row.activity_pub {
            // Identity sealed it; when its key is destroyed there is nothing to open.
            Some(sealed) => keyring.open(Service::Identity, sealed).await?,
            None => None,
        };
        let ids = match opened {
            Some(bytes) => ActivityPubIds::decode(bytes).map_err(Failure::internal)?,
            None => ActivityPubIds::default(),
        };
        let loopback = if self.config.loopback { Loopback::Allowed } else { Loopback::Refused };
        let shared = InboxUrl::parse(&ids.shared_inbox, loopback);
        let inbox = shared.or_else(|_| InboxUrl::parse(&ids.inbox, loopback)).ok();
        let host = inbox.as_ref().map_or_else(|| row.host.clone(), |inbox| inbox.origin().authority());
        Ok((host, inbox))
    }

    /// Where an account's remote followers are now.
    pub async fn follower_hosts(
        &self,
        request: proto::ListFollowerHostsRequest,
    ) -> Result<proto::ListFollowerHostsResponse, Failure> {
        if request.account_id == 0 {
            return Err(error::nothing_named("account_id"));
        }
        let options = request.options.unwrap_or_default();
        self.runtime.reads().at_least(&options.at_least).await?;
        let followers = self.followers(request.account_id).await?;
        let now = followers.into_iter().filter(|(_, held)| held.holds_now()).map(|(follower, _)| follower);
        let mut hosts: BTreeMap<String, u64> = BTreeMap::new();
        for row in self.remotes(now).await?.into_values() {
            if remote_in(&row).welcome(options.server_id, u64::MAX) {
                *hosts.entry(self.place(&row).await?.0).or_default() += 1;
            }
        }
        let hosts = hosts.into_iter().map(|(host, followers)| proto::FollowerHost { host, followers });
        Ok(proto::ListFollowerHostsResponse { hosts: hosts.collect() })
    }

    /// A page of hosts, by name, from the counts of all shards.
    pub async fn peers(&self, request: proto::ListPeersRequest) -> Result<proto::ListPeersResponse, Failure> {
        if request.page_token.len() > 300 {
            return Err(error::bad_token());
        }
        self.runtime.reads().at_least(&request.options.unwrap_or_default().at_least).await?;
        let size = PageSize::clamp(request.page_size, 100, 500).get();
        let after = (!request.page_token.is_empty()).then(|| tables::host(&request.page_token));
        let mut hosts: BTreeMap<String, u64> = BTreeMap::new();
        for shard in self.runtime.platform().shards.all() {
            let (partition, range) = (tables::hosts(shard), Range::all());
            let reads = self.runtime.reads();
            let page =
                reads.scan(&REMOTES, partition, range, Direction::Forward, size + 1, after.clone()).await?;
            for (_, row) in page.rows {
                let row: proto::RemoteRow = decode(row)?;
                *hosts.entry(row.host).or_default() += row.accounts;
            }
        }
        let more = hosts.len() > size;
        let peers = hosts.into_iter().take(size).map(|(host, accounts)| proto::Peer { host, accounts });
        let peers: Vec<proto::Peer> = peers.collect();
        let last = peers.last().filter(|_| more).map(|peer| peer.host.clone());
        Ok(proto::ListPeersResponse { next_page_token: last.unwrap_or_default(), peers })
    }
}

fn decode<M: Message + Default>(row: Row) -> Result<M, Failure> {
    M::decode(row.value).map_err(Failure::internal)
}

fn plan_out(activity: &Activity, destinations: Vec<proto::Destination>) -> proto::DeliveryPlan {
    proto::DeliveryPlan {
        activity_id: activity.id,
        kind: kind_out(activity.kind).into(),
        post_id: activity.post,
        actor_id: activity.actor,
        visibility: visibility_out(activity.visibility).into(),
        object_id: activity.object_id.clone(),
        time_ms: activity.time,
        destinations,
    }
}
