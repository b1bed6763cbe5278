//! Public and tag timelines: candidates by id, judged at reading by what identity says at that moment.

use super::App;
use super::clients::{Question, Standing};
use crate::domain::entry::Entry;
use crate::domain::window::Window;
use crate::error;
use crate::tables::{self, Scope};
use futures::future::try_join_all;
use p92_kernel::{Failure, Shard};
use p92_proto::event::v1::ReadOptions;
use p92_proto::timelines::v1::PublicPostRow;
use p92_storage::{Direction, KeyReader, Range};
use prost::Message as _;
use std::collections::{BTreeMap, HashSet};

/// Which posts, by where their authors are at home.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    pub local: bool,
    pub remote: bool,
    pub only_media: bool,
}

impl Origin {
    /// Whether a post of a member of `home` is wanted at `server`.
    #[must_use]
    pub const fn wants(&self, home: u64, server: u64) -> bool {
        let local = home == server && home != 0;
        match (self.local, self.remote) {
            (true, false) => local,
            (false, true) => !local,
            _ => true,
        }
    }
}

/// Which tags a post must have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    pub any: Vec<String>,
    pub all: Vec<String>,
    pub none: Vec<String>,
}

/// A post that may stand in a public or tag timeline.
#[derive(Clone, Copy, Debug)]
struct Found {
    id: u64,
    author: u64,
    home: u64,
    has_media: bool,
}

/// Where candidates come from.
#[derive(Clone, Copy, Debug)]
enum Source<'a> {
    Public(Scope),
    Tags(&'a Tags),
}

/// Rows read at a time, per partition.
const AT_ONCE: usize = 120;
/// Rows looked at for one page; beyond, the page is what was found. The client asks on from its last id.
const LOOKED_AT: usize = 4_000;

impl App {
    /// A page of a server's public timeline.
    pub async fn list_public(
        &self,
        options: &ReadOptions,
        window: Window,
        origin: Origin,
    ) -> Result<Vec<Entry<u64>>, Failure> {
        let options = self.at_holder(options)?;
        self.runtime.reads().at_least(&options.at_least).await?;
        let question = Self::question(&options);
        let scope = match (origin.local, origin.remote) {
            (true, false) => Scope::Members(options.server_id),
            _ => Scope::Everybody,
        };
        self.page(&question, window, origin, Source::Public(scope)).await
    }

    /// A page of a tag timeline.
    pub async fn list_tag(
        &self,
        options: &ReadOptions,
        window: Window,
        origin: Origin,
        tags: &Tags,
    ) -> Result<Vec<Entry<u64>>, Failure> {
        const MOST: usize = 5;
        if tags.any.is_empty() || [&tags.any, &tags.all, &tags.none].iter().any(|tags| tags.len() > MOST) {
            return Err(Failure::invalid("any", "BAD_TAGS", "Ask for one to five tags of each sort."));
        }
        let question = Self::question(&self.at_holder(options)?);
        self.page(&question, window, origin, Source::Tags(tags)).await
    }

    /// Fills a page from candidates that come in the window's direction.
    async fn page(
        &self,
        question: &Question,
        window: Window,
        origin: Origin,
        source: Source<'_>,
    ) -> Result<Vec<Entry<u64>>, Failure> {
        let mut left = Window { limit: AT_ONCE, ..window };
        let (mut page, mut looked_at) = (Vec::new(), 0);
        while page.len() < window.limit && looked_at < LOOKED_AT {
            let mut found = match source {
                Source::Public(scope) => self.public_rows(scope, &left).await?,
                Source::Tags(tags) => self.tag_rows(question, &left, tags).await?,
            };
            let exhausted = found.len() < left.limit;
            looked_at += found.len();
            if window.nearest {
                found.reverse();
            }
            if let Some(last) = found.last() {
                if window.nearest { left.above = last.id } else { left.below = last.id }
            }
            found.retain(|post| {
                origin.wants(post.home, question.server) && (post.has_media || !origin.only_media)
            });
            let standings = self.clients.standings(question, found.iter().map(|post| post.author)).await?;
            let shown = |post: &Found| {
                standings
                    .get(&post.author)
                    .is_some_and(|standing| may_stand(standing, post.author == question.viewer))
            };
            page.extend(found.into_iter().filter(shown));
            if exhausted {
                break;
            }
        }
        page.truncate(window.limit);
        if window.nearest {
            page.reverse();
        }
        let entry = |post: Found| Entry { id: post.id, post: post.id, author: post.author, booster: None };
        Ok(page.into_iter().map(entry).collect())
    }

    /// Public posts within a window, newest first.
    async fn public_rows(&self, scope: Scope, window: &Window) -> Result<Vec<Found>, Failure> {
        let mut found = Vec::new();
        let mut first = if window.above == 0 { 0 } else { tables::day_of(window.above) };
        let mut last =
            if window.below > i64::MAX as u64 { u64::MAX - 1 } else { tables::day_of(window.below) };
        while found.len() < window.limit && first <= last {
            let Some((day, shards)) = self.next_day(scope, first, last, window.nearest).await? else { break };
            let lists = shards.into_iter().map(|shard| self.public_day(scope, day, shard, window));
            found.extend(try_join_all(lists).await?.into_iter().flatten());
            if window.nearest {
                first = day + 1;
            } else if day == 0 {
                break;
            } else {
                last = day - 1;
            }
        }
        Ok(window.cut(found, |post| post.id))
    }

