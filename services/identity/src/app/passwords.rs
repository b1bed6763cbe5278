//! Passwords that are not in force: replaced ones, and those that an owner wrote whose group was refused.
//!
//! They are kept for a while, since a backup may read them after it has noted an event that still names them.

use super::App;
use crate::domain::account::Life;
use crate::tables::{self, CREDENTIALS};
use p92_eventlog::error::store_failure;
use p92_kernel::Failure;
use p92_proto::identity::v1;
use p92_storage::{KeyReader, RowKey, TableRow};
use prost::Message;

/// For how long a password is kept that is not in force: longer than any backup takes.
const KEPT_MS: u64 = 24 * 3_600_000;
const AT_ONCE: usize = 500;

/// A password as the store has it.
struct Kept {
    key: RowKey,
    credential: u64,
    made_ms: u64,
}

impl Kept {
    fn read(found: TableRow) -> Result<Self, Failure> {
        let credential = tables::credential_of(&found.clustering).map_err(Failure::internal)?;
        let row = v1::CredentialRow::decode(found.row.value).map_err(Failure::internal)?;
        let key = RowKey::new(CREDENTIALS.only(), found.partition, found.clustering);
        Ok(Self { key, credential, made_ms: row.changed_ms })
    }
}

impl App {
    /// Destroys passwords that have not been in force for a day. Returns how many.
    pub(crate) async fn sweep_passwords(&self) -> Result<u64, Failure> {
        let engine = &*self.platform().engine;
        let (mut after, mut swept, mut of_one) = (None, 0, Vec::<Kept>::new());
        loop {
            let page = engine.scan_table(CREDENTIALS.only(), after.as_ref(), AT_ONCE).await;
            let page = page.map_err(store_failure)?;
            for found in page.rows {
                if of_one.first().is_some_and(|kept| kept.key.partition != found.partition) {
                    swept += self.sweep_of_one(std::mem::take(&mut of_one)).await?;
                }
                of_one.push(Kept::read(found)?);
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(swept + self.sweep_of_one(of_one).await?),
            }
        }
    }

    /// Nearly every account has one, which is in force, and is not looked at.
    async fn sweep_of_one(&self, kept: Vec<Kept>) -> Result<u64, Failure> {
        let Some(first) = kept.first().filter(|_| kept.len() > 1) else { return Ok(0) };
        let id = KeyReader::new(&first.key.partition).num().map_err(Failure::internal)?;
        let long_ago = self.now().0.saturating_sub(KEPT_MS);
        let account = self.account(id).await?;
        let in_force =
            account.filter(|account| account.life != Life::Erased).map(|account| account.credential);
        // The one that is in force says since when the others are not.
        let since =
            in_force.and_then(|id| kept.iter().find(|one| one.credential == id)).map(|one| one.made_ms);
        if since.is_some_and(|since| since > long_ago) {
            return Ok(0);
        }
        let mut swept = 0;
        for one in kept {
            if Some(one.credential) != in_force && one.made_ms <= long_ago {
                self.platform().engine.destroy(&one.key).await.map_err(store_failure)?;
                swept += 1;
            }
        }
        Ok(swept)
    }
}
