//! ActivityPub ids and addressing as functions of bytes.
//!
//! In: texts that strangers wrote. Out: typed ids, origins, `to` and `cc`, or what is wrong. It refuses to know sockets,
//! clocks, stores, and whether what an id names exists.

pub mod addressing;
pub mod id;

pub use addressing::{Addressing, Visibility, is_public};
pub use id::{ActorId, BadId, InboxUrl, Loopback, ObjectId, Origin};
