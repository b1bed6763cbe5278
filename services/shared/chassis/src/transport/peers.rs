//! The addresses that a service's names stand for now, whose turn it is, and who is passed over.
//!
//! It refuses to know connections: it is told which address could be reached and which could not.

use super::reach::Target;
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long the addresses of a name are taken for true.
const FRESH: Duration = Duration::from_secs(5);
/// How long an address is passed over after it could not be reached: doubled at every further failure up to the last.
const REST: Duration = Duration::from_millis(250);
const LONGEST_REST: Duration = Duration::from_secs(8);
/// A resolver that does not answer in this time does not answer.
const RESOLVER: Duration = Duration::from_secs(5);

/// The addresses of one service.
#[derive(Debug)]
pub(super) struct Peers {
    names: Vec<(String, u16)>,
    state: Mutex<State>,
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    peers: Vec<Peer>,
    turn: usize,
    asked: Option<Instant>,
}

#[derive(Debug)]
struct Peer {
    target: Target,
    /// The name that it was found by, which its certificate has to carry.
    host: Arc<str>,
    failures: u32,
    rests_until: Option<Instant>,
}

impl Peer {
    fn new(target: Target, host: &str) -> Self {
        Self { target, host: host.into(), failures: 0, rests_until: None }
    }
}

impl Peers {
    /// Whatever these names stand for, asked on first use and again when that is old.
    pub(super) fn named(names: Vec<(String, u16)>) -> Self {
        Self { names, state: Mutex::default(), asking: tokio::sync::Mutex::default() }
    }

    /// One place that never moves.
    pub(super) fn fixed(target: Target) -> Self {
        let state = State { peers: vec![Peer::new(target, "")], ..State::default() };
        Self { names: Vec::new(), state: Mutex::new(state), asking: tokio::sync::Mutex::default() }
    }

    /// Sees to it that addresses are known and not old. Waits only if none are known; otherwise the resolver is asked
    /// beside the call. Says what the resolver said if it failed and nothing is known.
    pub(super) async fn refresh(peers: &Arc<Self>) -> Option<io::Error> {
        if peers.names.is_empty() {
            return None;
        }
        let (known, old) = {
            let state = peers.state.lock();
            (!state.peers.is_empty(), state.asked.is_none_or(|at| at.elapsed() >= FRESH))
        };
        if !known {
            let _turn = peers.asking.lock().await;
            // Whoever waited for its turn finds what the one before it learned.
            return if peers.state.lock().peers.is_empty() { peers.ask().await } else { None };
        }
        if old && peers.asking.try_lock().is_ok() {
            peers.state.lock().asked = Some(Instant::now());
            let peers = Arc::clone(peers);
            tokio::spawn(async move {
                let _turn = peers.asking.lock().await;
                if let Some(error) = peers.ask().await {
                    tracing::warn!(error = %error, "the addresses of a service could not be asked; the old ones stay");
                }
            });
        }
        None
    }

    /// Asks the resolver. An answer replaces all addresses; those that stay keep what is known of them.
    async fn ask(&self) -> Option<io::Error> {
        let mut found = Vec::new();
        let mut failed = None;
        for (host, port) in &self.names {
            match tokio::time::timeout(RESOLVER, tokio::net::lookup_host((host.as_str(), *port))).await {
                Ok(Ok(addresses)) => found.extend(addresses.map(|address| (Target::Address(address), host))),
                Ok(Err(error)) => failed = Some(error),
                Err(elapsed) => failed = Some(elapsed.into()),
            }
        }
        let mut state = self.state.lock();
        state.asked = Some(Instant::now());
        // Half an answer takes nobody away: a resolver in trouble must not empty the list.
        if failed.is_none() {
            state.peers.retain(|peer| found.iter().any(|(target, _)| *target == peer.target));
        }
        for (target, host) in found {
            if !state.peers.iter().any(|peer| peer.target == target) {
                state.peers.push(Peer::new(target, host));
            }
        }
        failed
    }

    /// Whose turn it is among those not tried yet. Who rests comes last, the one that has rested longest first: if
    /// all are down, one of them is still asked, since it may be back.
    pub(super) fn pick(&self, tried: &[Target]) -> Option<Target> {
        let now = Instant::now();
        let mut state = self.state.lock();
        let turn = state.turn;
        let count = state.peers.len();
        let chosen = state
            .peers
            .iter()
            .enumerate()
            .filter(|(_, peer)| !tried.contains(&peer.target))
            .min_by_key(|(n, peer)| {
                let rest = peer.rests_until.filter(|until| *until > now);
                (rest, (n + count - turn % count.max(1)) % count.max(1))
            })
            .map(|(n, peer)| (n, peer.target.clone()));
        let (n, target) = chosen?;
        state.turn = n + 1;
        Some(target)
    }

