//! What the store does without P92: bare conditional inserts, and the reads and row writes of posts without a log.
//!
//! In: how much P92 asks for a post. Out: how often a second the store alone does that. Its tables and statements are
//! shaped as P92's are, in a keyspace of its own. It refuses to know what rows mean.

use super::scrape::{Asked, Load};
use crate::writers::quantile;
use anyhow::Context as _;
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use scylla::statement::{Consistency, SerialConsistency};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

const KEYSPACE: &str = "p92_yardstick";
/// Longer than the server's own, as P92 waits.
const PATIENCE: Duration = Duration::from_secs(12);
/// The partition and the clustering key of a row.
type RowName = (Vec<u8>, Vec<u8>);

/// The store, asked as P92 asks it.
pub struct Store {
    session: Session,
    slot: PreparedStatement,
    claim: PreparedStatement,
    get: PreparedStatement,
    scan: PreparedStatement,
    put: PreparedStatement,
    /// Rises for ever: times of writes, numbers of posts and of partitions.
    tick: AtomicI64,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

/// Bare conditional inserts.
#[derive(Clone, Copy, Debug)]
pub struct Inserts {
    pub p50: Duration,
    pub per_second: f64,
}

/// How often something of a post is asked, if it is no whole number: the rest is owed to the next post.
#[derive(Clone, Copy, Debug, Default)]
struct Owed(f64);

impl Owed {
    const fn take(&mut self, each: f64) -> usize {
        self.0 += each;
        let whole = self.0 as usize;
        self.0 -= whole as f64;
        whole
    }
}

impl Store {
    /// Makes the tables anew.
    pub async fn open(address: &str) -> anyhow::Result<Self> {
        // A row counts as written when a quorum has it, and a slot is agreed on by all, as P92 asks for if not told otherwise.
        let profile = ExecutionProfile::builder()
            .consistency(Consistency::LocalQuorum)
            .serial_consistency(Some(SerialConsistency::Serial))
            .request_timeout(Some(PATIENCE))
            .build();
        let session = SessionBuilder::new()
            .known_node(address)
            .tcp_nodelay(true)
            .default_execution_profile_handle(profile.into_handle())
            .build()
            .await
            .with_context(|| format!("the store at {address} cannot be asked"))?;
        let datacenter = session
            .get_cluster_state()
            .get_nodes_info()
            .iter()
            .find_map(|node| node.datacenter.clone())
            .context("the store names no datacenter")?;
        for text in [
            format!("DROP KEYSPACE IF EXISTS {KEYSPACE}"),
            format!(
                "CREATE KEYSPACE {KEYSPACE} WITH replication = \
                 {{'class': 'NetworkTopologyStrategy', '{datacenter}': 1}}"
            ),
            format!(
                "CREATE TABLE {KEYSPACE}.log (service text, shard int, bucket bigint, first_seq bigint, \
                 last_seq bigint, group_id blob, events blob, PRIMARY KEY ((service, shard, bucket), first_seq))"
            ),
            format!("CREATE TABLE {KEYSPACE}.rows (p blob, c blob, v bigint, row blob, PRIMARY KEY (p, c))"),
        ] {
            session.query_unpaged(text, ()).await?;
        }
        let prepare = async |text: String| session.prepare(text).await;
        let (slot, claim, get, scan, put) = (
            prepare(format!(
                "INSERT INTO {KEYSPACE}.log (service, shard, bucket, first_seq, last_seq, group_id, events) \
                 VALUES (?, ?, ?, ?, ?, ?, ?) IF NOT EXISTS"
            ))
            .await?,
            prepare(format!("INSERT INTO {KEYSPACE}.rows (p, c, v, row) VALUES (?, ?, 1, ?) IF NOT EXISTS"))
                .await?,
            prepare(format!("SELECT v, row, WRITETIME(row) FROM {KEYSPACE}.rows WHERE p = ? AND c = ?"))
                .await?,
            prepare(format!(
                "SELECT c, v, row, WRITETIME(row) FROM {KEYSPACE}.rows \
                 WHERE p = ? AND c >= ? AND c < ? ORDER BY c DESC LIMIT ?"
            ))
            .await?,
            prepare(format!("INSERT INTO {KEYSPACE}.rows (p, c, row) VALUES (?, ?, ?) USING TIMESTAMP ?"))
                .await?,
        );
        Ok(Self { session, slot, claim, get, scan, put, tick: AtomicI64::new(1) })
    }

    /// A number that was never given.
    fn next(&self) -> i64 {
        self.tick.fetch_add(1, Ordering::Relaxed)
    }

    /// Slots of so many logs at once, in each one after the other, with so many bytes of events in each row.
    pub async fn inserts(
        self: &Arc<Self>,
        logs: i32,
        bytes: usize,
        each: Duration,
    ) -> anyhow::Result<Inserts> {
        let (began, bucket) = (Instant::now(), self.next());
        let tasks: Vec<_> = (0..logs)
            .map(|shard| tokio::spawn(Arc::clone(self).one_log(shard, bucket, bytes, began + each)))
            .collect();
        let mut took = Vec::new();
        for task in tasks {
            took.extend(task.await??);
        }
        let per_second = took.len() as f64 / began.elapsed().as_secs_f64();
        took.sort();
        Ok(Inserts { p50: quantile(&took, 0.5), per_second })
    }

