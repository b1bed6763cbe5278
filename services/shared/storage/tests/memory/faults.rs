//! Each fault does what it says, and nothing else.

use bytes::Bytes;
use p92_kernel::{Seq, Service, Shard};
use p92_storage::conformance::{STATE, VIEW};
use p92_storage::memory::{Asked, Fault, Faults, Memory, MemoryConfig, Request};
use p92_storage::{
    Append, Engine, LogKey, LogRow, Outcome, ProjectedBatch, ProjectedWrite, RowKey, Side, StoreError, Write,
};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

const LOG: LogKey = LogKey { service: Service::Posting, shard: Shard(0) };
const SOON: Duration = Duration::from_millis(5);

/// These faults in turn, then none.
#[derive(Debug)]
struct InTurn(Mutex<VecDeque<Fault>>);

impl Faults for InTurn {
    fn next(&self, _: &Request) -> Fault {
        self.0.lock().pop_front().unwrap_or(Fault::Sound)
    }
}

fn with(faults: impl IntoIterator<Item = Fault>) -> Asked<Memory> {
    let faults: Arc<dyn Faults> = Arc::new(InTurn(Mutex::new(faults.into_iter().collect())));
    Asked(Arc::new(Memory::new(MemoryConfig { atomic: false, faults: Some(faults) })))
}

fn key(name: &'static str) -> RowKey {
    RowKey::new(STATE.only(), Bytes::from_static(b"p"), Bytes::from_static(name.as_bytes()))
}

fn put(name: &'static str) -> Write {
    Write { key: key(name), value: Some("x".into()) }
}

fn group(first: u64, id: u8) -> LogRow {
    LogRow { first_seq: Seq(first), last_seq: Seq(first), group: [id; 16], events: Bytes::new() }
}

fn outcome<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> Outcome {
    answer.unwrap_err().outcome()
}

#[tokio::test]
async fn a_request_is_refused_lost_or_unanswered() {
    let engine =
        with([Fault::Refused, Fault::Lost { told: SOON }, Fault::Unanswered { told: SOON }, Fault::Sound]);
    assert_eq!(outcome(engine.write(vec![put("refused")]).await), Outcome::NoEffect);
    assert_eq!(outcome(engine.write(vec![put("lost")]).await), Outcome::Unknown);
    assert_eq!(outcome(engine.write(vec![put("unanswered")]).await), Outcome::Unknown);
    engine.write(vec![put("sound")]).await.unwrap();
    let there = engine.get_many(&["refused", "lost", "unanswered", "sound"].map(key)).await.unwrap();
    let there: Vec<bool> = there.iter().map(Option::is_some).collect();
    assert_eq!(there, [false, false, true, true]);
}

#[tokio::test]
async fn an_append_lands_after_its_caller_gave_up_unless_the_slot_is_taken() {
    let lands = Fault::Lands { told: SOON, after: 3 * SOON };
    let engine = with([lands, Fault::Sound, lands, Fault::Sound, lands]);
    assert_eq!(outcome(engine.append(LOG, &group(1, 1), &[]).await), Outcome::Unknown);
    assert_eq!(engine.log_row(LOG, Seq(1)).await.unwrap(), None);
    assert_eq!(outcome(engine.append(LOG, &group(2, 2), &[]).await), Outcome::Unknown);
    // Somebody else closes the log before the second one lands.
    assert_eq!(engine.append(LOG, &group(2, 9), &[]).await.unwrap(), Append::Appended);
    assert_eq!(outcome(engine.append(LOG, &group(3, 3), &[]).await), Outcome::Unknown);
    // What was asked last lands last.
    while engine.log_row(LOG, Seq(3)).await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    let log = engine.read_log(LOG, Seq(0), 1_000).await.unwrap();
    assert_eq!(log, [group(1, 1), group(2, 9), group(3, 3)]);
}

#[tokio::test]
async fn what_has_several_steps_may_be_half_done() {
    let torn = Fault::Torn { steps: 1 };
    let engine = with([torn, torn, torn]);
    let view = |name: &'static str| RowKey::new(VIEW.side(Side::A), "p", Bytes::from_static(name.as_bytes()));
    let write = |name| ProjectedWrite { key: view(name), value: Some("x".into()), at: Seq(1) };
    let batch = ProjectedBatch {
        checkpoint: key("checkpoint"),
        from: Seq(0),
        to: Seq(1),
        writes: vec![write("first"), write("second")],
        note: None,
    };
    assert_eq!(outcome(engine.project(batch).await), Outcome::Unknown);
    let before = [put("before"), put("behind")];
    assert_eq!(outcome(engine.append(LOG, &group(1, 1), &before).await), Outcome::Unknown);
    // A batch of one partition is one step.
    assert_eq!(outcome(engine.write(vec![put("a"), put("b")]).await), Outcome::Unknown);
    let keys =
        [view("first"), view("second"), key("checkpoint"), key("before"), key("behind"), key("a"), key("b")];
    let there: Vec<bool> = engine.get_many(&keys).await.unwrap().iter().map(Option::is_some).collect();
    assert_eq!(there, [true, false, false, true, false, true, true]);
    assert_eq!(engine.log_row(LOG, Seq(1)).await.unwrap(), None);
}

#[tokio::test]
async fn an_answer_comes_late_and_a_copy_stays_behind() {
    let engine = with([Fault::Late { before: SOON, after: SOON }]);
    let began = tokio::time::Instant::now();
    engine.write(vec![put("late")]).await.unwrap();
    assert!(began.elapsed() >= 2 * SOON);
    let copy = Asked(Arc::new(engine.0.copy(MemoryConfig::default())));
    engine.write(vec![put("later")]).await.unwrap();
    let there = copy.get_many(&["late", "later"].map(key)).await.unwrap();
    assert_eq!(there.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false]);
}
