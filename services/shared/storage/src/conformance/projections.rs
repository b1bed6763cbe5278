//! Rows at a position: they follow their log, in order, and what is old never comes back.

use super::{STATE, VIEW, VIEW_MORE, Verdict, holds, key, same};
use crate::{Engine, ProjectedBatch, ProjectedWrite, Projection, Row, RowKey, Side, TableRef};
use bytes::Bytes;
use p92_kernel::Seq;
use std::sync::Arc;

fn checkpoint(name: &str) -> RowKey {
    key(STATE.only(), b"checkpoints", name.as_bytes())
}

fn batch(name: &str, from: u64, to: u64, writes: Vec<ProjectedWrite>) -> ProjectedBatch {
    ProjectedBatch { checkpoint: checkpoint(name), from: Seq(from), to: Seq(to), writes, note: None }
}

fn at(table: TableRef, clustering: &'static str, value: Option<&'static str>, at: u64) -> ProjectedWrite {
    let value = value.map(Bytes::from);
    ProjectedWrite { key: key(table, b"p", clustering.as_bytes()), value, at: Seq(at) }
}

fn row(value: &'static str, stamp: u64) -> Option<Row> {
    Some(Row { value: value.into(), stamp })
}

async fn stands(engine: &dyn Engine, name: &str) -> Result<u64, crate::StoreError> {
    Ok(engine.get(&checkpoint(name)).await?.map_or(0, |row| row.stamp))
}

/// Each row has the position of its event, the checkpoint that of the batch; reads see both at once.
pub async fn rows_carry_their_position(engine: Arc<dyn Engine>) -> Verdict {
    let (a, more) = (VIEW.side(Side::A), VIEW_MORE.side(Side::B));
    let writes = vec![at(a, "x", Some("1"), 2), at(more, "y", Some("2"), 3), at(a, "z", None, 3)];
    same("applied", &engine.project(batch("one", 0, 3, writes)).await?, &Projection::Applied)?;
    same("x", &engine.get(&key(a, b"p", b"x")).await?, &row("1", 2))?;
    same("y", &engine.get(&key(more, b"p", b"y")).await?, &row("2", 3))?;
    same("z", &engine.get(&key(a, b"p", b"z")).await?, &None)?;
    same("checkpoint", &stands(&*engine, "one").await?, &3)?;
    let writes = vec![at(a, "x", None, 4), at(a, "z", Some("back"), 5)];
    same("applied", &engine.project(batch("one", 3, 5, writes)).await?, &Projection::Applied)?;
    same("x", &engine.get(&key(a, b"p", b"x")).await?, &None)?;
    same("z", &engine.get(&key(a, b"p", b"z")).await?, &row("back", 5))?;
    // Events that concern no row still move the checkpoint.
    same("applied", &engine.project(batch("one", 5, 9, Vec::new())).await?, &Projection::Applied)?;
    same("checkpoint", &stands(&*engine, "one").await?, &9)?;
    same("another checkpoint", &stands(&*engine, "two").await?, &0)
}

/// Where a batch is one write, it is refused whole unless the checkpoint stands where it goes on from.
pub async fn a_projection_goes_on_from_its_checkpoint(engine: Arc<dyn Engine>) -> Verdict {
    if !engine.capabilities().atomic_projection {
        return Ok(());
    }
    let a = VIEW.side(Side::A);
    let ahead = engine.project(batch("c", 1, 2, vec![at(a, "x", Some("ahead"), 2)])).await?;
    same("before there is a checkpoint", &ahead, &Projection::Refused { stands: Seq(0) })?;
    engine.project(batch("c", 0, 4, vec![at(a, "x", Some("4"), 4)])).await?;
    for (from, to) in [(0, 4), (3, 5), (5, 6), (0, 9)] {
        let writes = vec![at(a, "x", Some("wrong"), to), at(a, "new", Some("wrong"), to)];
        let answer = engine.project(batch("c", from, to, writes)).await?;
        same(&format!("{from} to {to}"), &answer, &Projection::Refused { stands: Seq(4) })?;
        same("x", &engine.get(&key(a, b"p", b"x")).await?, &row("4", 4))?;
        same("new", &engine.get(&key(a, b"p", b"new")).await?, &None)?;
        same("checkpoint", &stands(&*engine, "c").await?, &4)?;
    }
    same("on", &engine.project(batch("c", 4, 6, Vec::new())).await?, &Projection::Applied)
}

