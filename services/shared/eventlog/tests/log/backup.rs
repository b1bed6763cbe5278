//! Backup and restore on the embedded engine: what is in it, what is not, and what is refused.

use crate::world::{CLAIMS, claim, counted, open, platform, spec};
use async_trait::async_trait;
use p92_eventlog::backup::{self, Backup, BackupError, Draft, Manifest, Needs, Origin, StateTable};
use p92_eventlog::{
    Aggregate, ConsumeError, Consumer, NewEvent, Poison, Recorded, Runtime, Spec, Stream, tables,
};
use p92_kernel::{Seq, Service, Shard};
use p92_proto::event::v1::Sealed;
use p92_storage::memory::{Asked, Fault, Faults, Memory, MemoryConfig, Request};
use p92_storage::{
    Class, Embedded, EmbeddedConfig, Engine, Key, LogKey, ProjectedBatch, RowKey, StoreError, Table,
    TableRow, Write,
};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

const SHARD: Shard = Shard(1);
const LOG: LogKey = LogKey { service: Service::Posting, shard: SHARD };

static SECRETS: Table = Table { name: "posting_secrets", class: Class::State, row: "", serves: "name" };
static LISTED: Table = Table { name: "posting_listed", class: Class::State, row: "", serves: "name" };
static NAMES: Table = Table { name: "posting_names", class: Class::State, row: "", serves: "stream" };

fn secret_needs(row: &TableRow) -> Needs {
    Needs::Row(RowKey::new(LISTED.only(), row.partition.clone(), row.clustering.clone()))
}

fn name_needs(row: &TableRow) -> Needs {
    let name = String::from_utf8(row.row.value.to_vec()).unwrap();
    Needs::Begun(Service::Posting, Stream::named(&name))
}

fn state() -> Vec<StateTable> {
    vec![
        StateTable { table: &SECRETS, needs: secret_needs },
        StateTable { table: &NAMES, needs: name_needs },
        StateTable::plain(&LISTED),
    ]
}

fn key(table: &'static Table, name: &str) -> RowKey {
    RowKey::new(table.only(), Key::new().text(name), Key::new())
}

async fn put(store: &Embedded, table: &'static Table, name: &str, value: &str) {
    let value = Some(value.to_owned().into());
    store.write(vec![Write { key: key(table, name), value }]).await.unwrap();
}

/// Takes a backup of a store into a directory.
async fn take(store: &Embedded, place: &Path) -> Result<Manifest, BackupError> {
    take_of(store, store, place).await
}

/// The same of another engine that holds the same installation.
async fn take_of(engine: &dyn Engine, store: &Embedded, place: &Path) -> Result<Manifest, BackupError> {
    let origin =
        Origin { installation: store.installation().to_owned(), shards: store.shards(), time_ms: 1_000 };
    let mut draft = Draft::begin(place, origin)?;
    let (send, mut records) = mpsc::channel(1);
    let tables = [state(), backup::own_tables()].concat();
    let taking = backup::take(engine, store.shards(), &tables, send);
    let writing = async {
        while let Some(piece) = records.recv().await {
            for record in piece {
                draft.add(&record)?;
            }
        }
        Ok::<_, BackupError>(draft)
    };
    let (positions, draft) = tokio::join!(taking, writing);
    draft?.finish(&positions?)
}

/// A new store of the same installation, in another directory.
fn empty(dir: &Path, like: &Embedded) -> Arc<Embedded> {
    let mut config = EmbeddedConfig::at(dir.join("data"));
    config.shards = like.shards();
    config.installation = Some(like.installation().to_owned());
    Embedded::open(config).unwrap()
}

async fn restore(store: &dyn Engine, place: &Path) -> Result<backup::Restored, BackupError> {
    let backup = Backup::open(place, &|_, _| {})?;
    backup::restore(store, &backup, &state(), 2_000, &|_| {}).await
}

/// Counts the claims that it is told of.
#[derive(Debug, Default)]
struct Told(AtomicU64);

