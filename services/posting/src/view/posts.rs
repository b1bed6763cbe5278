//! Rows, rights, counts, marks and contents made into posts, for one viewer at one moment.

use super::entries::post_row;
use super::standings::{Identity, Standings};
use crate::domain::rules::Audience;
use crate::domain::text::{render, render::Surroundings};
use crate::tables;
use crate::wire::visibility_from_wire;
use bytes::Bytes;
use futures::future::{join, join_all, try_join3};
use p92_eventlog::{Platform, Reads};
use p92_kernel::{AccountId, Failure, Seq, Service};
use p92_proto::event::v1::{ReadOptions, Sealed};
use p92_proto::posting::v1;
use p92_proto::posting::v1::entry_row::Entry;
use p92_storage::{Direction, Range};
use prost::Message;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// What an id names, with the position of the last event that changed it.
#[derive(Clone, Debug)]
pub struct Found {
    pub entry: Entry,
    pub at: Seq,
}

/// Reads rows and makes posts of them.
#[derive(Clone, Debug)]
pub struct Posts {
    pub platform: Arc<Platform>,
    pub reads: Reads,
    pub identity: Identity,
}

/// Entries of ids, with the posts that boosts wrap, and how the viewer stands to everybody in them.
#[derive(Debug, Default)]
pub struct Judged {
    pub entries: HashMap<u64, Entry>,
    pub standings: Standings,
    pub viewer: Option<AccountId>,
}

impl Judged {
    /// The post, if the viewer may see it.
    #[must_use]
    pub fn post(&self, id: u64) -> Option<&v1::PostRow> {
        match self.entries.get(&id)? {
            Entry::Post(post) if self.admits(post) => Some(post),
            _ => None,
        }
    }

    /// The boost and the post that it wraps, if the viewer may see both.
    #[must_use]
    pub fn boost(&self, id: u64) -> Option<(&v1::BoostRow, &v1::PostRow)> {
        let Entry::Boost(boost) = self.entries.get(&id)? else { return None };
        let author = AccountId::new(boost.actor_id)?;
        let visibility = visibility_from_wire(boost.visibility())?;
        let audience = Audience { author, visibility, mentioned: &[] };
        let admitted = audience.admits(self.viewer, self.standings.to(boost.actor_id));
        self.post(boost.post_id).filter(|_| admitted).map(|post| (boost, post))
    }

    fn admits(&self, post: &v1::PostRow) -> bool {
        let mentioned: Vec<AccountId> =
            post.mentioned_ids.iter().copied().filter_map(AccountId::new).collect();
        let (Some(author), Some(visibility)) =
            (AccountId::new(post.author_id), visibility_from_wire(post.visibility()))
        else {
            return false;
        };
        let audience = Audience { author, visibility, mentioned: &mentioned };
        audience.admits(self.viewer, self.standings.to(post.author_id))
    }
}

impl Posts {
    /// What an id names.
    pub async fn entry(&self, id: u64) -> Result<Option<Found>, Failure> {
        let Some(row) = self.reads.get(&tables::ENTRIES, tables::id(id), Bytes::new()).await? else {
            return Ok(None);
        };
        let at = Seq(row.stamp);
        let entry = v1::EntryRow::decode(row.value).map_err(Failure::internal)?.entry;
        Ok(entry.map(|entry| Found { entry, at }))
    }

    /// The post that an id stands for: a boost stands for what it wraps.
    pub async fn wrapped(&self, id: u64) -> Result<u64, Failure> {
        let found = self.entry(id).await?;
        Ok(match found.map(|found| found.entry) {
            Some(Entry::Boost(boost)) => boost.post_id,
            _ => id,
        })
    }

    async fn entries(&self, ids: impl IntoIterator<Item = u64>) -> Result<HashMap<u64, Entry>, Failure> {
        let ids: Vec<u64> = ids.into_iter().filter(|id| *id != 0).collect();
        let keys = ids.iter().map(|id| (tables::id(*id), Bytes::new()));
        let rows = self.reads.get_many(&tables::ENTRIES, keys).await?;
        let mut out = HashMap::with_capacity(ids.len());
        for (id, row) in ids.into_iter().zip(rows) {
            let Some(row) = row else { continue };
            if let Some(entry) = v1::EntryRow::decode(row.value).map_err(Failure::internal)?.entry {
                out.insert(id, entry);
            }
        }
        Ok(out)
    }

    /// Reads entries and asks how the viewer stands to their authors.
    pub async fn judge(&self, options: &ReadOptions, ids: &[u64]) -> Result<Judged, Failure> {
        let entries = self.with_wrapped(ids).await?;
        let standings = self.standings_of(options, &entries).await?;
        Ok(Judged { entries, standings, viewer: AccountId::new(options.viewer_id) })
    }

