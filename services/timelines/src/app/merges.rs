//! Homes put together from outboxes: at most one at a time for each viewer, and so many in all.

use super::clients::{Clients, Question};
use crate::config::Config;
use crate::domain::entry::Entry;
use crate::domain::memory::Candidate;
use crate::domain::merge::{Merge, Need, Relations, concerns};
use crate::domain::window::Window;
use crate::error;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use p92_kernel::Failure;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{OwnedMutexGuard, Semaphore};

/// Merges of this process.
#[derive(Debug)]
pub struct Merges {
    clients: Clients,
    at_once: Semaphore,
    waiting: AtomicUsize,
    most_waiting: usize,
    singles: Mutex<HashMap<u64, Arc<tokio::sync::Mutex<()>>>>,
}

/// How many questions about doubtful boosts are asked at a time.
const BOOSTS_AT_ONCE: usize = 8;

impl Merges {
    /// Over these clients, within these bounds.
    #[must_use]
    pub fn new(clients: Clients, config: &Config) -> Self {
        Self {
            clients,
            at_once: Semaphore::new(config.merges_at_once.max(1)),
            waiting: AtomicUsize::new(0),
            most_waiting: config.merges_waiting.max(1),
            singles: Mutex::default(),
        }
    }

    /// Waits until nobody else merges for this viewer.
    pub async fn alone(&self, viewer: u64) -> OwnedMutexGuard<()> {
        let single = {
            let mut singles = self.singles.lock();
            if singles.len() > self.most_waiting * 2 {
                singles.retain(|_, single| Arc::strong_count(single) > 1);
            }
            Arc::clone(singles.entry(viewer).or_default())
        };
        single.lock_owned().await
    }

    async fn bounded<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.most_waiting {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(error::busy());
        }
        let permit = self.at_once.acquire().await;
        let done = match permit {
            Ok(_permit) => work.await,
            Err(_) => Err(error::busy()),
        };
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        done
    }

    /// A page of a viewer's home.
    pub async fn page(&self, question: &Question, window: Window) -> Result<Vec<Entry<u64>>, Failure> {
        let _alone = self.alone(question.viewer).await;
        self.bounded(self.merge(question, window)).await
    }

    async fn merge(&self, question: &Question, window: Window) -> Result<Vec<Entry<u64>>, Failure> {
        let mut relations = self.clients.relations(question).await?;
        let authors = authors(&relations);
        let mut merge = Merge::new(window);
        loop {
            let window = match merge.need() {
                Need::Done(page) => return Ok(page),
                Need::Candidates(window) => window,
            };
            let candidates = self.clients.outboxes(question, &authors, &window).await?;
            let accounts = candidates.iter().flat_map(|found| [found.by, found.facts.author]);
            self.clients.bar_hidden(question, &mut relations, accounts.collect::<Vec<_>>()).await?;
            let older = self.older(question, &mut relations, &candidates).await?;
            merge.feed(&relations, &candidates, &older);
        }
    }

    /// Who boosted before each doubtful boost.
    async fn older(
        &self,
        question: &Question,
        relations: &mut Relations,
        candidates: &[Candidate],
    ) -> Result<HashMap<u64, Vec<u64>>, Failure> {
        let asked = Merge::doubtful(relations, candidates).into_iter().map(|(boost, post)| async move {
            let boosts = self.clients.boosts(question, post, boost).await?;
            let boosters: Vec<u64> = boosts.into_iter().map(|(_, booster)| booster).collect();
            Ok::<_, Failure>((boost, boosters))
        });
        let older: HashMap<u64, Vec<u64>> =
            stream::iter(asked).buffer_unordered(BOOSTS_AT_ONCE).try_collect().await?;
        // Only boosts of those whom one follows count, and of these none that is hidden.
        let counting: Vec<u64> = older
            .values()
            .flatten()
            .copied()
            .filter(|booster| relations.follows.contains_key(booster))
            .collect();
        self.clients.bar_hidden(question, relations, counting).await?;
        Ok(older)
    }

    /// The newest candidates of a viewer, for his ring: newest first, and whether these are all.
    pub async fn candidates(
        &self,
        question: &Question,
        size: usize,
    ) -> Result<(Vec<Candidate>, bool), Failure> {
        self.bounded(async {
            let relations = self.clients.relations(question).await?;
            let window = Window::newest(size);
            let mut candidates = self.clients.outboxes(question, &authors(&relations), &window).await?;
            let whole = candidates.len() < size;
            // The oldest one says how far the ring knows, whether it concerns the viewer or not.
            let oldest = candidates.len().saturating_sub(1);
            let mut index = 0;
            candidates.retain(|candidate| {
                index += 1;
                index > oldest || concerns(question.viewer, candidate)
            });
            Ok((candidates, whole))
        })
        .await
    }

    /// The clients that it asks through.
    #[must_use]
    pub const fn clients(&self) -> &Clients {
        &self.clients
    }
}

fn authors(relations: &Relations) -> Vec<u64> {
    relations.follows.keys().copied().chain([relations.viewer]).collect()
}
