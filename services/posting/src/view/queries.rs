//! One method per read: fresh enough, judged, in the order that was asked for.

use super::entries::{named_by, object_key};
use super::lists::{self, Window};
use super::posts::Posts;
use crate::domain::text::tag;
use crate::tables::{self, Counted, List, Mark};
use bytes::Bytes;
use p92_kernel::Failure;
use p92_proto::event::v1::{IdWindow, ReadOptions};
use p92_proto::posting::v1;
use p92_proto::posting::v1::entry_row::Entry;
use p92_storage::{Direction, KeyReader, Range};
use prost::Message;

/// What tells keys of tags from other blinded keys.
pub const TAG_PURPOSE: &str = "tag";
/// What tells keys of pages from other blinded keys.
pub const URL_PURPOSE: &str = "post-url";

/// Rows that one request goes through at most to fill a page whose entries the viewer may not all see.
const LOOKED_AT: usize = 2_000;

impl Posts {
    /// Waits until posting shows what the caller has seen already.
    pub async fn fresh(&self, options: Option<ReadOptions>) -> Result<ReadOptions, Failure> {
        let options = options.unwrap_or_default();
        self.reads.at_least(&options.at_least).await?;
        Ok(options)
    }

    /// The key of a tag, however it is spelt.
    #[must_use]
    pub fn tag_key(&self, name: &str) -> Bytes {
        let folded = tag::folded(name.trim_start_matches(['#', '＃']));
        Bytes::copy_from_slice(&self.platform.keyring.blind(TAG_PURPOSE, folded.as_bytes()))
    }

    /// The key of a page.
    #[must_use]
    pub fn url_key(&self, url: &str) -> Bytes {
        Bytes::copy_from_slice(&self.platform.keyring.blind(URL_PURPOSE, url.as_bytes()))
    }

    /// One post or boost.
    pub async fn one(&self, options: &ReadOptions, id: u64) -> Result<v1::Post, Failure> {
        let shown = self.show(options, &[id]).await?;
        shown.into_iter().next().ok_or_else(|| Failure::not_found("post"))
    }

    /// The row of a post that the viewer may see; a boost stands for what it wraps.
    pub async fn row(&self, options: &ReadOptions, id: u64) -> Result<(u64, v1::PostRow), Failure> {
        let id = self.wrapped(id).await?;
        let judged = self.judge(options, &[id]).await?;
        judged.post(id).map(|row| (id, row.clone())).ok_or_else(|| Failure::not_found("post"))
    }

    /// All states of a post.
    pub async fn history(&self, options: &ReadOptions, id: u64) -> Result<Vec<v1::Revision>, Failure> {
        let (id, post) = self.row(options, id).await?;
        let all = Range::all();
        let scan = self.reads.scan(&tables::HISTORY, tables::id(id), all, Direction::Forward, 1_000, None);
        let mut revisions = Vec::new();
        for (clustering, row) in scan.await?.rows {
            let row = v1::RevisionRow::decode(row.value).map_err(Failure::internal)?;
            let Some(content) = self.content(row.content.as_ref()).await? else { continue };
            revisions.push(v1::Revision {
                number: KeyReader::new(&clustering).num().map_err(Failure::internal)?,
                html: super::posts::html(&content),
                content_warning: content.content_warning,
                sensitive: row.sensitive,
                created_ms: row.created_ms,
                author_id: post.author_id,
            });
        }
        Ok(revisions)
    }

    /// Posts of one account.
    pub async fn by_author(
        &self,
        options: &ReadOptions,
        asked: &v1::ListByAuthorRequest,
    ) -> Result<Vec<v1::Post>, Failure> {
        let window = Window::of(asked.window.as_ref(), 20, 80);
        if asked.only_media {
            // Posts are text only, so none has media.
            return Ok(Vec::new());
        }
        if asked.pinned {
            return self.pinned(options, asked.author_id, window).await;
        }
        let list = if asked.tagged.is_empty() {
            List::outbox(asked.author_id)
        } else {
            List::tag_of_author(&self.tag_key(&asked.tagged), asked.author_id)
        };
        let wanted = |entry: &v1::OutboxEntry| {
            let boost = entry.id != entry.post_id;
            let to_others = entry.is_reply && entry.in_reply_to_author_id != entry.author_id;
            !(boost && asked.exclude_boosts || !boost && to_others && asked.exclude_replies)
        };
        let shown = self.fill(options, &list, window, |id, entry| wanted(entry).then_some(id)).await?;
        Ok(lists::newest_first(shown.into_iter().map(|(_, post)| post).collect(), window))
    }

