//! The rules of identity, as functions of values: what may be decided, and what follows from it.
//!
//! Pure: no I/O, no clock, no randomness, no message and no table. Ids, times and sealed content arrive in commands.
//! It never sees what is inside sealed content; texts are checked here before they are sealed elsewhere.

pub mod account;
pub mod authority;
pub mod email;
pub mod handle;
pub mod host;
pub mod oauth;
pub mod profile;
pub mod relationship;
pub mod scope;
pub mod sealed;
pub mod server;
pub mod tag;

pub use account::Account;
pub use authority::{By, Role};
pub use handle::Handle;
pub use relationship::Relationship;
pub use scope::Scopes;
pub use sealed::Sealed;
pub use server::Server;
