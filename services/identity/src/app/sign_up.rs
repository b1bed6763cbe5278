//! Accounts of this installation come to be: by signing up, or by an operator's hand.

use super::servers::subject_id;
use super::{App, account_stream, receipt, seal};
use crate::credentials::{self, Password};
use crate::domain::account::{Born, Command, Kind, Standing};
use crate::domain::email::Email;
use crate::domain::handle::Handle;
use crate::domain::profile::{Change, Draft, Preferences};
use crate::domain::sealed::BlindKey;
use crate::domain::server::{Addresses, Registration};
use crate::domain::{Account, By, Role, Scopes, Server, authority};
use crate::error::{taken, unknown_word};
use crate::state::{Names, State};
use crate::tables;
use crate::wire::Unreadable;
use crate::wire::enums::{kind_in, role_in};
use crate::wire::server::addresses_out;
use futures::FutureExt as _;
use p92_eventlog::{CommandMeta, Keyring, Receipt, Round};
use p92_kernel::{AccountId, ErrorCode, Failure};
use p92_proto::event::v1::CommandContext;
use p92_proto::identity::v1;
use prost::Message;
use std::sync::Arc;

/// Characters of why somebody wants to join.
const REASON_CHARACTERS: usize = 2_000;

/// An account that is to be, in the open.
struct Newcomer {
    server: Server,
    handle: Handle,
    handle_key: BlindKey,
    email: Email,
    email_confirmed: bool,
    reason: String,
    display_name: String,
    kind: Kind,
    role: Role,
    standing: Standing,
    locked: bool,
    locale: String,
    app: u64,
    /// Where the hash is kept.
    credential: u64,
    password_hash: String,
}

/// A sign-up that has begun.
#[derive(Clone, Debug)]
pub struct Begun {
    pub id: u64,
    pub created: Receipt,
    /// For whom a token is to be made, and what it shall be able to do.
    pub app: Option<(v1::App, Scopes)>,
}

/// Addresses of an account. Its id is in them, not its handle, which may change its home; `url` is what people see.
fn addresses(public_url: &str, id: AccountId, handle: &Handle) -> Addresses {
    let actor = format!("{public_url}/ap/users/{id}");
    Addresses {
        inbox: format!("{actor}/inbox"),
        shared_inbox: format!("{public_url}/inbox"),
        outbox: format!("{actor}/outbox"),
        followers: format!("{actor}/followers"),
        following: format!("{actor}/following"),
        url: format!("{public_url}/@{}", handle.written()),
        key_id: format!("{actor}#main-key"),
        featured: format!("{actor}/featured"),
        id: actor,
    }
}

impl App {
    /// Signs up.
    pub async fn sign_up(&self, request: v1::SignUpRequest) -> Result<v1::SignUpResponse, Failure> {
        let server = request.context.as_ref().map_or(0, |context| context.server_id);
        let Begun { created, id, app } = self.begin_sign_up(request).await?;
        let finished = self.finish_begun(&account_stream(id)).await?;
        let account = self.own_account(id, server).await?;
        let token = match app {
            Some((app, scopes)) => Some(self.issue(&app, id, &scopes, None, "sign_up").await?),
            None => None,
        };
        let steps = std::iter::once(created).chain(finished);
        Ok(v1::SignUpResponse { receipt: Some(receipt(steps)), account: Some(account), token })
    }

