//! Gathers what a page needs with one call per kind, and never one per status: accounts, their counts, apps.

use super::entity::account::{self, Account};
use super::entity::status::{self, Application, Marks, Status};
use super::fragments::Fragment;
use crate::door::caller::Caller;
use crate::error::Problem;
use crate::gate::{Gate, ask};
use p92_proto::event::v1::ReadOptions;
use p92_proto::identity::v1 as identity;
use p92_proto::posting::v1 as posting;
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

/// Most ids of a call that asks for accounts, for statistics or apps, for posts.
const ACCOUNTS: usize = 500;
const STATS: usize = 200;
const POSTS: usize = 200;

/// Everybody and everything that the posts of a page name.
#[derive(Clone, Debug)]
pub struct Cast {
    pub server: Arc<identity::Server>,
    pub viewer_id: u64,
    accounts: HashMap<u64, identity::Account>,
    stats: HashMap<u64, posting::AuthorStats>,
    apps: HashMap<u64, Arc<identity::App>>,
}

impl Cast {
    /// An account that may be seen.
    #[must_use]
    pub fn account(&self, id: u64) -> Option<&identity::Account> {
        self.accounts.get(&id)
    }

    /// An account in its shape.
    #[must_use]
    pub fn shown(&self, one: &identity::Account) -> Account {
        account::account(one, self.stats.get(&one.id), &self.server)
    }

    /// Its counts.
    #[must_use]
    pub fn stats(&self, id: u64) -> Option<&posting::AuthorStats> {
        self.stats.get(&id)
    }

    /// The app that published a post.
    #[must_use]
    pub fn application(&self, id: u64) -> Option<Application> {
        let app = self.apps.get(&id)?;
        Some(Application { name: app.name.clone(), website: super::entity::some(&app.website) })
    }

    /// Accounts in the order of these ids; who may not be seen is left out.
    #[must_use]
    pub fn accounts(&self, ids: &[u64]) -> Vec<Account> {
        ids.iter().filter_map(|id| self.account(*id)).map(|one| self.shown(one)).collect()
    }
}

/// A cast that has begun: who came so far.
#[derive(Debug, Default)]
struct Casting {
    accounts: Vec<identity::Account>,
    stats: Vec<posting::AuthorStats>,
}

/// Whose post it is, if that is known already.
#[derive(Debug)]
pub struct Author(Vec<identity::Account>);

/// Reads for one viewer.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    pub gate: &'a Gate,
    pub caller: &'a Caller,
    pub viewer_id: u64,
    pub options: ReadOptions,
    /// When it began to read.
    began: Instant,
}

impl<'a> Reader<'a> {
    pub async fn new(gate: &'a Gate, caller: &'a Caller, viewer_id: u64) -> Self {
        let options = gate.read_as(caller, viewer_id).await;
        Self { gate, caller, viewer_id, options, began: Instant::now() }
    }

    pub fn options(&self) -> Option<ReadOptions> {
        Some(self.options.clone())
    }

    /// Posts by id, in the order of the ids; those that may not be seen are left out.
    pub async fn posts(&self, ids: &[u64]) -> Result<Vec<posting::Post>, Problem> {
        let calls = ids.chunks(POSTS).map(|ids| {
            let request = posting::GetPostsRequest { options: self.options(), post_ids: ids.to_vec() };
            let mut client = self.gate.deps.posts.clone();
            async move { ask(client.get_posts(request).await) }
        });
        let answers = futures::future::try_join_all(calls).await?;
        let posts: Vec<_> = answers.into_iter().flat_map(|answer| answer.posts).collect();
        // What is not there any more is not remembered either.
        let found: BTreeSet<u64> = posts.iter().map(|post| post.id).collect();
        for id in ids.iter().filter(|id| !found.contains(id)) {
            self.gate.fragments.read(self.caller.server.id, *id, self.began);
        }
        Ok(posts)
    }

    /// One post or boost.
    pub async fn post(&self, post_id: u64) -> Result<posting::Post, Problem> {
        let request = posting::GetPostRequest { options: self.options(), post_id };
        crate::gate::there(ask(self.gate.deps.posts.clone().get_post(request).await)?.post)
    }

    /// Whom these posts name, and these accounts.
    pub async fn cast(&self, posts: &[posting::Post], more: &[u64]) -> Result<Cast, Problem> {
        self.complete(Casting::default(), posts, more).await
    }

    /// Begins with those whom posts that are still being asked for will probably name.
    async fn begin(&self, ids: &[u64]) -> Result<Casting, Problem> {
        let ids: BTreeSet<u64> = ids.iter().copied().filter(|id| *id != 0).collect();
        let ids: Vec<u64> = ids.into_iter().collect();
        let (accounts, stats) = futures::try_join!(self.load_accounts(&ids), self.load_stats(&ids))?;
        Ok(Casting { accounts, stats })
    }