    /// Entries, with the posts that boosts among them wrap.
    async fn with_wrapped(&self, ids: &[u64]) -> Result<HashMap<u64, Entry>, Failure> {
        let mut entries = self.entries(ids.iter().copied()).await?;
        let wrapped: BTreeSet<u64> = entries
            .values()
            .filter_map(|entry| if let Entry::Boost(boost) = entry { Some(boost.post_id) } else { None })
            .filter(|id| !entries.contains_key(id))
            .collect();
        entries.extend(self.entries(wrapped).await?);
        Ok(entries)
    }

    /// How the viewer stands to everybody in these entries.
    async fn standings_of(
        &self,
        options: &ReadOptions,
        entries: &HashMap<u64, Entry>,
    ) -> Result<Standings, Failure> {
        let accounts = entries.values().filter_map(|entry| match entry {
            Entry::Post(post) => Some(post.author_id),
            Entry::Boost(boost) => Some(boost.actor_id),
            Entry::Tombstone(_) => None,
        });
        self.identity.standings(options, accounts).await
    }

    /// The posts and boosts among these ids that the viewer may see, in their order.
    pub async fn show(&self, options: &ReadOptions, ids: &[u64]) -> Result<Vec<v1::Post>, Failure> {
        let entries = self.with_wrapped(ids).await?;
        // Nearly always everything asked for may be seen: it is gathered while identity is asked, and judged then.
        let viewer = AccountId::new(options.viewer_id);
        let standings = self.standings_of(options, &entries);
        let (standings, parts) = join(standings, self.parts(&entries, ids, viewer)).await;
        let judged = Judged { entries, standings: standings?, viewer };
        all_shown(&judged, ids, parts)
    }

    /// A post of somebody who acts, as he sees it; `None` if it is gone.
    pub async fn own(&self, author: AccountId, id: u64) -> Result<Option<v1::Post>, Failure> {
        let entries = self.entries([id]).await?;
        let judged = Judged { entries, standings: Standings::of_oneself(author), viewer: Some(author) };
        Ok(self.show_judged(&judged, &[id]).await?.pop())
    }

    /// The posts and boosts among these ids that the judgement lets the viewer see, in their order.
    pub async fn show_judged(&self, judged: &Judged, ids: &[u64]) -> Result<Vec<v1::Post>, Failure> {
        let seen = |id: &&u64| judged.post(**id).is_some() || judged.boost(**id).is_some();
        let ids: Vec<u64> = ids.iter().filter(seen).copied().collect();
        let parts = self.parts(&judged.entries, &ids, judged.viewer).await;
        all_shown(judged, &ids, parts)
    }

    /// What each of these entries is made of, or what it wraps; `None` where nothing can be shown.
    async fn parts(
        &self,
        entries: &HashMap<u64, Entry>,
        ids: &[u64],
        viewer: Option<AccountId>,
    ) -> Vec<Result<Option<Parts>, Failure>> {
        let parts = ids.iter().map(|id| async move {
            let post = match entries.get(id) {
                Some(Entry::Boost(boost)) => boost.post_id,
                _ => *id,
            };
            let Some(Entry::Post(row)) = entries.get(&post) else { return Ok(None) };
            self.gather(post, row, viewer).await
        });
        join_all(parts).await
    }

    /// `None` if the content cannot be opened any more: the post is on its way out.
    async fn gather(
        &self,
        id: u64,
        row: &v1::PostRow,
        viewer: Option<AccountId>,
    ) -> Result<Option<Parts>, Failure> {
        let marks = async {
            match viewer {
                Some(viewer) => self.marks(id, row, viewer).await.map(Some),
                None => Ok(None),
            }
        };
        let (content, counts, marks) =
            try_join3(self.content(row.content.as_ref()), self.counts(id), marks).await?;
        Ok(content.map(|content| Parts { content, counts, marks }))
    }

    /// Opens a content; `None` if its key was destroyed.
    pub async fn content(&self, sealed: Option<&Sealed>) -> Result<Option<v1::PostContent>, Failure> {
        let Some(sealed) = sealed else { return Ok(None) };
        let Some(bytes) = self.platform.keyring.open(Service::Posting, sealed).await? else {
            return Ok(None);
        };
        v1::PostContent::decode(bytes).map(Some).map_err(Failure::internal)
    }

    /// The sum of what the shards count.
    pub async fn counts(&self, post: u64) -> Result<v1::Counts, Failure> {
        let mut counts = v1::Counts::default();
        let mut after = None;
        loop {
            let all = Range::all();
            let scan =
                self.reads.scan(&tables::COUNTS, tables::id(post), all, Direction::Forward, 1_000, after);
            let page = scan.await?;
            for (_, row) in page.rows {
                let row = v1::CountsRow::decode(row.value).map_err(Failure::internal)?;
                counts.likes += row.likes;
                counts.boosts += row.boosts;
                counts.replies += row.replies;
            }
            after = page.next;
            if after.is_none() {
                return Ok(counts);
            }
        }
    }

