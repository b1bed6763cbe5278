//! State of identity that is no function of events: names that have one owner, and secrets, hashed.
//!
//! It decides nothing. Rows that are claimed are touched by conditional writes only; the others by plain ones.

use crate::tables::{
    self, APP_REFS, APPS, CODES, CREDENTIALS, EMAIL_CLAIMS, HANDLE_CLAIMS, SERVER_NAMES, SESSIONS,
    SESSIONS_OF, TOKENS, TOKENS_OF, TOKENS_OF_APP,
};
use bytes::Bytes;
use p92_eventlog::error::store_failure;
use p92_kernel::{Clock, Failure, Random, clock, digest};
use p92_proto::identity::v1;
use p92_storage::{Conditional, Direction, Engine, Outcome, Range, RowKey, Scan, Table, Write};
use prost::Message;
use std::sync::Arc;

/// How often a conditional write is repeated when its outcome is not known. Whoever claims can see whether he did.
const ATTEMPTS: usize = 3;

/// SHA-256 of a server and a secret: what one server gave out is not known at another.
pub type SecretHash = [u8; 32];

/// The hash under which a secret is kept.
#[must_use]
pub fn secret_hash(server: u64, purpose: &str, secret: &str) -> SecretHash {
    digest::of_parts(&[purpose.as_bytes(), &server.to_be_bytes(), secret.as_bytes()])
}

/// In which list a token stands, and whose: its account's, or its app's if it is for nobody.
pub(crate) fn listed(token: &v1::Token) -> (&'static Table, u64) {
    if token.account_id == 0 { (&TOKENS_OF_APP, token.app_id) } else { (&TOKENS_OF, token.account_id) }
}

/// A token or session of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    pub id: u64,
    pub hash: SecretHash,
    pub created_ms: u64,
}

type Pointed = (Vec<Made>, Option<Bytes>);

/// Which names are claimed where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    Handles,
    Emails,
    Servers,
}

impl Names {
    const fn table(self) -> &'static Table {
        match self {
            Self::Handles => &HANDLE_CLAIMS,
            Self::Emails => &EMAIL_CLAIMS,
            Self::Servers => &SERVER_NAMES,
        }
    }
}

/// The state of identity.
#[derive(Clone, Debug)]
pub struct State {
    engine: Arc<dyn Engine>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

fn row(table: &'static Table, partition: Bytes, clustering: Bytes) -> RowKey {
    RowKey::new(table.only(), partition, clustering)
}

fn credential_row(account: u64, credential: u64) -> RowKey {
    row(&CREDENTIALS, tables::id(account), tables::credential(credential))
}

fn message<M: Message + Default>(value: Bytes) -> Result<M, Failure> {
    M::decode(value).map_err(Failure::internal)
}

impl State {
    /// The state in this store.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self { engine, clock, random }
    }

    /// A new id for a row of state: rising by the millisecond, unique by chance.
    #[must_use]
    pub fn new_id(&self) -> u64 {
        let low = u64::from_be_bytes(clock::random_bytes(&*self.random)) & ((1 << 21) - 1);
        ((self.clock.now().0 & ((1 << 42) - 1)) << 21 | low).max(1)
    }

    /// A new secret of 256 bits, fit for headers and URLs.
    #[must_use]
    pub fn new_secret(&self) -> String {
        use base64::Engine as _;
        let bytes: [u8; 32] = clock::random_bytes(&*self.random);
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
    }

    async fn get<M: Message + Default>(&self, key: &RowKey) -> Result<Option<M>, Failure> {
        let found = self.engine.get(key).await.map_err(store_failure)?;
        found.filter(|row| !row.value.is_empty()).map(|row| message(row.value)).transpose()
    }

    async fn write(&self, key: RowKey, value: Option<Bytes>) -> Result<(), Failure> {
        self.engine.write(vec![Write { key, value }]).await.map_err(store_failure)
    }

