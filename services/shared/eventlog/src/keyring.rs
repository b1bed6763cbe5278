//! Sealed payloads (ARCHITECTURE §3.13): content key ← subject's key ← rotating key in a file outside the store.
//!
//! Destroying a content key makes one post unreadable, destroying a subject's key everything of an account, dropping an
//! old rotating key every copy of the store that was wrapped under it.

use crate::error::store_failure;
use crate::keyfile::{KeyFile, KeyFileError, RotatingKey, Secret};
use crate::opened::Opened;
use crate::{Stream, tables};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use bytes::Bytes;
use p92_kernel::{AccountId, Clock, ErrorCode, Failure, Millis, Random, Service, clock};
use p92_proto::event::v1;
use p92_storage::{Conditional, Engine, Key, RowKey, StoreError, Write};
use parking_lot::RwLock;
use prost::Message;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

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
    #[error("the cipher refused")]
    Cipher,
}

/// Nothing is sealed for somebody whose key was destroyed: a command that came too late is a rejection, not a bug.
fn erased() -> Failure {
    Failure::new(ErrorCode::FailedPrecondition, "ACCOUNT_ERASED", "The account has been erased.")
}

/// Seals, opens and destroys.
#[derive(Debug)]
pub struct Keyring {
    engine: Arc<dyn Engine>,
    random: Arc<dyn Random>,
    file: RwLock<KeyFile>,
    subjects: Opened<(Service, u64)>,
    contents: Opened<(Service, Stream)>,
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

    /// The key of a content stream, and the write that makes it durable if it is new.
    ///
    /// A new key is not kept here: only when its write stands may anything rely on it.
    pub async fn key_to_seal(
        &self,
        service: Service,
        subject: AccountId,
        content: &Stream,
    ) -> Result<(Secret, Option<Write>), Failure> {
        if let Some(secret) = self.content_key(service, content).await? {
            return Ok((secret, None));
        }
        let secret: Secret = Zeroizing::new(clock::random_bytes(&*self.random));
        let wrapped = self.wrap_content(service, subject, content, &secret).await?;
        let value = Some(wrapped.encode_to_vec().into());
        Ok((secret, Some(Write { key: content_row(service, content), value })))
    }

    /// Encrypts under a key of a content stream.
    pub fn seal(
        &self,
        secret: &Secret,
        subject: AccountId,
        content: &Stream,
        field: &'static str,
        plaintext: &[u8],
    ) -> Result<v1::Sealed, Failure> {
        let aad = associated(content.as_str(), field);
        let (nonce, ciphertext) =
            encrypt(&*self.random, secret, &aad, plaintext).map_err(Failure::internal)?;
        Ok(v1::Sealed {
            subject_id: subject.get(),
            content: content.as_str().to_owned(),
            nonce,
            ciphertext,
            field: field.to_owned(),
        })
    }

    /// Decrypts; `None` if the key was destroyed.
    pub async fn open(&self, service: Service, sealed: &v1::Sealed) -> Result<Option<Bytes>, Failure> {
        let content = Stream::named(&sealed.content);
        let Some(secret) = self.content_key(service, &content).await? else { return Ok(None) };
        let aad = associated(&sealed.content, &sealed.field);
        decrypt(&secret, &aad, &sealed.nonce, &sealed.ciphertext)
            .map(Some)
            .map_err(|_| Failure::internal(KeyError::Mismatch(sealed.content.clone())))
    }

    /// Decrypts a text; empty if the key was destroyed or there was nothing to seal.
    pub async fn open_text(&self, service: Service, sealed: Option<&v1::Sealed>) -> Result<String, Failure> {
        let Some(sealed) = sealed else { return Ok(String::new()) };
        let bytes = self.open(service, sealed).await?.unwrap_or_default();
        String::from_utf8(bytes.to_vec()).map_err(Failure::internal)
    }

    /// Destroys the key of a content stream, which gets none again. It was written plainly, perhaps by another process
    /// whose clock is ahead, so that a plain delete would not do.
    pub async fn destroy_content(&self, service: Service, content: &Stream) -> Result<(), Failure> {
        self.engine.destroy(&content_row(service, content)).await.map_err(store_failure)?;
        self.contents.forget(&(service, content.clone()));
        Ok(())
    }