    /// The name by which a server was found.
    pub(super) fn host_of(&self, target: &Target) -> Option<Arc<str>> {
        let state = self.state.lock();
        state.peers.iter().find(|peer| peer.target == *target).map(|peer| Arc::clone(&peer.host))
    }

    /// It answered.
    pub(super) fn reached(&self, target: &Target) {
        let mut state = self.state.lock();
        if let Some(peer) = state.peers.iter_mut().find(|peer| peer.target == *target) {
            peer.failures = 0;
            peer.rests_until = None;
        }
    }

    /// No connection to it could be opened.
    pub(super) fn failed(&self, target: &Target) {
        let mut state = self.state.lock();
        // It may have moved: the next call asks for its address again.
        state.asked = None;
        let now = Instant::now();
        if let Some(peer) = state.peers.iter_mut().find(|peer| peer.target == *target)
            // Of the calls that met the same failure together, the first counts.
            && peer.rests_until.is_none_or(|until| until <= now)
        {
            let rest = REST.saturating_mul(1 << peer.failures.min(10)).min(LONGEST_REST);
            peer.failures += 1;
            peer.rests_until = Some(now + rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(port: u16) -> Target {
        Target::Address(([127, 0, 0, 1], port).into())
    }

    fn peers(ports: &[u16]) -> Peers {
        let peers = ports.iter().map(|port| Peer::new(target(*port), "localhost")).collect();
        Peers {
            names: Vec::new(),
            state: Mutex::new(State { peers, ..State::default() }),
            asking: tokio::sync::Mutex::default(),
        }
    }

    fn ports(peers: &Peers, n: usize) -> Vec<Option<Target>> {
        (0..n).map(|_| peers.pick(&[])).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn they_take_turns() {
        let peers = peers(&[1, 2, 3]);
        assert_eq!(ports(&peers, 4), [1, 2, 3, 1].map(|port| Some(target(port))));
    }

    #[tokio::test(start_paused = true)]
    async fn who_fails_rests_and_comes_back() {
        let peers = peers(&[1, 2]);
        peers.failed(&target(1));
        peers.failed(&target(1));
        assert_eq!(ports(&peers, 2), [2, 2].map(|port| Some(target(port))));
        tokio::time::advance(REST).await;
        assert_eq!(ports(&peers, 2), [1, 2].map(|port| Some(target(port))));
        peers.failed(&target(1));
        tokio::time::advance(REST).await;
        assert_eq!(peers.pick(&[]), Some(target(2)), "the second rest is longer");
        peers.reached(&target(1));
        assert_eq!(peers.pick(&[]), Some(target(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn if_all_rest_the_first_to_be_back_is_asked() {
        let peers = peers(&[1, 2]);
        peers.failed(&target(2));
        tokio::time::advance(Duration::from_millis(1)).await;
        peers.failed(&target(1));
        assert_eq!(peers.pick(&[]), Some(target(2)));
        assert_eq!(peers.pick(&[target(2)]), Some(target(1)));
        assert_eq!(peers.pick(&[target(1), target(2)]), None);
    }

    #[tokio::test]
    async fn a_name_is_asked_on_first_use() {
        let peers = Arc::new(Peers::named(vec![("127.0.0.1".to_owned(), 7), ("127.0.0.1".to_owned(), 8)]));
        assert!(Peers::refresh(&peers).await.is_none());
        assert_eq!(ports(&peers, 2), [7, 8].map(|port| Some(target(port))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_asked_again_when_its_answer_is_old_or_somebody_is_not_there() {
        let peers = Arc::new(Peers::named(vec![("127.0.0.1".to_owned(), 7)]));
        assert!(Peers::refresh(&peers).await.is_none());
        // As if another address had been the answer.
        let other = || peers.state.lock().peers = vec![Peer::new(target(9), "127.0.0.1")];
        let after = async |pause| {
            tokio::time::advance(pause).await;
            assert!(Peers::refresh(&peers).await.is_none());
            // It is asked beside the call; a number is its own answer, and nobody is waited for.
            for _ in 0..8 {
                tokio::task::yield_now().await;
            }
            peers.pick(&[])
        };
        other();
        assert_eq!(after(Duration::from_millis(4_999)).await, Some(target(9)), "not before its time");
        assert_eq!(after(Duration::from_millis(1)).await, Some(target(7)));
        other();
        assert_eq!(after(Duration::from_millis(4_999)).await, Some(target(9)), "counted anew");
        peers.failed(&target(9));
        assert_eq!(after(Duration::ZERO).await, Some(target(7)), "it may have moved");
    }

    #[tokio::test]
    async fn a_name_that_nobody_has_is_told() {
        // An empty label is no name, so no resolver is asked.
        let peers = Arc::new(Peers::named(vec![("..".to_owned(), 7)]));
        assert!(Peers::refresh(&peers).await.is_some());
        assert_eq!(peers.pick(&[]), None);
    }
}
