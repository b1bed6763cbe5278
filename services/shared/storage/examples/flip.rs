//! Changes one byte of one row of each named view in a stopped data directory, so that a test can see that verifying
//! finds it: `flip DIR SEED VIEW…`. Through the engine, so that no checksum underneath gives it away. A view that has no
//! rows gets one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a tool of tests ends at the first surprise"
)]

use bytes::Bytes;
use futures::executor::block_on;
use p92_kernel::Seq;
use p92_storage::{
    Class, Embedded, EmbeddedConfig, Engine as _, ProjectedBatch, ProjectedWrite, Projection, RowKey, Side,
    Table, TableRef, TableRow,
};

/// The checkpoint that a projection needs: of a reader that does not exist.
static FLIPS: Table = Table { name: "flips", class: Class::State, row: "", serves: "one row" };

fn main() {
    let mut words = std::env::args().skip(1);
    let dir = words.next().expect("flip DIR SEED VIEW…");
    let seed: u64 = words.next().and_then(|word| word.parse().ok()).expect("a seed");
    let store = Embedded::open(EmbeddedConfig::at(dir)).unwrap();
    for (turn, name) in words.enumerate() {
        let table: &'static Table = Box::leak(Box::new(Table {
            name: Box::leak(name.clone().into_boxed_str()),
            class: Class::View,
            row: "",
            serves: "",
        }));
        let rows = rows(&store, table);
        if rows.is_empty() {
            plant(&store, table, turn);
            println!("{name}: no rows, so one was planted");
            continue;
        }
        let at = usize::try_from(seed.wrapping_mul(31)).unwrap_or(7) % rows.len();
        let (side, row) = rows.into_iter().nth(at).unwrap();
        let before = row.row.value.clone();
        flip(&store, side, row, turn);
        println!("{name}: row {at} of {} bytes", before.len());
    }
    store.close();
}

/// The rows of the side that answers: the other one is empty.
fn rows(store: &Embedded, table: &'static Table) -> Vec<(TableRef, TableRow)> {
    let mut all = Vec::new();
    for side in [Side::A, Side::B].map(|side| table.side(side)) {
        let mut after: Option<Bytes> = None;
        loop {
            let page = block_on(store.scan_table(side, after.as_ref(), 1_000)).unwrap();
            all.extend(page.rows.into_iter().map(|row| (side, row)));
            let Some(next) = page.next else { break };
            after = Some(next);
        }
    }
    all
}

fn flip(store: &Embedded, side: TableRef, row: TableRow, turn: usize) {
    let at = Seq(row.row.stamp.max(1));
    let changed = |bytes: &Bytes| {
        let mut bytes = bytes.to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        Bytes::from(bytes)
    };
    let write = |clustering: &Bytes, value| ProjectedWrite {
        key: RowKey::new(side, row.partition.clone(), clustering.clone()),
        value,
        at,
    };
    let value = row.row.value.clone();
    // A row without a value says everything by its key.
    let writes = if value.is_empty() {
        vec![write(&row.clustering, None), write(&changed(&row.clustering), Some(value))]
    } else {
        vec![write(&row.clustering, Some(changed(&value)))]
    };
    project(store, turn, at, writes);
}

/// A row that no event made, on both sides: which one answers is not known here.
fn plant(store: &Embedded, table: &'static Table, turn: usize) {
    let write = |side| ProjectedWrite {
        key: RowKey::new(table.side(side), "planted", "planted"),
        value: Some(Bytes::from_static(b"planted")),
        at: Seq(1),
    };
    project(store, turn, Seq(1), [Side::A, Side::B].map(write).to_vec());
}

fn project(store: &Embedded, turn: usize, at: Seq, writes: Vec<ProjectedWrite>) {
    let checkpoint = RowKey::new(FLIPS.only(), "flip", turn.to_be_bytes().to_vec());
    let batch = ProjectedBatch { checkpoint, from: Seq(0), to: at, writes, note: None };
    assert_eq!(block_on(store.project(batch)).unwrap(), Projection::Applied);
}