#[async_trait]
impl Consumer for Told {
    fn name(&self) -> &'static str {
        "posting.told"
    }
    fn source(&self) -> Service {
        Service::Posting
    }
    fn wants(&self, event_type: &str) -> bool {
        event_type == "p92.event.v1.Position"
    }
    async fn handle(&self, event: &Recorded) -> Result<(), ConsumeError> {
        let said: p92_proto::event::v1::Position = event.decode()?;
        if said.seq == POISON {
            return Err(Poison::Unreadable { event_type: "it".into(), problem: "planted".into() }.into());
        }
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

const POISON: u64 = 666;

/// Says something long.
#[derive(Clone, Debug, Default)]
struct Long;

impl Aggregate for Long {
    type Event = u8;
    fn decode(event: &Recorded) -> Result<u8, Poison> {
        Ok(event.decode::<Sealed>()?.ciphertext[0])
    }
    fn encode(event: &u8) -> NewEvent {
        NewEvent::of(&Sealed { ciphertext: vec![*event; 40_000].into(), ..Sealed::default() })
    }
    fn evolve(self, _: &u8) -> Self {
        self
    }
}

fn with(told: &Arc<Told>) -> Spec {
    let consumer: Arc<dyn Consumer> = Arc::clone(told) as Arc<dyn Consumer>;
    Spec { consumers: vec![consumer], ..spec() }
}

async fn caught_up(platform: &p92_eventlog::Platform, seq: Seq) {
    let mark = p92_eventlog::progress::Mark::reader(&"posting.told".into(), LOG);
    platform.progress.wait(&mark, seq).await;
}

#[tokio::test]
async fn a_restored_store_goes_on_where_the_backup_was_taken() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let place = dir.path().join("backup");
    let store = open(dir.path());
    let running = platform(dir.path(), &store, store.clone());
    let told = Arc::new(Told::default());
    let runtime = Runtime::start(&running, with(&told)).await.unwrap();
    for n in 0..300 {
        claim(&runtime, SHARD, n, if n == 7 { POISON } else { 1 }, &format!("k{n}")).await.unwrap();
    }
    // More than is read at once by whoever writes rows anew.
    for n in 0..60 {
        let say = runtime.execute(SHARD, crate::world::meta(1, "", u64::from(n)), move |round| {
            Box::pin(async move { round.emit::<Long>(&Stream::new("long", n), &[n]).await })
        });
        say.await.unwrap();
    }
    let last = claim(&runtime, SHARD, 300, 1, "last").await.unwrap().positions[0].seq;
    caught_up(&running, last).await;
    put(&store, &NAMES, "mine", "register/300").await;
    let manifest = take(&store, &place).await.unwrap();
    assert_eq!(manifest.positions.get(&LOG), Some(&last));
    claim(&runtime, SHARD, 301, 1, "later").await.unwrap();
    running.stop().await;

    let restored = empty(other.path(), &store);
    std::fs::copy(dir.path().join("keys"), other.path().join("keys")).unwrap();
    let done = restore(&*restored, &place).await.unwrap();
    assert_eq!(done.events, manifest.events());
    let running = platform(other.path(), &restored, restored.clone());
    let again = Arc::new(Told::default());
    let runtime = Runtime::start(&running, with(&again)).await.unwrap();
    runtime.ready().await;
    assert_eq!(counted(&runtime, SHARD).await, 301, "the view is there again");
    let repeated = claim(&runtime, SHARD, 300, 1, "last").await.unwrap();
    assert!(repeated.repeated && repeated.positions[0].seq == last, "keys are known again");
    assert_eq!(claim(&runtime, SHARD, 12, 9, "").await.unwrap_err().reason, "CLAIMED");
    let next = claim(&runtime, SHARD, 301, 1, "later").await.unwrap();
    assert!(!next.repeated, "what came after the backup is not in it");
    caught_up(&running, next.positions[0].seq).await;
    assert_eq!(again.0.load(Ordering::SeqCst), 1, "effects that were done are not done again");
    let aside = p92_eventlog::quarantine::list(&running).await.unwrap();
    assert_eq!(aside.len(), 1, "what was put aside is kept");
    let watch: p92_eventlog::rebuild::Watch = Arc::new(|_, _| {});
    let report = runtime.rebuild(CLAIMS.name, true, watch).await.unwrap();
    assert_eq!((report.difference, report.compared), (None, 1));
    running.stop().await;
}

/// Now and then an answer is lost, with or without what was asked, or comes late.
#[derive(Debug, Default)]
struct Unsteady(AtomicU64);

impl Faults for Unsteady {
    fn next(&self, _: &Request) -> Fault {
        let told = Duration::from_millis(1);
        match self.0.fetch_add(1, Ordering::SeqCst) % 29 {
            3 => Fault::Unanswered { told },
            11 => Fault::Lost { told },
            17 => Fault::Refused,
            23 => Fault::Late { before: told, after: told },
            _ => Fault::Sound,
        }
    }
}

