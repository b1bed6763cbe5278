//! Plain rows: put, get, delete, and batches of them.

use super::{STATE, STREAMS, VIEW_MORE, Verdict, delete, holds, key, put, same, sides};
use crate::{Direction, Engine, Range, Row, Scan, Side};
use bytes::Bytes;
use std::sync::Arc;

/// Put, overwritten, deleted; empty and large; in each class of table.
pub async fn rows_come_back_as_they_were_written(engine: Arc<dyn Engine>) -> Verdict {
    let large = vec![0xab; 512 * 1024];
    for table in [STATE.only(), STREAMS.only(), VIEW_MORE.side(Side::A), VIEW_MORE.side(Side::B)] {
        let at = key(table, b"p", b"c");
        same("a row nobody wrote", &engine.get(&at).await?, &None)?;
        for value in [b"one".as_slice(), b"", &large, b"two"] {
            engine.write(vec![put(table, b"p", b"c", value)]).await?;
            let row = Row { value: Bytes::copy_from_slice(value), stamp: 0 };
            holds(engine.get(&at).await? == Some(row), || {
                format!("a row of {} bytes of {table}", value.len())
            })?;
        }
        engine.write(vec![delete(table, b"p", b"c")]).await?;
        same("a deleted row", &engine.get(&at).await?, &None)?;
        engine.write(vec![delete(table, b"p", b"c")]).await?;
        engine.write(Vec::new()).await?;
    }
    Ok(())
}

/// Absent rows keep their place, a key may be asked twice, and tables may be mixed.
pub async fn many_rows_are_answered_in_the_order_asked(engine: Arc<dyn Engine>) -> Verdict {
    let [a, b] = sides();
    engine.write(vec![put(a, b"p", b"1", b"a1"), put(a, b"p", b"2", b"a2")]).await?;
    engine.write(vec![put(b, b"p", b"1", b"b1")]).await?;
    let keys = [
        key(a, b"p", b"2"),
        key(b, b"p", b"2"),
        key(b, b"p", b"1"),
        key(STATE.only(), b"p", b"1"),
        key(a, b"p", b"2"),
        key(a, b"q", b"1"),
    ];
    let rows = engine.get_many(&keys).await?;
    let values: Vec<Option<&[u8]>> = rows.iter().map(|row| row.as_ref().map(|row| &*row.value)).collect();
    same("rows", &values, &vec![Some(&b"a2"[..]), None, Some(b"b1"), None, Some(b"a2"), None])?;
    same("no rows", &engine.get_many(&[]).await?, &Vec::new())
}

/// Zeros, 0xff, nothing at all, and the longest key: all are different rows.
pub async fn any_bytes_are_a_key(engine: Arc<dyn Engine>) -> Verdict {
    let longest = [7_u8; 512];
    let parts: [&[u8]; 8] = [b"a", b"", b"\0", b"\0\0", b"a\0", b"\xff", b"\xff\xff", &longest];
    let table = STATE.only();
    // CQL has no empty partition key.
    let partitions = || parts.iter().filter(|partition| !partition.is_empty());
    for (n, partition) in partitions().enumerate() {
        let rows = (0_u8..).zip(parts).map(|(m, clustering)| {
            let value = [u8::try_from(n).unwrap_or(u8::MAX), m];
            put(table, partition, clustering, &value)
        });
        engine.write(rows.collect()).await?;
    }
    for (n, partition) in partitions().enumerate() {
        for (m, clustering) in (0_u8..).zip(parts) {
            let row = engine.get(&key(table, partition, clustering)).await?;
            let value = [u8::try_from(n).unwrap_or(u8::MAX), m];
            same("the row of a key", &row.as_ref().map(|row| &*row.value), &Some(&value[..]))?;
        }
    }
    Ok(())
}

/// A batch overwrites, adds and deletes at once; a page of its partition never holds a part of it.
pub async fn a_batch_is_seen_whole(engine: Arc<dyn Engine>) -> Verdict {
    let table = STATE.only();
    let clusterings: Vec<Vec<u8>> = (0..50_u8).map(|n| vec![n]).collect();
    let round = |n: u8| clusterings.iter().map(|c| put(table, b"p", c, &[n])).collect::<Vec<_>>();
    engine.write(round(0)).await?;
    let reads = {
        let engine = engine.clone();
        let scan = Scan {
            table,
            partition: "p".into(),
            range: Range::all(),
            direction: Direction::Forward,
            limit: 100,
            after: None,
        };
        tokio::spawn(async move {
            for _ in 0..200 {
                let rows = engine.scan(&scan).await?.rows;
                same("rows", &rows.len(), &50)?;
                let first = rows.first().map(|(_, row)| row);
                let whole = rows.iter().all(|(_, row)| Some(row) == first);
                holds(whole, || "half of a batch was seen".to_owned())?;
                tokio::task::yield_now().await;
            }
            Ok(())
        })
    };
    for n in 1..=40 {
        engine.write(round(n)).await?;
    }
    let read: Verdict = reads.await?;
    read?;
    let mixed =
        vec![put(table, b"p", b"\0", b"new"), delete(table, b"p", b"\x01"), put(table, b"p", b"z", b"z")];
    engine.write(mixed).await?;
    let keys = [key(table, b"p", b"\0"), key(table, b"p", b"\x01"), key(table, b"p", b"z")];
    let rows = engine.get_many(&keys).await?;
    let values: Vec<Option<&[u8]>> = rows.iter().map(|row| row.as_ref().map(|row| &*row.value)).collect();
    same("a mixed batch", &values, &vec![Some(&b"new"[..]), None, Some(b"z")])
}

/// A row is destroyed whenever it was written, twice as well, and one that never was; its neighbours stay.
pub async fn what_is_destroyed_is_gone(engine: Arc<dyn Engine>) -> Verdict {
    let table = STATE.only();
    let gone = key(table, b"p", b"gone");
    engine.write(vec![put(table, b"p", b"gone", b"v"), put(table, b"p", b"stays", b"v")]).await?;
    for _ in 0..2 {
        engine.destroy(&gone).await?;
        same("destroyed", &engine.get(&gone).await?, &None)?;
    }
    engine.destroy(&key(table, b"p", b"never")).await?;
    let stays = engine.scan_table(table, None, 10).await?.rows;
    same("others", &stays.iter().map(|row| &*row.clustering).collect::<Vec<_>>(), &vec![b"stays".as_slice()])
}