    /// The first half of signing up: an account that has no names yet. Whoever owns its shard finishes it.
    pub async fn begin_sign_up(&self, mut request: v1::SignUpRequest) -> Result<Begun, Failure> {
        let context = request.context.take().unwrap_or_default();
        let meta = self.meta(&context, "SignUp", &request)?;
        let server = self.active_server(context.server_id).await?;
        let standing = standing_at(&server, &request)?;
        let app = self.signing_app(&context, &request.scopes).await?;
        let handle = Handle::for_sign_up(&request.handle)?;
        let email = Email::parse(&request.email)?;
        check_texts(&request.reason, &request.locale)?;
        credentials::check_new(&request.password)?;
        let handle_key = self.handle_key(context.server_id, "", handle.folded());
        if meta.key.is_empty() {
            // A repeat gets its earlier answer; everybody else hears before a password is hashed.
            self.check_names(context.server_id, &handle_key, &email).await?;
        }
        let password_hash = self.hasher.hash(Password::new(request.password)).await?;
        let newcomer = Newcomer {
            server,
            handle,
            handle_key,
            email,
            email_confirmed: false,
            reason: request.reason,
            display_name: String::new(),
            kind: Kind::Personal,
            role: Role::Member,
            standing,
            locked: false,
            locale: request.locale,
            app: context.app_id,
            credential: self.state.new_credential(),
            password_hash,
        };
        let created = self.bring_in(meta, newcomer).await?;
        Ok(Begun { id: subject_id(&created)?, created, app })
    }

    /// Makes an account for somebody.
    pub async fn create_account(
        &self,
        mut request: v1::CreateAccountRequest,
    ) -> Result<v1::CreateAccountResponse, Failure> {
        let context = request.context.take().unwrap_or_default();
        let meta = self.meta(&context, "CreateAccount", &request)?;
        let server = self.active_server(context.server_id).await?;
        let role = match request.role {
            0 => Role::Member,
            role => role_in(role).ok_or_else(|| unknown_word(Unreadable("role")))?,
        };
        let kind = match kind_in(request.kind) {
            Some(Kind::Unstated) => Kind::Personal,
            Some(kind) => kind,
            None => return Err(unknown_word(Unreadable("kind"))),
        };
        let by = self.capacity(&context).await?;
        let over = authority::Over { home: context.server_id, role: Role::Member };
        authority::govern(by, Role::Admin, over)?;
        authority::give(by, role, over)?;
        let handle = Handle::local(&request.handle)?;
        let email = Email::parse(&request.email)?;
        check_texts("", &request.locale)?;
        Draft { display_name: Some(request.display_name.clone()), ..Draft::default() }.check_local()?;
        credentials::check_new(&request.password)?;
        let handle_key = self.handle_key(context.server_id, "", handle.folded());
        if meta.key.is_empty() {
            self.check_names(context.server_id, &handle_key, &email).await?;
        }
        let password_hash = self.hasher.hash(Password::new(request.password)).await?;
        let newcomer = Newcomer {
            server,
            handle,
            handle_key,
            email,
            email_confirmed: true,
            reason: String::new(),
            display_name: request.display_name,
            kind,
            role,
            standing: Standing::Active,
            locked: request.locked,
            locale: request.locale,
            app: 0,
            credential: self.state.new_credential(),
            password_hash,
        };
        let created = self.bring_in(meta, newcomer).await?;
        let id = subject_id(&created)?;
        let finished = self.finish_begun(&account_stream(id)).await?;
        let account = self.own_account(id, context.server_id).await?;
        let steps = std::iter::once(created).chain(finished);
        Ok(v1::CreateAccountResponse { receipt: Some(receipt(steps)), account: Some(account) })
    }

    /// The app that signs somebody up, and what its token shall be able to do.
    async fn signing_app(
        &self,
        context: &CommandContext,
        scopes: &[String],
    ) -> Result<Option<(v1::App, Scopes)>, Failure> {
        if context.app_id == 0 || scopes.is_empty() {
            return Ok(None);
        }
        let row = self.state.app_by_id(context.server_id, context.app_id).await?;
        let app = row.and_then(|row| row.app).ok_or_else(super::apps::no_client)?;
        let scopes = super::apps::within(&app, scopes)?;
        Ok(Some((app, scopes)))
    }

    /// Says early that a name is taken. The claim decides.
    async fn check_names(&self, home: u64, handle_key: &BlindKey, email: &Email) -> Result<(), Failure> {
        use crate::domain::account::Taken;
        if self.state.owner_of(Names::Handles, tables::blind(handle_key)).await?.is_some() {
            return Err(taken(Taken::Handle));
        }
        let name = tables::blind(&self.email_key(home, &email.folded));
        if self.state.owner_of(Names::Emails, name).await?.is_some() {
            return Err(taken(Taken::Email));
        }
        Ok(())
    }

