//! Uses as trends: wait, read a week of every shard, weigh, name the best. What was computed is kept for ten seconds.

use crate::config::Config;
use crate::domain::trend::{self, DAY_MS, Day, HALF_LIFE_MS, Week, Worth};
use crate::metrics::Metrics;
use crate::tables::{self, TAG_USES};
use bytes::Bytes;
use moka::future::Cache;
use p92_eventlog::Runtime;
use p92_kernel::{Failure, PageSize, Service, Shard};
use p92_proto::ranking::v1 as proto;
use p92_storage::{Direction, Range};
use prost::Message;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Rows in one read.
const AT_ONCE: usize = 1_000;
/// Tags of one day and shard that are looked at.
const TAGS_OF_A_DAY: usize = 20_000;
/// Trends that are kept, and so the most that can be asked for.
const TRENDS: usize = 200;
/// Posts in which a name is looked for that can still be opened.
const POSTS_FOR_A_NAME: usize = 100;
/// How long trends are kept.
const KEPT: Duration = Duration::from_secs(10);

/// Ranking at work.
#[derive(Debug)]
pub struct App {
    pub runtime: Arc<Runtime>,
    pub config: Config,
    metrics: Metrics,
    trends: Cache<u64, Arc<Vec<proto::TrendingTag>>>,
}

impl App {
    pub fn new(runtime: Arc<Runtime>, config: Config) -> Self {
        let trends = Cache::builder().max_capacity(1_000).time_to_live(KEPT).build();
        Self { runtime, config, metrics: Metrics::new(), trends }
    }

    /// A page of the trending tags of a server.
    pub async fn trending_tags(
        &self,
        request: proto::ListTrendingTagsRequest,
    ) -> Result<proto::ListTrendingTagsResponse, Failure> {
        let options = request.options.unwrap_or_default();
        let server = options.server_id;
        if server == 0 {
            return Err(Failure::invalid("options.server_id", "BAD_ID", "Trends are those of a server."));
        }
        let known = if options.at_least.is_empty() { self.trends.get(&server).await } else { None };
        let tags = match known {
            Some(tags) => tags,
            None => {
                self.runtime.reads().at_least(&options.at_least).await?;
                let tags = Arc::new(self.compute(server).await?);
                self.trends.insert(server, Arc::clone(&tags)).await;
                tags
            }
        };
        let size = PageSize::clamp(request.page_size, 10, 100).get();
        let skip = usize::try_from(request.skip).unwrap_or(usize::MAX);
        Ok(proto::ListTrendingTagsResponse { tags: tags.iter().skip(skip).take(size).cloned().collect() })
    }

    async fn compute(&self, server: u64) -> Result<Vec<proto::TrendingTag>, Failure> {
        let now = self.runtime.platform().clock.now().0;
        let (today, span) = trend::place(now);
        let weeks = self.weeks(server, today).await?;
        self.metrics.computed(weeks.len());
        let needed = self.config.accounts;
        let weigh = |(key, week): (Bytes, Week)| (trend::worth(&week, span), key, week);
        let shown = |(worth, ..): &(Worth, Bytes, Week)| worth.score > 0 && worth.busiest >= needed;
        let mut weighed: Vec<_> = weeks.into_iter().map(weigh).filter(shown).collect();
        weighed.sort_unstable_by(|(a, key, _), (b, other, _)| b.score.cmp(&a.score).then(key.cmp(other)));
        let mut out = Vec::new();
        for (worth, key, week) in weighed.into_iter().take(TRENDS) {
            // A tag of which no post can be opened any more has no name.
            if let Some(name) = self.name(server, today, &key).await? {
                out.push(self.shown(name, &week, &worth, today, now));
            }
        }
        out.sort_by(|a, b| score(b).cmp(&score(a)).then_with(|| a.name.cmp(&b.name)));
        Ok(out)
    }

    /// The week of every tag, from the counts of all shards.
    async fn weeks(&self, server: u64, today: u64) -> Result<HashMap<Bytes, Week>, Failure> {
        let mut weeks: HashMap<Bytes, Week> = HashMap::new();
        for days_ago in 0..trend::DAYS {
            let Some(day) = today.checked_sub(days_ago as u64) else { break };
            for shard in self.runtime.platform().shards.all() {
                for (key, row) in self.tags(server, day, shard).await? {
                    let week = weeks.entry(key).or_default();
                    if let Some(known) = week.get_mut(days_ago) {
                        add(known, &row);
                    }
                }
            }
        }
        Ok(weeks)
    }

    async fn tags(
        &self,
        server: u64,
        day: u64,
        shard: Shard,
    ) -> Result<Vec<(Bytes, proto::TagUseRow)>, Failure> {
        let (mut out, mut after) = (Vec::new(), None);
        while out.len() < TAGS_OF_A_DAY {
            let (partition, all) = (tables::day(server, day, shard), Range::all());
            let scan =
                self.runtime.reads().scan(&TAG_USES, partition, all, Direction::Forward, AT_ONCE, after);
            let page = scan.await?;
            for (key, row) in page.rows {
                out.push((key, proto::TagUseRow::decode(row.value).map_err(Failure::internal)?));
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(out)
    }

    /// How a tag is spelt in a post of today or yesterday that can be opened.
    async fn name(&self, server: u64, today: u64, key: &[u8]) -> Result<Option<String>, Failure> {
        let keyring = &self.runtime.platform().keyring;
        for day in [Some(today), today.checked_sub(1)].into_iter().flatten() {
            for shard in self.runtime.platform().shards.all() {
                let (partition, all) = (tables::posts(server, day, shard, key), Range::all());
                let reads = self.runtime.reads();
                let scan = reads.scan(&TAG_USES, partition, all, Direction::Backward, POSTS_FOR_A_NAME, None);
                for (_, row) in scan.await?.rows {
                    let row = proto::TagUseRow::decode(row.value).map_err(Failure::internal)?;
                    let name = keyring.open_text(Service::Posting, row.name.as_ref()).await?;
                    if !name.is_empty() {
                        return Ok(Some(name));
                    }
                }
            }
        }
        Ok(None)
    }

    fn shown(&self, name: String, week: &Week, worth: &Worth, today: u64, now: u64) -> proto::TrendingTag {
        let day = |(days_ago, day): (u64, &Day)| proto::TagDay {
            day_ms: today.saturating_sub(days_ago) * DAY_MS,
            uses: day.total(),
            accounts: day.accounts,
        };
        proto::TrendingTag {
            name,
            days: (0..).zip(week).map(day).collect(),
            explanation: Some(proto::TrendExplanation {
                rule: proto::TrendRule::Rising.into(),
                recent_weight: worth.recent,
                baseline_weight: worth.baseline,
                half_life_ms: HALF_LIFE_MS,
                accounts: worth.accounts,
                accounts_needed: self.config.accounts,
                score: worth.score,
                computed_ms: now,
            }),
        }
    }
}

fn score(tag: &proto::TrendingTag) -> u64 {
    tag.explanation.map_or(0, |explanation| explanation.score)
}

fn add(day: &mut Day, row: &proto::TagUseRow) {
    for (known, more) in day.uses.iter_mut().zip(&row.uses) {
        *known += u64::from(*more);
    }
    day.accounts += u64::from(row.accounts);
}
