//! Logs: a slot is taken once, by a group that is known again by its id, and reading leaves nothing out.

use super::{Broken, STATE, Verdict, delete, holds, key, put, same};
use crate::{Append, Engine, LOG_BUCKET, LogKey, LogRow};
use bytes::Bytes;
use p92_kernel::{Seq, Service, Shard};
use std::sync::Arc;

const LOG: LogKey = LogKey { service: Service::Posting, shard: Shard(3) };
const OTHERS: [LogKey; 2] = [
    LogKey { service: Service::Posting, shard: Shard(4) },
    LogKey { service: Service::Identity, shard: Shard(3) },
];

fn group(first: u64, last: u64, id: u8, size: usize) -> LogRow {
    LogRow { first_seq: Seq(first), last_seq: Seq(last), group: [id; 16], events: vec![id; size].into() }
}

/// What was appended is read back, by slot and in order; other logs do not show it.
pub async fn an_append_is_exact(engine: Arc<dyn Engine>) -> Verdict {
    same("an empty log", &engine.read_log(LOG, Seq(0), 1_000).await?, &Vec::new())?;
    same("an empty slot", &engine.log_row(LOG, Seq(1)).await?, &None)?;
    let rows = [group(1, 1, 1, 0), group(2, 5, 2, 70_000), group(6, 7, 3, 10)];
    for row in &rows {
        same("appended", &engine.append(LOG, row, &[]).await?, &Append::Appended)?;
        same("the slot", &engine.log_row(LOG, row.first_seq).await?.as_ref(), &Some(row))?;
    }
    holds(engine.read_log(LOG, Seq(0), 1 << 20).await? == rows, || "the log reads otherwise".to_owned())?;
    let [_, _, last] = &rows;
    same("from the middle", &engine.read_log(LOG, Seq(5), 1 << 20).await?, &vec![last.clone()])?;
    same("from the end", &engine.read_log(LOG, Seq(7), 1 << 20).await?, &Vec::new())?;
    same("inside a group", &engine.log_row(LOG, Seq(3)).await?, &None)?;
    same("behind the end", &engine.log_row(LOG, Seq(8)).await?, &None)?;
    for other in OTHERS {
        same("another log", &engine.read_log(other, Seq(0), 1_000).await?, &Vec::new())?;
        same("its first slot", &engine.append(other, &group(1, 1, 9, 1), &[]).await?, &Append::Appended)?;
    }
    same("still", &engine.read_log(LOG, Seq(0), 1 << 20).await?.len(), &3)
}

/// The same group again is appended, whoever asks and however often; another group is shown the row that stands.
pub async fn a_lost_slot_shows_who_stands(engine: Arc<dyn Engine>) -> Verdict {
    let (own, other) = (group(1, 3, 1, 100), group(1, 1, 2, 5));
    for _ in 0..3 {
        same("own", &engine.append(LOG, &own, &[]).await?, &Append::Appended)?;
        same("other", &engine.append(LOG, &other, &[]).await?, &Append::SlotLost(own.clone()))?;
    }
    engine.append(LOG, &group(4, 4, 3, 1), &[]).await?;
    same("own, though the log went on", &engine.append(LOG, &own, &[]).await?, &Append::Appended)?;
    same("other", &engine.append(LOG, &other, &[]).await?, &Append::SlotLost(own.clone()))?;
    same("nothing else came", &engine.read_log(LOG, Seq(0), 1 << 20).await?.len(), &2)
}

/// Of many groups for one slot, each tried twice, one stands and all others are shown it.
pub async fn one_of_many_appends_wins(engine: Arc<dyn Engine>) -> Verdict {
    let racers: Vec<_> = (0..64_u8)
        .map(|n| {
            let engine = engine.clone();
            let row = group(1, u64::from(n) + 1, n / 2, 10);
            tokio::spawn(async move { Ok((row.group, engine.append(LOG, &row, &[]).await?)) })
        })
        .collect();
    let mut winners = Vec::new();
    let mut shown = Vec::new();
    for racer in racers {
        let answer: Result<_, Broken> = racer.await?;
        match answer? {
            (id, Append::Appended) => winners.push(id),
            (_, Append::SlotLost(row)) => shown.push(row),
        }
    }
    let stands = engine.read_log(LOG, Seq(0), 1 << 20).await?;
    same("rows", &stands.len(), &1)?;
    let stands = stands.first();
    // Both attempts of the group that stands are told so.
    same("winners", &winners.len(), &2)?;
    holds(winners.iter().all(|id| Some(id) == stands.map(|row| &row.group)), || "another won".to_owned())?;
    holds(shown.iter().all(|row| Some(row) == stands), || "a loser was shown another row".to_owned())
}

