//! What a process needs before it has a purpose: time, errors on the wire, transport, shutdown, health, telemetry, config.
//!
//! In: nothing of P92 but the kernel's words. It must not know any service, message, table or event.

pub mod clock;
pub mod server;
pub mod shutdown;
pub mod status;
pub mod telemetry;
pub mod transport;

pub use clock::{SystemClock, SystemRandom};
pub use shutdown::Shutdown;
pub use transport::Transport;