    async fn complete(&self, begun: Casting, posts: &[posting::Post], more: &[u64]) -> Result<Cast, Problem> {
        let Casting { accounts: begun, stats: counted } = begun;
        let mut ids: BTreeSet<u64> = more.iter().copied().filter(|id| *id != 0).collect();
        let mut apps = BTreeSet::new();
        for post in posts.iter().flat_map(|post| std::iter::once(post).chain(post.boosted.as_deref())) {
            ids.insert(post.author_id);
            self.gate.fragments.read(self.caller.server.id, post.id, self.began);
            // Apps are known at one server only: those of other servers' members stay unnamed.
            if post.app_id != 0 && post.author_home_id == self.caller.server.id {
                apps.insert(post.app_id);
            }
        }
        // Who is hidden is asked for again, and stays hidden.
        let unknown: Vec<u64> =
            ids.iter().copied().filter(|id| !begun.iter().any(|one| one.id == *id)).collect();
        let uncounted: Vec<u64> =
            ids.into_iter().filter(|id| !counted.iter().any(|one| one.author_id == *id)).collect();
        let apps: Vec<u64> = apps.into_iter().collect();
        let (accounts, stats, apps) = futures::try_join!(
            self.load_accounts(&unknown),
            self.load_stats(&uncounted),
            self.load_apps(&apps)
        )?;
        Ok(Cast {
            server: Arc::clone(&self.caller.server),
            viewer_id: self.viewer_id,
            accounts: accounts.into_iter().chain(begun).map(|one| (one.id, one)).collect(),
            stats: stats.into_iter().chain(counted).map(|one| (one.author_id, one)).collect(),
            apps: apps.into_iter().map(|one| (one.id, one)).collect(),
        })
    }

    async fn load_accounts(&self, ids: &[u64]) -> Result<Vec<identity::Account>, Problem> {
        let calls = ids.chunks(ACCOUNTS).map(|ids| {
            let request = identity::BatchGetAccountsRequest { options: self.options(), ids: ids.to_vec() };
            let mut client = self.gate.deps.accounts.clone();
            async move { ask(client.batch_get_accounts(request).await) }
        });
        let answers = futures::future::try_join_all(calls).await?;
        Ok(answers.into_iter().flat_map(|answer| answer.accounts).collect())
    }

    async fn load_stats(&self, ids: &[u64]) -> Result<Vec<posting::AuthorStats>, Problem> {
        let calls = ids.chunks(STATS).map(|ids| {
            let request =
                posting::GetAuthorStatsRequest { options: self.options(), author_ids: ids.to_vec() };
            let mut client = self.gate.deps.posts.clone();
            async move { ask(client.get_author_stats(request).await) }
        });
        let answers = futures::future::try_join_all(calls).await?;
        Ok(answers.into_iter().flat_map(|answer| answer.stats).collect())
    }

    async fn load_apps(&self, ids: &[u64]) -> Result<Vec<Arc<identity::App>>, Problem> {
        let server_id = self.caller.server.id;
        let (mut known, mut unknown) = (Vec::new(), Vec::new());
        for id in ids {
            match self.gate.apps.get(&(server_id, *id)).await {
                Some(app) => known.push(app),
                None => unknown.push(*id),
            }
        }
        if unknown.is_empty() {
            return Ok(known);
        }
        let request = identity::BatchGetAppsRequest { server_id, ids: unknown };
        for app in ask(self.gate.deps.apps.clone().batch_get_apps(request).await)?.apps {
            let app = Arc::new(app);
            self.gate.apps.insert((server_id, app.id), Arc::clone(&app)).await;
            known.push(app);
        }
        Ok(known)
    }

    /// Posts as statuses.
    pub async fn statuses(&self, posts: &[posting::Post]) -> Result<Vec<Status>, Problem> {
        if posts.is_empty() {
            return Ok(Vec::new());
        }
        self.statuses_of(posts, Casting::default()).await
    }

    /// What an actor has just published, while he is asked for himself.
    pub async fn published<T>(
        &self,
        actor_id: u64,
        publish: impl Future<Output = Result<T, Problem>>,
    ) -> Result<(T, Author), Problem> {
        let ids = [actor_id];
        let (answer, accounts) = futures::join!(publish, self.load_accounts(&ids));
        // Whoever cannot be shown at this moment is asked for once more, and what was published stands.
        Ok((answer?, Author(accounts.unwrap_or_default())))
    }

