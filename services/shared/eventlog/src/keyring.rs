//! Sealed payloads (ARCHITECTURE §3.13): content key ← subject's key ← rotating key in a file outside the store.
//!
//! Destroying a content key makes one post unreadable, destroying a subject's key everything of an account, dropping an
//! old rotating key every copy of the store that was wrapped under it.

use crate::cipher::{self, Refused, associated, encrypt, unwrap, wrap};
use crate::error::{erased, store_failure};
use crate::keyfile::{KeyFile, KeyFileError, RotatingKey, Secret};
use crate::opened::{BELIEVED, Opened};
use crate::{Stream, tables};
use aws_lc_rs::hmac;
use bytes::Bytes;
use p92_kernel::{AccountId, Clock, Failure, Millis, Random, Service, clock};
use p92_proto::event::v1;
use p92_storage::{Conditional, Direction, Engine, KeyReader, Range, RowKey, Scan, StoreError, Write};
use parking_lot::RwLock;
use prost::Message;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

/// How many keys of one content stream are read at once. Nearly all have one.
const KEYS_AT_ONCE: usize = 100;

/// How often the key file is looked at where it is exchanged from outside.
const LOOK: Duration = Duration::from_secs(10);

/// Why something could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
enum KeyError {
    #[error("{0} is sealed under a key that does not fit it")]
    Mismatch(String),
    #[error("the key of subject {0} is wrapped under rotating key {1}, which is not in the key file")]
    NoRotatingKey(u64, u64),
    #[error("a rotating key is missing here: {0}")]
    File(String),
    #[error("there is no rotating key in the key file")]
    NoCurrentKey,
    #[error(transparent)]
    Cipher(#[from] Refused),
}

/// Seals, opens and destroys.
#[derive(Debug)]
pub struct Keyring {
    engine: Arc<dyn Engine>,
    random: Arc<dyn Random>,
    file: RwLock<KeyFile>,
    subjects: Opened<(Service, u64)>,
    contents: Opened<(Service, Stream, u64)>,
}

/// A key of a content stream. A stream may have several: each is drawn under a number of its own and its row is never
/// written again, so that no owner that is none any more can take away what an appended event relies on.
#[derive(Clone)]
pub struct ContentKey {
    id: u64,
    secret: Secret,
    /// Since when its subject's key may have been destroyed elsewhere.
    since: Instant,
}

impl std::fmt::Debug for ContentKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ContentKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Keyring {
    /// The keys of an installation, over its store.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>, random: Arc<dyn Random>, file: KeyFile) -> Self {
        let alone = engine.capabilities().exclusive;
        Self {
            engine,
            random,
            file: RwLock::new(file),
            subjects: Opened::new(alone),
            contents: Opened::new(alone),
        }
    }

