//! Accounts from elsewhere: the same aggregate, with ids that their host gave.

use super::find::ID_BYTES;
use super::profile::{Wanted, seal_draft, update};
use super::{App, account_stream, activity_pub_key, receipt, seal};
use crate::domain::account::{Beginnings, Born, Command, Kind, Update};
use crate::domain::handle::Handle;
use crate::domain::profile::{BadProfile, Change, Draft, is_key};
use crate::domain::sealed::BlindKey;
use crate::domain::{Account, By, host};
use crate::error::unknown_word;
use crate::tables::{self, ACTIVITY_PUB};
use crate::wire::Unreadable;
use crate::wire::account::fields_in;
use crate::wire::enums::kind_in;
use futures::FutureExt as _;
use p92_activitypub::{Loopback, ObjectId};
use p92_eventlog::Round;
use p92_kernel::{AccountId, Failure};
use p92_proto::identity::v1;
use p92_storage::{Direction, KeyReader, Range};
use prost::Message;
use std::sync::Arc;

/// A remote account as its host describes it, checked.
struct Described {
    ids: v1::ActivityPubIds,
    ids_key: BlindKey,
    handle: Handle,
    handle_key: BlindKey,
    beginnings: Beginnings,
    host: String,
    kind: Kind,
    draft: Draft,
    change: Change,
    locked: bool,
    published_ms: u64,
}

impl App {
    /// Makes a remote account known, or brings the known one up to date.
    pub async fn register_remote_account(
        &self,
        mut request: v1::RegisterRemoteAccountRequest,
    ) -> Result<v1::RegisterRemoteAccountResponse, Failure> {
        let context = request.context.take().unwrap_or_default();
        let meta = self.meta(&context, "RegisterRemoteAccount", &request)?;
        let by = self.capacity(&context).await?;
        if by != By::Operator {
            return Err(crate::domain::authority::NotAllowed::Role.into());
        }
        let described = Arc::new(self.described(request).await?);
        let known = self.by_activity_pub_id(&described.ids.id).await?;
        let wanted = described.wanted();
        let wanted = match &known {
            Some(account) => self.only_new(account, wanted).await?,
            None => wanted,
        };
        let shard = self.platform().shards.of_parts(&[described.ids.id.as_bytes()]);
        let id = described.ids.id.clone();
        let keyring = Arc::clone(&self.platform().keyring);
        let done = self
            .runtime
            .execute(shard, meta, move |round| {
                let (described, wanted) = (Arc::clone(&described), wanted.clone());
                let name = tables::blind(&activity_pub_key(&keyring, &described.ids.id));
                async move {
                    let rows = round.rows(&ACTIVITY_PUB, name, Range::all(), Direction::Backward, 1).await?;
                    match rows.first() {
                        Some((clustering, _)) => {
                            let id = KeyReader::new(clustering).num().map_err(Failure::internal)?;
                            update(round, super::account_id(id)?, By::Operator, wanted).await
                        }
                        None => register(round, &described).await,
                    }
                }
                .boxed()
            })
            .await?;
        let account = self.by_activity_pub_id(&id).await?.ok_or_else(|| Failure::not_found("account"))?;
        let state = account.state_for(context.server_id).ok_or_else(|| Failure::not_found("account"))?;
        let account = self.opened(&account, state, false, None).await?;
        Ok(v1::RegisterRemoteAccountResponse { receipt: Some(receipt([done])), account: Some(account) })
    }