    /// The account, without its names.
    async fn bring_in(&self, meta: CommandMeta, newcomer: Newcomer) -> Result<Receipt, Failure> {
        let home = newcomer.server.born.id;
        let parts: [&[u8]; 2] = [&home.to_be_bytes(), newcomer.handle.folded().as_bytes()];
        let shard = self.platform().shards.of_parts(&parts);
        let newcomer = Arc::new(newcomer);
        let keyring = Arc::clone(&self.platform().keyring);
        self.runtime
            .execute(shard, meta, move |round| {
                let (newcomer, keyring) = (Arc::clone(&newcomer), Arc::clone(&keyring));
                async move { create(round, &newcomer, &keyring).await }.boxed()
            })
            .await
    }
}

async fn create(round: &mut Round, newcomer: &Newcomer, keyring: &Keyring) -> Result<(), Failure> {
    let id = AccountId(round.next_id());
    let addresses = addresses(&newcomer.server.born.public_url, id, &newcomer.handle);
    let activity_pub = addresses_out(&addresses).encode_to_vec();
    let reason = match newcomer.reason.as_str() {
        "" => None,
        reason => Some(seal(round, id, "reason", reason.as_bytes()).await?),
    };
    let display_name = match newcomer.display_name.as_str() {
        "" => None,
        name => Some(seal(round, id, "display_name", name.as_bytes()).await?),
    };
    let born = Born {
        id: id.get(),
        home: newcomer.server.born.id,
        kind: newcomer.kind,
        standing: newcomer.standing,
        role: newcomer.role,
        handle: seal(round, id, "handle", newcomer.handle.written().as_bytes()).await?,
        handle_key: newcomer.handle_key,
        host: String::new(),
        email: Some(seal(round, id, "email", newcomer.email.written.as_bytes()).await?),
        email_confirmed: newcomer.email_confirmed,
        reason,
        activity_pub: seal(round, id, "activity_pub", &activity_pub).await?,
        activity_pub_key: super::activity_pub_key(keyring, &addresses.id),
        profile: Change { display_name, ..Change::default() },
        locked: newcomer.locked,
        preferences: Preferences { locale: newcomer.locale.clone(), ..Preferences::default() },
        app: newcomer.app,
        published_ms: 0,
        credential: newcomer.credential,
    };
    let now = round.now().0;
    let hash = newcomer.password_hash.clone();
    round.write_before(State::set_password(id.get(), newcomer.credential, hash, now));
    let events = Account::default().decide(Command::Create(Box::new(born)), By::Operator)?;
    round.emit::<Account>(&account_stream(id), &events).await
}

/// What a newcomer still has to wait for, if the server takes him at all.
fn standing_at(server: &Server, request: &v1::SignUpRequest) -> Result<Standing, Failure> {
    if !request.agreement {
        let text = "Agree to the rules of the server to sign up.";
        return Err(Failure::invalid("agreement", "AGREEMENT_NEEDED", text));
    }
    let face = &server.face;
    match face.registration {
        Registration::Closed => {
            let text = "This server takes no new members.";
            Err(Failure::new(ErrorCode::FailedPrecondition, "REGISTRATION_CLOSED", text))
        }
        Registration::Approval if request.reason.trim().is_empty() => {
            let text = "Say why you want to join; a moderator reads it.";
            Err(Failure::invalid("reason", "REASON_NEEDED", text))
        }
        _ if face.policies.confirm_email => Ok(Standing::Unconfirmed),
        Registration::Approval => Ok(Standing::Pending),
        Registration::Open => Ok(Standing::Active),
    }
}

fn check_texts(reason: &str, locale: &str) -> Result<(), Failure> {
    if reason.chars().count() > REASON_CHARACTERS {
        let text = format!("At most {REASON_CHARACTERS} characters.");
        return Err(Failure::invalid("reason", "REASON_TOO_LONG", text));
    }
    if !locale.is_empty() && !crate::domain::tag::is_tag(locale) {
        return Err(Failure::invalid("locale", "BAD_LANGUAGE", "This is no language tag."));
    }
    Ok(())
}
