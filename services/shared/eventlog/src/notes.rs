//! Notes of batches that may end half done, and the finishing of those that did.
//!
//! Where a projection is not one write, some of its rows may stand without the others: after a crash, or after an outcome
//! that nobody knows. A batch that rests on nothing but its events is then computed anew, to the same rows. One that rests
//! on rows that were read is not: what its first rows have overwritten or deleted is not there to be read any more. So
//! its rows are noted before the first of them, at the position that they lead to, and who finds a note ahead of its
//! checkpoint writes exactly what it says. It must not know what a row means.
//!
//! Several may write the same batch at once (somebody who was thought dead still runs). They write the same rows, as long as
//! each computed them from a state into which nobody had begun to write further: [`untouched`] is asked after the reads,
//! and whoever wrote further would have put down a note before. A note of an older batch never takes the place of a
//! newer one, since it bears its position.

use crate::overlay::{Laid, Overlay, Place};
use crate::tables;
use bytes::Bytes;
use p92_kernel::Seq;
use p92_proto::event::v1;
use p92_storage::{Engine, ProjectedBatch, ProjectedWrite, Projection, Row, RowKey, StoreError, Table};
use prost::Message;

/// The note of a batch, if it needs one: on this engine, with rows that rest on others.
#[must_use]
pub fn note_of(engine: &dyn Engine, checkpoint: &RowKey, rows: &Overlay, to: Seq) -> Option<ProjectedWrite> {
    if engine.capabilities().atomic_projection || !rows.rests_on_reads() || rows.is_empty() {
        return None;
    }
    let writes = rows.iter().map(|(place, laid)| v1::NotedWrite {
        table: place.table.to_owned(),
        partition: place.partition.clone(),
        clustering: place.clustering.clone(),
        value: laid.value.clone(),
        at: laid.at.0,
    });
    let value = v1::NoteRow { writes: writes.collect() }.encode_to_vec();
    Some(ProjectedWrite { key: tables::note_key(checkpoint), value: Some(value.into()), at: to })
}

/// Where a checkpoint stands, after the batch behind it was finished if it was found half done.
///
/// `of` are the tables that its rows may belong to, `writes` makes writes of rows.
pub async fn finish_noted(
    engine: &dyn Engine,
    checkpoint: &RowKey,
    of: &[&'static Table],
    writes: impl Fn(&Overlay) -> Vec<ProjectedWrite>,
) -> Result<Seq, StoreError> {
    let (stands, note) = standing(engine, checkpoint).await?;
    let Some(note) = note.filter(|note| note.stamp > stands.0) else { return Ok(stands) };
    let to = Seq(note.stamp);
    let rows = read(note.value.clone(), of)?;
    // What stands before it is whole: its own rows, and so its note, came behind the checkpoint of the batch before.
    let note = ProjectedWrite { key: tables::note_key(checkpoint), value: Some(note.value), at: to };
    let batch = ProjectedBatch {
        checkpoint: checkpoint.clone(),
        from: stands,
        to,
        writes: writes(&rows),
        note: Some(note),
    };
    tracing::info!(reader = ?checkpoint.partition, %stands, %to, "a batch that was perhaps half done is finished");
    match engine.project(batch).await? {
        Projection::Applied => Ok(to),
        Projection::Refused { stands } => Ok(stands),
    }
}

/// Whether nobody has begun to write behind `at`, where the checkpoint stood. Asked behind reads on which rows rest.
pub async fn untouched(engine: &dyn Engine, checkpoint: &RowKey, at: Seq) -> Result<bool, StoreError> {
    if engine.capabilities().atomic_projection {
        // The batch is refused then.
        return Ok(true);
    }
    let (stands, note) = standing(engine, checkpoint).await?;
    Ok(stands == at && note.is_none_or(|note| note.stamp <= at.0))
}

async fn standing(engine: &dyn Engine, checkpoint: &RowKey) -> Result<(Seq, Option<Row>), StoreError> {
    let stamp = |row: Option<Row>| row.map_or(Seq(0), |row| Seq(row.stamp));
    if engine.capabilities().atomic_projection {
        return Ok((stamp(engine.get(checkpoint).await?), None));
    }
    let rows = engine.get_many(&[checkpoint.clone(), tables::note_key(checkpoint)]).await?;
    let mut rows = rows.into_iter();
    Ok((stamp(rows.next().flatten()), rows.next().flatten()))
}

fn read(value: Bytes, of: &[&'static Table]) -> Result<Overlay, StoreError> {
    let note = v1::NoteRow::decode(value)
        .map_err(|error| StoreError::Damaged(format!("the note of a batch: {error}")))?;
    let mut rows = Overlay::default();
    rows.has_read();
    for write in note.writes {
        let Some(table) = of.iter().find(|table| table.name == write.table) else {
            // Of a view that this build does not have; nobody here would write its next rows either.
            tracing::warn!(
                table = write.table,
                "a noted row belongs to no table of this build and is left out"
            );
            continue;
        };
        let place = Place { table: table.name, partition: write.partition, clustering: write.clustering };
        rows.lay(place, Laid { table, value: write.value, at: Seq(write.at) });
    }
    Ok(rows)
}
