//! The streams of the bus: one per service, in memory, bounded, made and put right by whoever needs it.
//!
//! A stream is wipeable: what cannot be changed in place is deleted and made anew. Where the right to delete is missing
//! (in a cluster services have none), the words of the state say what stands in the way.

use super::config::StreamLimits;
use super::state::State;
use super::tally::Tallies;
use async_nats::jetstream::context::{
    Context, CreateStreamError, CreateStreamErrorKind, DeleteStreamError, GetStreamError, GetStreamErrorKind,
};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use p92_kernel::{Service, Shard};
use p92_storage::LogKey;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The name of a service's stream.
pub(super) fn name(service: Service) -> String {
    format!("p92-v1-{}", service.name())
}

/// The subject of a log. Its tokens are names of services and numbers, and nothing else.
pub(super) fn subject(log: LogKey) -> String {
    format!("p92.v1.{}.{}", log.service.name(), log.shard)
}

/// The subjects of all logs of a service.
pub(super) fn subjects(service: Service) -> String {
    format!("p92.v1.{}.*", service.name())
}

/// The log of a service that a subject names.
pub(super) fn log(service: Service, subject: &str) -> Option<LogKey> {
    let (before, shard) = subject.rsplit_once('.')?;
    let shard = Shard(shard.parse().ok()?);
    (before.strip_prefix("p92.v1.") == Some(service.name())).then_some(LogKey { service, shard })
}

/// Why a stream does not stand.
#[derive(Debug, thiserror::Error)]
pub(super) enum Missing {
    #[error("it cannot be asked for: {0}")]
    Asked(#[from] GetStreamError),
    #[error("it cannot be made: {0}")]
    Made(#[source] CreateStreamError),
    #[error("its configuration cannot be put right: {0}")]
    PutRight(#[source] CreateStreamError),
    #[error("its configuration cannot be put right in place ({0}), and it may not be deleted: {1}")]
    Kept(#[source] CreateStreamError, DeleteStreamError),
}

/// Makes and repairs streams.
#[derive(Debug)]
pub(super) struct Streams {
    pub(super) jetstream: Context,
    pub(super) limits: StreamLimits,
    pub(super) state: Arc<State>,
    pub(super) tallies: Arc<Tallies>,
    pub(super) turns: tokio::sync::Mutex<()>,
}

impl Streams {
    /// Makes sure that a service's stream stands as it should. Several processes may do so at once; publisher and listener
    /// of one take turns, so that neither deletes what the other has just made.
    pub(super) async fn ensure(&self, service: Service) -> Result<(), Missing> {
        let _turn = self.turns.lock().await;
        let ensured = self.stand(service).await;
        self.state.stream(service, ensured.as_ref().err().map(ToString::to_string));
        if ensured.as_ref().is_ok_and(|repaired| *repaired) {
            tracing::info!(%service, "the stream of a service was made or put right");
            self.tallies.repairs.of(service);
        }
        ensured.map(|_repaired| ())
    }

    /// The time of a question and its answer: what a stream's state is, which every process may ask. The driver's flush would
    /// end with the last byte sent, and says nothing of the server.
    pub(super) async fn round_trip(&self) -> Result<Duration, String> {
        let began = Instant::now();
        match self.jetstream.get_stream(name(Service::Identity)).await {
            Err(error) if !is_absent(&error) => Err(error.to_string()),
            // That there is none is an answer too.
            _ => Ok(began.elapsed()),
        }
    }

    /// Whether something had to be done for it.
    async fn stand(&self, service: Service) -> Result<bool, Missing> {
        let found = match self.jetstream.get_stream(name(service)).await {
            Ok(found) => found.cached_info().config.clone(),
            Err(error) if is_absent(&error) => {
                let fresh = self.shaped(service, Config::default());
                self.jetstream.create_stream(fresh).await.map_err(Missing::Made)?;
                return Ok(true);
            }
            Err(error) => return Err(error.into()),
        };
        let wanted = self.shaped(service, found.clone());
        if wanted == found {
            return Ok(false);
        }
        let Err(refused) = self.jetstream.update_stream(&wanted).await else { return Ok(true) };
        if !matches!(refused.kind(), CreateStreamErrorKind::JetStream(_)) {
            return Err(Missing::PutRight(refused));
        }
        // Another process may have put it right meanwhile.
        let now = self.jetstream.get_stream(name(service)).await?.cached_info().config.clone();
        if now != found {
            return if self.shaped(service, now.clone()) == now {
                Ok(false)
            } else {
                Err(Missing::PutRight(refused))
            };
        }
        // Storage, retention and sources of a stream are for life; its messages are hints that nobody will miss.
        if let Err(error) = self.jetstream.delete_stream(name(service)).await {
            return Err(Missing::Kept(refused, error));
        }
        let fresh = self.shaped(service, Config::default());
        self.jetstream.create_stream(fresh).await.map_err(Missing::Made)?;
        Ok(true)
    }

    /// A configuration with everything in it that decides which messages reach whom and how long they stay. What else
    /// stands in `found` (labels, placement, what the server adds) is left alone.
    fn shaped(&self, service: Service, found: Config) -> Config {
        Config {
            name: name(service),
            description: Some("P92: hints that logs have grown; may be wiped at any moment".to_owned()),
            subjects: vec![subjects(service)],
            retention: RetentionPolicy::Limits,
            storage: StorageType::Memory,
            discard: DiscardPolicy::Old,
            discard_new_per_subject: false,
            max_age: self.limits.max_age,
            max_bytes: i64::from(self.limits.max_bytes),
            max_messages: i64::from(self.limits.max_messages),
            max_messages_per_subject: -1,
            max_message_size: -1,
            max_consumers: -1,
            num_replicas: usize::from(self.limits.replicas),
            // Messages carry no id, so there is nothing to compare; the server wants it within the age.
            duplicate_window: self.limits.max_age.min(Duration::from_secs(2)),
            no_ack: false,
            sealed: false,
            deny_delete: false,
            deny_purge: false,
            republish: None,
            mirror: None,
            sources: None,
            subject_transform: None,
            ..found
        }
    }
}

fn is_absent(error: &GetStreamError) -> bool {
    use async_nats::jetstream::ErrorCode;
    matches!(error.kind(), GetStreamErrorKind::JetStream(error)
        if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

#[cfg(test)]
mod tests {
    use super::{LogKey, Service, Shard, log, subject};

    #[test]
    fn a_subject_names_one_log() {
        for service in Service::ALL {
            let key = LogKey { service, shard: Shard(1_023) };
            assert_eq!(log(service, &subject(key)), Some(key));
        }
        for foreign in ["p92.v1.posting", "p92.v1.posting.x", "p92.v2.posting.1", "p92.v1.posting.70000", "1"]
        {
            assert_eq!(log(Service::Posting, foreign), None, "{foreign}");
        }
    }
}
