//! A log replayed into one side of a view.
//!
//! In: a view, a side, a log. Out: rows, and a place in the log for whoever goes on. It must not know who that is.

use super::{RebuildError, Run};
use crate::group::Group;
use crate::overlay::{Laid, Overlay, Place};
use crate::owner::read_piece;
use crate::rows::{Layers, Rows};
use crate::{Platform, Recorded, View, notes};
use p92_kernel::Seq;
use p92_storage::{LogKey, ProjectedBatch, ProjectedWrite, Projection, RowKey, StoreError, TableRef};
use std::collections::BTreeSet;

/// Replays a log, from where this rebuild's last replay stopped, up to `until`, without the events `left_out`. Returns how
/// many events there were.
pub async fn replay(
    platform: &Platform,
    view: &dyn View,
    run: Run,
    log: LogKey,
    until: Seq,
    left_out: &BTreeSet<Seq>,
) -> Result<u64, RebuildError> {
    let key = run.checkpoint(log);
    let into = |rows: &Overlay| into(run.target, rows);
    let mut at = notes::finish_noted(&*platform.engine, &key, &[view.table()], into).await?;
    let mut events = 0;
    while at < until {
        let groups = read_piece(platform, log, at, Some(until)).await?;
        if groups.is_empty() {
            break;
        }
        for group in groups {
            events += group.events.len() as u64;
            replay_group(platform, view, run.target, &key, (at, left_out), &group).await?;
            at = group.last_seq();
        }
    }
    Ok(events)
}

/// Rows as writes to one side alone.
fn into(target: TableRef, rows: &Overlay) -> Vec<ProjectedWrite> {
    let write = |(place, laid): (&Place, &Laid)| ProjectedWrite {
        key: RowKey::new(target, place.partition.clone(), place.clustering.clone()),
        value: laid.value.clone(),
        at: laid.at,
    };
    rows.iter().map(write).collect()
}

async fn replay_group(
    platform: &Platform,
    view: &dyn View,
    target: TableRef,
    checkpoint: &RowKey,
    (from, left_out): (Seq, &BTreeSet<Seq>),
    group: &Group,
) -> Result<(), RebuildError> {
    let mut rows = Overlay::default();
    let wanted =
        |event: &&Recorded| view.wants(event.event_type()) && !left_out.contains(&event.position.seq);
    for event in group.events.iter().filter(wanted) {
        let laid = [&rows];
        let layers = Layers { engine: &*platform.engine, laid: &laid, known: None };
        let mut written = Rows::new(target, event.position.seq, layers);
        view.project(event, &mut written).await?;
        rows.absorb(written.written()?);
    }
    let to = group.last_seq();
    let note = notes::note_of(&*platform.engine, checkpoint, &rows, to);
    let batch =
        ProjectedBatch { checkpoint: checkpoint.clone(), from, to, writes: into(target, &rows), note };
    match platform.engine.project(batch).await? {
        Projection::Applied => Ok(()),
        Projection::Refused { stands } => Err(RebuildError::Store(StoreError::Damaged(format!(
            "somebody else rebuilds {target}: its checkpoint stands at {stands}"
        )))),
    }
}
