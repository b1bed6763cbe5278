//! Scans of a partition and of a whole table, and emptying a table.

use super::{Broken, STATE, VIEW, VIEW_MORE, Verdict, delete, holds, key, put, same, sides};

use crate::{Direction, Engine, Range, Scan, Side, TableRef, TableRow};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;

fn scan(table: TableRef, partition: &'static [u8], range: Range, direction: Direction, limit: usize) -> Scan {
    Scan { table, partition: Bytes::from_static(partition), range, direction, limit, after: None }
}

fn range(from: &'static [u8], to: &'static [u8]) -> Range {
    Range { from: Some(Bytes::from_static(from)), to: Some(Bytes::from_static(to)) }
}

async fn keys(engine: &dyn Engine, scan: Scan) -> Result<Vec<Vec<u8>>, Broken> {
    Ok(engine.scan(&scan).await?.rows.into_iter().map(|(key, _)| key.to_vec()).collect())
}

/// `from` is in, `to` is out, a prefix is exactly its rows; borders need not exist; turned around they hold nothing.
pub async fn scans_keep_to_their_range(engine: Arc<dyn Engine>) -> Verdict {
    let table = VIEW.side(Side::A);
    let all: [&[u8]; 10] = [b"", b"\0", b"\0\0", b"a", b"a\0", b"a\0b", b"ab", b"b", b"\xff", b"\xff\xff"];
    engine.write(all.iter().map(|clustering| put(table, b"p", clustering, clustering)).collect()).await?;
    let open = |from: Option<&'static [u8]>, to: Option<&'static [u8]>| Range {
        from: from.map(Bytes::from_static),
        to: to.map(Bytes::from_static),
    };
    let cases: [(Range, &[&[u8]]); 12] = [
        (Range::all(), &all),
        (range(b"a", b"b"), &[b"a", b"a\0", b"a\0b", b"ab"]),
        (range(b"a\0", b"a\0b"), &[b"a\0"]),
        (range(b"a\0\0", b"ac"), &[b"a\0b", b"ab"]),
        (range(b"c", b"d"), &[]),
        (range(b"b", b"a"), &[]),
        (range(b"a", b"a"), &[]),
        (open(None, Some(b"a")), &[b"", b"\0", b"\0\0"]),
        (open(Some(b"b"), None), &[b"b", b"\xff", b"\xff\xff"]),
        (Range::prefix(b"a"), &[b"a", b"a\0", b"a\0b", b"ab"]),
        (Range::prefix(b"\xff"), &[b"\xff", b"\xff\xff"]),
        (Range::prefix(b""), &all),
    ];
    for (range, expected) in cases {
        let mut expected: Vec<Vec<u8>> = expected.iter().map(|key| key.to_vec()).collect();
        let words = format!("{range:?}");
        let found = keys(&*engine, scan(table, b"p", range.clone(), Direction::Forward, 100)).await?;
        same(&words, &found, &expected)?;
        expected.reverse();
        let found = keys(&*engine, scan(table, b"p", range, Direction::Backward, 100)).await?;
        same(&format!("{words} backward"), &found, &expected)?;
    }
    Ok(())
}

/// Pages of every size, in both directions, with and without borders, hold each row once and carry its value.
pub async fn scans_go_both_ways_in_pages(engine: Arc<dyn Engine>) -> Verdict {
    let table = VIEW.side(Side::B);
    let name = |n: u8| vec![b'k', n, 0];
    engine.write((0..20).map(|n| put(table, b"p", &name(n), &[n])).collect()).await?;
    let inner = Range { from: Some(name(3).into()), to: Some(name(17).into()) };
    for (range, numbers) in [(Range::all(), 0..20_u8), (inner, 3..17)] {
        for direction in [Direction::Forward, Direction::Backward] {
            let mut expected: Vec<u8> = numbers.clone().collect();
            if direction == Direction::Backward {
                expected.reverse();
            }
            for limit in [1, 2, 3, 7, 14, 20, 21] {
                let mut ask = scan(table, b"p", range.clone(), direction, limit);
                let mut found = Vec::new();
                loop {
                    let page = engine.scan(&ask).await?;
                    holds(page.rows.len() <= limit, || format!("{} rows for {limit}", page.rows.len()))?;
                    found.extend(page.rows.iter().flat_map(|(_, row)| row.value.to_vec()));
                    let Some(next) = page.next else { break };
                    holds(found.len() <= 20, || "the pages never end".to_owned())?;
                    ask.after = Some(next);
                }
                same(&format!("pages of {limit} {direction:?}"), &found, &expected)?;
            }
        }
    }
    // The key of a row that was read serves as a token too, even once the row is gone.
    engine.write(vec![delete(table, b"p", &name(5))]).await?;
    let mut ask = scan(table, b"p", Range::all(), Direction::Forward, 1);
    ask.after = Some(name(5).into());
    same("behind a deleted row", &keys(&*engine, ask.clone()).await?, &vec![name(6)])?;
    ask.direction = Direction::Backward;
    same("before a deleted row", &keys(&*engine, ask).await?, &vec![name(4)])
}

