//! What a process needs before it has a purpose: time, errors on the wire, transport, shutdown, health, telemetry, config.
//!
//! In: nothing of P92 but the kernel's words. It must not know any service, message, table or event.

pub mod clock;
pub mod config;
pub mod health;
pub mod ops;
pub mod server;
pub mod shutdown;
pub mod status;
pub mod telemetry;
pub mod tls;
pub mod transport;

pub use clock::{SystemClock, SystemRandom};
pub use config::{HumanDuration, Secret};
pub use health::Health;
pub use shutdown::Shutdown;
pub use telemetry::Telemetry;
pub use transport::Transport;

// `config!` names this crate by its name, in this crate too.
#[allow(unused_extern_crates)]
extern crate self as p92_chassis;

#[doc(hidden)]
pub use serde;
