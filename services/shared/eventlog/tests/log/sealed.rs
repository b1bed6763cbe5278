//! Sealed payloads: what a key opens, what its destruction closes, and what a rotation leaves of a copy.

use crate::world::{TestRandom, clock, meta, open, platform, spec};
use futures::FutureExt as _;
use p92_eventlog::{KeyFile, Keyring, Platform, Runtime, Stream};
use p92_kernel::{AccountId, IdMint, Millis, Service, Shard};
use p92_proto::event::v1::Sealed;
use p92_storage::Engine;
use p92_storage::memory::{Asked, Memory, MemoryConfig};
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const SHARD: Shard = Shard(0);

fn subject() -> AccountId {
    AccountId(IdMint::new(Service::Identity, SHARD, Millis(5)).next(Millis(1_000)))
}

async fn start(dir: &Path) -> (Arc<Platform>, Arc<Runtime>) {
    let store = open(dir);
    let platform = platform(dir, &store, store.clone());
    let runtime = Runtime::start(&platform, spec()).await.unwrap();
    (platform, runtime)
}

/// Seals two texts in one command that emits an event, and gives them back.
async fn seal(runtime: &Runtime, register: u64) -> [Sealed; 2] {
    let out = Arc::new(Mutex::new(None));
    let (stream, slot) = (Stream::new("register", register), Arc::clone(&out));
    runtime
        .execute(SHARD, meta(1, "", register), move |round| {
            let (stream, slot) = (stream.clone(), Arc::clone(&slot));
            async move {
                let text = round.seal(subject(), &stream, "text", b"canary-4711").await?;
                let warning = round.seal(subject(), &stream, "warning", b"careful").await?;
                *slot.lock() = Some([text, warning]);
                round.emit::<crate::world::Register>(&stream, &[1]).await
            }
            .boxed()
        })
        .await
        .unwrap();
    let sealed = out.lock().take();
    sealed.unwrap()
}

fn found(dir: &Path, canary: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).any(|path| {
        if path.is_dir() {
            return found(&path, canary);
        }
        std::fs::read(&path).unwrap().windows(canary.len()).any(|window| window == canary)
    })
}

#[tokio::test]
async fn sealed_text_opens_after_a_restart_and_is_nowhere_in_the_open() {
    let dir = tempfile::tempdir().unwrap();
    let [text, warning] = {
        let (platform, runtime) = start(dir.path()).await;
        let sealed = seal(&runtime, 1).await;
        platform.stop().await;
        sealed
    };
    let (platform, _runtime) = start(dir.path()).await;
    let open = |sealed: Sealed| {
        let keyring = Arc::clone(&platform.keyring);
        async move { keyring.open_text(Service::Posting, Some(&sealed)).await.unwrap() }
    };
    assert_eq!(open(text.clone()).await, "canary-4711");
    assert_eq!(open(warning.clone()).await, "careful");
    assert!(!found(&dir.path().join("data"), b"canary-4711"));
    let other = Sealed { field: "warning".to_owned(), ..text.clone() };
    assert!(platform.keyring.open(Service::Posting, &other).await.is_err(), "a text is bound to its field");
    platform.keyring.destroy_content(Service::Posting, &Stream::new("register", 1)).await.unwrap();
    assert_eq!(platform.keyring.open(Service::Posting, &text).await.unwrap(), None);
    platform.stop().await;
}

#[tokio::test]
async fn a_destroyed_subject_is_never_given_another_key() {
    let dir = tempfile::tempdir().unwrap();
    let (platform, runtime) = start(dir.path()).await;
    let [text, _] = seal(&runtime, 2).await;
    platform.keyring.destroy_subject(Service::Posting, subject()).await.unwrap();
    assert_eq!(platform.keyring.open(Service::Posting, &text).await.unwrap(), None);
    let stream = Stream::new("register", 3);
    assert!(platform.keyring.key_to_seal(Service::Posting, subject(), &stream).await.is_err());
    platform.stop().await;
}

