//! What ends because an account or a post did, in bounded steps, each of which can be repeated.

use super::react::decide_reaction;
use super::{App, decide_post, post_stream};
use crate::domain::EndReason;
use crate::domain::post::{self, Post};
use crate::domain::reaction;
use crate::tables::{self, List, Mark};
use crate::view::lists::{self, Window};
use crate::wire::reason_to_wire;
use futures::FutureExt as _;
use p92_chassis::Transport;
use p92_chassis::status::from_status;
use p92_eventlog::{CommandMeta, Round};
use p92_kernel::{AccountId, Failure, PostId, Service, Shard};
use p92_proto::posting::v1;
use p92_proto::posting::v1::ending::What;
use p92_proto::posting::v1::ending_service_client::EndingServiceClient;
use p92_storage::{Direction, KeyReader, Range};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Endings that one command takes.
const MOST: usize = 1_000;

/// Something that ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Post { post: PostId, author: AccountId },
    Reactions { post: PostId, actor: AccountId },
}

impl End {
    const fn shard(&self) -> Shard {
        match self {
            Self::Post { post, .. } | Self::Reactions { post, .. } => post.shard(),
        }
    }
}

/// The way to whichever replica holds the shard where something ends.
pub type Ending = EndingServiceClient<Transport>;

impl TryFrom<v1::Ending> for End {
    type Error = Failure;

    fn try_from(wire: v1::Ending) -> Result<Self, Failure> {
        let bad = || Failure::invalid("endings", "BAD_ENDING", "It does not say what ends.");
        let post = PostId::new(wire.post_id).ok_or_else(bad)?;
        let account = |id| AccountId::new(id).ok_or_else(bad);
        Ok(match wire.what.ok_or_else(bad)? {
            What::AuthorId(id) => Self::Post { post, author: account(id)? },
            What::ActorId(id) => Self::Reactions { post, actor: account(id)? },
        })
    }
}

impl From<End> for v1::Ending {
    fn from(end: End) -> Self {
        let (post, what) = match end {
            End::Post { post, author } => (post, What::AuthorId(author.get())),
            End::Reactions { post, actor } => (post, What::ActorId(actor.get())),
        };
        Self { post_id: post.get(), what: Some(what) }
    }
}

impl App {
    /// Deletes everything that an account published or marked, then the key that all of it was sealed under.
    ///
    /// Identity refuses commands of an erased account, but one that was under way may land behind the first pass:
    /// so a second one looks again when the key is gone and nothing new can be sealed.
    pub async fn erase(&self, ending: &Ending, account: AccountId, cause: u64) -> Result<(), Failure> {
        self.end_all_of(ending, account, cause).await?;
        self.runtime.platform().keyring.destroy_subject(Service::Posting, account).await?;
        self.end_all_of(ending, account, cause).await
    }

    async fn end_all_of(&self, ending: &Ending, account: AccountId, cause: u64) -> Result<(), Failure> {
        let outbox = List::outbox(account.get());
        let likes = List::reacted(Mark::Like, account.get());
        let bookmarks = List::reacted(Mark::Bookmark, account.get());
        loop {
            let mut ends = Vec::new();
            for (id, entry) in self.first::<v1::OutboxEntry>(&outbox).await? {
                let Some(post) = PostId::new(entry.post_id) else { continue };
                ends.push(if id == entry.post_id {
                    End::Post { post, author: account }
                } else {
                    End::Reactions { post, actor: account }
                });
            }
            for list in [&likes, &bookmarks] {
                let rows = self.first::<v1::ReactedRow>(list).await?;
                let posts = rows.into_iter().filter_map(|(_, row)| PostId::new(row.post_id));
                ends.extend(posts.map(|post| End::Reactions { post, actor: account }));
            }
            if ends.is_empty() {
                return Ok(());
            }
            self.end_each(ending, ends, EndReason::AccountErased, cause).await?;
        }
    }

