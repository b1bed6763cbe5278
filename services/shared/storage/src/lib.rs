//! Typed tables over an engine: what P92 keeps, and the port through which it is kept.
//!
//! In: keys typed in code and encoded to ordered bytes, rows that are protobuf messages (opaque here).
//! Out: rows, pages, and the outcome of conditional writes. It must not know any message, event or service.
//!
//! The port is [`Engine`]; [`embedded`] is the engine of one process, [`cql`] that of a cluster, `memory` that of
//! simulations. Every engine passes the same suite; what an engine cannot do it declares in [`Capabilities`].

pub mod conformance;
pub mod cql;
pub mod embedded;
pub mod engine;
pub mod error;
mod ids;
pub mod key;
mod limits;
#[cfg(feature = "memory")]
pub mod memory;
pub mod table;

pub use cql::{CqlConfig, CqlEngine};
pub use embedded::{Embedded, EmbeddedConfig, FreeSpace};
pub use engine::{
    Append, Capabilities, Conditional, Direction, Engine, GroupId, LOG_BUCKET, LogKey, LogRow, Page,
    ProjectedBatch, ProjectedWrite, Projection, Range, Row, RowKey, Scan, TableRow, Write,
};
pub use error::{Outcome, StoreError};
pub use key::{Key, KeyReader, Malformed};
pub use limits::check_length;
pub use table::{Class, Side, Table, TableRef};
