//! Tables as operators look at them: rows by key or in the engine's order, decoded.

use super::Common;
use super::show::{decode, failed, table, to_json};
use crate::reach::Operators;
use clap::Subcommand;
use p92_proto::operator::v1::*;
use p92_storage::Key;
use prost::bytes::Bytes;
use std::process::ExitCode;

/// How keys are written.
const KEYS: &str = "A part of a key is a number (7), a text (identity), or says what it is: desc:7 for a falling number, small:3 for a\n\
     shard, text:7, hex:00ff for bytes as `p92 table scan` prints them. For example:\n  \
     p92 table get identity_accounts 137438953472\n  \
     p92 table get eventlog_ownership posting --then small:3";

/// A part of a key.
#[derive(Clone, Debug)]
pub enum Part {
    Number(u64),
    Falling(u64),
    Small(u16),
    Text(String),
    Raw(Vec<u8>),
}

fn part(written: &str) -> Result<Part, String> {
    let number = |text: &str| text.parse().map_err(|_| format!("{text} is no number"));
    match written.split_once(':') {
        Some(("num", text)) => number(text).map(Part::Number),
        Some(("desc", text)) => number(text).map(Part::Falling),
        Some(("small", text)) => {
            text.parse().map(Part::Small).map_err(|_| format!("{text} is no number up to 65535"))
        }
        Some(("text", text)) => Ok(Part::Text(text.to_owned())),
        Some(("hex", text)) => {
            hex::decode(text).map(Part::Raw).map_err(|_| format!("{text} is no hexadecimal"))
        }
        _ => Ok(written.parse().map_or_else(|_| Part::Text(written.to_owned()), Part::Number)),
    }
}

fn key(parts: &[Part]) -> Bytes {
    let add = |key: Key, part: &Part| match part {
        Part::Number(number) => key.num(*number),
        Part::Falling(number) => key.desc(*number),
        Part::Small(number) => key.small(*number),
        Part::Text(text) => key.text(text),
        Part::Raw(bytes) => key.raw(bytes),
    };
    parts.iter().fold(Key::new(), add).build()
}

/// Commands about tables.
#[derive(Debug, Subcommand)]
pub enum TableCommand {
    /// Every table, with its class and the query that it serves.
    List,
    /// One row of a table, decoded. Exits with 1 if none stands there.
    #[command(after_help = KEYS)]
    Get {
        /// The table, as `p92 table list` names it.
        name: String,
        /// The parts of the partition key, in the order that `p92 table list` names.
        #[arg(required = true, value_name = "PART", value_parser = part)]
        key: Vec<Part>,
        /// A part of the clustering key; once for each, in order.
        #[arg(long = "then", value_name = "PART", value_parser = part)]
        then: Vec<Part>,
    },
    /// Rows of a table, decoded, in the engine's order.
    Scan {
        /// The table, as `p92 table list` names it.
        name: String,
        /// At most this many rows.
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
}

/// Runs a command about tables.
pub async fn run(command: TableCommand, common: &Common) -> anyhow::Result<ExitCode> {
    let mut client = common.operators().await?;
    match command {
        TableCommand::List => {
            let answer = client.list_tables(ListTablesRequest {}).await.map_err(failed)?.into_inner();
            if common.json {
                println!("{}", to_json(&answer));
                return Ok(ExitCode::SUCCESS);
            }
            let row = |one: Table| vec![one.name, one.class, one.row, one.serves];
            let rows: Vec<_> = answer.tables.into_iter().map(row).collect();
            table(&["TABLE", "CLASS", "ROW", "SERVES"], &rows);
        }
        TableCommand::Get { name, key: partition, then } => {
            let request = GetTableRowRequest { name, partition: key(&partition), clustering: key(&then) };
            let answer = client.get_table_row(request).await.map_err(failed)?.into_inner();
            let message = answer.table.map(|table| table.row).unwrap_or_default();
            let Some(row) = answer.row else {
                eprintln!("no row stands there; `p92 table list` says what its key is made of");
                return Ok(ExitCode::FAILURE);
            };
            let row = shown(&row, &message);
            println!("{}", if common.json { row.to_string() } else { serde_json::to_string_pretty(&row)? });
        }
        TableCommand::Scan { name, limit } => scan(&mut client, name, limit).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A row with its message decoded.
fn shown(row: &TableRow, message: &str) -> serde_json::Value {
    let value = if message.is_empty() {
        serde_json::Value::String(hex::encode(&row.value))
    } else {
        decode(message, &row.value)
    };
    serde_json::json!({
        "partition": hex::encode(&row.partition),
        "clustering": hex::encode(&row.clustering),
        "stamp": row.stamp.to_string(),
        "row": value,
    })
}

async fn scan(client: &mut Operators, name: String, limit: u32) -> anyhow::Result<()> {
    let mut left = limit;
    let mut page_token = Bytes::new();
    while left > 0 {
        let request = ScanTableRequest { name: name.clone(), page_size: left.min(1_000), page_token };
        let page = client.scan_table(request).await.map_err(failed)?.into_inner();
        let message = page.table.map(|table| table.row).unwrap_or_default();
        for row in page.rows {
            println!("{}", shown(&row, &message));
            left = left.saturating_sub(1);
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    Ok(())
}
