//! Random histories against a model: a map and a list, nothing more.

use crate::scene::{contents, group, log, open, read_log};
use p92_kernel::{Seq, Service};
use p92_storage::conformance::{STATE, STREAMS, VIEW, VIEW_MORE};
use p92_storage::{
    Append, Conditional, Direction, Embedded, Engine, LogKey, LogRow, ProjectedBatch, ProjectedWrite,
    Projection, Range, Row, RowKey, Scan, Side, TableRef, Write,
};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

const LOG: LogKey = log(Service::Timelines, 1);

/// A row by small numbers: table, partition, clustering.
type At = (usize, u8, u8);

#[derive(Clone, Debug)]
enum Step {
    Write {
        table: usize,
        partition: u8,
        rows: Vec<(u8, Option<u8>)>,
    },
    Insert(At, u8),
    CompareAndSet {
        at: At,
        right: bool,
        value: u8,
    },
    CompareAndDelete {
        at: At,
        right: bool,
    },
    Project {
        right: bool,
        by: u64,
        back: u64,
        rows: Vec<(At, Option<u8>)>,
    },
    Append {
        back: usize,
        own: bool,
        count: u64,
    },
    Clear(usize),
    Scan {
        table: usize,
        partition: u8,
        from: Option<u8>,
        to: Option<u8>,
        after: Option<u8>,
        backward: bool,
        limit: usize,
    },
    Reopen,
}

fn table(n: usize) -> TableRef {
    [STATE.only(), STREAMS.only(), VIEW.side(Side::A), VIEW.side(Side::B), VIEW_MORE.side(Side::A)][n]
}

/// Partitions and clustering keys of which one begins with another.
fn bytes(n: u8) -> Vec<u8> {
    [vec![0], vec![0, 0], vec![1], vec![1, 0], vec![0xff], vec![0xff, 0xff]][usize::from(n)].clone()
}

fn key((t, partition, clustering): At) -> RowKey {
    RowKey::new(table(t), bytes(partition), bytes(clustering))
}

fn step() -> impl Strategy<Value = Step> {
    let at = || (0_usize..5, 0_u8..6, 0_u8..6);
    let maybe = || proptest::option::of(0_u8..6);
    prop_oneof![
        6 => (0_usize..5, 0_u8..6, proptest::collection::btree_map(0_u8..6, proptest::option::of(any::<u8>()), 0..4))
            .prop_map(|(table, partition, rows)| Step::Write { table, partition, rows: rows.into_iter().collect() }),
        2 => (at(), any::<u8>()).prop_map(|(at, value)| Step::Insert(at, value)),
        4 => (at(), any::<bool>(), any::<u8>())
            .prop_map(|(at, right, value)| Step::CompareAndSet { at, right, value }),
        2 => (at(), any::<bool>()).prop_map(|(at, right)| Step::CompareAndDelete { at, right }),
        4 => (
            proptest::bool::weighted(0.8),
            0_u64..4,
            0_u64..4,
            proptest::collection::btree_map(at(), proptest::option::of(any::<u8>()), 0..4),
        )
            .prop_map(|(right, by, back, rows)| {
                Step::Project { right, by, back, rows: rows.into_iter().collect() }
            }),
        4 => (prop_oneof![4 => Just(0_usize), 1 => 1_usize..3], any::<bool>(), 1_u64..9_000)
            .prop_map(|(back, own, count)| Step::Append { back, own, count }),
        1 => (0_usize..5).prop_map(Step::Clear),
        4 => (0_usize..5, 0_u8..6, maybe(), maybe(), maybe(), any::<bool>(), 0_usize..5).prop_map(
            |(table, partition, from, to, after, backward, limit)| Step::Scan {
                table, partition, from, to, after, backward, limit,
            }
        ),
        1 => Just(Step::Reopen),
    ]
}

#[derive(Default)]
struct Model {
    rows: BTreeMap<(usize, Vec<u8>, Vec<u8>), Row>,
    log: Vec<LogRow>,
    checkpoint: u64,
}

impl Model {
    fn row(&self, (t, partition, clustering): At) -> Option<Row> {
        self.rows.get(&(t, bytes(partition), bytes(clustering))).cloned()
    }

    fn set(&mut self, (t, partition, clustering): At, row: Option<Row>) {
        let key = (t, bytes(partition), bytes(clustering));
        match row {
            Some(row) => drop(self.rows.insert(key, row)),
            None => drop(self.rows.remove(&key)),
        }
    }
}

fn row(value: u8, stamp: u64) -> Row {
    Row { value: vec![value].into(), stamp }
}

