//! How far owners and readers have come, who holds which slot, and who lives: as the store says, for the whole
//! installation, whichever of its processes is asked.

use super::{Operator, store};
use p92_eventlog::{heads, tables};
use p92_kernel::{Seq, Service, Shard};
use p92_proto::event::v1::{MemberRow, OwnershipRow};
use p92_proto::operator::v1::{Lag, ListOwnersResponse, Member, Owner};
use p92_storage::{KeyReader, LogKey, StoreError, TableRow};
use prost::Message as _;
use std::collections::{BTreeMap, BTreeSet};
use tonic::Status;

/// A log's end is looked for in pieces of this many bytes behind `applied`, where hardly ever anything stands.
const TAIL_BYTES: usize = 1024 * 1024;

impl Operator {
    /// Every row of a table of the log's own.
    async fn all_rows(&self, table: &'static p92_storage::Table) -> Result<Vec<TableRow>, StoreError> {
        let (mut rows, mut after) = (Vec::new(), None);
        loop {
            let page = self.platform.engine.scan_table(table.only(), after.as_ref(), 1_000).await?;
            rows.extend(page.rows);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(rows),
            }
        }
    }

    /// Owners by the ends of their logs, readers by their checkpoints, and readers that keep their place in the memory
    /// of this process.
    pub(super) async fn lags(&self) -> Result<Vec<Lag>, Status> {
        // Checkpoints before heads: no reader is ahead of what is read after it.
        let checkpoints = self.all_rows(&tables::CHECKPOINTS).await.map_err(store)?;
        let marks = self.platform.progress.all();
        let mut applied: BTreeMap<LogKey, Seq> = BTreeMap::new();
        for service in Service::ALL {
            let heads = heads::read_heads(&*self.platform.engine, service).await.map_err(store)?;
            applied.extend(heads.into_iter().map(|(shard, seq)| (LogKey { service, shard }, seq)));
        }
        let lag = |log: LogKey, reader: &str, head: Seq, at: Seq, memory: bool| Lag {
            service: log.service.name().to_owned(),
            shard: u32::from(log.shard.0),
            reader: reader.to_owned(),
            head: head.0,
            applied: at.0,
            memory,
        };
        let head = |log: &LogKey| applied.get(log).copied().unwrap_or_default();
        let mut lags = Vec::new();
        for (log, at) in &applied {
            lags.push(lag(*log, "", self.end(*log, *at).await.map_err(store)?, *at, false));
        }
        let mut stored = BTreeSet::new();
        for row in checkpoints {
            let (reader, log) =
                tables::read_checkpoint_key(&row.partition, &row.clustering).map_err(store)?;
            // A rebuild's own place says nothing of how old what is shown is.
            if !reader.starts_with("rebuild/") {
                lags.push(lag(log, &reader, head(&log), Seq(row.row.stamp), false));
                stored.insert((reader, log));
            }
        }
        for (mark, at) in marks {
            let reader = mark.reader.to_string();
            if !reader.is_empty() && !stored.contains(&(reader.clone(), mark.log)) {
                lags.push(lag(mark.log, &reader, head(&mark.log), at, true));
            }
        }
        lags.sort_by(|a, b| (&a.service, &a.reader, a.shard).cmp(&(&b.service, &b.reader, b.shard)));
        Ok(lags)
    }

    async fn end(&self, log: LogKey, applied: Seq) -> Result<Seq, StoreError> {
        let mut end = applied;
        loop {
            let rows = self.platform.engine.read_log(log, end, TAIL_BYTES).await?;
            match rows.last() {
                Some(last) => end = last.last_seq,
                None => return Ok(end),
            }
        }
    }

    /// Every slot with its holder, and every member with its beat.
    pub(super) async fn owners(&self) -> Result<ListOwnersResponse, Status> {
        let damaged = |what: &str| store(StoreError::Damaged(what.to_owned()));
        let (mut owners, mut held) = (Vec::new(), BTreeMap::<String, u32>::new());
        for row in self.all_rows(&tables::OWNERSHIP).await.map_err(store)? {
            let service = KeyReader::new(&row.partition).text().map_err(|_| damaged("an ownership row"))?;
            let shard = KeyReader::new(&row.clustering).small().map_err(|_| damaged("an ownership row"))?;
            let owner = OwnershipRow::decode(row.row.value).map_err(|_| damaged("an ownership row"))?;
            *held.entry(owner.member.clone()).or_default() += 1;
            let shard = u32::from(Shard(shard).0);
            owners.push(Owner { service, shard, member: owner.member, epoch: owner.epoch });
        }
        owners.sort_by(|a, b| (&a.service, a.shard).cmp(&(&b.service, b.shard)));
        let silences = self.platform.membership.silences();
        let mut members = Vec::new();
        for row in self.all_rows(&tables::MEMBERS).await.map_err(store)? {
            let id = KeyReader::new(&row.clustering).text().map_err(|_| damaged("a member row"))?;
            let member = MemberRow::decode(row.row.value).map_err(|_| damaged("a member row"))?;
            let silent =
                silences.get(&id).map(|silent| u64::try_from(silent.as_millis()).unwrap_or(u64::MAX));
            members.push(Member {
                slots: held.get(&id).copied().unwrap_or_default(),
                id,
                address: member.address,
                services: member.services,
                beat: member.beat,
                silent_ms: silent,
            });
        }
        Ok(ListOwnersResponse { owners, members })
    }
}
