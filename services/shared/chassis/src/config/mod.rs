//! Configuration: one struct per component, filled by defaults, then a file, then the environment, then flags.
//!
//! ```
//! p92_chassis::config! {
//!     /// Where this process listens.
//!     pub struct Listen {
//!         /// Address of the public HTTP listener.
//!         pub http: String = "127.0.0.1:8092".to_owned(),
//!     }
//! }
//! p92_chassis::config! {
//!     /// The whole.
//!     pub struct Config {
//!         /// How long to wait for the store.
//!         pub patience: p92_chassis::HumanDuration = "5s".parse().unwrap_or_default(),
//!         /// Where it listens. (No default: a section of its own.)
//!         pub listen: Listen,
//!     }
//! }
//! let loaded = p92_chassis::config::Loader::<Config>::default()
//!     .environment([("P92_LISTEN__HTTP".to_owned(), "0.0.0.0:80".to_owned())])
//!     .load()?;
//! assert_eq!(loaded.value.listen.http, "0.0.0.0:80");
//! # Ok::<(), p92_chassis::config::Problems>(())
//! ```
//!
//! Doc comments are the reference: `print` shows them above each key. Nothing is misread silently: an unknown key is an
//! error that names its place and the nearest key that exists. It refuses to know what any key means.

mod declare;
mod duration;
mod layers;
mod print;
mod secret;

pub use declare::{Documented, Holds, Key};
pub use duration::{HumanDuration, NotADuration};
pub use layers::{Loaded, Loader, Origin, Problem, Problems};
pub use print::print;
pub use secret::{REDACTED, Secret};

/// The environment of this process. What is not text is no setting of ours, and is passed over.
pub fn process_environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}