/// As of an owner that does not know yet that it is none any more, and of the one after it.
#[tokio::test]
async fn whoever_seals_at_the_same_time_takes_nobodys_key_away() {
    let dir = tempfile::tempdir().unwrap();
    let (platform, runtime) = start(dir.path()).await;
    let (keyring, stream) = (&platform.keyring, Stream::new("register", 4));
    // Of one who would have written about something else under the same id.
    let other = AccountId(IdMint::new(Service::Identity, SHARD, Millis(9)).next(Millis(2_000)));
    let (_, write) = keyring.key_to_seal(Service::Posting, other, &stream).await.unwrap();
    platform.engine.write(vec![write.unwrap()]).await.unwrap();
    let mut sealed = Vec::new();
    for _ in 0..2 {
        sealed.push(keyring.key_to_seal(Service::Posting, subject(), &stream).await.unwrap());
    }
    let mut texts = Vec::new();
    for (key, write) in sealed {
        platform.engine.write(vec![write.unwrap()]).await.unwrap();
        texts.push(keyring.seal(&key, subject(), &stream, "text", b"canary").unwrap());
    }
    let [again, _] = seal(&runtime, 4).await;
    assert!(texts.iter().any(|text| text.key_id == again.key_id), "a third one is not made");
    texts.push(again);
    for text in &texts {
        assert!(keyring.open(Service::Posting, text).await.unwrap().is_some());
    }
    keyring.destroy_content(Service::Posting, &stream).await.unwrap();
    for text in &texts {
        assert_eq!(keyring.open(Service::Posting, text).await.unwrap(), None);
    }
    platform.stop().await;
}

#[tokio::test]
async fn a_copy_of_the_store_is_closed_by_the_next_rotation() {
    let dir = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let (text, live) = {
        let (platform, runtime) = start(dir.path()).await;
        let [text, _] = seal(&runtime, 1).await;
        platform.stop().await;
        drop((platform, runtime));
        copy_all(&dir.path().join("data"), &copy.path().join("data"));
        let (platform, _runtime) = start(dir.path()).await;
        assert!(platform.keyring.rotate(&*clock()).await.unwrap() >= 1);
        let live = platform.keyring.open(Service::Posting, &text).await.unwrap();
        platform.stop().await;
        (text, live)
    };
    assert_eq!(live.as_deref(), Some(b"canary-4711".as_slice()), "the live store opens it as before");
    let store = open(copy.path());
    let keys = dir.path().join("keys");
    let now = clock().now();
    let file = KeyFile::open(&keys, store.installation(), false, now, &TestRandom).unwrap();
    let keyring = Keyring::new(store, Arc::new(TestRandom), file);
    assert!(keyring.open(Service::Posting, &text).await.is_err(), "the copy needs the key that was dropped");
}

fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_all(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// As in a cluster: one process has a key in memory, another destroys it.
#[tokio::test(start_paused = true)]
async fn a_key_that_was_destroyed_elsewhere_opens_only_for_whoever_read_that_the_content_stands() {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keys");
    let store: Arc<dyn Engine> = Arc::new(Asked(Arc::new(Memory::new(MemoryConfig::default()))));
    let process = |fresh| {
        let file = KeyFile::open(&keys, "memory", fresh, Millis(1_000), &TestRandom).unwrap();
        Keyring::new(Arc::clone(&store), Arc::new(TestRandom), file)
    };
    let (one, other) = (process(true), process(false));
    let stream = Stream::new("register", 1);
    let (key, write) = one.key_to_seal(Service::Identity, subject(), &stream).await.unwrap();
    store.write(vec![write.unwrap()]).await.unwrap();
    let sealed = one.seal(&key, subject(), &stream, "text", b"canary").unwrap();
    assert!(one.open(Service::Identity, &sealed).await.unwrap().is_some());
    other.destroy_subject(Service::Identity, subject()).await.unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    let asked = Instant::now();
    let standing = one.open_standing(Service::Identity, &sealed, asked).await.unwrap();
    assert_eq!(standing.as_deref(), Some(&b"canary"[..]), "it is not asked for again");
    let never = other.open_standing(Service::Identity, &sealed, asked).await.unwrap();
    assert_eq!(never, None, "it never knew it");
    tokio::time::advance(Duration::from_secs(1)).await;
    let late = one.open_standing(Service::Identity, &sealed, asked).await.unwrap();
    assert_eq!(late, None, "what was read then is not believed any more");
    let gone = one.open_standing(Service::Identity, &sealed, Instant::now()).await.unwrap();
    assert_eq!(gone, None, "and it was let go of");
}