    /// Destroys the key of a subject. An empty row stays, so that nobody makes another one.
    pub async fn destroy_subject(&self, service: Service, subject: AccountId) -> Result<(), Failure> {
        let key = subject_row(service, subject.get());
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

    async fn content_key(&self, service: Service, content: &Stream) -> Result<Option<Secret>, Failure> {
        let asked = Instant::now();
        if let Some((secret, _)) = self.contents.get(&(service, content.clone())) {
            return Ok(Some(secret));
        }
        let row = self.engine.get(&content_row(service, content)).await.map_err(store_failure)?;
        let Some(row) = row else { return Ok(None) };
        let wrapped = v1::WrappedKey::decode(row.value).map_err(Failure::internal)?;
        let Some((subject, since)) = self.subject_key(service, wrapped.under).await? else { return Ok(None) };
        let aad = associated(content.as_str(), "key");
        let secret = unwrap(&subject, &aad, &wrapped).map_err(Failure::internal)?;
        self.contents.put((service, content.clone()), secret.clone(), asked.min(since));
        Ok(Some(secret))
    }

    async fn wrap_content(
        &self,
        service: Service,
        subject: AccountId,
        content: &Stream,
        secret: &Secret,
    ) -> Result<v1::WrappedKey, Failure> {
        let subject_key = match self.subject_key(service, subject.get()).await? {
            Some((key, _)) => key,
            None => self.make_subject_key(service, subject).await?,
        };
        let aad = associated(content.as_str(), "key");
        let wrapped = wrap(&*self.random, &subject_key, subject.get(), &aad, secret);
        wrapped.map_err(Failure::internal)
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
        let row = self.engine.get(&subject_row(service, subject)).await.map_err(store_failure)?;
        let Some(row) = row.filter(|row| !row.value.is_empty()) else { return Ok(None) };
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
        unwrap(&rotating.secret, &subject.to_be_bytes(), &wrapped)
    }

    /// Made at most once, whoever else wants one at this moment; durable before anything is sealed under it.
    async fn make_subject_key(&self, service: Service, subject: AccountId) -> Result<Secret, Failure> {
        let asked = Instant::now();
        let secret: Secret = Zeroizing::new(clock::random_bytes(&*self.random));
        let wrapped = self.wrap_subject(subject.get(), &secret).map_err(Failure::internal)?;
        let key = subject_row(service, subject.get());
        let value = wrapped.encode_to_vec().into();
        match self.engine.compare_and_set(&key, None, value).await.map_err(store_failure)? {
            Conditional::Applied => {
                self.subjects.put((service, subject.get()), secret.clone(), asked);
                Ok(secret)
            }
            Conditional::Stands(_) => {
                let known = self.subject_key(service, subject.get()).await?;
                known.map(|(secret, _)| secret).ok_or_else(erased)
            }
        }
    }

    fn wrap_subject(&self, subject: u64, secret: &Secret) -> Result<v1::WrappedKey, KeyError> {
        let file = self.file.read();
        let rotating = file.current().ok_or(KeyError::Cipher)?;
        wrap(&*self.random, &rotating.secret, rotating.id, &subject.to_be_bytes(), secret)
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

/// Why a rotation did not end. The old keys are still in the file.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    #[error(transparent)]
    File(#[from] KeyFileError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn content_row(service: Service, content: &Stream) -> RowKey {
    RowKey::new(tables::content_keys(service).only(), Key::new().text(content.as_str()), Bytes::new())
}

fn subject_row(service: Service, subject: u64) -> RowKey {
    RowKey::new(tables::subject_keys(service).only(), Key::new().num(subject), Bytes::new())
}

fn associated(content: &str, field: &str) -> Vec<u8> {
    let mut aad = Vec::with_capacity(content.len() + field.len() + 1);
    aad.extend_from_slice(content.as_bytes());
    // A zero stands in no name of a stream, so no two pairs make the same bytes.
    aad.push(0);
    aad.extend_from_slice(field.as_bytes());
    aad
}

fn cipher(secret: &Secret) -> Result<LessSafeKey, KeyError> {
    Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, secret.as_slice()).map_err(|_| KeyError::Cipher)?))
}

/// Random nonces: few messages are ever sealed under one key (NIST SP 800-38D allows 2^32).
fn encrypt(
    random: &dyn Random,
    secret: &Secret,
    aad: &[u8],
    plaintext: &[u8],
) -> Result<(Bytes, Bytes), KeyError> {
    let nonce: [u8; NONCE_LEN] = clock::random_bytes(random);
    let mut text = plaintext.to_vec();
    cipher(secret)?
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut text)
        .map_err(|_| KeyError::Cipher)?;
    Ok((Bytes::copy_from_slice(&nonce), text.into()))
}

fn decrypt(secret: &Secret, aad: &[u8], nonce: &[u8], ciphertext: &[u8]) -> Result<Bytes, KeyError> {
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| KeyError::Cipher)?;
    let mut text = ciphertext.to_vec();
    let plain =
        cipher(secret)?.open_in_place(nonce, Aad::from(aad), &mut text).map_err(|_| KeyError::Cipher)?.len();
    text.truncate(plain);
    Ok(text.into())
}

fn wrap(
    random: &dyn Random,
    under: &Secret,
    under_id: u64,
    aad: &[u8],
    secret: &Secret,
) -> Result<v1::WrappedKey, KeyError> {
    let (nonce, ciphertext) = encrypt(random, under, aad, secret.as_slice())?;
    Ok(v1::WrappedKey { under: under_id, nonce, ciphertext })
}

fn unwrap(under: &Secret, aad: &[u8], wrapped: &v1::WrappedKey) -> Result<Secret, KeyError> {
    let plain = Zeroizing::new(decrypt(under, aad, &wrapped.nonce, &wrapped.ciphertext)?.to_vec());
    let array = <[u8; 32]>::try_from(plain.as_slice()).map_err(|_| KeyError::Cipher)?;
    Ok(Zeroizing::new(array))
}