/// Whoever asks for more gets a thousand and a token; whoever asks for none gets one.
pub async fn a_page_has_at_most_a_thousand_rows(engine: Arc<dyn Engine>) -> Verdict {
    let table = VIEW.side(Side::A);
    let rows: Vec<_> = (0..1_050_u16).map(|n| put(table, b"p", &n.to_be_bytes(), b"v")).collect();
    for part in rows.chunks(100) {
        engine.write(part.to_vec()).await?;
    }
    let mut ask = scan(table, b"p", Range::all(), Direction::Forward, usize::MAX);
    let page = engine.scan(&ask).await?;
    same("rows", &page.rows.len(), &1_000)?;
    ask.after = page.next;
    holds(ask.after.is_some(), || "there is more, and no token".to_owned())?;
    same("the rest", &engine.scan(&ask).await?.rows.len(), &50)?;
    ask.limit = 0;
    same("a page of none", &engine.scan(&ask).await?.rows.len(), &1)?;
    let page = engine.scan_table(table, None, usize::MAX).await?;
    same("rows of a table", &(page.rows.len(), page.next.is_some()), &(1_000, true))
}

/// A partition whose key begins with another's, a table whose name does, and the other side, do not show.
pub async fn scans_stay_in_their_partition_and_table(engine: Arc<dyn Engine>) -> Verdict {
    let [a, b] = sides();
    for (table, partition) in [
        (a, b"p".as_slice()),
        (a, b"pp"),
        (a, b"p\0"),
        (a, b"o\xff"),
        (b, b"p"),
        (VIEW_MORE.side(Side::A), b"p"),
    ] {
        let value = format!("{table} {partition:?}");
        engine.write(vec![put(table, partition, b"c", value.as_bytes())]).await?;
    }
    for direction in [Direction::Forward, Direction::Backward] {
        let page = engine.scan(&scan(a, b"p", Range::all(), direction, 10)).await?;
        let found: Vec<_> = page.rows.iter().map(|(_, row)| row.value.to_vec()).collect();
        same("rows", &found, &vec![format!("{a} {:?}", b"p".as_slice()).into_bytes()])?;
    }
    same("rows of side a", &engine.scan_table(a, None, 10).await?.rows.len(), &4)?;
    same("rows of side b", &engine.scan_table(b, None, 10).await?.rows.len(), &1)?;
    same("rows of another", &engine.scan_table(VIEW_MORE.side(Side::B), None, 10).await?.rows.len(), &0)
}

async fn whole(engine: &dyn Engine, table: TableRef, limit: usize) -> Result<Vec<TableRow>, Broken> {
    let mut rows = Vec::new();
    let mut after = None;
    loop {
        let page = engine.scan_table(table, after.as_ref(), limit).await?;
        holds(page.rows.len() <= limit, || format!("{} rows for {limit}", page.rows.len()))?;
        rows.extend(page.rows);
        holds(rows.len() <= 10_000, || "the pages never end".to_owned())?;
        after = page.next;
        if after.is_none() {
            return Ok(rows);
        }
    }
}