#[tokio::test]
async fn what_one_engine_gave_another_takes_and_back() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(dir.path());
    let running = platform(dir.path(), &store, store.clone());
    let runtime = Runtime::start(&running, spec()).await.unwrap();
    for n in 0..200 {
        claim(&runtime, Shard(n % 2), u64::from(n), 1, &format!("k{n}")).await.unwrap();
    }
    put(&store, &LISTED, "row", "of state").await;
    running.stop().await;
    let first = take(&store, &dir.path().join("first")).await.unwrap();

    // An engine as CQL is, on a bad day: each row on its own, and nobody knows who else lives.
    let memory = Memory::new(MemoryConfig { atomic: false, faults: Some(Arc::new(Unsteady::default())) });
    let memory = Arc::new(memory);
    let unsteady = Asked(Arc::clone(&memory));
    let done = restore(&unsteady, &dir.path().join("first")).await.unwrap();
    assert_eq!((done.events, done.rows), (first.events(), first.rows()));
    let steady: Arc<dyn Engine> = Arc::new(Asked(Arc::new(memory.copy(MemoryConfig::default()))));
    let running = platform(dir.path(), &store, Arc::clone(&steady));
    let runtime = Runtime::start(&running, spec()).await.unwrap();
    runtime.ready().await;
    assert_eq!((counted(&runtime, Shard(0)).await, counted(&runtime, SHARD).await), (100, 100));
    claim(&runtime, SHARD, 200, 1, "grown").await.unwrap();
    running.stop().await;
    let second = take_of(&*steady, &store, &dir.path().join("second")).await.unwrap();
    assert_eq!(second.tables, first.tables);

    let back = empty(other.path(), &store);
    restore(&*back, &dir.path().join("second")).await.unwrap();
    std::fs::copy(dir.path().join("keys"), other.path().join("keys")).unwrap();
    let running = platform(other.path(), &back, back.clone());
    let runtime = Runtime::start(&running, spec()).await.unwrap();
    runtime.ready().await;
    assert_eq!((counted(&runtime, Shard(0)).await, counted(&runtime, SHARD).await), (100, 101));
    assert!(claim(&runtime, SHARD, 200, 1, "grown").await.unwrap().repeated);
    running.stop().await;
}

#[tokio::test]
async fn what_must_stand_together_is_kept_together() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let place = dir.path().join("backup");
    let store = open(dir.path());
    let running = platform(dir.path(), &store, store.clone());
    let runtime = Runtime::start(&running, spec()).await.unwrap();
    // The id of a register says its shard, as those of accounts do.
    let id = p92_kernel::IdMint::new(Service::Posting, SHARD, p92_kernel::Millis(5))
        .next(p92_kernel::Millis(1_000))
        .get();
    claim(&runtime, SHARD, id, 1, "").await.unwrap();
    for name in ["listed", "revoked"] {
        put(&store, &SECRETS, name, name).await;
    }
    put(&store, &LISTED, "listed", "in the list").await;
    put(&store, &NAMES, "hers", &format!("register/{id}")).await;
    put(&store, &NAMES, "nobodys", &format!("register/{}", id + 2)).await;
    let versioned = key(&LISTED, "conditional");
    store.insert_if_absent(&versioned, "1".into()).await.unwrap();
    store.compare_and_set(&versioned, Some(1), "2".into()).await.unwrap();
    running.stop().await;
    take(&store, &place).await.unwrap();
    let restored = empty(other.path(), &store);
    restore(&*restored, &place).await.unwrap();
    let has = async |table, name: &str| restored.get(&key(table, name)).await.unwrap().is_some();
    assert!(has(&SECRETS, "listed").await && has(&LISTED, "listed").await);
    assert!(!has(&SECRETS, "revoked").await, "nobody could revoke it any more");
    assert!(has(&NAMES, "hers").await && !has(&NAMES, "nobodys").await);
    let row = restored.get(&versioned).await.unwrap().unwrap();
    assert_eq!((row.value.as_ref(), row.stamp), (b"2".as_slice(), 1), "written conditionally, as before");
    for table in [&tables::OWNERSHIP, &tables::MEMBERS, &tables::APPLIED, &tables::CHECKPOINTS] {
        let rows = restored.scan_table(table.only(), None, 10).await.unwrap().rows;
        assert!(rows.is_empty(), "{} is not restored", table.name);
    }
}

