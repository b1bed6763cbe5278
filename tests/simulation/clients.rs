//! Clients: each asks one thing after another of a replica at random, repeats with its key elsewhere what nobody knows,
//! and writes down what it asked, when, and what it was told.

use crate::calls::{Act, Answer, Answered, Asked, Told};
use crate::mail::TICKET;
use crate::trouble::CALM_AT;
use crate::world::{CALL_PORT, HOSTS, Process, World};
use p92_proto::event::v1::Position;
use parking_lot::Mutex;
use rand::RngExt as _;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use turmoil::net::UdpSocket;

/// Clients at once.
const CLIENTS: u64 = 8;
/// How long a client waits for one answer.
const PATIENCE: Duration = Duration::from_secs(4);
/// How often it tries before it leaves the matter for the end.
const TRIES: usize = 9;
/// How often in the end, when nothing is broken any more.
const LAST_TRIES: usize = 150;

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done(Told),
    /// Refused by the rules, and no earlier attempt can have been done.
    Rejected(String),
    /// Every attempt was turned away.
    NotDone,
    /// Nobody knows, or the rules refused what an earlier attempt may have done.
    Unknown,
}

/// One call with all its attempts.
#[derive(Clone, Debug)]
pub struct Call {
    pub actor: u64,
    /// Empty for a read.
    pub key: String,
    pub act: Act,
    pub began: Duration,
    pub ended: Duration,
    pub outcome: Outcome,
    /// Who gave the last answer, if there was one.
    pub by: Option<Process>,
}

/// What all clients of a history know.
#[derive(Debug, Default)]
pub struct Notebook {
    pub calls: Mutex<Vec<Call>>,
    /// Posts, and who wrote them.
    posts: Mutex<Vec<(u64, u64)>>,
}

/// Runs all clients until the end of the history.
pub async fn run(world: Arc<World>, notebook: Arc<Notebook>) -> turmoil::Result {
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let port = 7_000 + u16::try_from(number)?;
        let client = Client {
            socket: UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).await?,
            random: world.chance(200 + number),
            world: Arc::clone(&world),
            notebook: Arc::clone(&notebook),
            number,
            calls: 0,
            at: 0,
            seen: BTreeMap::new(),
        };
        clients.push(client.run());
    }
    futures::future::join_all(clients).await;
    Ok(())
}

struct Client {
    world: Arc<World>,
    notebook: Arc<Notebook>,
    number: u64,
    socket: UdpSocket,
    random: StdRng,
    calls: u64,
    /// The host that is asked next.
    at: usize,
    /// The newest position of each log that it was told of.
    seen: BTreeMap<(String, u32), u64>,
}

fn now() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}

