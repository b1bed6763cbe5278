//! Posting on a real platform, asked through its generated clients.

use crate::directory::{Directory, HOME};
use p92_chassis::{SystemClock, SystemRandom, Transport};
use p92_eventlog::Platform;
use p92_eventlog::ground::{Ground, Site};
use p92_eventlog::progress::Mark;
use p92_kernel::Service;
use p92_posting::{Config, Deps, Posting, tables};
use p92_proto::event::v1::{CommandContext, IdWindow, ReadOptions};
use p92_proto::posting::v1::post_service_client::PostServiceClient;
use p92_proto::posting::v1::reaction_service_client::ReactionServiceClient;
use p92_proto::posting::v1::*;
use p92_storage::LogKey;
use std::path::Path;
use std::sync::Arc;
use tonic::{Code, Status};

pub struct Installation {
    pub directory: Directory,
    pub platform: Arc<Platform>,
    ground: Ground,
    pub posting: Posting,
    pub posts: PostServiceClient<Transport>,
    pub reactions: ReactionServiceClient<Transport>,
}

pub const SHARDS: u16 = 4;

pub async fn start(dir: &Path, directory: &Directory) -> Installation {
    let site = Site { name: "posting", shards: SHARDS, tables: &tables::all() };
    let ground = Ground::open(dir, site, Arc::new(SystemClock::default()), Arc::new(SystemRandom)).await;
    let platform = Arc::clone(&ground.platform);
    let deps = Deps { platform: Arc::clone(&platform), identity: directory.transport() };
    let posting = p92_posting::run(Config { cleanup_step: 3 }, deps).await.unwrap();
    posting.runtime().ready().await;
    let transport = Transport::local(posting.grpc_service());
    Installation {
        directory: directory.clone(),
        platform,
        ground,
        posting,
        posts: PostServiceClient::new(transport.clone()),
        reactions: ReactionServiceClient::new(transport),
    }
}

pub fn context(actor: u64) -> Option<CommandContext> {
    Some(CommandContext { server_id: HOME, actor_id: actor, ..CommandContext::default() })
}

pub fn keyed(actor: u64, key: &str) -> Option<CommandContext> {
    Some(CommandContext { idempotency_key: key.into(), ..context(actor).unwrap() })
}

pub fn options(viewer: u64) -> Option<ReadOptions> {
    Some(ReadOptions { viewer_id: viewer, server_id: HOME, ..ReadOptions::default() })
}

pub fn newest(limit: u32) -> Option<IdWindow> {
    Some(IdWindow { limit, ..IdWindow::default() })
}

pub fn text(author: u64, text: &str) -> PublishPostRequest {
    PublishPostRequest { context: context(author), text: text.into(), ..PublishPostRequest::default() }
}

pub fn reply(author: u64, parent: u64, words: &str) -> PublishPostRequest {
    PublishPostRequest { in_reply_to_id: parent, ..text(author, words) }
}

/// The reason that a refusal names.
pub fn reason(status: &Status) -> String {
    p92_chassis::status::from_status(status.clone()).reason.into_owned()
}

impl Installation {
    pub async fn publish(&self, request: PublishPostRequest) -> Result<u64, Status> {
        Ok(self.posts.clone().publish_post(request).await?.into_inner().post_id)
    }

    pub async fn post(&self, author: u64, words: &str) -> u64 {
        self.publish(text(author, words)).await.unwrap()
    }

    pub async fn seen(&self, viewer: u64, post_id: u64) -> Option<Post> {
        let request = GetPostRequest { options: options(viewer), post_id };
        match self.posts.clone().get_post(request).await {
            Ok(answer) => answer.into_inner().post,
            Err(status) if status.code() == Code::NotFound => None,
            Err(status) => panic!("{status}"),
        }
    }

    pub async fn delete(&self, author: u64, post_id: u64) -> Result<(), Status> {
        let request = DeletePostRequest { context: context(author), post_id };
        self.posts.clone().delete_post(request).await.map(drop)
    }

    pub async fn like(&self, actor: u64, post_id: u64) -> Result<(), Status> {
        let request = LikeRequest { context: context(actor), post_id, remote: None };
        self.reactions.clone().like(request).await.map(drop)
    }

    pub async fn unlike(&self, actor: u64, post_id: u64) {
        let request = UnlikeRequest { context: context(actor), post_id };
        self.reactions.clone().unlike(request).await.unwrap();
    }

    pub async fn boost(&self, actor: u64, post_id: u64) -> Result<u64, Status> {
        let request = BoostRequest { context: context(actor), post_id, ..BoostRequest::default() };
        Ok(self.reactions.clone().boost(request).await?.into_inner().boost_id)
    }

    pub async fn unboost(&self, actor: u64, post_id: u64) {
        let request = UnboostRequest { context: context(actor), post_id };
        self.reactions.clone().unboost(request).await.unwrap();
    }

    pub async fn bookmark(&self, actor: u64, post_id: u64) {
        let request = BookmarkRequest { context: context(actor), post_id };
        self.reactions.clone().bookmark(request).await.unwrap();
    }

    pub async fn by_author(&self, viewer: u64, author_id: u64) -> Vec<Post> {
        self.list(ListByAuthorRequest { options: options(viewer), author_id, ..Default::default() }).await
    }

    pub async fn list(&self, request: ListByAuthorRequest) -> Vec<Post> {
        self.posts.clone().list_by_author(request).await.unwrap().into_inner().posts
    }

    pub async fn thread(&self, viewer: u64, post_id: u64) -> GetContextResponse {
        let request = GetContextRequest { options: options(viewer), post_id };
        self.posts.clone().get_context(request).await.unwrap().into_inner()
    }

    /// Waits until a reader has seen everything that is in the logs of a service now.
    pub async fn settled(&self, reader: &str, source: Service) {
        for shard in self.platform.shards.all() {
            let log = LogKey { service: source, shard };
            let head = self.platform.progress.at(&Mark::applied(log));
            self.platform.progress.wait(&Mark::reader(&reader.into(), log), head).await;
        }
    }

    /// Ends it; what it stood on, to be looked at.
    pub async fn stop(self) -> Ground {
        self.ground.close().await;
        self.ground
    }
}