    /// Takes away the row of a secret for good, whatever the clock of whoever wrote it says: no hash is made twice.
    async fn destroy(&self, key: &RowKey) -> Result<(), Failure> {
        self.engine.destroy(key).await.map_err(store_failure)
    }

    async fn cas(&self, key: &RowKey, expected: Option<u64>, value: &Bytes) -> Result<Conditional, Failure> {
        let mut attempt = 1;
        loop {
            match self.engine.compare_and_set(key, expected, value.clone()).await {
                Err(error) if error.outcome() == Outcome::Unknown && attempt < ATTEMPTS => attempt += 1,
                answered => return answered.map_err(store_failure),
            }
        }
    }

    /// Claims a name. Answers who has it: `owner` if it was free, or his already.
    pub async fn claim(&self, names: Names, name: Bytes, owner: u64) -> Result<u64, Failure> {
        let key = row(names.table(), name, Bytes::new());
        let value: Bytes = v1::ClaimRow { owner_id: owner }.encode_to_vec().into();
        let mut expected = None;
        loop {
            match self.cas(&key, expected, &value).await? {
                Conditional::Applied => return Ok(owner),
                Conditional::Stands(Some(stands)) if stands.value.is_empty() => expected = Some(stands.stamp),
                Conditional::Stands(Some(stands)) => {
                    return Ok(message::<v1::ClaimRow>(stands.value)?.owner_id);
                }
                // It stood a moment ago; rows of claims are never removed, so this is the first write again.
                Conditional::Stands(None) => expected = None,
            }
        }
    }

    /// Gives a name back, if it is his.
    pub async fn release(&self, names: Names, name: Bytes, owner: u64) -> Result<(), Failure> {
        let key = row(names.table(), name, Bytes::new());
        loop {
            let Some(stands) = self.engine.get(&key).await.map_err(store_failure)? else { return Ok(()) };
            if stands.value.is_empty() || message::<v1::ClaimRow>(stands.value)?.owner_id != owner {
                return Ok(());
            }
            if self.cas(&key, Some(stands.stamp), &Bytes::new()).await? == Conditional::Applied {
                return Ok(());
            }
        }
    }

    /// Who has a name.
    pub async fn owner_of(&self, names: Names, name: Bytes) -> Result<Option<u64>, Failure> {
        let claim = self.get::<v1::ClaimRow>(&row(names.table(), name, Bytes::new())).await?;
        Ok(claim.map(|claim| claim.owner_id))
    }

    /// An id for a new credential. By chance, so that whoever writes one, even an owner who does not know yet that he is
    /// none any more, overwrites nobody's.
    #[must_use]
    pub fn new_credential(&self) -> u64 {
        u64::from_be_bytes(clock::random_bytes(&*self.random)).max(1)
    }

    /// The write that keeps a password's hash, to be durable before the event that names the credential: only that event
    /// puts it in force.
    #[must_use]
    pub fn set_password(account: u64, credential: u64, password_hash: String, changed_ms: u64) -> Write {
        let value = v1::CredentialRow { password_hash, changed_ms }.encode_to_vec().into();
        Write { key: credential_row(account, credential), value: Some(value) }
    }

    /// The hash of a password.
    pub async fn password(&self, account: u64, credential: u64) -> Result<Option<String>, Failure> {
        let found: Option<v1::CredentialRow> = self.get(&credential_row(account, credential)).await?;
        Ok(found.map(|row| row.password_hash))
    }

