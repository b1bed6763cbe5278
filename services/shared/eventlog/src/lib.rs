//! Shard logs with one owner each: the one mechanism of P92 (ARCHITECTURE §3).
//!
//! In: commands as closures that load aggregates and emit events. Out: receipts, rows of views, groups for readers.
//! It must not know what any event means, which services exist besides the name of its own, or how a client asks.
//!
//! | room | noun |
//! |---|---|
//! | `stream`, `event`, `group` | what is written: streams, events, groups, and their bytes |
//! | `known` | what it has read of its own rows |
//! | `owner` | deciding a round, appending its group, taking over |
//! | `worker` | the task that runs an owner and answers in order |
//! | `view`, `rows` | rows that are functions of events |
//! | `pointers`, `rebuild` | which of a view's two tables is read and written; building it anew |
//! | `partition` | all rows of a partition that is small by its kind |
//! | `notes` | batches of them that may end half done, and how they are finished |
//! | `reader`, `lease`, `quarantine`, `settle` | those who follow a log; what they put aside, and what becomes of it |
//! | `bus` | the hint that a log has grown |
//! | `membership` | who holds which slot |
//! | `keyring`, `keyfile`, `opened`, `cipher` | sealed payloads |
//! | `backup` | everything that cannot be computed anew, in files; and a store that holds it again |
//! | `runtime`, `reads` | what a service holds in its hand |
//! | `trace` | the trace that a command belongs to, as envelopes carry it |
//! | `failpoint` | where tests stop a process, in builds of theirs |
//! | `ground` | what the tests of services stand on, embedded or on real servers; in builds of theirs |

pub mod backup;
pub mod bus;
mod cipher;
pub mod command;
pub mod error;
pub mod event;
pub mod failpoint;
#[cfg(feature = "ground")]
pub mod ground;
pub mod group;
pub mod heads;
pub mod keyfile;
pub mod keyring;
pub mod keys;
pub mod known;
pub mod lease;
pub mod membership;
pub mod metrics;
pub mod notes;
pub mod opened;
pub mod overlay;
pub mod owner;
pub mod partition;
pub mod platform;
pub mod pointers;
pub mod progress;
pub mod quarantine;
pub mod reader;
pub mod reads;
pub mod rebuild;
pub mod round;
pub mod rows;
pub mod runtime;
pub mod settle;
pub mod stream;
pub mod tables;
pub mod tasks;
mod trace;
pub mod view;
pub mod worker;

pub use bus::{Bus, LocalBus, NatsBus};
pub use command::{CommandMeta, Receipt};
pub use error::{ConsumeError, Poison, ProjectionError};
pub use event::{NewEvent, Recorded};
pub use group::Group;
pub use keyfile::KeyFile;
pub use keyring::Keyring;
pub use lease::Consumer;
pub use membership::Membership;
pub use platform::Platform;
pub use reader::GroupStream;
pub use reads::Reads;
pub use round::{Aggregate, Loaded, Round};
pub use rows::Rows;
pub use runtime::{Runtime, Spec};
pub use stream::Stream;
pub use trace::consuming;
pub use view::View;
