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
//! | `role` | what one process is |
//! | `backing` | the store and the bus under everything |
//! | `serve` | a process, from start to stop: the whole, one service, the door |
//! | `operator` | the operator API |
//! | `findings`, `doctor` | what is wrong, and what to do about it |
//! | `backup` | what is backed up, and the directory that it is restored into |
//! | `reach` | the way of commands to the server that they are for |
//! | `socket` | the way in for commands of this machine |
//! | `ops` | `p92 health` |

pub mod backing;
pub mod backup;
pub mod cli;
pub mod doctor;
pub mod findings;
pub mod operator;
pub mod ops;
pub mod reach;
pub mod role;
pub mod serve;
pub mod settings;
pub mod socket;
pub mod wiring;