    /// The next day of these that has posts, and in which shards.
    async fn next_day(
        &self,
        scope: Scope,
        first: u64,
        last: u64,
        upwards: bool,
    ) -> Result<Option<(u64, Vec<Shard>)>, Failure> {
        let range = Range {
            from: Some(tables::day_and_shard(first, Shard(0))),
            to: Some(tables::day_and_shard(last.saturating_add(1), Shard(0))),
        };
        let direction = if upwards { Direction::Forward } else { Direction::Backward };
        let shards = usize::from(self.runtime.platform().shards.get());
        let reads = self.runtime.reads();
        let page =
            reads.scan(&tables::PUBLIC, tables::public_days(scope), range, direction, shards, None).await?;
        let mut days: BTreeMap<u64, Vec<Shard>> = BTreeMap::new();
        for (place, _) in page.rows {
            let mut key = KeyReader::new(&place);
            let day = key.num().map_err(Failure::internal)?;
            days.entry(day).or_default().push(Shard(key.small().map_err(Failure::internal)?));
        }
        Ok(if upwards { days.pop_first() } else { days.pop_last() })
    }

    async fn public_day(
        &self,
        scope: Scope,
        day: u64,
        shard: Shard,
        window: &Window,
    ) -> Result<Vec<Found>, Failure> {
        let range = Range {
            from: Some(tables::at_id(window.above.saturating_add(1))),
            to: (window.below != u64::MAX).then(|| tables::at_id(window.below)),
        };
        let direction = if window.nearest { Direction::Forward } else { Direction::Backward };
        let partition = tables::public_day(scope, day, shard);
        let reads = self.runtime.reads();
        let page = reads.scan(&tables::PUBLIC, partition, range, direction, window.limit, None).await?;
        let rows = page.rows.into_iter().map(|(place, row)| {
            let id = KeyReader::new(&place).num().map_err(Failure::internal)?;
            let row = PublicPostRow::decode(row.value).map_err(Failure::internal)?;
            Ok(Found { id, author: row.author_id, home: row.server_id, has_media: row.has_media })
        });
        rows.collect()
    }

    /// Posts with tags within a window, newest first.
    async fn tag_rows(
        &self,
        question: &Question,
        window: &Window,
        tags: &Tags,
    ) -> Result<Vec<Found>, Failure> {
        let mut found: BTreeMap<u64, Found> = BTreeMap::new();
        for tag in &tags.any {
            for entry in self.clients.tagged(question, tag, window).await? {
                let post = Found {
                    id: entry.id,
                    author: entry.author_id,
                    home: entry.author_home_id,
                    has_media: false,
                };
                found.insert(entry.id, post);
            }
        }
        let mut kept = window.cut(found.into_values().collect(), |post| post.id);
        let (Some(newest), Some(oldest)) = (kept.first(), kept.last()) else { return Ok(kept) };
        let within = Window {
            below: newest.id.saturating_add(1),
            above: oldest.id.saturating_sub(1),
            nearest: false,
            limit: 1_000,
        };
        for (tag, wanted) in
            tags.all.iter().map(|tag| (tag, true)).chain(tags.none.iter().map(|tag| (tag, false)))
        {
            let having = self.having(question, tag, within).await?;
            for post in &mut kept {
                if having.contains(&post.id) != wanted {
                    // A post without an author is shown to nobody; it keeps its place, by which the next part is found.
                    post.author = 0;
                }
            }
        }
        Ok(kept)
    }

    /// Ids of the posts with a tag within a window.
    async fn having(
        &self,
        question: &Question,
        tag: &str,
        mut within: Window,
    ) -> Result<HashSet<u64>, Failure> {
        let mut ids = HashSet::new();
        loop {
            let entries = self.clients.tagged(question, tag, &within).await?;
            ids.extend(entries.iter().map(|entry| entry.id));
            match entries.last() {
                Some(last) if entries.len() >= within.limit => within.below = last.id,
                _ => return Ok(ids),
            }
        }
    }

    /// Whether a post stands under a tag.
    pub(super) async fn is_tagged(&self, question: &Question, post: u64, tag: &str) -> Result<bool, Failure> {
        let window =
            Window { below: post.saturating_add(1), above: post.saturating_sub(1), nearest: false, limit: 1 };
        Ok(!self.clients.tagged(question, tag, &window).await?.is_empty())
    }

    /// Whether a public post may be shown to a viewer now.
    pub(super) async fn may_show(&self, question: &Question, author: u64) -> Result<bool, Failure> {
        let standings = self.clients.standings(question, [author]).await?;
        let standing = standings.get(&author).ok_or_else(|| error::nonsense("no standing"))?;
        Ok(may_stand(standing, author == question.viewer))
    }
}

/// A limited account is shown in public timelines only to those who follow it.
const fn may_stand(standing: &Standing, own: bool) -> bool {
    !standing.barred && (own || !standing.limited || standing.followed)
}
