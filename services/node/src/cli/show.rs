//! How commands print: tables for people, JSON for machines; and how failures of the server look here.

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use std::sync::OnceLock;

/// Every message of the contract.
fn pool() -> anyhow::Result<&'static DescriptorPool> {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    if let Some(pool) = POOL.get() {
        return Ok(pool);
    }
    let decoded = DescriptorPool::decode(p92_proto::DESCRIPTORS)?;
    Ok(POOL.get_or_init(|| decoded))
}

/// The bytes of a message, by its full name, as JSON. What does not decode is shown as hex with the reason.
pub fn decode(name: &str, bytes: &[u8]) -> serde_json::Value {
    let decoded = || -> anyhow::Result<serde_json::Value> {
        let message = pool()?.get_message_by_name(name);
        let message = message.ok_or_else(|| anyhow::anyhow!("no message {name}"))?;
        Ok(serde_json::to_value(DynamicMessage::decode(message, bytes)?)?)
    };
    decoded().unwrap_or_else(
        |error| serde_json::json!({ "bytes": hex::encode(bytes), "problem": error.to_string() }),
    )
}

/// A message as JSON.
pub fn to_json<M: Message + prost::Name>(message: &M) -> serde_json::Value {
    decode(&M::full_name(), &message.encode_to_vec())
}

/// A table with columns as wide as what stands in them.
pub fn table(head: &[&str], rows: &[Vec<String>]) {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        println!("{}", padded.collect::<Vec<_>>().join("  ").trim_end());
    };
    line(head.to_vec());
    for row in rows {
        line(row.iter().map(String::as_str).collect());
    }
}

/// A status of the server as an error of the command.
pub fn failed(status: tonic::Status) -> anyhow::Error {
    let failure = p92_chassis::status::from_status(status);
    // Said by the transport, because no answer came.
    if failure.reason == "SERVICE_UNAVAILABLE" {
        return anyhow::anyhow!(
            "no answer came: the server ended, or a part that it needs is away, so it is not known whether this was done\n  what to do: look whether it runs, and what its log says; then run the command again"
        );
    }
    if failure.code == p92_kernel::ErrorCode::Unimplemented {
        return anyhow::anyhow!(
            "this process does not answer that here\n  what to do: commands of operators need a token (--operator and --token-file) or certificates (`tls`), or the socket of a server on this machine (--data); others go to a process of this version"
        );
    }
    match &failure.field {
        Some(field) => anyhow::anyhow!("{} ({field}; {})", failure.public, failure.reason),
        None => anyhow::anyhow!("{} ({})", failure.public, failure.reason),
    }
}
