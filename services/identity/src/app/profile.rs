//! What accounts say of themselves, and how it gets into events: only what changes is sealed, and only there.

use super::servers::bad_mask;
use super::{App, account_id, account_stream, receipt, seal};
use crate::domain::account::{Command, Update};
use crate::domain::profile::{Change, Draft, Field, Preferences};
use crate::domain::{Account, By};
use crate::error::unknown_word;
use crate::wire::account::{fields_in, fields_out, preferences_in};
use futures::FutureExt as _;
use p92_eventlog::{CommandMeta, Receipt, Round};
use p92_kernel::{AccountId, Failure};
use p92_proto::identity::v1;
use prost::Message;

/// What shall change of an account, in the open.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub draft: Draft,
    /// What needs no sealing.
    pub plain: Update,
    pub addresses: Option<v1::ActivityPubIds>,
}

/// Seals texts of a profile.
pub(crate) async fn seal_draft(
    round: &mut Round,
    id: AccountId,
    draft: &Draft,
    into: Change,
) -> Result<Change, Failure> {
    let mut change = into;
    if let Some(text) = &draft.display_name {
        change.display_name = Some(seal(round, id, "display_name", text.as_bytes()).await?);
    }
    if let Some(text) = &draft.note {
        change.note = Some(seal(round, id, "note", text.as_bytes()).await?);
    }
    if let Some(fields) = &draft.fields {
        let message = fields_out(fields).encode_to_vec();
        change.fields = Some(seal(round, id, "fields", &message).await?);
    }
    if let Some(url) = &draft.avatar_url {
        change.avatar_url = Some(seal(round, id, "avatar_url", url.as_bytes()).await?);
    }
    if let Some(url) = &draft.header_url {
        change.header_url = Some(seal(round, id, "header_url", url.as_bytes()).await?);
    }
    Ok(change)
}

impl App {
    /// Changes the actor's own profile, settings and preferences.
    pub async fn update_profile(
        &self,
        mut request: v1::UpdateProfileRequest,
    ) -> Result<v1::UpdateProfileResponse, Failure> {
        let context = request.context.take().unwrap_or_default();
        let meta = self.meta(&context, "UpdateProfile", &request)?;
        let actor = self.actor(&context).await?;
        let mask = request.update_mask.unwrap_or_default();
        let wanted = masked(&actor, &mask.paths, request.account.unwrap_or_default())?;
        wanted.draft.check_local()?;
        if let Some(preferences) = &wanted.plain.preferences {
            preferences.check()?;
        }
        let wanted = self.only_new(&actor, wanted).await?;
        let done = self.update_account(&actor, meta, By::Itself, wanted).await?;
        let account = self.own_account(actor.born.id, context.server_id).await?;
        Ok(v1::UpdateProfileResponse { receipt: Some(receipt([done])), account: Some(account) })
    }

    /// Leaves of what is wanted only what is not so already.
    pub(crate) async fn only_new(&self, account: &Account, mut wanted: Wanted) -> Result<Wanted, Failure> {
        let profile = &account.profile;
        let draft = &mut wanted.draft;
        for (text, sealed) in [
            (&mut draft.display_name, &profile.display_name),
            (&mut draft.note, &profile.note),
            (&mut draft.avatar_url, &profile.avatar_url),
            (&mut draft.header_url, &profile.header_url),
        ] {
            if text.is_some() && *text == Some(self.open(sealed.as_ref()).await?) {
                *text = None;
            }
        }
        if let Some(fields) = &draft.fields {
            let standing: Option<v1::ProfileFields> = self.open_message(profile.fields.as_ref()).await?;
            let standing: Vec<Field> = fields_in(standing.unwrap_or_default().fields);
            if *fields == standing {
                draft.fields = None;
            }
        }
        let change = &mut wanted.plain.profile;
        for (asked, standing) in [
            (&mut change.bot, profile.bot),
            (&mut change.discoverable, profile.discoverable),
            (&mut change.indexable, profile.indexable),
            (&mut change.hide_follows, profile.hide_follows),
        ] {
            if *asked == Some(standing) {
                *asked = None;
            }
        }
        if change.public_key_pem.as_ref() == Some(&profile.public_key_pem) {
            change.public_key_pem = None;
        }
        if wanted.addresses.is_some() && wanted.addresses == self.addresses(account, None).await? {
            wanted.addresses = None;
        }
        Ok(wanted)
    }

    /// Seals what is wanted, and decides it.
    pub(crate) async fn update_account(
        &self,
        account: &Account,
        meta: CommandMeta,
        by: By,
        wanted: Wanted,
    ) -> Result<Receipt, Failure> {
        let id = account_id(account.born.id)?;
        self.runtime
            .execute(id.shard(), meta, move |round| {
                let wanted = wanted.clone();
                async move { update(round, id, by, wanted).await }.boxed()
            })
            .await
    }
}

/// Within a round: seals and decides a change of an account that lives.
pub(crate) async fn update(round: &mut Round, id: AccountId, by: By, wanted: Wanted) -> Result<(), Failure> {
    let stream = account_stream(id);
    let loaded = round.load::<Account>(&stream).await?;
    // Nothing is sealed for who is gone: his key is destroyed.
    loaded.state.decide(Command::Update(Box::default()), by)?;
    let mut update = wanted.plain;
    update.profile = seal_draft(round, id, &wanted.draft, update.profile).await?;
    if let Some(addresses) = &wanted.addresses {
        update.activity_pub = Some(seal(round, id, "activity_pub", &addresses.encode_to_vec()).await?);
    }
    let events = loaded.state.decide(Command::Update(Box::new(update)), by)?;
    round.emit::<Account>(&stream, &events).await
}

/// What the mask names, taken from the request.
fn masked(actor: &Account, paths: &[String], asked: v1::Account) -> Result<Wanted, Failure> {
    let mut wanted = Wanted::default();
    let preferences = preferences_in(asked.preferences.unwrap_or_default()).map_err(unknown_word)?;
    let fields = fields_in(asked.fields);
    for path in paths {
        let draft = &mut wanted.draft;
        let profile = &mut wanted.plain.profile;
        match path.as_str() {
            "display_name" => draft.display_name = Some(asked.display_name.clone()),
            "note" => draft.note = Some(asked.note.clone()),
            "fields" => draft.fields = Some(fields.clone()),
            "avatar_url" => draft.avatar_url = Some(asked.avatar_url.clone()),
            "header_url" => draft.header_url = Some(asked.header_url.clone()),
            "locked" => wanted.plain.locked = Some(asked.locked),
            "bot" => profile.bot = Some(asked.bot),
            "discoverable" => profile.discoverable = Some(asked.discoverable),
            "indexable" => profile.indexable = Some(asked.indexable),
            "hide_follows" => profile.hide_follows = Some(asked.hide_follows),
            path => {
                let standing = wanted.plain.preferences.unwrap_or_else(|| actor.preferences.clone());
                wanted.plain.preferences = Some(preferred(path, standing, &preferences)?);
            }
        }
    }
    Ok(wanted)
}

fn preferred(path: &str, mut standing: Preferences, asked: &Preferences) -> Result<Preferences, Failure> {
    match path {
        "preferences" => return Ok(asked.clone()),
        "preferences.visibility" => standing.visibility = asked.visibility,
        "preferences.language" => standing.language.clone_from(&asked.language),
        "preferences.sensitive" => standing.sensitive = asked.sensitive,
        "preferences.locale" => standing.locale.clone_from(&asked.locale),
        _ => return Err(bad_mask()),
    }
    Ok(standing)
}