    async fn pinned(
        &self,
        options: &ReadOptions,
        author: u64,
        window: Window,
    ) -> Result<Vec<v1::Post>, Failure> {
        let all = Range::all();
        let scan = self.reads.scan(&tables::PINS, tables::id(author), all, Direction::Forward, 100, None);
        let mut pins = Vec::new();
        for (clustering, row) in scan.await?.rows {
            let row = v1::PinRow::decode(row.value).map_err(Failure::internal)?;
            pins.push((row.pinned_ms, KeyReader::new(&clustering).num().map_err(Failure::internal)?));
        }
        pins.sort_unstable_by(|a, b| b.cmp(a));
        let within = |id: u64| id > window.above && (window.below == 0 || id < window.below);
        let ids: Vec<u64> = pins.into_iter().map(|(_, id)| id).filter(|id| within(*id)).collect();
        let mut posts = self.show(options, &ids).await?;
        posts.truncate(window.limit);
        Ok(posts)
    }

    /// A page of posts that the viewer may see, out of a list whose rows name them, with their places in the list.
    async fn fill<M: Message + Default>(
        &self,
        options: &ReadOptions,
        list: &List,
        window: Window,
        post_of: impl Fn(u64, &M) -> Option<u64>,
    ) -> Result<Vec<(u64, v1::Post)>, Failure> {
        let mut shown = Vec::new();
        let (mut at, mut looked) = (window, 0);
        while shown.len() < window.limit && looked < LOOKED_AT {
            let rows: Vec<(u64, M)> = lists::page(&self.reads, list, at).await?;
            let ended = rows.len() < at.limit;
            looked += rows.len();
            let Some(last) = rows.last().map(|(id, _)| *id) else { break };
            at = at.behind(last);
            let places: Vec<(u64, u64)> =
                rows.iter().filter_map(|(id, row)| post_of(*id, row).map(|post| (*id, post))).collect();
            let ids: Vec<u64> = places.iter().map(|(_, post)| *post).collect();
            let mut posts = self.show(options, &ids).await?.into_iter().peekable();
            for (place, id) in places {
                if let Some(post) = posts.next_if(|post| post.id == id) {
                    shown.push((place, post));
                }
            }
            if ended {
                break;
            }
        }
        shown.truncate(window.limit);
        Ok(shown)
    }

    /// Entries of many outboxes, for timelines.
    pub async fn outboxes(&self, asked: &v1::ListOutboxesRequest) -> Result<Vec<v1::OutboxEntry>, Failure> {
        let window = Window::of(asked.window.as_ref(), 20, 1_000);
        let mut authors = asked.author_ids.clone();
        authors.sort_unstable();
        authors.dedup();
        let outboxes = authors.into_iter().filter(|id| *id != 0).map(List::outbox).collect();
        let passes =
            |entry: &v1::OutboxEntry| asked.include_direct || entry.visibility() != v1::Visibility::Direct;
        let entries = lists::merge(&self.reads, outboxes, window, passes).await?;
        let mut entries = lists::newest_first(entries.into_iter().map(|(_, entry)| entry).collect(), window);
        for boost in entries.iter_mut().filter(|entry| entry.id != entry.post_id) {
            // A boost's row is written once; what an edit has changed since stands with the post.
            if let Some(Entry::Post(post)) = self.entry(boost.post_id).await?.map(|found| found.entry) {
                boost.mentioned_ids = post.mentioned_ids;
                boost.language = post.language;
            }
        }
        Ok(entries)
    }

    /// Public posts with a tag, for timelines.
    pub async fn by_tag(
        &self,
        tag: &str,
        window: Option<&IdWindow>,
    ) -> Result<Vec<v1::OutboxEntry>, Failure> {
        let window = Window::of(window, 20, 1_000);
        let rows = lists::page(&self.reads, &List::tag(&self.tag_key(tag)), window).await?;
        Ok(lists::newest_first(rows.into_iter().map(|(_, entry)| entry).collect(), window))
    }

