//! What clients ask of a replica, through the generated clients over its local transport, and what they are answered.

use crate::world::Process;
use p92_chassis::{Transport, status};
use p92_kernel::{ErrorCode, Failure};
use p92_proto::event::v1::{CommandContext, CommandReceipt, IdWindow, Position, ReadOptions};
use p92_proto::identity::v1::relationship_service_client::RelationshipServiceClient;
use p92_proto::identity::v1::{FollowRequest, FollowState, GetRelationshipsRequest, UnfollowRequest};
use p92_proto::posting::v1::post_service_client::PostServiceClient;
use p92_proto::posting::v1::reaction_service_client::ReactionServiceClient;
use p92_proto::posting::v1::{
    BoostRequest, DeletePostRequest, GetPostRequest, LikeRequest, PublishPostRequest, UnlikeRequest,
};
use p92_proto::timelines::v1::ListHomeRequest;
use p92_proto::timelines::v1::timeline_service_client::TimelineServiceClient;
use tonic::{Code, Status};

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    Publish {
        text: String,
        answers: u64,
    },
    Delete {
        post: u64,
    },
    Like {
        post: u64,
    },
    Unlike {
        post: u64,
    },
    Boost {
        post: u64,
    },
    Follow {
        other: u64,
    },
    Unfollow {
        other: u64,
    },
    /// Whether the actor follows somebody.
    Follows {
        other: u64,
    },
    /// Whether a post is there.
    Post {
        post: u64,
    },
    /// The newest entries of the actor's home.
    Home,
}

impl Act {
    pub const fn reads(&self) -> bool {
        matches!(self, Self::Follows { .. } | Self::Post { .. } | Self::Home)
    }
}

/// A call, on its way.
#[derive(Clone, Debug)]
pub struct Asked {
    pub number: u64,
    pub server: u64,
    pub actor: u64,
    pub key: String,
    pub act: Act,
    pub at_least: Vec<Position>,
}

/// What is told of a call that was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    pub positions: Vec<Position>,
    /// The post or boost that came of it.
    pub id: u64,
    /// Whether what was asked for is there.
    pub there: bool,
    pub ids: Vec<u64>,
}

/// What a client knows after a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Done(Told),
    /// For a reason of the rules; nothing was done.
    Rejected(String),
    /// Not here or not now; nothing was done.
    NotNow(String),
    /// Neither success nor failure is known.
    Unknown(String),
}

/// An answer, on its way back.
#[derive(Clone, Debug)]
pub struct Answered {
    pub number: u64,
    pub answer: Answer,
    /// Who answers.
    pub by: Process,
}

/// The services of one replica.
#[derive(Clone, Debug)]
pub struct Services {
    pub identity: Transport,
    pub posting: Transport,
    pub timelines: Transport,
}

fn done(receipt: Option<CommandReceipt>) -> Told {
    Told { positions: receipt.unwrap_or_default().positions, ..Told::default() }
}

impl Services {
    /// Does what is asked.
    pub async fn answer(&self, asked: Asked, by: Process) -> Answered {
        let number = asked.number;
        let answer = match self.call(asked).await {
            Ok(told) => Answer::Done(told),
            Err(status) => refused(&status::from_status(status)),
        };
        Answered { number, answer, by }
    }

    async fn call(&self, asked: Asked) -> Result<Told, Status> {
        let Asked { server, actor, key, act, at_least, .. } = asked;
        let context = Some(CommandContext {
            server_id: server,
            actor_id: actor,
            idempotency_key: key,
            ..CommandContext::default()
        });
        let options = Some(ReadOptions { at_least, viewer_id: actor, server_id: server });
        let mut posts = PostServiceClient::new(self.posting.clone());
        let mut reactions = ReactionServiceClient::new(self.posting.clone());
        let mut relations = RelationshipServiceClient::new(self.identity.clone());
        Ok(match act {
            Act::Publish { text, answers } => {
                let request =
                    PublishPostRequest { context, text, in_reply_to_id: answers, ..Default::default() };
                let answer = posts.publish_post(request).await?.into_inner();
                Told { id: answer.post_id, ..done(answer.receipt) }
            }
            Act::Delete { post } => {
                let request = DeletePostRequest { context, post_id: post };
                done(posts.delete_post(request).await?.into_inner().receipt)
            }
            Act::Like { post } => {
                let request = LikeRequest { context, post_id: post, remote: None };
                done(reactions.like(request).await?.into_inner().receipt)
            }
            Act::Unlike { post } => {
                let request = UnlikeRequest { context, post_id: post };
                done(reactions.unlike(request).await?.into_inner().receipt)
            }
            Act::Boost { post } => {
                let request = BoostRequest { context, post_id: post, ..Default::default() };
                let answer = reactions.boost(request).await?.into_inner();
                Told { id: answer.boost_id, ..done(answer.receipt) }
            }
            Act::Follow { other } => {
                let request = FollowRequest { context, account_id: other, ..Default::default() };
                done(relations.follow(request).await?.into_inner().receipt)
            }
            Act::Unfollow { other } => {
                let request = UnfollowRequest { context, account_id: other };
                done(relations.unfollow(request).await?.into_inner().receipt)
            }
            Act::Follows { other } => {
                let request = GetRelationshipsRequest { options, account_ids: vec![other] };
                let answer = relations.get_relationships(request).await?.into_inner();
                let found = answer.relationships.first().map(|found| found.following());
                Told { there: found == Some(FollowState::Following), ..Told::default() }
            }
            Act::Post { post } => {
                let request = GetPostRequest { options, post_id: post };
                let there = match posts.get_post(request).await {
                    Ok(_) => true,
                    Err(status) if status.code() == Code::NotFound => false,
                    Err(status) => return Err(status),
                };
                Told { there, ..Told::default() }
            }
            Act::Home => {
                let window = Some(IdWindow { limit: 20, ..IdWindow::default() });
                let request = ListHomeRequest { options, window, source: 0 };
                let answer =
                    TimelineServiceClient::new(self.timelines.clone()).list_home(request).await?.into_inner();
                Told { ids: answer.entries.iter().map(|entry| entry.id).collect(), ..Told::default() }
            }
        })
    }
}

/// What a failure says about whether something was done.
fn refused(failure: &Failure) -> Answer {
    let reason = failure.reason.to_string();
    match failure.code {
        ErrorCode::Unavailable | ErrorCode::ResourceExhausted => Answer::NotNow(reason),
        // With a broken rule there are bugs; what was done then is not known.
        ErrorCode::DeadlineExceeded | ErrorCode::Internal => Answer::Unknown(reason),
        _ => Answer::Rejected(reason),
    }
}