/// A group that begins in one bucket and ends in the next, one that ends exactly at a border, and one that leaves whole
/// buckets empty: the log reads on, from every group's end.
pub async fn logs_run_over_the_border_of_a_bucket(engine: Arc<dyn Engine>) -> Verdict {
    let ends = [
        LOG_BUCKET - 5,
        LOG_BUCKET + 3,
        2 * LOG_BUCKET,
        2 * LOG_BUCKET + 1,
        5 * LOG_BUCKET + 7,
        5 * LOG_BUCKET + 8,
    ];
    let mut rows = Vec::new();
    let mut head = 0;
    for (id, end) in (1..).zip(ends) {
        let row = group(head + 1, end, id, 20);
        same("appended", &engine.append(LOG, &row, &[]).await?, &Append::Appended)?;
        rows.push(row);
        head = end;
    }
    for (n, after) in std::iter::once(0).chain(ends).enumerate() {
        let expected = rows.get(n..).unwrap_or_default();
        let mut found = Vec::new();
        let mut at = Seq(after);
        // An engine may stop at the end of what it has at hand; a reader goes on from there until nothing comes.
        loop {
            let part = engine.read_log(LOG, at, 1 << 20).await?;
            let Some(last) = part.last() else { break };
            at = last.last_seq;
            found.extend(part);
        }
        holds(found == expected, || format!("after {after} the log reads otherwise"))?;
    }
    for row in &rows {
        same("a slot", &engine.log_row(LOG, row.first_seq).await?.as_ref(), &Some(row))?;
        let other = group(row.first_seq.0, row.last_seq.0, 99, 1);
        same("it stands", &engine.append(LOG, &other, &[]).await?, &Append::SlotLost(row.clone()))?;
    }
    Ok(())
}

/// At least one row, however large; then no more events than asked for; and never a gap between two reads.
pub async fn log_reads_keep_to_their_size(engine: Arc<dyn Engine>) -> Verdict {
    let sizes = [5_000, 10, 10, 3_000, 900, 1, 0, 2_500];
    for (n, size) in (1_u8..).zip(sizes) {
        engine.append(LOG, &group(u64::from(n), u64::from(n), n, size), &[]).await?;
    }
    for max in [0, 1, 100, 1_000, 4_000, 1 << 20] {
        let mut at = Seq(0);
        let mut read = 0;
        while at < Seq(8) {
            let rows = engine.read_log(LOG, at, max).await?;
            holds(!rows.is_empty(), || format!("nothing after {at}, though there is more"))?;
            let bytes: usize = rows.iter().map(|row| row.events.len()).sum();
            holds(rows.len() == 1 || bytes <= max, || format!("{bytes} bytes of events for {max}"))?;
            for row in &rows {
                same("the next row", &row.first_seq, &at.next())?;
                at = row.last_seq;
                read += 1;
            }
        }
        same("rows", &read, &8)?;
    }
    Ok(())
}

/// What must not come later than the row is there when the append is answered.
pub async fn writes_before_an_append_are_there_with_it(engine: Arc<dyn Engine>) -> Verdict {
    let table = STATE.only();
    engine.write(vec![put(table, b"old", b"k", b"1")]).await?;
    // They are of several partitions.
    let before = [put(table, b"a", b"k", b"1"), put(table, b"b", b"k", b"2"), delete(table, b"old", b"k")];
    let row = group(1, 1, 1, 10);
    same("appended", &engine.append(LOG, &row, &before).await?, &Append::Appended)?;
    let keys = [key(table, b"a", b"k"), key(table, b"b", b"k"), key(table, b"old", b"k")];
    let rows = engine.get_many(&keys).await?;
    let values: Vec<Option<&[u8]>> = rows.iter().map(|row| row.as_ref().map(|row| &*row.value)).collect();
    same("state", &values, &vec![Some(&b"1"[..]), Some(b"2"), None])?;
    same("again", &engine.append(LOG, &row, &before).await?, &Append::Appended)
}

/// Many append to many logs at once; each log is whole, in order, and exactly what its appender was told.
pub async fn many_appenders_leave_no_gap(engine: Arc<dyn Engine>) -> Verdict {
    const GROUPS: u64 = 20;
    let logs = || {
        [Service::Identity, Service::Posting, Service::Timelines]
            .into_iter()
            .flat_map(|service| (0..8).map(move |shard| LogKey { service, shard: Shard(shard) }))
    };
    let appenders: Vec<_> = logs()
        .map(|log| {
            let engine = engine.clone();
            tokio::spawn(async move {
                let mut head = 0;
                for n in 0..GROUPS {
                    let last = head + 1 + n % 4;
                    let id = u8::try_from(n).unwrap_or(0);
                    let row = LogRow {
                        events: Bytes::from(format!("{log:?} {n}")),
                        ..group(head + 1, last, id, 0)
                    };
                    same("appended", &engine.append(log, &row, &[]).await?, &Append::Appended)?;
                    // What was answered can be read at once.
                    same("read", &engine.log_row(log, row.first_seq).await?, &Some(row))?;
                    head = last;
                }
                Ok(())
            })
        })
        .collect();
    for appender in appenders {
        let appended: Verdict = appender.await?;
        appended?;
    }
    for log in logs() {
        let rows = engine.read_log(log, Seq(0), 1 << 20).await?;
        same("groups", &rows.len(), &20)?;
        let mut head = Seq(0);
        for (n, row) in rows.iter().enumerate() {
            same("gapless", &row.first_seq, &head.next())?;
            same("its own", &row.events, &Bytes::from(format!("{log:?} {n}")))?;
            head = row.last_seq;
        }
    }
    Ok(())
}