    async fn described(&self, request: v1::RegisterRemoteAccountRequest) -> Result<Described, Failure> {
        let ids = request.activity_pub.unwrap_or_default();
        self.check_foreign(&ids).await?;
        let host = host::domain(&request.domain)?;
        if self.server_named(&host).await?.is_some() {
            return Err(ours("domain"));
        }
        let handle = Handle::remote(&request.handle)?;
        if !is_key(&request.public_key_pem) {
            return Err(BadProfile::Key.into());
        }
        let draft = Draft {
            display_name: Some(request.display_name),
            note: Some(request.note),
            fields: Some(fields_in(request.fields)),
            avatar_url: Some(request.avatar_url),
            header_url: Some(request.header_url),
        };
        // Not before 2000, not after now: as for posts (ARCHITECTURE §3.10).
        let floor = 946_684_800_000;
        let published_ms = match request.published_ms {
            0 => 0,
            said => said.clamp(floor, self.now().0.max(floor)),
        };
        Ok(Described {
            ids_key: self.activity_pub_key(&ids.id),
            ids,
            handle_key: self.handle_key(0, &host, handle.folded()),
            beginnings: self.beginnings(0, &handle),
            handle,
            host,
            kind: kind_in(request.kind).ok_or_else(|| unknown_word(Unreadable("kind")))?,
            draft: draft.cut_remote()?,
            change: Change {
                bot: Some(request.bot),
                discoverable: Some(request.discoverable),
                indexable: Some(request.indexable),
                public_key_pem: Some(request.public_key_pem),
                ..Change::default()
            },
            locked: request.locked,
            published_ms,
        })
    }

    /// Every id is an address, and none is at a host of this installation.
    async fn check_foreign(&self, ids: &v1::ActivityPubIds) -> Result<(), Failure> {
        let bad = |field| {
            Failure::invalid(field, "BAD_ACTIVITY_PUB_ID", "This is no address of an ActivityPub server.")
        };
        if ids.id.is_empty() || ids.inbox.is_empty() {
            return Err(bad("activity_pub.id"));
        }
        for (field, id) in [
            ("activity_pub.id", &ids.id),
            ("activity_pub.inbox", &ids.inbox),
            ("activity_pub.shared_inbox", &ids.shared_inbox),
            ("activity_pub.outbox", &ids.outbox),
            ("activity_pub.followers", &ids.followers),
            ("activity_pub.following", &ids.following),
            ("activity_pub.url", &ids.url),
            ("activity_pub.key_id", &ids.key_id),
            ("activity_pub.featured", &ids.featured),
        ] {
            if id.is_empty() {
                continue;
            }
            if id.len() > ID_BYTES {
                return Err(bad(field));
            }
            // Addresses of this machine are taken: whoever calls them judges that.
            let address = ObjectId::parse(id, Loopback::Allowed).map_err(|_| bad(field))?;
            if self.server_named(&address.origin().authority()).await?.is_some() {
                return Err(ours(field));
            }
        }
        Ok(())
    }
}

fn ours(field: &'static str) -> Failure {
    Failure::invalid(field, "LOCAL_ADDRESS", "This address belongs to this installation.")
}

impl Described {
    fn wanted(&self) -> Wanted {
        Wanted {
            draft: self.draft.clone(),
            plain: Update {
                profile: self.change.clone(),
                locked: Some(self.locked),
                preferences: None,
                activity_pub: None,
                kind: Some(self.kind),
            },
            addresses: Some(self.ids.clone()),
        }
    }
}

async fn register(round: &mut Round, described: &Described) -> Result<(), Failure> {
    let id = AccountId(round.next_id());
    let born = Born {
        id: id.get(),
        home: 0,
        kind: described.kind,
        handle: seal(round, id, "handle", described.handle.written().as_bytes()).await?,
        handle_key: described.handle_key,
        host: described.host.clone(),
        activity_pub: seal(round, id, "activity_pub", &described.ids.encode_to_vec()).await?,
        activity_pub_key: described.ids_key,
        profile: seal_draft(round, id, &described.draft, described.change.clone()).await?,
        locked: described.locked,
        published_ms: described.published_ms,
        ..Born::default()
    };
    let command = Command::Register(Box::new(born), described.beginnings.clone());
    let events = Account::default().decide(command, By::Operator)?;
    round.emit::<Account>(&account_stream(id), &events).await
}
