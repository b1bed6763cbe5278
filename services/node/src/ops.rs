//! `p92 health`: asks the operators' listener of a running server whether it serves. `p92 doctor` asks it and the door so too.

use std::process::ExitCode;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Asks, and says what it was told.
pub async fn ask(address: &str, json: bool) -> anyhow::Result<ExitCode> {
    let asked = tokio::time::timeout(Duration::from_secs(5), read(address, address, "/readyz")).await;
    let (ready, why) = match asked {
        Ok(Ok(answer)) if answer.starts_with("HTTP/1.1 200") => (true, "ready".to_owned()),
        Ok(Ok(answer)) => (false, answer.lines().last().unwrap_or("not ready").to_owned()),
        Ok(Err(error)) => (false, format!("no server answers at {address}: {error}")),
        Err(_) => (false, format!("the server at {address} does not answer within 5 s")),
    };
    if json {
        println!("{}", serde_json::json!({ "ready": ready, "reason": why }));
    } else {
        println!("{why}");
    }
    Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The whole answer of whoever listens there, asked under the name of `host`.
pub(crate) async fn read(address: &str, host: &str, path: &str) -> std::io::Result<String> {
    const MOST: u64 = 64 * 1024;
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(MOST).read_to_string(&mut answer).await?;
    Ok(answer)
}