    async fn first<M: prost::Message + Default>(&self, list: &List) -> Result<Vec<(u64, M)>, Failure> {
        let window = Window { above: 0, below: 0, from_below: false, limit: self.config.cleanup_step };
        lists::page(&self.posts.reads, list, window).await
    }

    /// Destroys the key of a deleted post's content, then ends what others did with it.
    pub async fn clear(&self, ending: &Ending, post: PostId, cause: u64) -> Result<(), Failure> {
        let platform = self.runtime.platform();
        platform.keyring.destroy_content(Service::Posting, &post_stream(post)).await?;
        loop {
            let (all, step) = (Range::all(), self.config.cleanup_step);
            let partition = tables::id(post.get());
            let scan =
                self.posts.reads.scan(&tables::REACTIONS, partition, all, Direction::Forward, step, None);
            let mut ends = Vec::new();
            for (clustering, _) in scan.await?.rows {
                let actor = KeyReader::new(&clustering).num().map_err(Failure::internal)?;
                ends.extend(AccountId::new(actor).map(|actor| End::Reactions { post, actor }));
            }
            if ends.is_empty() {
                return Ok(());
            }
            self.end_each(ending, ends, EndReason::PostDeleted, cause).await?;
        }
    }

    /// Ends these, one command for each shard, where it is held.
    async fn end_each(
        &self,
        ending: &Ending,
        ends: Vec<End>,
        reason: EndReason,
        cause: u64,
    ) -> Result<(), Failure> {
        let mut by_shard: BTreeMap<Shard, Vec<v1::Ending>> = BTreeMap::new();
        for end in ends {
            by_shard.entry(end.shard()).or_default().push(end.into());
        }
        for endings in by_shard.into_values() {
            for some in endings.chunks(MOST) {
                let request = v1::EndAllRequest {
                    endings: some.to_vec(),
                    reason: reason_to_wire(reason).into(),
                    cause_id: cause,
                };
                ending.clone().end_all(request).await.map_err(from_status)?;
            }
        }
        Ok(())
    }

    /// Ends what is in one shard. Repeating it ends nothing twice, so it needs no key.
    pub async fn end_all(&self, request: v1::EndAllRequest) -> Result<(), Failure> {
        let bad = || Failure::invalid("endings", "BAD_ENDING", "All of it ends in one shard, for a reason.");
        let reason = match request.reason() {
            v1::EndReason::AccountErased => EndReason::AccountErased,
            v1::EndReason::PostDeleted => EndReason::PostDeleted,
            v1::EndReason::TakenBack | v1::EndReason::Unspecified => return Err(bad()),
        };
        let cause = request.cause_id;
        let ends = request.endings.into_iter().map(End::try_from).collect::<Result<Vec<_>, _>>()?;
        let Some(shard) = ends.first().map(End::shard) else { return Ok(()) };
        if ends.len() > MOST || ends.iter().any(|end| end.shard() != shard) {
            return Err(bad());
        }
        let count = ends.len();
        let ends = Arc::new(ends);
        let meta = CommandMeta { causation_id: cause, ..CommandMeta::internal(0, String::new()) };
        let step = self.run(shard, meta, move |round| {
            let ends = Arc::clone(&ends);
            async move {
                for end in ends.iter() {
                    end_one(round, *end, reason).await?;
                }
                Ok(())
            }
            .boxed()
        });
        step.await?;
        self.metrics.cleaned(count);
        Ok(())
    }
}

async fn end_one(round: &mut Round, end: End, reason: EndReason) -> Result<(), Failure> {
    match end {
        End::Post { post, author } => {
            let loaded = round.load::<Post>(&post_stream(post)).await?;
            if loaded.state.standing().is_none() {
                return Ok(());
            }
            decide_post(round, post, post::Command::Delete { by: author, reason }).await
        }
        End::Reactions { post, actor } => {
            decide_reaction(round, post, actor, reaction::Command::End { reason }).await
        }
    }
}
