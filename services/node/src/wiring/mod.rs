//! Services and the transports between them.
//!
//! Each service gets the way to another one as a transport; whether that is the co-located server or a network channel
//! is decided here alone.
//!
//! | room | noun |
//! |---|---|
//! | `whole` | every service in one process |
//! | `one` | one service among processes |
//! | `ways` | network channels to the others |

mod one;
mod ways;
mod whole;

pub use one::{One, start_one};
pub use ways::Ways;
pub use whole::{Whole, start};
