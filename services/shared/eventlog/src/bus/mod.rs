//! The bus: a hint that a log has grown, with the new row in it. It may lose, double and reorder; nothing depends on it.
//!
//! Two of them: [`LocalBus`] for everything in one process, [`NatsBus`] between processes. One suite tries both, see
//! [`conformance`].

pub mod conformance;
mod local;
pub mod nats;
mod topics;

pub use local::LocalBus;
pub use nats::NatsBus;
pub use topics::LAG;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use p92_kernel::Seq;
use p92_storage::LogKey;
use std::time::Duration;

/// Publishes rows that stand in a log, and hands them to whoever listens.
pub trait Bus: Send + Sync + std::fmt::Debug + 'static {
    /// Publishes the body of a row that the store has taken. Never waits; what does not fit is dropped.
    fn publish(&self, log: LogKey, body: Bytes);

    /// What is published of that log from now on. Ends only with the bus.
    fn subscribe(&self, log: LogKey) -> BoxStream<'static, Bytes>;

    /// The store was asked for the head of that log, and said this. A bus that can fall silent without being told holds
    /// it against what it has delivered; it has no other way to know that there was something to deliver.
    fn head_stands(&self, _log: LogKey, _head: Seq) {}

    /// Whether hints travel to other processes now; nothing if there is no way for them to go.
    fn between(&self) -> Option<nats::BusState> {
        None
    }

    /// How long whoever carries hints to other processes takes to answer a small question, or why no answer came; nothing
    /// if there is no way for them to go.
    fn round_trip(&self) -> Option<BoxFuture<'_, Result<Duration, String>>> {
        None
    }
}
