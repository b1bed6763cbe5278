//! What an owner reads: the rows of the engine with those over them, exactly, however many there are of either.

use crate::world::open;
use bytes::Bytes;
use p92_eventlog::Rows;
use p92_eventlog::overlay::{Laid, Overlay, Place};
use p92_eventlog::rows::Layers;
use p92_kernel::Seq;
use p92_storage::{
    Class, Direction, Embedded, Engine, Key, ProjectedBatch, ProjectedWrite, Range, RowKey, Side, Table,
    Write,
};
use std::collections::BTreeMap;

static TABLE: Table = Table { name: "posting_overlaid", class: Class::View, row: "", serves: "a test" };

/// More than an engine hands out at once, three times over.
const ROWS: u16 = 3_300;

fn partition() -> Bytes {
    Bytes::from_static(b"p")
}

fn at(number: u16) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

fn lay(overlay: &mut Overlay, number: u16, value: Option<&'static str>) {
    let place = Place { table: TABLE.name, partition: partition(), clustering: at(number) };
    overlay.lay(place, Laid { table: &TABLE, value: value.map(Bytes::from), at: Seq(9) });
}

/// Stored rows at even numbers, and what is expected of them.
async fn stored(engine: &Embedded) -> BTreeMap<u16, Bytes> {
    let numbers: Vec<u16> = (0..ROWS).map(|number| number * 2).collect();
    for part in numbers.chunks(500) {
        let write = |number: &u16| Write {
            key: RowKey::new(TABLE.side(Side::A), partition(), at(*number)),
            value: Some("stored".into()),
        };
        engine.write(part.iter().map(write).collect()).await.unwrap();
    }
    numbers.into_iter().map(|number| (number, Bytes::from("stored"))).collect()
}

/// Two layers: the older deletes a run that is longer than a page, the newer puts rows between, brings some back.
fn layers(expected: &mut BTreeMap<u16, Bytes>) -> [Overlay; 2] {
    let (mut newer, mut older) = (Overlay::default(), Overlay::default());
    for number in (100..2_900).step_by(2) {
        lay(&mut older, number, None);
        expected.remove(&number);
    }
    for number in (101..6_000).step_by(13) {
        lay(&mut newer, number, Some("laid"));
        expected.insert(number, "laid".into());
    }
    lay(&mut older, 6_601, Some("behind all"));
    expected.insert(6_601, "behind all".into());
    [newer, older]
}

fn wanted(expected: &BTreeMap<u16, Bytes>, range: &Range, direction: Direction) -> Vec<(Bytes, Bytes)> {
    let within = |key: &Bytes| {
        range.from.as_ref().is_none_or(|from| key >= from) && range.to.as_ref().is_none_or(|to| key < to)
    };
    let rows = expected.iter().map(|(number, value)| (at(*number), value.clone()));
    let mut rows: Vec<_> = rows.filter(|(key, _)| within(key)).collect();
    if direction == Direction::Backward {
        rows.reverse();
    }
    rows
}

#[tokio::test]
async fn a_scan_misses_no_row_however_many_are_stored_or_hidden() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let mut expected = stored(&engine).await;
    let overlays = layers(&mut expected);
    let laid: Vec<&Overlay> = overlays.iter().collect();
    let layers = Layers { engine: &*engine, laid: &laid, known: None };
    let ranges = [
        Range::all(),
        Range { from: Some(at(90)), to: Some(at(5_001)) },
        Range { from: Some(at(3_001)), to: None },
        Range { from: None, to: Some(at(2_950)) },
        Range { from: Some(at(200)), to: Some(at(100)) },
    ];
    for range in ranges {
        for direction in [Direction::Forward, Direction::Backward] {
            let all = wanted(&expected, &range, direction);
            for limit in [0, 1, 2, 49, 50, 51, 500, 999, 1_000, 1_001, 2_400, usize::MAX] {
                let table = TABLE.side(Side::A);
                let found = layers.scan(table, &partition(), range.clone(), direction, limit).await.unwrap();
                let wanted = &all[..all.len().min(limit)];
                assert!(found == wanted, "{range:?} {direction:?} {limit}: {} rows", found.len());
            }
        }
    }
}

/// Pages as callers make them: the next begins behind the last key.
#[tokio::test]
async fn pages_hold_every_row_once() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let mut expected = stored(&engine).await;
    let overlays = layers(&mut expected);
    let laid: Vec<&Overlay> = overlays.iter().collect();
    let layers = Layers { engine: &*engine, laid: &laid, known: None };
    for direction in [Direction::Forward, Direction::Backward] {
        for step in [7, 600, 1_000] {
            let (mut range, mut found) = (Range::all(), Vec::new());
            loop {
                let table = TABLE.side(Side::A);
                let page = layers.scan(table, &partition(), range.clone(), direction, step).await.unwrap();
                let Some((last, _)) = page.last().cloned() else { break };
                found.extend(page);
                match direction {
                    Direction::Forward => range.from = Some([&last[..], &[0]].concat().into()),
                    Direction::Backward => range.to = Some(last),
                }
            }
            assert!(found == wanted(&expected, &Range::all(), direction), "{direction:?} {step}");
        }
    }
}

/// An earlier owner wrote rows of this event and of later ones and died before it moved `applied` (an engine without
/// atomic projections). What this event would make of them is in them already.
#[tokio::test]
async fn rows_that_are_ahead_are_seen_by_a_scan_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let table = TABLE.side(Side::A);
    let write = |number: u16, position: u64| ProjectedWrite {
        key: RowKey::new(table, partition(), at(number)),
        value: Some("there".into()),
        at: Seq(position),
    };
    let batch = ProjectedBatch {
        checkpoint: RowKey::new(p92_eventlog::tables::CHECKPOINTS.only(), Key::new().text("t"), Key::new()),
        from: Seq(0),
        to: Seq(8),
        writes: vec![write(1, 4), write(2, 5), write(3, 8)],
        note: None,
    };
    engine.project(batch).await.unwrap();
    let mut rows = Rows::new(table, Seq(5), Layers { engine: &*engine, laid: &[], known: None });
    let found = rows.scan(partition(), Range::all(), Direction::Forward, 10).await.unwrap();
    assert_eq!(found.len(), 3);
    for (clustering, _) in found {
        rows.delete(partition(), clustering);
    }
    rows.put(partition(), at(7), "new");
    // What the event wrote itself is no row ahead of it.
    assert_eq!(rows.scan(partition(), Range::all(), Direction::Backward, 1).await.unwrap()[0].0, at(7));
    rows.put(partition(), at(7), "newer");
    let written = rows.written().unwrap();
    let written: Vec<_> =
        written.iter().map(|(place, laid)| (place.clustering.clone(), &laid.value)).collect();
    assert_eq!(written, vec![(at(1), &None), (at(7), &Some(Bytes::from("newer")))]);
}