    /// What addresses name.
    pub async fn resolve(&self, uris: Vec<String>) -> Result<Vec<v1::ResolvedUri>, Failure> {
        let keys = uris.iter().flat_map(|uri| [object_key(uri), self.url_key(uri)]);
        let keys: Vec<_> = keys.map(|key| (key, Bytes::new())).collect();
        let rows = self.reads.get_many(&tables::URIS, keys).await?;
        let mut out = Vec::with_capacity(uris.len());
        for (uri, rows) in uris.into_iter().zip(rows.chunks(2)) {
            let row = rows.iter().flatten().next();
            // Nobody elsewhere can take the address of a post made here.
            let post_id = match (self.made_here(&uri).await?, row) {
                (0, Some(row)) => v1::UriRow::decode(row.value.clone()).map_err(Failure::internal)?.post_id,
                (here, _) => here,
            };
            let found = if post_id == 0 { None } else { self.entry(post_id).await? };
            let deleted = matches!(found.map(|found| found.entry), Some(Entry::Tombstone(_)));
            out.push(v1::ResolvedUri { uri, post_id, deleted });
        }
        Ok(out)
    }

    /// The post that was made here under an address; 0 if there is none. Its addresses end with its id, so none of them
    /// has a row; whether they are its own it says itself.
    async fn made_here(&self, uri: &str) -> Result<u64, Failure> {
        let Some(id) = named_by(uri) else { return Ok(0) };
        let own = match self.entry(id).await?.map(|found| found.entry) {
            Some(Entry::Post(row)) if row.object_id == uri => true,
            Some(Entry::Post(row)) => {
                self.content(row.content.as_ref()).await?.is_some_and(|content| content.url == uri)
            }
            Some(Entry::Tombstone(gone)) => gone.object_id == uri,
            Some(Entry::Boost(_)) | None => false,
        };
        Ok(if own { id } else { 0 })
    }

    /// The sum of what the shards count.
    pub async fn stats(&self, of: Counted) -> Result<v1::StatsRow, Failure> {
        let mut sum = v1::StatsRow::default();
        let mut after = None;
        loop {
            let all = Range::all();
            let partition = tables::stats(of);
            let scan = self.reads.scan(&tables::STATS, partition, all, Direction::Forward, 1_000, after);
            let page = scan.await?;
            for (_, row) in page.rows {
                let row = v1::StatsRow::decode(row.value).map_err(Failure::internal)?;
                sum.posts += row.posts;
                sum.last_post_ms = sum.last_post_ms.max(row.last_post_ms);
            }
            after = page.next;
            if after.is_none() {
                return Ok(sum);
            }
        }
    }

    /// Posts that the viewer has marked.
    pub async fn reacted(
        &self,
        options: &ReadOptions,
        mark: Mark,
        window: Option<&IdWindow>,
    ) -> Result<Vec<v1::ReactedPost>, Failure> {
        let window = Window::of(window, 20, 80);
        let list = List::reacted(mark, options.viewer_id);
        let shown = self.fill(options, &list, window, |_, row: &v1::ReactedRow| Some(row.post_id)).await?;
        let posts =
            shown.into_iter().map(|(reaction_id, post)| v1::ReactedPost { reaction_id, post: Some(post) });
        Ok(lists::newest_first(posts.collect(), window))
    }

    /// Who has marked a post that the viewer may see. Whom he may not see is left out.
    pub async fn reactors(
        &self,
        options: &ReadOptions,
        mark: Mark,
        post: u64,
        window: Option<&IdWindow>,
    ) -> Result<Vec<v1::Reactor>, Failure> {
        let (post, _) = self.row(options, post).await?;
        let window = Window::of(window, 40, 80);
        let list = List::reactors(mark, post);
        let mut shown = Vec::new();
        let (mut at, mut looked) = (window, 0);
        while shown.len() < window.limit && looked < LOOKED_AT {
            let rows: Vec<(u64, v1::ReactorRow)> = lists::page(&self.reads, &list, at).await?;
            let ended = rows.len() < at.limit;
            looked += rows.len();
            let Some(last) = rows.last().map(|(id, _)| *id) else { break };
            at = at.behind(last);
            let standings =
                self.identity.standings(options, rows.iter().map(|(_, row)| row.account_id)).await?;
            shown.extend(rows.into_iter().filter_map(|(reaction_id, row)| {
                let standing = standings.to(row.account_id);
                let seen = standing.seen != crate::domain::rules::Seen::Nothing;
                let own = row.account_id == options.viewer_id;
                let hidden = standing.blocks || standing.blocked_by;
                (seen && (own || !hidden)).then_some(v1::Reactor { account_id: row.account_id, reaction_id })
            }));
            if ended {
                break;
            }
        }
        shown.truncate(window.limit);
        Ok(lists::newest_first(shown, window))
    }
}