    /// Looks at the key file until `stop`, and takes what an operator has put there: one more rotating key, or one less.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let mut looks = tokio::time::interval(LOOK);
        while stop.run_until_cancelled(looks.tick()).await.is_some() {
            match self.reload() {
                Ok(true) => tracing::info!("the key file was read again"),
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(%error, "the key file cannot be read again; the keys stay as they are")
                }
            }
        }
    }

    /// Reads the key file again; whether it holds other keys than before.
    pub fn reload(&self) -> Result<bool, KeyFileError> {
        let mut file = self.file.write();
        let new = file.read_again()?;
        let ids = |file: &KeyFile| file.rotating.iter().map(|key| key.id).collect::<Vec<_>>();
        let changed = ids(&new) != ids(&file);
        *file = new;
        Ok(changed)
    }

    /// The id of the installation whose keys they are.
    #[must_use]
    pub fn installation(&self) -> String {
        self.file.read().installation.clone()
    }

    /// When the key was made that wraps now, and how many older ones are kept in the file.
    #[must_use]
    pub fn rotation(&self) -> (Option<Millis>, usize) {
        let file = self.file.read();
        (file.current().map(|key| key.made), file.rotating.len().saturating_sub(1))
    }

    /// A row key made from content: an HMAC under the installation's key, told apart by purpose.
    #[must_use]
    pub fn blind(&self, purpose: &str, bytes: &[u8]) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &*self.file.read().blinding);
        let mut context = hmac::Context::with_key(&key);
        context.update(&(purpose.len() as u64).to_be_bytes());
        context.update(purpose.as_bytes());
        context.update(bytes);
        let mut out = [0; 32];
        for (to, from) in out.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        out
    }

    /// A key of a content stream, and the write that makes it durable if it is new.
    ///
    /// A new key is not kept here: only when its write stands may anything rely on it.
    pub async fn key_to_seal(
        &self,
        service: Service,
        subject: AccountId,
        content: &Stream,
    ) -> Result<(ContentKey, Option<Write>), Failure> {
        let standing = self.content_keys(service, content).await?;
        // An owner before, whose group was refused, may have left the key of another author under the same id.
        let own = standing.iter().find(|(_, wrapped)| wrapped.under == subject.get());
        // Whose key is destroyed has a row that opens no more: a new one is asked for all the same, and refused.
        if let Some((id, _)) = own
            && let Some((secret, since)) = self.content_key(service, subject.get(), content, *id).await?
        {
            return Ok((ContentKey { id: *id, secret, since }, None));
        }
        let (key, write) = self.new_key(service, subject, content).await?;
        Ok((key, Some(write)))
    }

    /// A new key of a content stream, and the write that makes it durable: for a stream that has none yet.
    pub async fn new_key(
        &self,
        service: Service,
        subject: AccountId,
        content: &Stream,
    ) -> Result<(ContentKey, Write), Failure> {
        let id = u64::from_be_bytes(clock::random_bytes(&*self.random)).max(1);
        let secret: Secret = Zeroizing::new(clock::random_bytes(&*self.random));
        let (wrapped, since) = self.wrap_content(service, subject, content, &secret).await?;
        let value = Some(wrapped.encode_to_vec().into());
        let write = Write { key: tables::content_key(service, content, id), value };
        Ok((ContentKey { id, secret, since }, write))
    }

    /// Fetches a subject's key ahead, for whoever will seal under it in a moment. That it fails is told then.
    pub async fn fetch_ahead(&self, service: Service, subject: AccountId) {
        let _ = self.subject_key(service, subject.get()).await;
    }

    /// Keeps new keys whose rows stand now.
    pub fn keep(&self, service: Service, keys: impl IntoIterator<Item = (Stream, ContentKey)>) {
        for (content, key) in keys {
            self.contents.put((service, content, key.id), key.secret, key.since);
        }
    }

    /// Encrypts under a key of a content stream.
    pub fn seal(
        &self,
        key: &ContentKey,
        subject: AccountId,
        content: &Stream,
        field: &'static str,
        plaintext: &[u8],
    ) -> Result<v1::Sealed, Failure> {
        let aad = associated(content.as_str(), field);
        let (nonce, ciphertext) =
            encrypt(&*self.random, &key.secret, &aad, plaintext).map_err(Failure::internal)?;
        Ok(v1::Sealed {
            subject_id: subject.get(),
            content: content.as_str().to_owned(),
            nonce,
            ciphertext,
            field: field.to_owned(),
            key_id: key.id,
        })
    }

    /// Decrypts; `None` if the key was destroyed.
    pub async fn open(&self, service: Service, sealed: &v1::Sealed) -> Result<Option<Bytes>, Failure> {
        let content = Stream::named(&sealed.content);
        let key = self.content_key(service, sealed.subject_id, &content, sealed.key_id).await?;
        key.map(|(secret, _)| decrypted(&secret, sealed)).transpose()
    }

    /// The same for whoever has read, by a question asked at that moment, that the content stands, and whose keys are
    /// destroyed only behind an event that says otherwise: a known key is good then for as long as any is believed.
    pub async fn open_standing(
        &self,
        service: Service,
        sealed: &v1::Sealed,
        asked: Instant,
    ) -> Result<Option<Bytes>, Failure> {
        let place = (service, Stream::named(&sealed.content), sealed.key_id);
        match self.contents.standing(&place).filter(|_| asked.elapsed() < BELIEVED) {
            Some(secret) => decrypted(&secret, sealed).map(Some),
            None => self.open(service, sealed).await,
        }
    }

    /// Decrypts a text; empty if the key was destroyed or there was nothing to seal.
    pub async fn open_text(&self, service: Service, sealed: Option<&v1::Sealed>) -> Result<String, Failure> {
        let Some(sealed) = sealed else { return Ok(String::new()) };
        let bytes = self.open(service, sealed).await?.unwrap_or_default();
        String::from_utf8(bytes.to_vec()).map_err(Failure::internal)
    }

    /// Destroys the keys of a content stream for good. They were written plainly, perhaps by another process whose clock
    /// is ahead, so that a plain delete would not do.
    pub async fn destroy_content(&self, service: Service, content: &Stream) -> Result<(), Failure> {
        loop {
            let keys = self.content_keys(service, content).await?;
            for (id, _) in &keys {
                self.engine
                    .destroy(&tables::content_key(service, content, *id))
                    .await
                    .map_err(store_failure)?;
                self.contents.forget(&(service, content.clone(), *id));
            }
            if keys.len() < KEYS_AT_ONCE {
                return Ok(());
            }
        }
    }

    /// Destroys the key of a subject. An empty row stays, so that nobody makes another one.
    pub async fn destroy_subject(&self, service: Service, subject: AccountId) -> Result<(), Failure> {
        let key = tables::subject_key(service, subject.get());
        loop {
            let stands = self.engine.get(&key).await.map_err(store_failure)?;
            let version = stands.map(|row| row.stamp);
            let destroyed =
                self.engine.compare_and_set(&key, version, Bytes::new()).await.map_err(store_failure)?;
            if destroyed == Conditional::Applied {
                break;
            }
        }
        self.subjects.forget(&(service, subject.get()));
        // Content keys that were opened under it must go too; which ones is not known here.
        self.contents.forget_all();
        Ok(())
    }

    /// The keys that a content stream has, wrapped.
    async fn content_keys(
        &self,
        service: Service,
        content: &Stream,
    ) -> Result<Vec<(u64, v1::WrappedKey)>, Failure> {
        let scan = Scan {
            table: tables::content_keys(service).only(),
            partition: tables::content_keys_of(content),
            range: Range::all(),
            direction: Direction::Forward,
            limit: KEYS_AT_ONCE,
            after: None,
        };
        let page = self.engine.scan(&scan).await.map_err(store_failure)?;
        let mut keys = Vec::with_capacity(page.rows.len());
        for (clustering, row) in page.rows {
            let id = match clustering.as_ref() {
                [] => 0,
                id => KeyReader::new(id).num().map_err(Failure::internal)?,
            };
            keys.push((id, v1::WrappedKey::decode(row.value).map_err(Failure::internal)?));
        }
        Ok(keys)
    }

    /// A key of a content stream, and since when it may have been destroyed elsewhere. Both rows that it takes are asked
    /// for at once.
    async fn content_key(
        &self,
        service: Service,
        subject: u64,
        content: &Stream,
        id: u64,
    ) -> Result<Option<(Secret, Instant)>, Failure> {
        let (asked, place) = (Instant::now(), (service, content.clone(), id));
        if let Some(known) = self.contents.get(&place) {
            return Ok(Some(known));
        }
        let place_of_row = tables::content_key(service, content, id);
        let row = async { self.engine.get(&place_of_row).await.map_err(store_failure) };
        let (row, subject_key) = futures::try_join!(row, self.subject_key(service, subject))?;
        let (Some(row), Some((subject_key, since))) = (row, subject_key) else {
            self.contents.gone(&place);
            return Ok(None);
        };
        let wrapped = v1::WrappedKey::decode(row.value).map_err(Failure::internal)?;
        let aad = associated(content.as_str(), "key");
        let secret = unwrap(&subject_key, &aad, &wrapped).map_err(Failure::internal)?;
        let since = asked.min(since);
        self.contents.put(place, secret.clone(), since);
        Ok(Some((secret, since)))
    }

    async fn wrap_content(
        &self,
        service: Service,
        subject: AccountId,
        content: &Stream,
        secret: &Secret,
    ) -> Result<(v1::WrappedKey, Instant), Failure> {
        let (subject_key, since) = match self.subject_key(service, subject.get()).await? {
            Some(key) => key,
            None => self.make_subject_key(service, subject).await?,
        };
        let aad = associated(content.as_str(), "key");
        let wrapped = wrap(&*self.random, &subject_key, subject.get(), &aad, secret);
        Ok((wrapped.map_err(Failure::internal)?, since))
    }

    /// The key of a subject, and since when it may have been destroyed elsewhere.
    async fn subject_key(
        &self,
        service: Service,
        subject: u64,
    ) -> Result<Option<(Secret, Instant)>, Failure> {
        let asked = Instant::now();
        if let Some(known) = self.subjects.get(&(service, subject)) {
            return Ok(Some(known));
        }
        let row = self.engine.get(&tables::subject_key(service, subject)).await.map_err(store_failure)?;
        let Some(row) = row.filter(|row| !row.value.is_empty()) else {
            self.subjects.gone(&(service, subject));
            return Ok(None);
        };
        let secret = self.open_subject(subject, row.value).map_err(Failure::internal)?;
        self.subjects.put((service, subject), secret.clone(), asked);
        Ok(Some((secret, asked)))
    }

    fn open_subject(&self, subject: u64, value: Bytes) -> Result<Secret, KeyError> {
        let wrapped =
            v1::WrappedKey::decode(value).map_err(|_| KeyError::Mismatch(format!("subject {subject}")))?;
        if self.file.read().rotating(wrapped.under).is_none() {
            // Another process wraps under a key already that was put into the file since it was read here.
            self.reload().map_err(|error| KeyError::File(error.to_string()))?;
        }
        let file = self.file.read();
        let rotating = file.rotating(wrapped.under).ok_or(KeyError::NoRotatingKey(subject, wrapped.under))?;
        Ok(unwrap(&rotating.secret, &subject.to_be_bytes(), &wrapped)?)
    }

    /// Made at most once, whoever else wants one at this moment; durable before anything is sealed under it.
    async fn make_subject_key(
        &self,
        service: Service,
        subject: AccountId,
    ) -> Result<(Secret, Instant), Failure> {
        let asked = Instant::now();
        let secret: Secret = Zeroizing::new(clock::random_bytes(&*self.random));
        let wrapped = self.wrap_subject(subject.get(), &secret).map_err(Failure::internal)?;
        let key = tables::subject_key(service, subject.get());
        let value = wrapped.encode_to_vec().into();
        match self.engine.compare_and_set(&key, None, value).await.map_err(store_failure)? {
            Conditional::Applied => {
                self.subjects.put((service, subject.get()), secret.clone(), asked);
                Ok((secret, asked))
            }
            Conditional::Stands(_) => {
                let known = self.subject_key(service, subject.get()).await?;
                known.ok_or_else(erased)
            }
        }
    }

    fn wrap_subject(&self, subject: u64, secret: &Secret) -> Result<v1::WrappedKey, KeyError> {
        let file = self.file.read();
        let rotating = file.current().ok_or(KeyError::NoCurrentKey)?;
        Ok(wrap(&*self.random, &rotating.secret, rotating.id, &subject.to_be_bytes(), secret)?)
    }

    /// Makes a new rotating key, wraps every subject's key under it, then drops the old ones from the file.
    ///
    /// Copies of the store made before can then be opened only with a copy of the old key file. Returns how many keys
    /// were wrapped anew. Safe to repeat after a failure in between.
    pub async fn rotate(&self, clock: &dyn Clock) -> Result<u64, RotateError> {
        let id = {
            let mut file = self.file.write();
            // As it is now: another process may have rotated since it was read.
            let mut next = file.read_again()?;
            let id = next.current().map_or(1, |key| key.id + 1);
            let secret = Zeroizing::new(clock::random_bytes(&*self.random));
            next.rotating.push(RotatingKey { id, made: clock.now(), secret });
            next.save()?;
            *file = next;
            id
        };
        if !self.engine.capabilities().exclusive {
            // Other processes wrap under the key before until they have looked at the file.
            tokio::time::sleep(LOOK * 2).await;
        }
        let mut wrapped = 0;
        loop {
            // Until a sweep finds nothing: a key may have been on its way to a place that was passed already.
            let mut swept = 0;
            for service in Service::ALL {
                swept += self.rewrap(service, id).await?;
            }
            wrapped += swept;
            if swept == 0 {
                break;
            }
        }
        let mut file = self.file.write();
        let mut next = file.read_again()?;
        next.rotating.retain(|key| key.id >= id);
        next.save()?;
        *file = next;
        Ok(wrapped)
    }

    async fn rewrap(&self, service: Service, id: u64) -> Result<u64, RotateError> {
        let table = tables::subject_keys(service).only();
        let mut after = None;
        let mut count = 0;
        loop {
            let page = self.engine.scan_table(table, after.as_ref(), 500).await?;
            for row in page.rows {
                let key = RowKey::new(table, row.partition.clone(), row.clustering.clone());
                count += u64::from(self.rewrap_one(&key, id).await?);
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(count),
            }
        }
    }

    async fn rewrap_one(&self, key: &RowKey, id: u64) -> Result<bool, RotateError> {
        loop {
            let Some(row) = self.engine.get(key).await?.filter(|row| !row.value.is_empty()) else {
                return Ok(false);
            };
            let subject = p92_storage::KeyReader::new(&key.partition).num();
            let subject =
                subject.map_err(|error| StoreError::Damaged(format!("a subject's key: {error}")))?;
            let standing = v1::WrappedKey::decode(row.value.clone())
                .map_err(|error| StoreError::Damaged(format!("a subject's key: {error}")))?;
            if standing.under >= id {
                return Ok(false);
            }
            let damaged = |error: KeyError| StoreError::Damaged(error.to_string());
            let secret = self.open_subject(subject, row.value).map_err(damaged)?;
            let wrapped = self.wrap_subject(subject, &secret).map_err(damaged)?;
            let value = wrapped.encode_to_vec().into();
            if self.engine.compare_and_set(key, Some(row.stamp), value).await? == Conditional::Applied {
                return Ok(true);
            }
        }
    }
}

fn decrypted(secret: &Secret, sealed: &v1::Sealed) -> Result<Bytes, Failure> {
    cipher::open(secret, sealed).map_err(|_| Failure::internal(KeyError::Mismatch(sealed.content.clone())))
}

/// Why a rotation did not end. The old keys are still in the file.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    #[error(transparent)]
    File(#[from] KeyFileError),
    #[error(transparent)]
    Store(#[from] StoreError),
}
