//! A round: what a command sees of its shard while it is decided, and what it may do.
//!
//! It sees the state that the commands before it left, whether or not the store has it yet. It appends nothing itself.

use crate::command::CommandMeta;
use crate::error::{projection_failure, store_failure};
use crate::event::{NewEvent, Recorded, position_to_wire};
use crate::group::COMMAND_BYTES;
use crate::keyring::ContentKey;
use crate::keys::stream_partition;
use crate::known::Known;
use crate::overlay::Overlay;
use crate::owner::Mutant;
use crate::platform::Shared;
use crate::pointers::Readable;
use crate::rows::{Layers, Rows, readable};
use crate::{Poison, Receipt, Stream, keys, tables};
use bytes::Bytes;
use futures::future::BoxFuture;
use lru::LruCache;
use p92_kernel::{AccountId, ErrorCode, Failure, Id, IdMint, Millis, Position, Seq};
use p92_proto::event::v1;
use p92_storage::{Direction, Key, LogKey, Range, RowKey, Table, Write};
use prost::Message;
use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// What a stream's events fold to.
pub trait Aggregate: Clone + Default + Send + Sync + 'static {
    /// The domain's event.
    type Event: Send + Sync + 'static;

    /// Reads an event out of the log.
    fn decode(event: &Recorded) -> Result<Self::Event, Poison>;

    /// Writes an event for the log.
    fn encode(event: &Self::Event) -> NewEvent;

    /// The state after the event. Total.
    #[must_use]
    fn evolve(self, event: &Self::Event) -> Self;
}

/// An aggregate as it stands.
#[derive(Clone, Debug)]
pub struct Loaded<A> {
    pub state: A,
    /// How many events it has; 0 if there is no such stream.
    pub version: u64,
}

/// A command on its way through rounds: it may be decided again after a lost slot.
pub type Command = Box<dyn for<'a> FnMut(&'a mut Round) -> BoxFuture<'a, Result<(), Failure>> + Send>;

type StateKey = (TypeId, Stream);

#[derive(Clone)]
struct Cached {
    state: Arc<dyn Any + Send + Sync>,
    version: u64,
}

/// What the command being decided has done so far; dropped whole if it is refused.
#[derive(Default)]
struct Scratch {
    events: Vec<(Stream, u64, NewEvent)>,
    states: HashMap<StateKey, Cached>,
    versions: HashMap<Stream, u64>,
    before: Vec<Write>,
    fresh: HashMap<Stream, ContentKey>,
    bytes: usize,
    causation_id: u64,
    minted: Vec<Id>,
}

/// Rows that the commands of a round will ask for.
#[derive(Debug)]
pub struct Ahead {
    rows: Vec<RowKey>,
    _table: Readable,
}

/// A shard as its owner sees it, with the round that is being decided.
pub struct Round {
    pub(crate) shared: Arc<Shared>,
    pub(crate) log: LogKey,
    pub(crate) head: Seq,
    pub(crate) mint: IdMint,
    pub(crate) overlay: Overlay,
    pub(crate) pending: Overlay,
    pub(crate) events: Vec<Recorded>,
    pub(crate) before: Vec<Write>,
    /// Content keys that this round makes: not in the store before its group is.
    pub(crate) fresh: HashMap<Stream, ContentKey>,
    cache: LruCache<StateKey, Cached>,
    known: Known,
    scratch: Scratch,
}

impl std::fmt::Debug for Round {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Round").field("log", &self.log).field("head", &self.head).finish_non_exhaustive()
    }
}

/// How many aggregates a shard's owner keeps folded.
const CACHED: NonZeroUsize = NonZeroUsize::new(2_048).unwrap();

impl Round {
    pub(crate) fn new(shared: Arc<Shared>, log: LogKey) -> Self {
        Self {
            shared,
            log,
            head: Seq(0),
            mint: IdMint::new(log.service, log.shard, Millis(0)),
            overlay: Overlay::default(),
            pending: Overlay::default(),
            events: Vec::new(),
            before: Vec::new(),
            fresh: HashMap::new(),
            cache: LruCache::new(CACHED),
            known: Known::default(),
            scratch: Scratch::default(),
        }
    }

    /// Forgets everything of the shard.
    pub(crate) fn forget(&mut self) {
        self.overlay.clear();
        self.known.clear();
        self.forget_round();
    }

    /// Forgets what it has read of rows.
    pub(crate) fn forget_rows(&mut self) {
        self.known.clear();
    }

