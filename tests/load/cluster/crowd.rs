//! The people on the cluster: those who write, and followers of some of them.

use super::ground::Ground;
use crate::accounts::{App, Person};
use crate::http1::Client;
use crate::writers::{MANY, Turns};
use anyhow::Context as _;
use futures::future::try_join_all;
use indicatif::ProgressBar;
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

/// Followers of each followed author: the fan-out of row 11 of the aims.
pub const FOLLOWERS: usize = 400;
/// Accounts that are made at a time.
const AT_ONCE: usize = 32;
/// How often somebody who is told to come back does.
const REPEATS: usize = 50;
const PAUSE: Duration = Duration::from_millis(200);

/// Everybody.
#[derive(Debug)]
pub struct Crowd {
    all: Vec<Person>,
    followed: usize,
    pub server_id: u64,
}

/// Channels to all replicas of a service.
pub async fn channels(ground: &Ground, role: &str) -> anyhow::Result<Vec<Channel>> {
    let mut channels = Vec::new();
    for address in ground.addresses(role, "internal")? {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true);
        channels.push(endpoint.connect().await.with_context(|| format!("{role} at {address}"))?);
    }
    anyhow::ensure!(!channels.is_empty(), "no {role} runs");
    Ok(channels)
}

/// Connections to the gateways, used in turn.
pub async fn doors(ground: &Ground, count: usize) -> anyhow::Result<Vec<Client>> {
    let addresses = ground.addresses("gateway", "http")?;
    let mut doors = Vec::new();
    for address in addresses.iter().cycle().take(count) {
        doors.push(Client::connect(address, "").await?);
    }
    Ok(doors)
}

/// Does something for each number below `count`, as many at a time as there are `hands`; results in no order.
async fn share<S, T>(
    hands: Vec<S>,
    count: usize,
    bar: &ProgressBar,
    what: &str,
    work: impl AsyncFn(&mut S, usize) -> anyhow::Result<T>,
) -> anyhow::Result<Vec<T>> {
    let (next, done) = (Cell::new(0), Cell::new(0));
    let hand = async |mut hand: S| {
        let mut results = Vec::new();
        loop {
            let number = next.replace(next.get() + 1);
            if number >= count {
                return anyhow::Ok(results);
            }
            results.push(work(&mut hand, number).await?);
            done.set(done.get() + 1);
            bar.set_message(format!("{what}: {} of {count}", done.get()));
        }
    };
    Ok(try_join_all(hands.into_iter().map(hand)).await?.into_iter().flatten().collect())
}

impl Crowd {
    /// Makes accounts with tokens. The last `followed` of them are those who will be followed.
    pub async fn make(
        ground: &Ground,
        bar: &ProgressBar,
        count: usize,
        followed: usize,
    ) -> anyhow::Result<Self> {
        let channels = channels(ground, "identity").await?;
        let app = App::register(channels.first().context("no identity")?).await?;
        let hands = channels.iter().cycle().take(AT_ONCE).cloned().collect();
        let sign_up = async |channel: &mut Channel, number| patiently(&app, channel, number).await;
        let all = share(hands, count, bar, "accounts", sign_up).await?;
        Ok(Self { all, followed, server_id: app.server_id })
    }

    /// The first accounts, `readers` of them, follow each of the followed, and whoever is followed has read nothing yet.
    pub async fn follow(&self, ground: &Ground, bar: &ProgressBar, readers: usize) -> anyhow::Result<()> {
        let (readers, followed) = (self.readers(readers), self.followed());
        let follow = async |door: &mut Client, number: usize| {
            let reader = readers.get(number / followed.len()).context("no reader")?;
            let author = followed.get(number % followed.len()).context("no author")?;
            door.speak_for(&reader.token);
            let path = format!("/api/v1/accounts/{}/follow", author.id);
            let key = format!("follow-{}-{}", reader.id, author.id);
            door.post_keyed(&path, "reblogs=true".to_owned(), &key).await.map(drop)
        };
        let hands = doors(ground, MANY).await?;
        share(hands, readers.len() * followed.len(), bar, "follows", follow).await?;
        Ok(())
    }

    /// Each of the readers reads his home once, so that it is kept in memory from now on.
    pub async fn read_homes(&self, ground: &Ground, bar: &ProgressBar, readers: usize) -> anyhow::Result<()> {
        let readers = self.readers(readers);
        let read = async |door: &mut Client, number: usize| {
            door.speak_for(&readers.get(number).context("no reader")?.token);
            door.get_patiently("/api/v1/timelines/home?limit=1").await.map(drop)
        };
        // A home is put together by merging at first, and only so many are at a time.
        let hands = doors(ground, AT_ONCE).await?;
        share(hands, readers.len(), bar, "homes", read).await?;
        Ok(())
    }

    /// The first of all.
    pub fn readers(&self, count: usize) -> &[Person] {
        self.all.get(..count.min(self.all.len())).unwrap_or_default()
    }

    /// Those who have followers: the last of all.
    pub fn followed(&self) -> &[Person] {
        self.all.get(self.all.len().saturating_sub(self.followed)..).unwrap_or_default()
    }

    /// Everybody but the one whose posts are awaited, in turn.
    pub fn turns(&self, name: String) -> Arc<Turns> {
        let others = self.all.len().saturating_sub(1);
        Turns::keyed(self.all.get(..others).unwrap_or_default().to_vec(), name)
    }

    /// Whose posts are awaited, one of the followed.
    pub fn awaited(&self) -> anyhow::Result<&Person> {
        self.all.last().context("nobody")
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }
}

/// Signs up, and comes back if told so.
async fn patiently(app: &App, channel: &Channel, number: usize) -> anyhow::Result<Person> {
    let mut repeats = 0;
    loop {
        let error = match app.sign_up(channel, number).await {
            Ok(person) => return Ok(person),
            Err(error) => error,
        };
        let code = error.downcast_ref::<tonic::Status>().map(tonic::Status::code);
        // With its key it is the same account, whatever became of the try before.
        let again = [Code::Unavailable, Code::ResourceExhausted, Code::DeadlineExceeded];
        let may_wait = code.is_some_and(|code| again.contains(&code));
        anyhow::ensure!(may_wait && repeats < REPEATS, "account {number} was not made: {error:#}");
        repeats += 1;
        tokio::time::sleep(PAUSE).await;
    }
}
