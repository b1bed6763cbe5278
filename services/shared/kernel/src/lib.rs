//! The words every part of P92 shares: ids and shards, time and chance as ports, error codes, pages.
//!
//! Pure: no I/O, no clock of its own, no randomness, no asynchronous runtime. It knows no message and no table.

pub mod clock;
pub mod digest;
pub mod elsewhere;
pub mod error;
pub mod id;
pub mod page;
pub mod shard;

pub use clock::{Clock, Millis, Random};
pub use elsewhere::Elsewhere;
pub use error::{ErrorCode, Failure};
pub use id::{AccountId, Id, IdMint, PostId, ServerId};
pub use page::{PageSize, PageToken};
pub use shard::{Position, Seq, Service, Shard, ShardCount};