    /// Forgets every password of an account, also those that never came into force.
    pub async fn forget_passwords(&self, account: u64) -> Result<(), Failure> {
        let mut after = None;
        loop {
            let scan = Scan {
                table: CREDENTIALS.only(),
                partition: tables::id(account),
                range: Range::all(),
                direction: Direction::Forward,
                limit: 500,
                after,
            };
            let page = self.engine.scan(&scan).await.map_err(store_failure)?;
            for (clustering, _) in page.rows {
                self.destroy(&row(&CREDENTIALS, tables::id(account), clustering)).await?;
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Keeps a new app. False if its client id is taken.
    pub async fn add_app(&self, app: &v1::App, secret_hash: &SecretHash) -> Result<bool, Failure> {
        let kept = v1::AppRow { app: Some(app.clone()), secret_hash: Bytes::copy_from_slice(secret_hash) };
        let place = row(&APP_REFS, tables::app_ref(app.server_id, app.id), Bytes::new());
        let points = v1::AppRefRow { client_id: app.client_id.clone() };
        // First what points to it: if this is all that comes to be, it points to nothing and nobody has the id.
        self.write(place, Some(points.encode_to_vec().into())).await?;
        let key = row(&APPS, tables::app(app.server_id, &app.client_id), Bytes::new());
        match self.cas(&key, None, &kept.encode_to_vec().into()).await? {
            Conditional::Applied => Ok(true),
            // The answer to an attempt before this one may have been lost.
            Conditional::Stands(stands) => {
                let stands = stands.map(|row| message::<v1::AppRow>(row.value)).transpose()?;
                Ok(stands == Some(kept))
            }
        }
    }

    /// An app by client id.
    pub async fn app(&self, server: u64, client_id: &str) -> Result<Option<v1::AppRow>, Failure> {
        // Longer ones were never given, and a key has its limits.
        if client_id.len() > 200 {
            return Ok(None);
        }
        self.get(&row(&APPS, tables::app(server, client_id), Bytes::new())).await
    }

    /// An app by id.
    pub async fn app_by_id(&self, server: u64, id: u64) -> Result<Option<v1::AppRow>, Failure> {
        let points: Option<v1::AppRefRow> =
            self.get(&row(&APP_REFS, tables::app_ref(server, id), Bytes::new())).await?;
        let Some(points) = points else { return Ok(None) };
        let app = self.app(server, &points.client_id).await?;
        Ok(app.filter(|row| row.app.as_ref().is_some_and(|app| app.id == id)))
    }

    /// Keeps a new code.
    pub async fn add_code(&self, hash: &SecretHash, code: &v1::CodeRow) -> Result<(), Failure> {
        let key = row(&CODES, tables::blind(hash), Bytes::new());
        match self.cas(&key, None, &code.encode_to_vec().into()).await? {
            Conditional::Applied => Ok(()),
            Conditional::Stands(_) => Err(Failure::internal("a random code came twice")),
        }
    }

    /// A code, and the version by which it is used.
    pub async fn code(&self, hash: &SecretHash) -> Result<Option<(v1::CodeRow, u64)>, Failure> {
        let key = row(&CODES, tables::blind(hash), Bytes::new());
        let Some(found) = self.engine.get(&key).await.map_err(store_failure)? else { return Ok(None) };
        Ok(Some((message(found.value)?, found.stamp)))
    }

    /// Uses a code. False if somebody was faster.
    pub async fn use_code(
        &self,
        hash: &SecretHash,
        code: &v1::CodeRow,
        version: u64,
    ) -> Result<bool, Failure> {
        let key = row(&CODES, tables::blind(hash), Bytes::new());
        match self.cas(&key, Some(version), &code.encode_to_vec().into()).await? {
            Conditional::Applied => Ok(true),
            Conditional::Stands(stands) => {
                let stands = stands.map(|row| message::<v1::CodeRow>(row.value)).transpose()?;
                Ok(stands.as_ref() == Some(code))
            }
        }
    }

    /// Keeps a new token.
    pub async fn add_token(&self, hash: &SecretHash, token: &v1::Token) -> Result<(), Failure> {
        // First the list: a token that is in no list could not be revoked.
        let (list, of) = listed(token);
        self.point(list, of, token.id, hash, token.created_ms).await?;
        let key = row(&TOKENS, tables::blind(hash), Bytes::new());
        self.write(key, Some(token.encode_to_vec().into())).await
    }

    /// A token by the hash of its secret.
    pub async fn token(&self, hash: &SecretHash) -> Result<Option<v1::Token>, Failure> {
        self.get(&row(&TOKENS, tables::blind(hash), Bytes::new())).await
    }

    /// Forgets a token.
    pub async fn remove_token(&self, hash: &SecretHash) -> Result<(), Failure> {
        let Some(token) = self.token(hash).await? else { return Ok(()) };
        self.destroy(&row(&TOKENS, tables::blind(hash), Bytes::new())).await?;
        let (list, of) = listed(&token);
        self.write(row(list, tables::id(of), tables::falling(token.id)), None).await
    }

    /// Ends the oldest tokens of whoever this one is for, until `most` are left, this one among them. Returns how many
    /// ended.
    pub async fn end_oldest_tokens(&self, newest: &v1::Token, most: u64) -> Result<u64, Failure> {
        let (list, of) = listed(newest);
        let (mut after, mut left, mut ended) = (None, 1, 0);
        loop {
            let (made, next) = self.pointed(list, of, 500, after).await?;
            // Ids of one millisecond are in no order: the newest need not come first.
            for Made { id, hash, .. } in made.into_iter().filter(|made| made.id != newest.id) {
                if left < most {
                    left += 1;
                    continue;
                }
                self.destroy(&row(&TOKENS, tables::blind(&hash), Bytes::new())).await?;
                self.write(row(list, tables::id(of), tables::falling(id)), None).await?;
                ended += 1;
            }
            match next {
                Some(next) => after = Some(next),
                None => return Ok(ended),
            }
        }
    }

    /// Keeps a new session.
    pub async fn add_session(&self, hash: &SecretHash, session: &v1::SessionRow) -> Result<(), Failure> {
        let inner = session.session.clone().unwrap_or_default();
        self.point(&SESSIONS_OF, inner.account_id, inner.id, hash, inner.created_ms).await?;
        let key = row(&SESSIONS, tables::blind(hash), Bytes::new());
        self.write(key, Some(session.encode_to_vec().into())).await
    }

    /// A session by the hash of its secret.
    pub async fn session(&self, hash: &SecretHash) -> Result<Option<v1::SessionRow>, Failure> {
        self.get(&row(&SESSIONS, tables::blind(hash), Bytes::new())).await
    }

    /// Forgets a session.
    pub async fn remove_session(&self, account: u64, id: u64, hash: &SecretHash) -> Result<(), Failure> {
        self.destroy(&row(&SESSIONS, tables::blind(hash), Bytes::new())).await?;
        self.write(row(&SESSIONS_OF, tables::id(account), tables::falling(id)), None).await
    }

    async fn point(
        &self,
        table: &'static Table,
        of: u64,
        id: u64,
        hash: &SecretHash,
        created_ms: u64,
    ) -> Result<(), Failure> {
        let points = v1::SecretRefRow { hash: Bytes::copy_from_slice(hash), created_ms };
        let key = row(table, tables::id(of), tables::falling(id));
        self.write(key, Some(points.encode_to_vec().into())).await
    }

    /// Ids, hashes and times of an account's or app's tokens or sessions, newest first.
    async fn pointed(
        &self,
        table: &'static Table,
        of: u64,
        limit: usize,
        after: Option<Bytes>,
    ) -> Result<Pointed, Failure> {
        let scan = Scan {
            table: table.only(),
            partition: tables::id(of),
            range: Range::all(),
            direction: Direction::Forward,
            limit,
            after,
        };
        let page = self.engine.scan(&scan).await.map_err(store_failure)?;
        let mut made = Vec::with_capacity(page.rows.len());
        for (clustering, found) in page.rows {
            let id = p92_storage::KeyReader::new(&clustering).desc().map_err(Failure::internal)?;
            let points: v1::SecretRefRow = message(found.value)?;
            let hash = SecretHash::try_from(points.hash.as_ref()).map_err(Failure::internal)?;
            made.push(Made { id, hash, created_ms: points.created_ms });
        }
        Ok((made, page.next))
    }

    /// An account's tokens, newest first.
    pub async fn tokens_of(&self, account: u64, limit: usize) -> Result<Vec<Made>, Failure> {
        Ok(self.pointed(&TOKENS_OF, account, limit, None).await?.0)
    }

    /// An account's sessions, newest first.
    pub async fn sessions_of(&self, account: u64, limit: usize) -> Result<Vec<Made>, Failure> {
        Ok(self.pointed(&SESSIONS_OF, account, limit, None).await?.0)
    }

    /// Ends tokens and sessions of an account that were made up to a moment, but one session.
    pub async fn revoke_all(&self, account: u64, up_to_ms: u64, kept_session: u64) -> Result<(), Failure> {
        self.revoke_in((&TOKENS_OF, &TOKENS), account, up_to_ms, 0).await?;
        self.revoke_in((&SESSIONS_OF, &SESSIONS), account, up_to_ms, kept_session).await
    }

    async fn revoke_in(
        &self,
        (list, secrets): (&'static Table, &'static Table),
        account: u64,
        up_to_ms: u64,
        kept: u64,
    ) -> Result<(), Failure> {
        let mut after = None;
        loop {
            let (made, next) = self.pointed(list, account, 500, after).await?;
            for Made { id, hash, .. } in
                made.into_iter().filter(|made| made.created_ms <= up_to_ms && (kept == 0 || made.id != kept))
            {
                // First the secret: what is in no list could not be revoked.
                self.destroy(&row(secrets, tables::blind(&hash), Bytes::new())).await?;
                self.write(row(list, tables::id(account), tables::falling(id)), None).await?;
            }
            match next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Throws away codes and sessions that ended before a moment. Returns how many.
    pub async fn sweep(&self, now_ms: u64) -> Result<u64, Failure> {
        let codes = self.sweep_table(&CODES, |value| {
            let code: v1::CodeRow = message(value)?;
            Ok(code.created_ms.saturating_add(24 * 3_600_000) < now_ms)
        });
        let codes = codes.await?;
        let sessions = self.sweep_table(&SESSIONS, |value| {
            let session: v1::SessionRow = message(value)?;
            Ok(session.session.is_none_or(|session| session.expires_ms < now_ms))
        });
        Ok(codes + sessions.await?)
    }

    async fn sweep_table(
        &self,
        table: &'static Table,
        ended: impl Fn(Bytes) -> Result<bool, Failure>,
    ) -> Result<u64, Failure> {
        let (mut after, mut swept) = (None, 0);
        loop {
            let page =
                self.engine.scan_table(table.only(), after.as_ref(), 500).await.map_err(store_failure)?;
            for found in page.rows {
                if !ended(found.row.value.clone())? {
                    continue;
                }
                if std::ptr::eq(table, &SESSIONS) {
                    let row: v1::SessionRow = message(found.row.value)?;
                    let session = row.session.unwrap_or_default();
                    let place = tables::falling(session.id);
                    self.write(RowKey::new(SESSIONS_OF.only(), tables::id(session.account_id), place), None)
                        .await?;
                }
                let key = RowKey::new(table.only(), found.partition, found.clustering);
                // Codes are kept and used by conditional writes, and so they go: a plain delete would have a time of its
                // own. One that changed meanwhile stays until the next sweep.
                if std::ptr::eq(table, &CODES) {
                    let stamp = found.row.stamp;
                    self.engine.compare_and_delete(&key, stamp).await.map_err(store_failure)?;
                } else {
                    self.write(key, None).await?;
                }
                swept += 1;
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(swept),
            }
        }
    }
}
