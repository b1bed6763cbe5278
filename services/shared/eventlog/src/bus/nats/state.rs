//! What the bus between processes waits for, in words for readiness, and which connection it is on.

use async_nats::{ClientError, Event};
use p92_kernel::Service;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// Whether hints travel. Nothing is lost while they do not: readers read the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BusState {
    /// A server answers, and the streams that are needed stand.
    Connected,
    /// Tried again and again until it works; the words say for what it waits.
    Waiting(String),
}

impl fmt::Display for BusState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected => f.write_str("connected"),
            Self::Waiting(words) => f.write_str(words),
        }
    }
}

/// The number of a connection, from 1; `None` while there is none.
pub(super) type Link = Option<u64>;

#[derive(Debug, Default)]
struct Seen {
    connections: u64,
    /// Why the last attempt at a connection failed.
    refused: Option<String>,
    /// Why we could not say who we are.
    login: Option<String>,
    /// What the server said last: a missing right shows as a question without an answer, and this tells why.
    said: Option<String>,
    streams: BTreeMap<Service, String>,
}

/// The board on which it stands.
#[derive(Debug)]
pub(super) struct State {
    servers: String,
    seen: Mutex<Seen>,
    link: watch::Sender<Link>,
    told: watch::Sender<BusState>,
    ending: AtomicBool,
}

impl State {
    pub(super) fn new(servers: String) -> Self {
        let first = BusState::Waiting(format!("NATS at {servers}: no answer yet"));
        Self {
            servers,
            seen: Mutex::default(),
            link: watch::Sender::new(None),
            told: watch::Sender::new(first),
            ending: AtomicBool::new(false),
        }
    }

    /// From now on a connection that closes is no loss.
    pub(super) fn ends(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// Which connection it is on, and every change.
    pub(super) fn links(&self) -> watch::Receiver<Link> {
        self.link.subscribe()
    }

    /// The state, and every change.
    pub(super) fn watch(&self) -> watch::Receiver<BusState> {
        self.told.subscribe()
    }

    /// What the driver says of its connection. Whether this is a connection after the first.
    pub(super) fn event(&self, event: &Event) -> bool {
        let mut again = false;
        {
            let mut seen = self.seen.lock();
            match event {
                Event::Connected => {
                    seen.connections += 1;
                    seen.refused = None;
                    again = seen.connections > 1;
                    self.link.send_replace(Some(seen.connections));
                }
                Event::Disconnected | Event::Closed => {
                    self.link.send_replace(None);
                }
                Event::ServerError(error) => seen.said = Some(error.to_string()),
                Event::ClientError(ClientError::Other(problem)) => seen.refused = Some(problem.clone()),
                Event::ClientError(error) => seen.refused = Some(error.to_string()),
                Event::LameDuckMode | Event::Draining | Event::SlowConsumer(_) => {}
            }
        }
        self.tell();
        again
    }

    /// Why we could not say who we are, or that we could.
    pub(super) fn login(&self, problem: Option<String>) {
        self.seen.lock().login = problem;
        self.tell();
    }

    /// Why a service's stream does not stand, or that it does.
    pub(super) fn stream(&self, service: Service, problem: Option<String>) {
        {
            let mut seen = self.seen.lock();
            match problem {
                Some(problem) => seen.streams.insert(service, problem),
                None => seen.streams.remove(&service),
            };
        }
        self.tell();
    }

    fn tell(&self) {
        let now = self.words();
        self.told.send_if_modified(|told| {
            let changed = *told != now;
            let lost = changed && !self.ending.load(Ordering::Relaxed);
            if lost && let BusState::Waiting(words) = &now {
                tracing::warn!(waiting_for = %words, "the bus does not carry hints; readers read the log");
            }
            *told = now;
            changed
        });
    }

    fn words(&self) -> BusState {
        let seen = self.seen.lock();
        if self.link.borrow().is_none() {
            // As it is told before anything has happened, so that a start is not told as a loss.
            let silent = if seen.connections == 0 { "no answer yet" } else { "no answer" };
            let problem = seen.login.as_ref().or(seen.refused.as_ref()).map_or(silent, String::as_str);
            return BusState::Waiting(format!("NATS at {}: {problem}", self.servers));
        }
        let Some((service, problem)) = seen.streams.first_key_value() else { return BusState::Connected };
        let said = seen.said.as_ref().map(|said| format!("; the server said: {said}")).unwrap_or_default();
        BusState::Waiting(format!("the stream of {service} at NATS: {problem}{said}"))
    }
}

#[cfg(test)]
mod tests {
    use super::{BusState, Event, Service, State};
    use async_nats::ClientError;

    #[test]
    fn the_words_say_what_is_waited_for() {
        let state = State::new("one:1".to_owned());
        let told = state.watch();
        let words = || told.borrow().to_string();
        let _first = state.event(&Event::ClientError(ClientError::Other("authorization violation".into())));
        assert_eq!(words(), "NATS at one:1: authorization violation");
        state.login(Some("/secret cannot be read".into()));
        assert_eq!(words(), "NATS at one:1: /secret cannot be read");
        state.login(None);
        assert!(!state.event(&Event::Connected));
        assert_eq!(*told.borrow(), BusState::Connected);
        state.stream(Service::Posting, Some("timed out".into()));
        assert_eq!(words(), "the stream of posting at NATS: timed out");
        state.stream(Service::Posting, None);
        assert_eq!(*told.borrow(), BusState::Connected);
        let _again = state.event(&Event::Disconnected);
        assert_eq!(words(), "NATS at one:1: no answer");
        assert!(state.event(&Event::Connected), "a connection after the first");
    }
}