    async fn one_log(
        self: Arc<Self>,
        shard: i32,
        bucket: i64,
        bytes: usize,
        until: Instant,
    ) -> anyhow::Result<Vec<Duration>> {
        let (mut took, mut seq) = (Vec::new(), 0_i64);
        while Instant::now() < until {
            seq += 1;
            let id = self.next().to_be_bytes().repeat(2);
            let values = ("yardstick", shard, bucket, seq, seq, id, vec![0x55_u8; bytes]);
            let began = Instant::now();
            let answer = self.session.execute_unpaged(&self.slot, values).await?;
            took.push(began.elapsed());
            anyhow::ensure!(answer.is_rows(), "a conditional insert was not answered");
        }
        Ok(took)
    }

    /// Posts without log and services: what the store is asked for one is asked by each of `writers` for one after the
    /// other, for `authors` in turn. How many a second.
    pub async fn bare_posts(
        self: &Arc<Self>,
        load: &Load,
        writers: usize,
        authors: usize,
        each: Duration,
    ) -> anyhow::Result<f64> {
        let began = Instant::now();
        let tasks: Vec<_> = (0..writers)
            .map(|_| tokio::spawn(Arc::clone(self).one_writer(load.clone(), authors, began + each)))
            .collect();
        let mut posts = 0;
        for task in tasks {
            posts += task.await??;
        }
        Ok(f64::from(posts) / began.elapsed().as_secs_f64())
    }

    async fn one_writer(self: Arc<Self>, load: Load, authors: usize, until: Instant) -> anyhow::Result<u32> {
        let authors = i64::try_from(authors.max(1))?;
        let of = |operation: &str| load.get(operation).requests;
        let (mut gets, mut scans, mut puts, mut claims) =
            (Owed::default(), Owed::default(), Owed::default(), Owed::default());
        let mut posts = 0;
        while Instant::now() < until {
            let post = self.next();
            let author = post % authors;
            // First all that is read, then all that is written: each at once, as kind as can be to the yardstick.
            let (gets, scans) = (gets.take(of("get")), scans.take(of("scan")));
            let read = (0..gets).map(|number| self.get(number, post, author, authors));
            let scanned = (0..scans).map(|_| self.scan(load.get("scan"), author));
            futures::try_join!(futures::future::try_join_all(read), futures::future::try_join_all(scanned))?;
            let (puts, claims) = (puts.take(of("write")), claims.take(of("conditional")));
            let written = (0..puts).map(|number| self.write(load.get("write"), number, post, author));
            let claimed = (0..claims).map(|number| self.claim(load.get("conditional"), number, post));
            futures::try_join!(
                futures::future::try_join_all(written),
                futures::future::try_join_all(claimed)
            )?;
            posts += 1;
        }
        Ok(posts)
    }

    /// Half of the reads look for a row that stands in an author's partition, half for one that is not there.
    async fn get(&self, number: usize, post: i64, author: i64, authors: i64) -> anyhow::Result<()> {
        let (p, c) = match number % 2 {
            0 => of_author(author, post - authors, 0),
            _ => of_post(post, number, 0),
        };
        self.session.execute_unpaged(&self.get, (p, c)).await?;
        Ok(())
    }

    async fn scan(&self, asked: Asked, author: i64) -> anyhow::Result<()> {
        let limit = (asked.rows_each().ceil() as i32).max(1);
        let (p, _) = of_author(author, 0, 0);
        self.session.execute_unpaged(&self.scan, (p, vec![0_u8], vec![u8::MAX; 9], limit)).await?;
        Ok(())
    }

    /// A request writes into one partition: in turn one of the author's, which grows, and a new one.
    async fn write(&self, asked: Asked, number: usize, post: i64, author: i64) -> anyhow::Result<()> {
        let rows = (asked.rows_each().round() as usize).max(1);
        let mut values = Vec::with_capacity(rows);
        for row in 0..rows {
            let (p, c) = match number % 2 {
                0 => of_author(author, post, number * rows + row),
                _ => of_post(post, number, row),
            };
            let bytes = (asked.bytes_each() as usize).saturating_sub(p.len() + c.len());
            values.push((p, c, vec![0x55_u8; bytes], self.next()));
        }
        if let [one] = values.as_slice() {
            self.session.execute_unpaged(&self.put, one).await?;
            return Ok(());
        }
        let mut batch = Batch::new(BatchType::Unlogged);
        values.iter().for_each(|_| batch.append_statement(self.put.clone()));
        self.session.batch(&batch, values).await?;
        Ok(())
    }

    async fn claim(&self, asked: Asked, number: usize, post: i64) -> anyhow::Result<()> {
        let (p, c) = of_post(-post, number, 0);
        let bytes = (asked.bytes_each() as usize).saturating_sub(p.len() + c.len());
        self.session.execute_unpaged(&self.claim, (p, c, vec![0x55_u8; bytes])).await?;
        Ok(())
    }
}

fn of_author(author: i64, post: i64, row: usize) -> RowName {
    let c = [post.to_be_bytes().as_slice(), &[row as u8]].concat();
    ([b"a".as_slice(), &author.to_be_bytes()].concat(), c)
}

fn of_post(post: i64, number: usize, row: usize) -> RowName {
    ([b"p".as_slice(), &post.to_be_bytes(), &[number as u8]].concat(), vec![row as u8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_owed_is_asked_in_the_end() {
        let mut owed = Owed::default();
        let taken: usize = (0..1_000).map(|_| owed.take(2.3)).sum();
        assert!((2_299..=2_300).contains(&taken), "{taken}");
        assert_eq!(Owed::default().take(0.0), 0);
    }
}
