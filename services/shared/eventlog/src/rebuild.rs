//! Rebuilding a view beside the live one, without a pause (ARCHITECTURE §3.9).
//!
//! The other table is emptied and the log replayed into it, shard by shard. Then each writing shard catches up at a
//! group's end and writes both from there on. When all do, the tables are read side by side; then the pointer moves.

use crate::group::Group;
use crate::overlay::Overlay;
use crate::owner::read_piece;
use crate::platform::Shared;
use crate::progress::Mark;
use crate::rows::{Layers, Rows};
use crate::{Platform, ProjectionError, Recorded, View, settle, tables};
use bytes::Bytes;
use p92_kernel::{Seq, clock};
use p92_storage::{
    Engine, LogKey, ProjectedBatch, ProjectedWrite, Projection, Row, RowKey, StoreError, TableRef,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Rows read per page while comparing.
const PAGE: usize = 500;
/// How often two rows that differ are read again before the difference counts.
const READ_AGAIN: u32 = 20;

/// Why a view was not rebuilt. The live table answers as before.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("an event cannot be projected: {0}")]
    Projection(#[from] ProjectionError),
    #[error("there is no view {0}")]
    NoSuchView(String),
    #[error("the shard {0} is not held by this process")]
    NotHeld(p92_kernel::Shard),
}

/// What a rebuild found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Events replayed.
    pub events: u64,
    /// Rows compared, if asked to.
    pub compared: u64,
    /// Events that are not in it, because their reader put them aside or was told to skip them.
    pub left_out: u64,
    /// The first row that was not equal.
    pub difference: Option<String>,
}

/// What a rebuild tells while it runs: events replayed, and how many there are about.
pub type Watch = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// Asks a writer to catch up to its own place and write both tables from there.
#[derive(Debug)]
pub struct Join {
    pub view: Arc<dyn View>,
    pub run: Run,
    pub answer: oneshot::Sender<Result<u64, RebuildError>>,
}

/// Where a view's writers of each shard are asked.
pub type Writers = Vec<(LogKey, mpsc::Sender<Join>)>;

/// Into which table a rebuild replays, and which rebuild it is.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub target: TableRef,
    number: u64,
}

impl Run {
    /// Its place in a log. No two rebuilds share it: it is removed by a plain delete, and behind one of those a CQL store
    /// takes no position any more.
    fn checkpoint(self, log: LogKey) -> RowKey {
        tables::checkpoint_key(&format!("rebuild/{}/{:016x}", self.target, self.number), log)
    }
}

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
    let mut at = platform.engine.get(&key).await?.map_or(Seq(0), |row| Seq(row.stamp));
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
        let layers = Layers { engine: &*platform.engine, laid: &laid };
        let mut written = Rows::new(target, event.position.seq, layers);
        view.project(event, &mut written).await?;
        rows.absorb(written.written());
    }
    let write = |(place, laid): (&crate::overlay::Place, &crate::overlay::Laid)| ProjectedWrite {
        key: RowKey::new(target, place.partition.clone(), place.clustering.clone()),
        value: laid.value.clone(),
        at: laid.at,
    };
    let writes = rows.iter().map(write).collect();
    let batch = ProjectedBatch { checkpoint: checkpoint.clone(), from, to: group.last_seq(), writes };
    match platform.engine.project(batch).await? {
        Projection::Applied => Ok(()),
        Projection::Refused { stands } => Err(RebuildError::Store(StoreError::Damaged(format!(
            "somebody else rebuilds {target}: its checkpoint stands at {stands}"
        )))),
    }
}

/// A writer's part: nothing is under way, so the log ends where it stands.
pub async fn join(shared: &Shared, log: LogKey, at: Seq, join: Join) {
    let caught_up = async {
        let left_out = left_out(shared, &*join.view, log).await?;
        let events = replay(&shared.platform, &*join.view, join.run, log, at, &left_out).await?;
        shared.view_states.set_both(&*shared.platform.engine, join.view.table(), log, true).await?;
        Ok(events)
    };
    let _ = join.answer.send(caught_up.await);
}

/// What the leased reader of this service's views left out of a foreign log. An owner leaves nothing out of its own.
async fn left_out(shared: &Shared, view: &dyn View, log: LogKey) -> Result<BTreeSet<Seq>, StoreError> {
    if log.service == shared.service {
        return Ok(BTreeSet::new());
    }
    settle::left_out(&shared.platform, shared.service, view, log).await
}

/// Rebuilds a view, and compares if asked to. The pointer moves in the end, whatever the comparison says: the rebuilt
/// table is what the log says.
pub async fn rebuild(
    shared: &Shared,
    view: Arc<dyn View>,
    writers: Writers,
    verify: bool,
    watch: Watch,
) -> Result<Report, RebuildError> {
    let number = u64::from_be_bytes(clock::random_bytes(&*shared.platform.random));
    let target = view.table().side(shared.view_states.side(view.table()).other());
    let run = Run { target, number };
    let rebuilt = rebuild_into(shared, view, run, &writers, verify, watch).await;
    for (log, _) in &writers {
        let gone = p92_storage::Write { key: run.checkpoint(*log), value: None };
        shared.platform.engine.write(vec![gone]).await?;
    }
    rebuilt
}