    async fn marks(&self, id: u64, row: &v1::PostRow, viewer: AccountId) -> Result<v1::ViewerMarks, Failure> {
        let pinned = row.pinned && row.author_id == viewer.get();
        Ok(v1::ViewerMarks { pinned, ..marks_out(&self.reaction(id, viewer.get()).await?) })
    }

    /// What the viewer has done with posts, in the order of the ids.
    pub async fn marks_of(
        &self,
        options: &ReadOptions,
        ids: &[u64],
    ) -> Result<Vec<v1::ViewerMarks>, Failure> {
        let keys = ids.iter().map(|id| (tables::id(*id), tables::id(options.viewer_id)));
        let mut marks = Vec::with_capacity(ids.len());
        for row in self.reads.get_many(&tables::REACTIONS, keys).await? {
            let row = row.map(|row| v1::ReactionRow::decode(row.value)).transpose();
            marks.push(marks_out(&row.map_err(Failure::internal)?.unwrap_or_default()));
        }
        Ok(marks)
    }

    /// What an account does with a post.
    pub async fn reaction(&self, post: u64, actor: u64) -> Result<v1::ReactionRow, Failure> {
        let row = self.reads.get_message(&tables::REACTIONS, tables::id(post), tables::id(actor)).await?;
        Ok(row.unwrap_or_default())
    }
}

/// A post that its author has just published: nobody has done anything with it yet.
pub fn just_published(event: &v1::PostPublished, content: v1::PostContent) -> v1::Post {
    let parts = Parts { content, counts: v1::Counts::default(), marks: Some(v1::ViewerMarks::default()) };
    made(event.post_id, &post_row(event), parts)
}

/// What stands beside the row of a post.
struct Parts {
    content: v1::PostContent,
    counts: v1::Counts,
    marks: Option<v1::ViewerMarks>,
}

/// The posts and boosts that the viewer may see. What is hidden fails for nobody, whether it could be read or not.
fn all_shown(
    judged: &Judged,
    ids: &[u64],
    parts: Vec<Result<Option<Parts>, Failure>>,
) -> Result<Vec<v1::Post>, Failure> {
    let mut shown = Vec::with_capacity(ids.len());
    for (id, parts) in ids.iter().zip(parts) {
        if let Some((boost, row)) = judged.boost(*id) {
            shown.extend(parts?.map(|parts| wrap(*id, boost, made(boost.post_id, row, parts))));
        } else if let Some(row) = judged.post(*id) {
            shown.extend(parts?.map(|parts| made(*id, row, parts)));
        }
    }
    Ok(shown)
}

fn made(id: u64, row: &v1::PostRow, Parts { content, counts, marks }: Parts) -> v1::Post {
    v1::Post {
        id,
        author_id: row.author_id,
        author_home_id: row.author_home_id,
        object_id: row.object_id.clone(),
        url: content.url.clone(),
        visibility: row.visibility,
        html: html(&content),
        text: content.text,
        content_warning: content.content_warning,
        sensitive: row.sensitive,
        language: row.language.clone(),
        created_ms: row.created_ms,
        edited_ms: row.edited_ms,
        in_reply_to_id: row.in_reply_to_id,
        in_reply_to_author_id: row.in_reply_to_author_id,
        in_reply_to_object_id: row.in_reply_to_object_id.clone(),
        conversation_id: row.conversation_id,
        mentions: content.mentions,
        tags: content.tags,
        counts: Some(counts),
        marks,
        pinned: row.pinned,
        app_id: row.app_id,
        boosted: None,
    }
}

fn marks_out(reaction: &v1::ReactionRow) -> v1::ViewerMarks {
    v1::ViewerMarks {
        liked: reaction.like_id != 0,
        boosted: reaction.boost_id != 0,
        bookmarked: reaction.bookmark_id != 0,
        pinned: false,
        boost_id: reaction.boost_id,
    }
}

/// A boost is shown as a post that wraps another.
fn wrap(id: u64, boost: &v1::BoostRow, post: v1::Post) -> v1::Post {
    v1::Post {
        id,
        author_id: boost.actor_id,
        author_home_id: boost.actor_home_id,
        object_id: boost.activity_id.clone(),
        visibility: boost.visibility,
        created_ms: boost.created_ms,
        boosted: Some(Box::new(post)),
        ..v1::Post::default()
    }
}

/// What a content looks like. That of a post from elsewhere was made safe before it was sealed.
#[must_use]
pub fn html(content: &v1::PostContent) -> String {
    if !content.html.is_empty() {
        return content.html.clone();
    }
    let around = Surroundings {
        mentions: content.mentions.iter().map(|one| (one.handle.as_str(), one.url.as_str())).collect(),
        tags_url: &content.tags_url,
        home_hosts: content.home_hosts.iter().map(String::as_str).collect(),
    };
    render::html(&content.text, &around)
}