impl Client {
    async fn run(mut self) {
        let mut open = Vec::new();
        for n in 0.. {
            if now() >= CALM_AT {
                break;
            }
            let call = self.act(n).await;
            if call.outcome == Outcome::Unknown && !call.act.reads() {
                open.push(call.clone());
            }
            self.notebook.calls.lock().push(call);
            let pause = self.random.random_range(0..150);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        for call in open {
            let again = self.settle(call).await;
            self.notebook.calls.lock().push(again);
        }
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.random.random_range(0..from.len())])
    }

    /// What to ask next, as whom.
    fn choose(&mut self, n: u64) -> (u64, Act) {
        let accounts = &self.world.origin.accounts;
        let actor = accounts[self.random.random_range(0..accounts.len())];
        let others: Vec<u64> = accounts.iter().copied().filter(|other| *other != actor).collect();
        // Mostly one pair, so that several change the same thing.
        let (actor, other) = match self.random.random_range(0..2) {
            0 => (accounts[0], accounts[1]),
            _ => (actor, self.pick(&others).unwrap_or_default()),
        };
        let posts = self.notebook.posts.lock().clone();
        // Mostly the newest, so that several ask about the same one.
        let newest = &posts[posts.len().saturating_sub(4)..];
        let post = self.pick(newest);
        let text = format!("post {n} of client {}", self.number);
        let fresh = Act::Publish { text: text.clone(), answers: 0 };
        match (self.random.random_range(0..100), post) {
            (0..14, Some((post, _))) => (actor, Act::Like { post }),
            (14..24, Some((post, _))) => (actor, Act::Unlike { post }),
            (24..30, Some((post, _))) => (actor, Act::Boost { post }),
            (30..34, Some((post, author))) => (author, Act::Delete { post }),
            (34..38, Some((post, _))) => (actor, Act::Publish { text, answers: post }),
            (38..44, Some((post, _))) => (actor, Act::Post { post }),
            (44..58, _) => (actor, Act::Follow { other }),
            (58..72, _) => (actor, Act::Unfollow { other }),
            (72..82, _) => (actor, Act::Follows { other }),
            (82..85, _) => (actor, Act::Home),
            _ => (actor, fresh),
        }
    }

    async fn act(&mut self, n: u64) -> Call {
        let (actor, act) = self.choose(n);
        self.at = self.random.random_range(0..HOSTS.len());
        let key = if act.reads() { String::new() } else { format!("key {} {n}", self.number) };
        self.tried(actor, key, act, TRIES).await
    }

    /// Asks until somebody knows, at most so often.
    async fn tried(&mut self, actor: u64, key: String, act: Act, tries: usize) -> Call {
        let began = now();
        let mut by = None;
        let mut perhaps = false;
        let mut outcome = Outcome::NotDone;
        for _ in 0..tries {
            let (answer, from) = self.ask(actor, &key, &act).await;
            by = from;
            match answer {
                Answer::Done(told) => {
                    self.learn(actor, &act, &told);
                    outcome = Outcome::Done(told);
                    break;
                }
                Answer::Rejected(_) if perhaps => break,
                Answer::Rejected(reason) => {
                    outcome = Outcome::Rejected(reason);
                    break;
                }
                Answer::NotNow(_) => {}
                Answer::Unknown(_) => perhaps = true,
            }
            self.at = (self.at + self.random.random_range(1..HOSTS.len())) % HOSTS.len();
            let pause = self.random.random_range(10..120);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        if perhaps && matches!(outcome, Outcome::NotDone) {
            outcome = Outcome::Unknown;
        }
        Call { actor, key, act, began, ended: now(), outcome, by }
    }

    /// Repeats in the end what nobody knew, under its key.
    async fn settle(&mut self, call: Call) -> Call {
        self.tried(call.actor, call.key, call.act, LAST_TRIES).await
    }

    fn learn(&mut self, actor: u64, act: &Act, told: &Told) {
        for position in &told.positions {
            let seen = self.seen.entry((position.service.clone(), position.shard)).or_default();
            *seen = position.seq.max(*seen);
        }
        if matches!(act, Act::Publish { .. }) {
            let mut posts = self.notebook.posts.lock();
            if !posts.contains(&(told.id, actor)) {
                posts.push((told.id, actor));
            }
        }
    }

    /// One attempt.
    async fn ask(&mut self, actor: u64, key: &str, act: &Act) -> (Answer, Option<Process>) {
        self.calls += 1;
        let number = self.number << 32 | self.calls;
        let host = HOSTS[self.at];
        let seen = self.seen.iter();
        let at_least = seen
            .map(|((service, shard), seq)| Position { service: service.clone(), shard: *shard, seq: *seq })
            .collect();
        let server = self.world.origin.server;
        let asked = Asked { number, server, actor, key: key.to_owned(), act: act.clone(), at_least };
        let what = format!("{asked:?}");
        let ticket = self.world.asked.put(asked);
        let answered = async {
            self.socket.send_to(&ticket, (host, CALL_PORT)).await.ok()?;
            loop {
                let mut ticket = [0; TICKET];
                self.socket.recv_from(&mut ticket).await.ok()?;
                match self.world.answered.take(ticket) {
                    Some(Answered { number: of, answer, by }) if of == number => {
                        return Some((answer, Some(by)));
                    }
                    // The answer to an attempt that was given up.
                    _ => {}
                }
            }
        };
        let answer = tokio::time::timeout(PATIENCE, answered).await.ok().flatten();
        let answer = answer.unwrap_or_else(|| (Answer::Unknown("lost".to_owned()), None));
        self.world.line(&format_args!("{:?} {host} {what} -> {answer:?}", now()), &String::new);
        answer
    }
}