async fn rebuild_into(
    shared: &Shared,
    view: Arc<dyn View>,
    run: Run,
    writers: &Writers,
    verify: bool,
    watch: Watch,
) -> Result<Report, RebuildError> {
    let platform = &shared.platform;
    let engine = &*platform.engine;
    let (table, target) = (view.table(), run.target);
    let live = shared.view_states.side(table);
    for (log, _) in writers {
        // What an earlier rebuild left: writers of both would write into a table that is being emptied.
        shared.view_states.set_both(engine, table, *log, false).await?;
    }
    engine.clear(target).await?;
    let heads = |log: &LogKey| platform.progress.at(&Mark::applied(*log));
    let total: u64 = writers.iter().map(|(log, _)| heads(log).0).sum();
    let mut report = Report::default();
    for (log, writer) in writers {
        let left_out = left_out(shared, &*view, *log).await?;
        report.events += replay(platform, &*view, run, *log, heads(log), &left_out).await?;
        report.left_out += left_out.len() as u64;
        watch(report.events, total);
        let (answer, answered) = oneshot::channel();
        let request = Join { view: Arc::clone(&view), run, answer };
        writer.send(request).await.map_err(|_| RebuildError::NotHeld(log.shard))?;
        report.events += answered.await.map_err(|_| RebuildError::NotHeld(log.shard))??;
        watch(report.events, total.max(report.events));
    }
    if verify {
        compare(engine, table.side(live), target, &mut report).await?;
    }
    shared.view_states.flip(engine, table, live).await?;
    for (log, _) in writers {
        shared.view_states.set_both(engine, table, *log, false).await?;
    }
    engine.clear(table.side(live)).await?;
    Ok(report)
}

/// Reads both tables side by side in the engine's order. Rows that differ are read again: one of them may have been
/// written in between.
async fn compare(
    engine: &dyn Engine,
    live: TableRef,
    rebuilt: TableRef,
    report: &mut Report,
) -> Result<(), StoreError> {
    let mut left = Cursor::new(engine, live);
    let mut right = Cursor::new(engine, rebuilt);
    loop {
        let (a, b) = (left.peek().await?, right.peek().await?);
        let key = match (&a, &b) {
            (None, None) => return Ok(()),
            (Some((a, _)), None) => a.clone(),
            (None, Some((b, _))) => b.clone(),
            (Some((a, _)), Some((b, _))) => a.min(b).clone(),
        };
        let a = a.filter(|(at, _)| *at == key).map(|(_, row)| row);
        let b = b.filter(|(at, _)| *at == key).map(|(_, row)| row);
        report.compared += 1;
        if a != b
            && let Some(difference) = differ(engine, live, rebuilt, &key).await?
        {
            report.difference.get_or_insert(difference);
        }
        left.pass(&key);
        right.pass(&key);
    }
}

type PlaceKey = (Bytes, Bytes);

async fn differ(
    engine: &dyn Engine,
    live: TableRef,
    rebuilt: TableRef,
    key: &PlaceKey,
) -> Result<Option<String>, StoreError> {
    let keys = [live, rebuilt].map(|table| RowKey::new(table, key.0.clone(), key.1.clone()));
    let mut last = None;
    for _ in 0..READ_AGAIN {
        let rows = engine.get_many(&keys).await?;
        let [a, b] = rows.as_slice() else { return Ok(None) };
        if a == b {
            return Ok(None);
        }
        last = Some(describe(live, key, a.as_ref(), b.as_ref()));
        tokio::task::yield_now().await;
    }
    Ok(last)
}

fn describe(live: TableRef, key: &PlaceKey, a: Option<&Row>, b: Option<&Row>) -> String {
    let show = |row: Option<&Row>| match row {
        Some(row) => format!("{} at position {}", hex::encode(&row.value), row.stamp),
        None => "no row".to_owned(),
    };
    format!(
        "{} | {} | {}: live {}, rebuilt {}",
        live.table.name,
        hex::encode(&key.0),
        hex::encode(&key.1),
        show(a),
        show(b)
    )
}

/// Goes through a whole table, a page at a time.
struct Cursor<'a> {
    engine: &'a dyn Engine,
    table: TableRef,
    rows: std::collections::VecDeque<(PlaceKey, Row)>,
    next: Option<Bytes>,
    started: bool,
}

impl<'a> Cursor<'a> {
    fn new(engine: &'a dyn Engine, table: TableRef) -> Self {
        Self { engine, table, rows: std::collections::VecDeque::new(), next: None, started: false }
    }

    async fn peek(&mut self) -> Result<Option<(PlaceKey, Row)>, StoreError> {
        while self.rows.is_empty() && (!self.started || self.next.is_some()) {
            self.started = true;
            let page = self.engine.scan_table(self.table, self.next.as_ref(), PAGE).await?;
            self.rows = page.rows.into_iter().map(|row| ((row.partition, row.clustering), row.row)).collect();
            self.next = page.next;
        }
        Ok(self.rows.front().cloned())
    }

    fn pass(&mut self, key: &PlaceKey) {
        if self.rows.front().is_some_and(|(at, _)| at == key) {
            self.rows.pop_front();
        }
    }
}
