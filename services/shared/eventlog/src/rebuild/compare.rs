//! Two tables side by side, in the engine's order.
//!
//! In: the tables, which may be written meanwhile. Out: how many rows there are, and the first that differs. It must not
//! know which of them is right.

use super::Report;
use bytes::Bytes;
use p92_storage::{Engine, Row, RowKey, StoreError, TableRef};

/// Rows read per page.
const PAGE: usize = 500;
/// How often two rows that differ are read again before the difference counts.
const READ_AGAIN: u32 = 20;
/// How long between: where two tables are no one write, one has a row a little later than the other.
const BETWEEN: std::time::Duration = std::time::Duration::from_millis(25);

/// Reads both tables side by side in the engine's order. Rows that differ are read again: one of them may have been
/// written in between.
pub(super) async fn compare(
    engine: &dyn Engine,
    live: TableRef,
    rebuilt: TableRef,
    report: &mut Report,
) -> Result<(), StoreError> {
    let mut left = Cursor::new(engine, live);
    let mut right = Cursor::new(engine, rebuilt);
    loop {
        let (a, b) = (left.peek().await?, right.peek().await?);
        let key = match (&a, &b) {
            (None, None) => return Ok(()),
            (Some((a, _)), None) => a.clone(),
            (None, Some((b, _))) => b.clone(),
            (Some((a, _)), Some((b, _))) => a.min(b).clone(),
        };
        let a = a.filter(|(at, _)| *at == key).map(|(_, row)| row);
        let b = b.filter(|(at, _)| *at == key).map(|(_, row)| row);
        report.compared += 1;
        if a != b
            && let Some(difference) = differ(engine, live, rebuilt, &key).await?
        {
            report.difference.get_or_insert(difference);
        }
        left.pass(&key);
        right.pass(&key);
    }
}

type PlaceKey = (Bytes, Bytes);

async fn differ(
    engine: &dyn Engine,
    live: TableRef,
    rebuilt: TableRef,
    key: &PlaceKey,
) -> Result<Option<String>, StoreError> {
    let keys = [live, rebuilt].map(|table| RowKey::new(table, key.0.clone(), key.1.clone()));
    let mut last = None;
    for _ in 0..READ_AGAIN {
        let rows = engine.get_many(&keys).await?;
        let [a, b] = rows.as_slice() else { return Ok(None) };
        if a == b {
            return Ok(None);
        }
        last = Some(describe(live, key, a.as_ref(), b.as_ref()));
        tokio::time::sleep(BETWEEN).await;
    }
    Ok(last)
}

fn describe(live: TableRef, key: &PlaceKey, a: Option<&Row>, b: Option<&Row>) -> String {
    let show = |row: Option<&Row>| match row {
        Some(row) => format!("{} at position {}", hex::encode(&row.value), row.stamp),
        None => "no row".to_owned(),
    };
    format!(
        "{} | {} | {}: live {}, rebuilt {}",
        live.table.name,
        hex::encode(&key.0),
        hex::encode(&key.1),
        show(a),
        show(b)
    )
}

/// Goes through a whole table, a page at a time.
struct Cursor<'a> {
    engine: &'a dyn Engine,
    table: TableRef,
    rows: std::collections::VecDeque<(PlaceKey, Row)>,
    next: Option<Bytes>,
    started: bool,
}

impl<'a> Cursor<'a> {
    fn new(engine: &'a dyn Engine, table: TableRef) -> Self {
        Self { engine, table, rows: std::collections::VecDeque::new(), next: None, started: false }
    }

    async fn peek(&mut self) -> Result<Option<(PlaceKey, Row)>, StoreError> {
        while self.rows.is_empty() && (!self.started || self.next.is_some()) {
            self.started = true;
            let page = self.engine.scan_table(self.table, self.next.as_ref(), PAGE).await?;
            self.rows = page.rows.into_iter().map(|row| ((row.partition, row.clustering), row.row)).collect();
            self.next = page.next;
        }
        Ok(self.rows.front().cloned())
    }

    fn pass(&mut self, key: &PlaceKey) {
        if self.rows.front().is_some_and(|(at, _)| at == key) {
            self.rows.pop_front();
        }
    }
}
