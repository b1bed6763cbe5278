//! Names that have one owner (ARCHITECTURE §3.12): first the stream without its names, then the claims, then the event
//! that says how they went. Whoever takes over a shard finishes what its view of unfinished claims lists.

use super::{App, account_id, account_stream};
use crate::domain::account::{Command, Life, Taken};
use crate::domain::email::Email;
use crate::domain::handle::Handle;
use crate::domain::{Account, By, Server, server};
use crate::error::taken;
use crate::state::Names;
use crate::tables::{self, UNFINISHED};
use futures::FutureExt as _;
use p92_eventlog::{CommandMeta, Receipt, Stream};
use p92_kernel::{Elsewhere, ErrorCode, Failure, Id, Service, Shard};
use p92_proto::identity::v1;
use p92_storage::{Direction, Range};
use prost::Message;
use std::time::Duration;

/// How long whoever began something waits for its next owner to finish it, and how often he looks.
const FINISHED_WITHIN: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How claims stand that were not refused.
enum Stands {
    Open,
    Granted,
}

/// How the claims of an account went.
enum Outcome {
    Granted(Handle),
    Refused(Taken),
}

impl App {
    /// Finishes every claim that the view of a shard lists. Called when the shard was taken over.
    pub async fn recover(&self, shard: Shard) -> Result<(), Failure> {
        let mut after = None;
        loop {
            let partition = tables::unfinished(shard);
            let reads = self.reads();
            let page =
                reads.scan(&UNFINISHED, partition, Range::all(), Direction::Forward, 100, after).await?;
            for (_, row) in page.rows {
                let row = v1::UnfinishedRow::decode(row.value).map_err(Failure::internal)?;
                self.finish(&Stream::named(&row.stream)).await?;
                self.metrics.recovered();
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Finishes the claims of a stream, if they are not. Safe to repeat, and to do twice at once.
    async fn finish(&self, stream: &Stream) -> Result<(), Failure> {
        match self.finish_here(stream).await {
            // It was refused, and now that stands in the log.
            Err(failure) if failure.code == ErrorCode::AlreadyExists => Ok(()),
            finished => finished.map(drop),
        }
    }

    async fn finish_here(&self, stream: &Stream) -> Result<Option<Receipt>, Failure> {
        let id = id_of(stream)?;
        match stream.kind() {
            "account" => self.finish_account(id).await,
            _ => self.finish_server(id).await,
        }
    }

    /// The same for whoever has begun it: if the slot moves meanwhile, waits for the next owner, who takes it up.
    ///
    /// That the slot moved is not told as such: the whole command would be passed on and begin anew there, and find its
    /// own names taken.
    pub(crate) async fn finish_begun(&self, stream: &Stream) -> Result<Option<Receipt>, Failure> {
        match self.finish_here(stream).await {
            Err(failure) if is_elsewhere(&failure) => self.finished_elsewhere(stream).await,
            finished => finished,
        }
    }

    /// Claims the names of an account and says how it went. An error if they were another's.
    async fn finish_account(&self, id: u64) -> Result<Option<Receipt>, Failure> {
        let account = self.account(id).await?.ok_or_else(|| Failure::not_found("account"))?;
        match account.life {
            Life::Claiming => {}
            Life::Refused(what) => {
                self.forget_refused(&account).await?;
                return Err(taken(what));
            }
            Life::Living | Life::Erased | Life::Nothing => return Ok(None),
        }
        let outcome = self.claim_names(&account).await?;
        let (command, refused) = match outcome {
            Outcome::Granted(handle) => (Command::Grant(self.beginnings(account.born.home, &handle)), None),
            Outcome::Refused(what) => (Command::Refuse(what), Some(what)),
        };
        let stream = account_stream(id);
        let meta = CommandMeta::internal(account.born.home, format!("claim/{stream}"));
        let receipt = self
            .runtime
            .execute(account_id(id)?.shard(), meta, move |round| {
                let (stream, command) = (stream.clone(), command.clone());
                async move {
                    let loaded = round.load::<Account>(&stream).await?;
                    let events = loaded.state.decide(command, By::Operator)?;
                    round.emit::<Account>(&stream, &events).await
                }
                .boxed()
            })
            .await?;
        self.metrics.signed_up(refused.is_none());
        if let Some(what) = refused {
            self.forget_refused(&account).await?;
            return Err(taken(what));
        }
        Ok(Some(receipt))
    }

    async fn finished_elsewhere(&self, stream: &Stream) -> Result<Option<Receipt>, Failure> {
        let id = id_of(stream)?;
        let until = tokio::time::Instant::now() + FINISHED_WITHIN;
        while tokio::time::Instant::now() < until {
            tokio::time::sleep(LOOK_AGAIN).await;
            match self.stands(stream.kind(), id).await {
                Ok(Stands::Open) => {}
                // A store that does not answer for a moment ends no waiting.
                Err(failure) if failure.code == ErrorCode::Unavailable => {}
                Ok(Stands::Granted) => return Ok(None),
                Err(failure) => return Err(failure),
            }
        }
        let text = "It was begun, and will be finished in a moment.";
        Err(Failure::unavailable("NOT_FINISHED_YET", text, Duration::from_secs(1)))
    }

    /// How the claims of a stream stand; an error if the names were another's.
    async fn stands(&self, kind: &str, id: u64) -> Result<Stands, Failure> {
        let open = if kind == "account" {
            let account = self.account(id).await?.ok_or_else(|| Failure::not_found("account"))?;
            if let Life::Refused(what) = account.life {
                self.forget_refused(&account).await?;
                return Err(taken(what));
            }
            account.life == Life::Claiming
        } else {
            let server = self.server_row(id).await?.ok_or_else(|| Failure::not_found("server"))?;
            if server.life == server::Life::Refused {
                return Err(name_taken(&server.taken));
            }
            server.life == server::Life::Claiming
        };
        Ok(if open { Stands::Open } else { Stands::Granted })
    }

    /// E-mail address first: it can be given back, a handle never is.
    async fn claim_names(&self, account: &Account) -> Result<Outcome, Failure> {
        let (id, home) = (account.born.id, account.born.home);
        let email = self.open(account.born.email.as_ref()).await?;
        if let Ok(email) = Email::parse(&email) {
            let name = tables::blind(&self.email_key(home, &email.folded));
            if self.state.claim(Names::Emails, name, id).await? != id {
                return Ok(Outcome::Refused(Taken::Email));
            }
        }
        let name = tables::blind(&account.born.handle_key);
        if self.state.claim(Names::Handles, name, id).await? != id {
            return Ok(Outcome::Refused(Taken::Handle));
        }
        let written = self.open(Some(&account.born.handle)).await?;
        Ok(Outcome::Granted(Handle::local(&written)?))
    }

    /// What a refused sign-up left: its e-mail claim, its password, and the key of what it said.
    async fn forget_refused(&self, account: &Account) -> Result<(), Failure> {
        self.release_email(account).await?;
        self.state.forget_passwords(account.born.id).await?;
        self.platform().keyring.destroy_subject(Service::Identity, account_id(account.born.id)?).await
    }

    /// Gives the claim on an account's e-mail address back.
    pub(crate) async fn release_email(&self, account: &Account) -> Result<(), Failure> {
        let email = self.open(account.born.email.as_ref()).await?;
        // Without its key the address cannot be read, and was given back before the key was destroyed.
        let Ok(email) = Email::parse(&email) else { return Ok(()) };
        let name = tables::blind(&self.email_key(account.born.home, &email.folded));
        self.state.release(Names::Emails, name, account.born.id).await
    }

    /// Claims the names of a server and says how it went. An error if one is another's.
    async fn finish_server(&self, id: u64) -> Result<Option<Receipt>, Failure> {
        let stream = Stream::new("server", id);
        let shard = account_id(id)?.shard();
        let Some(server) = self.server_row(id).await? else { return Err(Failure::not_found("server")) };
        match server.life {
            server::Life::Claiming => {}
            server::Life::Refused => return Err(name_taken(&server.taken)),
            server::Life::Active | server::Life::Closed | server::Life::Nothing => return Ok(None),
        }
        let names = [&server.born.domain, &server.born.web_host];
        let mut lost = None;
        for name in names {
            if self.state.claim(Names::Servers, tables::name(name), id).await? != id {
                lost = Some(name.clone());
                break;
            }
        }
        let command = match &lost {
            Some(taken) => server::Command::Refuse { taken: taken.clone() },
            None => server::Command::Grant,
        };
        let meta = CommandMeta::internal(id, format!("claim/{stream}"));
        let receipt = self
            .runtime
            .execute(shard, meta, move |round| {
                let (stream, command) = (stream.clone(), command.clone());
                async move {
                    let loaded = round.load::<Server>(&stream).await?;
                    let events = loaded.state.decide(command, By::Operator)?;
                    round.emit::<Server>(&stream, &events).await
                }
                .boxed()
            })
            .await?;
        if let Some(taken) = lost {
            // Nobody was ever at home there, so its other name may be another's.
            for name in names {
                self.state.release(Names::Servers, tables::name(name), id).await?;
            }
            return Err(name_taken(&taken));
        }
        Ok(Some(receipt))
    }
}

fn id_of(stream: &Stream) -> Result<u64, Failure> {
    stream.id().map(Id::get).ok_or_else(|| Failure::internal("an unfinished stream without id"))
}

fn is_elsewhere(failure: &Failure) -> bool {
    failure.source.as_ref().is_some_and(|source| source.is::<Elsewhere>())
}

fn name_taken(name: &str) -> Failure {
    let text = format!("{name} belongs to another server of this installation.");
    Failure { code: ErrorCode::AlreadyExists, ..Failure::invalid("domain", "SERVER_NAME_TAKEN", text) }
}