    /// The store has acknowledged all rows up to a place.
    pub(crate) fn acknowledged(&mut self, applied: Seq) {
        let (known, states) = (&self.known, &self.shared.view_states);
        self.overlay.acknowledged(applied, |place, laid| {
            let table = *readable(laid.table, states);
            let key = RowKey::new(table, place.partition.clone(), place.clustering.clone());
            known.wrote(&key, laid.value.clone().map(|value| (value, laid.at)));
        });
    }

    /// Forgets the round that could not be appended, and every state folded with it.
    pub(crate) fn forget_round(&mut self) {
        self.pending.clear();
        self.events.clear();
        self.before.clear();
        self.fresh.clear();
        self.cache.clear();
        self.scratch = Scratch::default();
    }

    /// Wall time.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.shared.platform.clock.now().max(self.mint.time())
    }

    /// The log that is written.
    #[must_use]
    pub const fn log(&self) -> LogKey {
        self.log
    }

    /// A new id of this shard, above all before it.
    pub fn next_id(&mut self) -> Id {
        let id = self.mint.next(self.shared.platform.clock.now());
        self.scratch.minted.push(id);
        id
    }

    /// Whether the command has just given this stream its id: there can be nothing of it in the store.
    fn is_new(&self, stream: &Stream) -> bool {
        stream.id().is_some_and(|id| self.scratch.minted.contains(&id))
    }

    /// The event that caused this command, 0 for a request from outside.
    #[must_use]
    pub const fn causation_id(&self) -> u64 {
        self.scratch.causation_id
    }

    /// Folds a stream.
    pub async fn load<A: Aggregate>(&mut self, stream: &Stream) -> Result<Loaded<A>, Failure> {
        let key = (TypeId::of::<A>(), stream.clone());
        let kept = if self.shared.mutated(Mutant::NoOverlay) { None } else { self.cache.get(&key).cloned() };
        let cached = self.scratch.states.get(&key).cloned().or(kept);
        if let Some(Cached { state, version }) = cached
            && let Some(state) = state.downcast_ref::<A>()
        {
            return Ok(Loaded { state: state.clone(), version });
        }
        if self.is_new(stream) {
            return Ok(Loaded { state: A::default(), version: 0 });
        }
        let loaded = self.fold::<A>(stream).await?;
        let state = Arc::new(loaded.state.clone());
        self.cache.put(key, Cached { state, version: loaded.version });
        Ok(loaded)
    }

    async fn fold<A: Aggregate>(&self, stream: &Stream) -> Result<Loaded<A>, Failure> {
        const AT_ONCE: usize = 500;
        let mut loaded = Loaded { state: A::default(), version: 0 };
        loop {
            let from = Some(Key::new().num(loaded.version + 1).build());
            let rows =
                self.layers_scan(tables::streams(self.log.service), stream.as_str(), from, AT_ONCE).await?;
            let whole = rows.len() < AT_ONCE;
            for (_, bytes) in rows {
                let position = Position { service: self.log.service, shard: self.log.shard, seq: Seq(0) };
                let event = Recorded::read(position, bytes).map_err(Failure::internal)?;
                if event.event.version != loaded.version + 1 {
                    let gap =
                        format!("{stream} has version {} after {}", event.event.version, loaded.version);
                    return Err(Failure::internal(gap));
                }
                loaded.state = loaded.state.evolve(&A::decode(&event).map_err(Failure::internal)?);
                loaded.version += 1;
            }
            if whole {
                return Ok(loaded);
            }
        }
    }

    async fn layers_scan(
        &self,
        table: &'static Table,
        stream: &str,
        from: Option<Bytes>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Failure> {
        let laid = [&self.pending, &self.overlay];
        let layers = self.layers(&laid, None);
        let range = Range { from, to: None };
        layers
            .scan(table.only(), &stream_partition(stream), range, Direction::Forward, limit)
            .await
            .map_err(store_failure)
    }

    /// The layers that reads go through: all of them, but for the mutant that the model and the simulation must catch.
    fn layers<'a>(&'a self, laid: &'a [&'a Overlay], known: Option<&'a Known>) -> Layers<'a> {
        let laid = if self.shared.mutated(Mutant::NoOverlay) { &[] } else { laid };
        Layers { engine: &*self.shared.platform.engine, laid, known }
    }

    /// A row of a view or of state, as the commands before this one left it.
    pub async fn row(
        &self,
        table: &'static Table,
        partition: impl Into<Bytes>,
        clustering: impl Into<Bytes>,
    ) -> Result<Option<Bytes>, Failure> {
        self.row_as(None, table, partition.into(), clustering.into()).await
    }

    async fn row_as(
        &self,
        known: Option<&Known>,
        table: &'static Table,
        partition: Bytes,
        clustering: Bytes,
    ) -> Result<Option<Bytes>, Failure> {
        let laid = [&self.pending, &self.overlay];
        let layers = self.layers(&laid, known);
        let table = readable(table, &self.shared.view_states);
        let found = layers.get(*table, &partition, &clustering).await;
        Ok(found.map_err(store_failure)?.map(|(value, _)| value))
    }

    /// The first rows of a range of a view or of state, as the commands before this one left them.
    pub async fn rows(
        &self,
        table: &'static Table,
        partition: impl Into<Bytes>,
        range: Range,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Failure> {
        let laid = [&self.pending, &self.overlay];
        let layers = self.layers(&laid, None);
        let table = readable(table, &self.shared.view_states);
        layers.scan(*table, &partition.into(), range, direction, limit).await.map_err(store_failure)
    }

    /// Encrypts personal content. Its key is durable no later than the group.
    pub async fn seal(
        &mut self,
        subject: AccountId,
        content: &Stream,
        field: &'static str,
        plaintext: &[u8],
    ) -> Result<v1::Sealed, Failure> {
        let keyring = Arc::clone(&self.shared.platform.keyring);
        let fresh = self.scratch.fresh.get(content).or_else(|| self.fresh.get(content)).cloned();
        let key = match fresh {
            Some(key) => key,
            None => {
                let service = self.log.service;
                let (key, write) = if self.is_new(content) {
                    let (key, write) = keyring.new_key(service, subject, content).await?;
                    (key, Some(write))
                } else {
                    keyring.key_to_seal(service, subject, content).await?
                };
                if let Some(write) = write {
                    self.scratch.before.push(write);
                    self.scratch.fresh.insert(content.clone(), key.clone());
                }
                key
            }
        };
        keyring.seal(&key, subject, content, field, plaintext)
    }

    /// A write to state that must be durable no later than the group.
    ///
    /// Nothing fences it: it may stay without the group, or be an owner's that is none any more. So it goes to a row that
    /// nothing else ever writes, under a number drawn by chance, and an event of the group says that it holds.
    pub fn write_before(&mut self, write: Write) {
        self.scratch.before.push(write);
    }

    /// Adds events to a stream that was loaded, and folds them.
    pub async fn emit<A: Aggregate>(&mut self, stream: &Stream, events: &[A::Event]) -> Result<(), Failure> {
        let loaded = self.load::<A>(stream).await?;
        let mut version = self.scratch.versions.get(stream).copied().unwrap_or(loaded.version);
        let mut state = loaded.state;
        for event in events {
            version += 1;
            let new = A::encode(event);
            self.scratch.bytes += new.payload.len() + 256;
            self.scratch.events.push((stream.clone(), version, new));
            state = state.evolve(event);
        }
        self.scratch.versions.insert(stream.clone(), version);
        let key = (TypeId::of::<A>(), stream.clone());
        self.scratch.states.insert(key, Cached { state: Arc::new(state), version });
        Ok(())
    }

    /// Decides one command. Its events and rows join the round, or nothing does.
    pub(crate) async fn decide(
        &mut self,
        meta: &CommandMeta,
        command: &mut Command,
    ) -> Result<Receipt, Failure> {
        self.scratch = Scratch { causation_id: meta.causation_id, ..Scratch::default() };
        if let Some(receipt) = self.repeated(meta).await? {
            return Ok(receipt);
        }
        command(self).await?;
        let scratch = std::mem::take(&mut self.scratch);
        if scratch.bytes > COMMAND_BYTES {
            return Err(Failure::new(
                ErrorCode::ResourceExhausted,
                "COMMAND_TOO_LARGE",
                "This would change too much at once.",
            ));
        }
        let subject = scratch.events.first().map(|(stream, ..)| stream.clone());
        let events = self.envelopes(meta, scratch.events);
        let rows = self.project(&events).await?;
        self.pending.absorb(rows);
        for (key, state) in scratch.states {
            self.cache.put(key, state);
        }
        let positions = events.last().map(|event| event.position).into_iter().collect();
        self.events.extend(events);
        self.before.extend(scratch.before);
        self.fresh.extend(scratch.fresh);
        Ok(Receipt { positions, repeated: false, subject })
    }

    /// The rows of these commands' keys that are not known yet.
    pub(crate) fn ahead<'a>(&self, metas: impl Iterator<Item = &'a CommandMeta>) -> Ahead {
        let LogKey { service, shard } = self.log;
        let table = readable(tables::keys(service), &self.shared.view_states);
        let places = metas
            .filter(|meta| !meta.key.is_empty())
            .map(|meta| keys::key_place(service, shard, &meta.scope, &meta.key));
        let rows = places
            .filter(|place| self.overlay.get(place).is_none())
            .map(|place| RowKey::new(*table, place.partition, place.clustering))
            .filter(|row| self.known.get(row).is_none())
            .collect();
        Ahead { rows, _table: table }
    }

    /// Reads them. That this fails is no failure of a command: it reads its own.
    pub(crate) async fn look(&self, ahead: Ahead) {
        if ahead.rows.len() < 2 {
            return;
        }
        let found = self.shared.platform.engine.get_many(&ahead.rows).await.unwrap_or_default();
        for (row, found) in ahead.rows.into_iter().zip(found) {
            self.known.read(row, &found.map(|found| (found.value, Seq(found.stamp))));
        }
    }

    /// The receipt of an earlier command under the same key.
    async fn repeated(&self, meta: &CommandMeta) -> Result<Option<Receipt>, Failure> {
        if meta.key.is_empty() {
            return Ok(None);
        }
        let place = keys::key_place(self.log.service, self.log.shard, &meta.scope, &meta.key);
        let table = tables::keys(self.log.service);
        let value = self.row_as(Some(&self.known), table, place.partition, place.clustering).await?;
        let Some(value) = value else { return Ok(None) };
        let Some(row) = keys::read_key(value, self.now().0).map_err(Failure::internal)? else {
            return Ok(None);
        };
        if row.digest != meta.digest {
            return Err(Failure::new(
                ErrorCode::AlreadyExists,
                "IDEMPOTENCY_KEY_REUSED",
                "This idempotency key was used for another request within the last seven days.",
            ));
        }
        let position = Position { service: self.log.service, shard: self.log.shard, seq: Seq(row.last_seq) };
        Ok(Some(Receipt {
            positions: vec![position],
            repeated: true,
            subject: Some(Stream::named(&row.subject)),
        }))
    }

    fn envelopes(&mut self, meta: &CommandMeta, events: Vec<(Stream, u64, NewEvent)>) -> Vec<Recorded> {
        let now = self.shared.platform.clock.now();
        let ids: Vec<Id> = events.iter().map(|_| self.mint.next(now)).collect();
        let time_ms = self.mint.time().0;
        let correlation_id = match (meta.correlation_id, ids.first()) {
            (0, Some(first)) => first.get(),
            (given, _) => given,
        };
        let mut seq = Seq(self.head.0 + self.events.len() as u64);
        let mut out = Vec::with_capacity(events.len());
        for ((stream, version, new), id) in events.into_iter().zip(ids) {
            seq = seq.next();
            let after = meta.after.iter().chain(&new.after).copied().map(position_to_wire).collect();
            let event = v1::Event {
                event_id: id.get(),
                stream: stream.as_str().to_owned(),
                version,
                r#type: new.event_type,
                schema_version: new.schema_version,
                server_id: meta.server_id,
                actor_id: meta.actor_id,
                causation_id: meta.causation_id,
                correlation_id,
                after,
                idempotency_key: meta.key.clone(),
                idempotency_digest: meta.digest.clone(),
                idempotency_scope: meta.scope.clone(),
                traceparent: meta.traceparent.clone(),
                time_ms,
                payload: new.payload,
            };
            let position = Position { service: self.log.service, shard: self.log.shard, seq };
            let bytes = event.encode_to_vec().into();
            out.push(Recorded { position, event, bytes });
        }
        out
    }

    /// The rows that events write: of streams, and of the service's own views.
    pub(crate) async fn project(&self, events: &[Recorded]) -> Result<Overlay, Failure> {
        let mut rows = Overlay::default();
        for event in events {
            keys::lay_stream_row(event, &mut rows);
            for view in self.shared.own_views.0.iter().filter(|view| view.wants(event.event_type())) {
                let laid = [&rows, &self.pending, &self.overlay];
                let layers = self.layers(&laid, Some(&self.known));
                let table = readable(view.table(), &self.shared.view_states);
                let mut written = Rows::new(*table, event.position.seq, layers);
                view.project(event, &mut written).await.map_err(projection_failure)?;
                rows.absorb(written.written().map_err(projection_failure)?);
            }
        }
        Ok(rows)
    }
}