/// Two readers, one behind the other, write the same rows: whichever comes last, the newer position stands.
pub async fn an_older_position_never_overwrites_a_newer_one(engine: Arc<dyn Engine>) -> Verdict {
    let a = VIEW.side(Side::A);
    let newer = vec![at(a, "x", Some("new"), 8), at(a, "y", Some("new"), 3), at(a, "gone", Some("new"), 7)];
    engine.project(batch("fast", 0, 8, newer)).await?;
    let older = vec![at(a, "x", Some("old"), 5), at(a, "y", Some("newest"), 6), at(a, "gone", None, 6)];
    same("applied", &engine.project(batch("slow", 0, 6, older)).await?, &Projection::Applied)?;
    same("an older put", &engine.get(&key(a, b"p", b"x")).await?, &row("new", 8))?;
    same("a newer put", &engine.get(&key(a, b"p", b"y")).await?, &row("newest", 6))?;
    same("an older delete", &engine.get(&key(a, b"p", b"gone")).await?, &row("new", 7))?;
    same("the checkpoint all the same", &stands(&*engine, "slow").await?, &6)?;
    if !engine.capabilities().atomic_projection {
        // A checkpoint is a row like the others.
        engine.project(batch("fast", 0, 2, Vec::new())).await?;
        same("an older checkpoint", &stands(&*engine, "fast").await?, &8)?;
    }
    Ok(())
}

/// What one reader writes group by group is seen by another in that order: a later row never without an earlier one.
pub async fn projections_are_seen_in_order(engine: Arc<dyn Engine>) -> Verdict {
    const GROUPS: u64 = 60;
    let a = VIEW.side(Side::A);
    let watch = {
        let engine = engine.clone();
        tokio::spawn(async move {
            let mut seen = 0;
            while seen < GROUPS {
                let checkpoint = stands(&*engine, "w").await?;
                let shown = engine.get(&key(a, b"p", b"count")).await?.map_or(0, |row| row.stamp);
                holds(checkpoint >= seen, || {
                    format!("the checkpoint went back from {seen} to {checkpoint}")
                })?;
                holds(shown >= checkpoint, || format!("at {checkpoint} the row of {shown} was still shown"))?;
                seen = checkpoint;
                tokio::task::yield_now().await;
            }
            Ok(())
        })
    };
    for n in 1..=GROUPS {
        let writes = vec![at(a, "count", Some("row"), n)];
        same("applied", &engine.project(batch("w", n - 1, n, writes)).await?, &Projection::Applied)?;
        // Whoever was answered sees it at once.
        same("row", &engine.get(&key(a, b"p", b"count")).await?.map(|row| row.stamp), &Some(n))?;
    }
    let watched: Verdict = watch.await?;
    watched
}

/// Whoever finds a row of a batch finds its note, unless nobody ever finds a part of a batch. A note of an older batch, which
/// comes late, does not take the place of a newer one.
pub async fn a_note_stands_where_a_batch_may_end_half_done(engine: Arc<dyn Engine>) -> Verdict {
    let a = VIEW.side(Side::A);
    let place = key(STATE.only(), b"notes", b"n");
    let note = |value: &'static str, at: u64| {
        Some(ProjectedWrite { key: place.clone(), value: Some(value.into()), at: Seq(at) })
    };
    let noted = |from, to, value| ProjectedBatch {
        note: note(value, to),
        ..batch("noted", from, to, vec![at(a, "x", Some(value), to)])
    };
    let whole = engine.capabilities().atomic_projection;
    for (from, to, value) in [(0, 3, "first"), (3, 5, "second")] {
        same("applied", &engine.project(noted(from, to, value)).await?, &Projection::Applied)?;
        same("row", &engine.get(&key(a, b"p", b"x")).await?, &row(value, to))?;
        same("note", &engine.get(&place).await?, &row(value, to).filter(|_| !whole))?;
        same("checkpoint", &stands(&*engine, "noted").await?, &to)?;
    }
    if !whole {
        // As by somebody who was thought dead.
        engine.project(noted(0, 3, "first")).await?;
        same("the newer note", &engine.get(&place).await?, &row("second", 5))?;
    }
    Ok(())
}