    /// His post, counted among the others of his.
    pub async fn post_of(&self, author: Author, post: &posting::Post) -> Result<Status, Problem> {
        let begun = Casting { accounts: author.0, stats: Vec::new() };
        self.statuses_of(std::slice::from_ref(post), begun).await?.pop().ok_or_else(Problem::not_found)
    }

    async fn statuses_of(&self, posts: &[posting::Post], begun: Casting) -> Result<Vec<Status>, Problem> {
        let cast = self.complete(begun, posts, &[]).await?;
        Ok(posts.iter().filter_map(|post| status::status(post, &cast)).collect())
    }

    /// The public posts among these ids, and what else the viewer may see, as a JSON array in the order of the ids.
    ///
    /// The ids must come from somebody who has judged within the last second that the viewer may see them. With each stand
    /// those whom it will probably name, 0 for nobody.
    pub async fn written(&self, entries: &[(u64, [u64; 2])]) -> Result<String, Problem> {
        let ids: Vec<u64> = entries.iter().map(|(id, _)| *id).collect();
        let (fragments, server) = (&self.gate.fragments, self.caller.server.id);
        let wrote = self.gate.wrote(self.viewer_id).await;
        let known = |id: &u64| {
            let found = fragments.get(server, *id, wrote);
            found.filter(|fragment| !fragment.is_by(self.viewer_id))
        };
        let known: Vec<Option<Arc<Fragment>>> = ids.iter().map(known).collect();
        let missing: Vec<(u64, [u64; 2])> = entries
            .iter()
            .zip(&known)
            .filter(|(_, known)| known.is_none())
            .map(|(entry, _)| *entry)
            .collect();
        let (marks, statuses) = futures::try_join!(self.marks(&known), self.afresh(&missing))?;
        let mut marks = marks.into_iter();
        let mut out = String::with_capacity(ids.len() * 2_048);
        for (id, known) in ids.iter().zip(&known) {
            out.push(if out.is_empty() { '[' } else { ',' });
            let before = out.len();
            if let Some(fragment) = known {
                fragment.write(&marks.next().unwrap_or_default(), &mut out);
            } else if let Some(status) = statuses.get(id) {
                out.push_str(&serde_json::to_string(status).map_err(p92_kernel::Failure::internal)?);
            }
            if out.len() == before {
                out.pop();
            }
        }
        out.push_str(if out.is_empty() { "[]" } else { "]" });
        Ok(out)
    }

    async fn afresh(&self, entries: &[(u64, [u64; 2])]) -> Result<HashMap<u64, Status>, Problem> {
        if entries.is_empty() {
            return Ok(HashMap::new());
        }
        let ids: Vec<u64> = entries.iter().map(|(id, _)| *id).collect();
        let named: Vec<u64> = entries.iter().flat_map(|(_, named)| *named).collect();
        let (posts, begun) = futures::try_join!(self.posts(&ids), self.begin(&named))?;
        let mut out = HashMap::with_capacity(posts.len());
        for status in self.statuses_of(&posts, begun).await? {
            let Ok(id) = status.id.parse() else { continue };
            if let Some(fragment) = status.fragment() {
                self.gate.fragments.remember(self.caller.server.id, id, fragment, self.began);
            }
            out.insert(id, status);
        }
        Ok(out)
    }

    /// What the viewer did with the posts that those of these fragments show which are there, as fields, in their order;
    /// nothing for a stranger.
    async fn marks(&self, known: &[Option<Arc<Fragment>>]) -> Result<Vec<Cow<'static, str>>, Problem> {
        let post_ids: Vec<u64> = known.iter().flatten().map(|fragment| fragment.marked).collect();
        if self.viewer_id == 0 || post_ids.is_empty() {
            return Ok(Vec::new());
        }
        let request = posting::GetMarksRequest { options: self.options(), post_ids };
        let found = ask(self.gate.deps.posts.clone().get_marks(request).await)?.marks;
        Ok(found.iter().map(|marks| Marks::from(marks).fields()).collect())
    }

    /// One post as a status.
    pub async fn status(&self, post_id: u64) -> Result<Status, Problem> {
        let post = self.post(post_id).await?;
        self.statuses(std::slice::from_ref(&post)).await?.pop().ok_or_else(Problem::not_found)
    }

    /// Accounts in the order of these ids.
    pub async fn accounts(&self, ids: &[u64]) -> Result<Vec<Account>, Problem> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.cast(&[], ids).await?.accounts(ids))
    }

    /// One account that is at hand, with its counts.
    pub async fn stats_of(&self, id: u64) -> Result<Option<posting::AuthorStats>, Problem> {
        Ok(self.load_stats(&[id]).await?.pop())
    }
}
