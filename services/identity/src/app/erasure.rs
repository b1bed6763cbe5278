//! Erasure: first the event, then what only state knows, then the key, then the follows, blocks and mutes.
//!
//! The reader of `AccountErased` does all of it again after a crash in between; each step may be repeated.

use super::{App, account_id, receipt};
use crate::credentials::Password;
use crate::domain::account::{Command, Life};
use crate::domain::relationship::{self, Pair, Party};
use crate::domain::{By, Relationship};
use crate::tables::{self, BUCKETS, RELATIONSHIPS};
use futures::FutureExt as _;
use p92_chassis::Transport;
use p92_chassis::status::from_status;
use p92_eventlog::{CommandMeta, Stream};
use p92_kernel::{ErrorCode, Failure, Service, Shard};
use p92_proto::identity::v1;
use p92_proto::identity::v1::ending_service_client::EndingServiceClient;
use p92_storage::{Direction, KeyReader, Range};

impl App {
    /// Erases an account for ever.
    pub async fn erase_account(
        &self,
        mut request: v1::EraseAccountRequest,
    ) -> Result<v1::EraseAccountResponse, Failure> {
        let context = request.context.take().unwrap_or_default();
        let meta = self.meta(&context, "EraseAccount", &request)?;
        let by = if context.actor_id != 0 && context.actor_id == request.account_id {
            let actor = self.actor(&context).await?;
            self.own_password(&actor, Password::new(request.password), "password").await?;
            By::Itself
        } else {
            self.capacity(&context).await?
        };
        let done = self.command_account(request.account_id, meta, by, Command::Erase).await?;
        self.bury(request.account_id).await?;
        Ok(v1::EraseAccountResponse { receipt: Some(receipt([done])) })
    }

    /// Removes what state knows of an erased account, and destroys its key.
    pub(crate) async fn bury(&self, id: u64) -> Result<(), Failure> {
        let Some(account) = self.account(id).await? else { return Ok(()) };
        if account.life != Life::Erased {
            return Err(Failure::new(ErrorCode::Unavailable, "NOT_ERASED_YET", "The account still lives."));
        }
        // While its key is there: the address by which the claim is found is sealed.
        self.release_email(&account).await?;
        self.state.forget_passwords(id).await?;
        self.state.revoke_all(id, u64::MAX, 0).await?;
        self.platform().keyring.destroy_subject(Service::Identity, account_id(id)?).await?;
        self.metrics.erased();
        Ok(())
    }

    /// Ends tokens and sessions that an old password stands behind.
    pub(crate) async fn end_sign_ins(
        &self,
        id: u64,
        up_to_ms: u64,
        kept_session: u64,
    ) -> Result<(), Failure> {
        self.state.revoke_all(id, up_to_ms, kept_session).await
    }

    /// Ends every follow, block and mute of an erased account, each where it is held.
    pub(crate) async fn end_relationships(
        &self,
        ending: &Ending,
        id: u64,
        cause: u64,
    ) -> Result<(), Failure> {
        for bucket in 0..BUCKETS {
            let mut after = None;
            loop {
                let partition = tables::relationships(id, bucket);
                let reads = self.reads();
                let page = reads
                    .scan(&RELATIONSHIPS, partition, Range::all(), Direction::Forward, 200, after)
                    .await?;
                for (clustering, _) in page.rows {
                    let other = KeyReader::new(&clustering).num().map_err(Failure::internal)?;
                    end_there(ending, Pair { from: id, to: other }, cause).await?;
                }
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
        }
        Ok(())
    }

    /// Ends what two accounts are to each other if one of them was erased before it began.
    pub(crate) async fn end_if_erased(
        &self,
        ending: &Ending,
        from: u64,
        to: u64,
        cause: u64,
    ) -> Result<(), Failure> {
        let both = self.accounts(&[from, to]).await?;
        if both.iter().flatten().any(|account| account.life == Life::Erased) {
            end_there(ending, Pair { from, to }, cause).await?;
        }
        Ok(())
    }

    /// Ends what two accounts are to each other, in the shard of the pair.
    pub async fn end_relationship(
        &self,
        request: v1::EndRelationshipRequest,
    ) -> Result<v1::EndRelationshipResponse, Failure> {
        let v1::EndRelationshipRequest { account_id, other_id, cause_id: cause } = request;
        let pair = Pair { from: account_id, to: other_id };
        let stream = relationship_stream(pair);
        let mut meta = CommandMeta::internal(0, format!("erased/{cause}/{}", stream.key()));
        meta.causation_id = cause;
        self.runtime
            .execute(self.pair_shard(pair), meta, move |round| {
                let stream = stream.clone();
                async move {
                    let loaded = round.load::<Relationship>(&stream).await?;
                    // What the two are by now does not matter any more.
                    let gone = Party { home: 0, state: crate::domain::account::State::Erased, locked: false };
                    let context = relationship::Context {
                        now: round.now(),
                        new_id: 0,
                        from: gone,
                        to: gone,
                        full: false,
                    };
                    let events = loaded.state.decide(pair, relationship::Command::End, &context)?;
                    round.emit::<Relationship>(&stream, &events).await
                }
                .boxed()
            })
            .await?;
        Ok(v1::EndRelationshipResponse {})
    }

    /// The shard of a relationship, which has no id: of both ids in rising order.
    pub(crate) fn pair_shard(&self, pair: Pair) -> Shard {
        let (low, high) = pair.ordered();
        self.platform().shards.of_parts(&[&low.to_be_bytes(), &high.to_be_bytes()])
    }
}

/// The way to whichever replica holds the shard of a pair.
pub(crate) type Ending = EndingServiceClient<Transport>;

async fn end_there(ending: &Ending, pair: Pair, cause: u64) -> Result<(), Failure> {
    let request = v1::EndRelationshipRequest { account_id: pair.from, other_id: pair.to, cause_id: cause };
    ending.clone().end_relationship(request).await.map_err(from_status)?;
    Ok(())
}

/// The stream of a relationship.
pub(crate) fn relationship_stream(pair: Pair) -> Stream {
    let (low, high) = pair.ordered();
    Stream::new("relationship", format_args!("{low}-{high}"))
}
