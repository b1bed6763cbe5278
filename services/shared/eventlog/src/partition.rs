//! Every row of a partition that is small by its kind: slots, members, what was put aside. It must not know what a row means.

use bytes::Bytes;
use p92_storage::{Direction, Engine, Range, Row, Scan, StoreError, TableRef};

/// Every row with its clustering key, in the table's order. All of them are held at once, so not for what grows.
pub async fn every_row(
    engine: &dyn Engine,
    table: TableRef,
    partition: Bytes,
) -> Result<Vec<(Bytes, Row)>, StoreError> {
    let range = Range::all();
    let mut scan = Scan { table, partition, range, direction: Direction::Forward, limit: 1_000, after: None };
    let mut found = Vec::new();
    loop {
        let page = engine.scan(&scan).await?;
        found.extend(page.rows);
        match page.next {
            Some(next) => scan.after = Some(next),
            None => return Ok(found),
        }
    }
}