async fn take(store: &Embedded, model: &mut Model, step: Step, n: u8) {
    match step {
        Step::Write { table: t, partition, rows } => {
            let writes = rows.iter().map(|(clustering, value)| Write {
                key: key((t, partition, *clustering)),
                value: value.map(|value| vec![value].into()),
            });
            store.write(writes.collect()).await.unwrap();
            for (clustering, value) in rows {
                model.set((t, partition, clustering), value.map(|value| row(value, 0)));
            }
        }
        Step::Insert(at, value) => {
            let answer = store.insert_if_absent(&key(at), vec![value].into()).await.unwrap();
            match model.row(at) {
                Some(stands) => assert_eq!(answer, Conditional::Stands(Some(stands))),
                None => {
                    assert_eq!(answer, Conditional::Applied);
                    model.set(at, Some(row(value, 1)));
                }
            }
        }
        Step::CompareAndSet { at, right, value } => {
            let stands = model.row(at);
            let version = stands.as_ref().map(|row| row.stamp);
            let expected = if right { version } else { Some(version.unwrap_or(0) + 7) };
            let answer = store.compare_and_set(&key(at), expected, vec![value].into()).await.unwrap();
            if right {
                assert_eq!(answer, Conditional::Applied);
                model.set(at, Some(row(value, version.unwrap_or(0) + 1)));
            } else {
                assert_eq!(answer, Conditional::Stands(stands));
            }
        }
        Step::CompareAndDelete { at, right } => {
            let stands = model.row(at);
            let version = stands.as_ref().map_or(0, |row| row.stamp);
            let expected = if right { version } else { version + 7 };
            let answer = store.compare_and_delete(&key(at), expected).await.unwrap();
            if right && stands.is_some() {
                assert_eq!(answer, Conditional::Applied);
                model.set(at, None);
            } else {
                assert_eq!(answer, Conditional::Stands(stands));
            }
        }
        Step::Project { right, by, back, rows } => project(store, model, right, by, back, rows).await,
        Step::Append { back, own, count } => append(store, model, back, own, count, n).await,
        Step::Clear(t) => {
            store.clear(table(t)).await.unwrap();
            model.rows.retain(|(of, ..), _| *of != t);
        }
        Step::Scan { table: t, partition, from, to, after, backward, limit } => {
            let range = Range { from: from.map(|n| bytes(n).into()), to: to.map(|n| bytes(n).into()) };
            let after = after.map(bytes);
            let direction = if backward { Direction::Backward } else { Direction::Forward };
            let fits = |key: &Vec<u8>| {
                range.from.as_ref().is_none_or(|from| key >= from)
                    && range.to.as_ref().is_none_or(|to| key < to)
                    && after.as_ref().is_none_or(|after| if backward { key < after } else { key > after })
            };
            let mut expected: Vec<_> = (model.rows.iter())
                .filter(|((of, p, c), _)| *of == t && *p == bytes(partition) && fits(c))
                .map(|((.., c), row)| (c.clone().into(), row.clone()))
                .collect();
            if backward {
                expected.reverse();
            }
            expected.truncate(limit.max(1));
            let (partition, after) = (bytes(partition).into(), after.clone().map(Into::into));
            let scan = Scan { table: table(t), partition, range: range.clone(), direction, limit, after };
            assert_eq!(store.scan(&scan).await.unwrap().rows, expected);
        }
        Step::Reopen => {}
    }
}

async fn project(
    store: &Embedded,
    model: &mut Model,
    right: bool,
    by: u64,
    back: u64,
    rows: Vec<(At, Option<u8>)>,
) {
    let from = if right { model.checkpoint } else { model.checkpoint + 5 };
    let to = from + by;
    let at = to.saturating_sub(back);
    let writes = rows.iter().map(|(place, value)| ProjectedWrite {
        key: key(*place),
        value: value.map(|value| vec![value].into()),
        at: Seq(at),
    });
    // In a table that no step clears.
    let checkpoint = RowKey::new(VIEW_MORE.side(Side::B), "checkpoint", "c");
    let batch =
        ProjectedBatch { checkpoint, from: Seq(from), to: Seq(to), writes: writes.collect(), note: None };
    let answer = store.project(batch).await.unwrap();
    if !right {
        return assert_eq!(answer, Projection::Refused { stands: Seq(model.checkpoint) });
    }
    assert_eq!(answer, Projection::Applied);
    for (place, value) in rows {
        if model.row(place).is_none_or(|row| row.stamp <= at) {
            model.set(place, value.map(|value| row(value, at)));
        }
    }
    model.checkpoint = to;
}

async fn append(store: &Embedded, model: &mut Model, back: usize, own: bool, count: u64, n: u8) {
    let stands = (model.log.len().checked_sub(back).filter(|_| back > 0)).map(|at| model.log[at].clone());
    match stands {
        Some(stands) if own => {
            assert_eq!(store.append(LOG, &stands, &[]).await.unwrap(), Append::Appended);
        }
        Some(stands) => {
            let other = LogRow { group: [0xee; 16], ..stands.clone() };
            assert_eq!(store.append(LOG, &other, &[]).await.unwrap(), Append::SlotLost(stands));
        }
        None => {
            let head = model.log.last().map_or(0, |row| row.last_seq.0);
            let row = group(head + 1, head + count, n, usize::from(n));
            assert_eq!(store.append(LOG, &row, &[]).await.unwrap(), Append::Appended);
            model.log.push(row);
        }
    }
}

async fn compare(store: &Embedded, model: &Model) {
    let mut found = BTreeMap::new();
    for t in 0..5 {
        let page = store.scan_table(table(t), None, 1_000).await.unwrap();
        for row in page.rows {
            found.insert((t, row.partition.to_vec(), row.clustering.to_vec()), row.row);
        }
    }
    assert_eq!(found, model.rows);
    assert_eq!(read_log(store, LOG).await.unwrap(), model.log);
    let keys: Vec<_> = found.keys().map(|(t, p, c)| RowKey::new(table(*t), p.clone(), c.clone())).collect();
    let rows = store.get_many(&keys).await.unwrap();
    assert!(rows.iter().flatten().eq(found.values()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn the_store_does_what_a_map_and_a_list_do(steps in vec(step(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let mut store: Arc<Embedded> = open(dir.path());
            let mut model = Model::default();
            for (step, n) in steps.into_iter().zip((0_u8..=255).cycle()) {
                if matches!(step, Step::Reopen) {
                    let before = contents(&store).await.unwrap();
                    drop(store);
                    store = open(dir.path());
                    assert_eq!(contents(&store).await.unwrap(), before);
                    compare(&store, &model).await;
                }
                take(&store, &mut model, step, n).await;
            }
            compare(&store, &model).await;
            drop(store);
            compare(&open(dir.path()), &model).await;
        });
    }
}
