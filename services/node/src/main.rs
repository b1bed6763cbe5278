//! The `p92` binary.

use clap::Parser as _;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = p92_node::cli::Cli::parse();
    match p92_node::cli::run(cli).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("p92: {error:#}");
            ExitCode::FAILURE
        }
    }
}