async fn fill(engine: &dyn Engine, tables: &[TableRef]) -> Verdict {
    for partition in 0..30_u8 {
        let name = vec![partition; usize::from(partition % 5) + 1];
        for table in tables {
            let rows = (0..partition % 7).map(|n| put(*table, &name, &[n, 0], &[partition, n])).collect();
            engine.write(rows).await?;
        }
    }
    Ok(())
}

/// Pages of any size give the same rows in the same order, each once; both sides agree, whatever was written first.
pub async fn a_table_is_scanned_whole_and_in_one_order(engine: Arc<dyn Engine>) -> Verdict {
    let [a, b] = sides();
    fill(&*engine, &[a]).await?;
    fill(&*engine, &[VIEW_MORE.side(Side::A), STATE.only(), b]).await?;
    let rows = whole(&*engine, a, 1_000).await?;
    let keys: BTreeSet<_> = rows.iter().map(|row| (row.partition.clone(), row.clustering.clone())).collect();
    let expected: usize = (0..30_usize).map(|partition| partition % 7).sum();
    same("rows, and different ones", &(rows.len(), keys.len()), &(expected, expected))?;
    for row in &rows {
        let found = engine.get(&key(a, &row.partition, &row.clustering)).await?;
        same("a row met by a scan", &Some(&row.row), &found.as_ref())?;
    }
    for limit in [1, 2, 10, expected, expected + 1] {
        for side in [a, b] {
            let found = whole(&*engine, side, limit).await?;
            holds(found == rows, || {
                format!("pages of {limit} of {side} are not the same rows in the same order")
            })?;
        }
    }
    Ok(())
}

/// Rows that come and go while a scan is under way cost no other row.
pub async fn a_table_scan_survives_changes(engine: Arc<dyn Engine>) -> Verdict {
    let table = VIEW.side(Side::A);
    fill(&*engine, &[table]).await?;
    let before = whole(&*engine, table, 1_000).await?;
    let mut seen = Vec::new();
    let mut gone = BTreeSet::new();
    let mut after = None;
    for n in 0.. {
        let page = engine.scan_table(table, after.as_ref(), 3).await?;
        // The row that the token stands for goes, and a new one comes into the partition that it stood in.
        if let Some(last) = page.rows.last() {
            engine.write(vec![delete(table, &last.partition, &last.clustering)]).await?;
            gone.insert((last.partition.clone(), last.clustering.clone()));
            engine.write(vec![put(table, &last.partition, &[0xee, n], b"new")]).await?;
        }
        seen.extend(page.rows);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    seen.retain(|row| row.row.value != b"new".as_slice());
    holds(seen == before, || "rows are missing, or came twice, or out of order".to_owned())?;
    let left = whole(&*engine, table, 1_000).await?;
    holds(left.iter().all(|row| !gone.contains(&(row.partition.clone(), row.clustering.clone()))), || {
        "a deleted row is still scanned".to_owned()
    })
}

/// More than a page is emptied; the other side, the state and a table of a longer name stay.
pub async fn clearing_takes_one_side_only(engine: Arc<dyn Engine>) -> Verdict {
    let [a, b] = sides();
    let others = [b, VIEW_MORE.side(Side::A), STATE.only()];
    fill(&*engine, &[a]).await?;
    fill(&*engine, &others).await?;
    let rows: Vec<_> = (0..1_200_u16).map(|n| put(a, b"many", &n.to_be_bytes(), b"v")).collect();
    for part in rows.chunks(100) {
        engine.write(part.to_vec()).await?;
    }
    // Only the two sides of a view promise one order, so each of the others is compared with itself.
    let mut before = Vec::new();
    for other in others {
        before.push(whole(&*engine, other, 100).await?);
    }
    engine.clear(a).await?;
    same("what is left", &whole(&*engine, a, 100).await?, &Vec::new())?;
    for (other, before) in others.into_iter().zip(before) {
        holds(!before.is_empty() && whole(&*engine, other, 100).await? == before, || {
            format!("{other} lost rows")
        })?;
    }
    engine.clear(a).await?;
    engine.write(vec![put(a, b"many", b"\0\0", b"again")]).await?;
    same("written after clearing", &whole(&*engine, a, 100).await?.len(), &1)
}
