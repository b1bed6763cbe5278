//! A process, from start to stop: everything in one, one service, or the door.

mod base;
mod door;
pub(crate) mod first;
mod public;
mod service;
mod shared;
mod whole;

pub use service::internal;

use crate::cli::Common;
use crate::role::Role;
use crate::settings::Flags;
use clap::Args;
use std::process::ExitCode;

/// What is served, and how it is set.
#[derive(Clone, Debug, Args)]
pub struct What {
    /// One part, in a process of its own; everything in this process if not said
    #[arg(value_enum)]
    pub part: Option<Role>,
    #[command(flatten)]
    pub flags: Flags,
}

/// Runs until a signal.
pub async fn serve(what: &What, common: &Common) -> anyhow::Result<ExitCode> {
    match what.part {
        None => whole::serve(&what.flags, common).await,
        Some(Role::Gateway) => door::serve(&what.flags, common).await,
        Some(role) => service::serve(role, &what.flags, common).await,
    }
}
