//! The only binary: chooses services, wires transports, and is the command line.
//!
//! In: flags, a file, signals. Out: listeners, exit codes, words for operators. It knows every service by its name and
//! configuration, and none of them from within.
//!
//! | room | noun |
//! |---|---|
//! | `cli` | commands |
//! | `settings` | what may be set, and from where |
//! | `wiring` | services and the transports between them |
//! | `serve` | the whole in one process, from start to stop |
//! | `operator` | the operator API |
//! | `socket` | the way in for commands of this machine |
//! | `ops` | `p92 health` |

pub mod cli;
pub mod operator;
pub mod ops;
pub mod serve;
pub mod settings;
pub mod socket;
pub mod wiring;
