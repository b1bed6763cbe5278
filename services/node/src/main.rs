//! The `p92` binary.

use clap::Parser as _;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Whoever reads what is printed may stop reading (`p92 lag | head`): that is an end, and no bug.
fn end_with_the_reader() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let unread =
            |words: &str| words.starts_with("failed printing to stdout") && words.contains("Broken pipe");
        if panic.payload_as_str().is_some_and(unread) {
            std::process::exit(0);
        }
        usual(panic);
    }));
}

#[tokio::main]
async fn main() -> ExitCode {
    end_with_the_reader();
    let cli = p92_node::cli::Cli::parse();
    match p92_node::cli::run(cli).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("p92: {error:#}");
            ExitCode::FAILURE
        }
    }
}