#[tokio::test]
async fn an_event_is_never_without_those_that_it_follows() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let running = platform(dir.path(), &store, store.clone());
    let runtime = Runtime::start(&running, spec()).await.unwrap();
    let first = claim(&runtime, Shard(0), 1, 1, "").await.unwrap().positions[0];
    let mut meta = crate::world::meta(1, "", 2);
    meta.after = vec![first];
    runtime
        .execute(SHARD, meta, |round| {
            Box::pin(
                async move { round.emit::<crate::world::Register>(&Stream::new("register", 2), &[1]).await },
            )
        })
        .await
        .unwrap();
    running.stop().await;
    // As an engine could show it that reads heads one after the other: the parent's shard looks as it was before.
    let parent = LogKey { service: Service::Posting, shard: Shard(0) };
    let key = tables::applied_key(parent);
    store.write(vec![Write { key: key.clone(), value: None }]).await.unwrap();
    let behind = Seq(first.seq.0 - 1);
    let batch = ProjectedBatch { checkpoint: key, from: Seq(0), to: behind, writes: vec![], note: None };
    store.project(batch).await.unwrap();
    let manifest = take(&store, &dir.path().join("backup")).await.unwrap();
    assert_eq!(manifest.positions.get(&parent), Some(&first.seq));
}

#[tokio::test]
async fn damage_is_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("backup");
    let store = open(dir.path());
    let running = platform(dir.path(), &store, store.clone());
    let runtime = Runtime::start(&running, spec()).await.unwrap();
    claim(&runtime, SHARD, 1, 1, "").await.unwrap();
    running.stop().await;
    put(&store, &LISTED, "row", "of state").await;
    let manifest = take(&store, &place).await.unwrap();
    let taken = take(&store, &place).await.unwrap_err().to_string();
    assert!(taken.contains("is there already"), "{taken}");
    let spoilers: [fn(&Path); 4] = [
        |file| {
            let mut bytes = std::fs::read(file).unwrap();
            let at = bytes.len() / 2;
            bytes[at] ^= 0x10;
            std::fs::write(file, bytes).unwrap();
        },
        |file| {
            let bytes = std::fs::read(file).unwrap();
            std::fs::write(file, &bytes[..bytes.len() - 3]).unwrap();
        },
        |file| std::fs::remove_file(file).unwrap(),
        |file| std::fs::write(file, b"").unwrap(),
    ];
    let names: Vec<String> = manifest.files.iter().map(|file| file.name.clone()).collect();
    assert_eq!(names, ["logs-00000", "state-00000"]);
    for name in names.iter().map(String::as_str).chain(["p92-backup"]) {
        for spoil in spoilers {
            let copy = tempfile::tempdir().unwrap();
            for entry in std::fs::read_dir(&place).unwrap() {
                let entry = entry.unwrap();
                std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
            }
            spoil(&copy.path().join(name));
            let refused = Backup::open(copy.path(), &|_, _| {}).unwrap_err();
            assert!(refused.to_string().contains("nothing was written"), "{name}: {refused}");
        }
    }
    let refused = restore(&*store, &place).await.unwrap_err().to_string();
    assert!(refused.contains("the store is not empty"), "{refused}");
    let other = tempfile::tempdir().unwrap();
    restore(&*empty(other.path(), &store), &place).await.expect("the twin without damage");
}

#[tokio::test]
async fn a_backup_needs_one_key_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for (subject, under) in [(1, 1), (2, 1), (3, 2)] {
        let wrapped = p92_proto::event::v1::WrappedKey { under, ..Default::default() };
        let key =
            RowKey::new(tables::subject_keys(Service::Posting).only(), Key::new().num(subject), Key::new());
        store.insert_if_absent(&key, prost::Message::encode_to_vec(&wrapped).into()).await.unwrap();
        let taken = take(&store, &dir.path().join(format!("backup-{subject}"))).await;
        match taken {
            Ok(manifest) => assert_eq!((under, manifest.rows()), (1, subject)),
            Err(refused) => {
                assert!(under == 2 && refused.to_string().contains("keys were rotated"), "{refused}")
            }
        }
    }
}

#[tokio::test]
async fn half_a_restore_serves_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    backup::refuse_unfinished(&*store).await.unwrap();
    let mark = RowKey::new(tables::RESTORING.only(), Key::new().text("restoring"), Key::new());
    store.write(vec![Write { key: mark, value: Some("".into()) }]).await.unwrap();
    let refused = backup::refuse_unfinished(&*store).await.unwrap_err();
    assert!(matches!(refused, StoreError::Refused { .. }), "{refused}");
}
