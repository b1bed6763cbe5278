//! Groups: what one append writes, one bus message carries, and one reader applies at a time.

use crate::{Poison, Recorded};
use bytes::Bytes;
use p92_kernel::{Position, Seq, Service, Shard};
use p92_proto::event::v1;
use p92_storage::{GroupId, LogKey, LogRow};
use prost::Message;

/// A round's events stay under this, unless one command alone has more.
pub const GROUP_BYTES: usize = 64 * 1024;
/// The events of one command take at most this.
pub const COMMAND_BYTES: usize = 512 * 1024;

/// Events that stand in a log as one row.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    pub log: LogKey,
    pub first_seq: Seq,
    pub id: GroupId,
    pub events: Vec<Recorded>,
}

impl Group {
    /// Place of the last event.
    #[must_use]
    pub fn last_seq(&self) -> Seq {
        Seq(self.first_seq.0 + (self.events.len() as u64).saturating_sub(1))
    }

    /// The row of the log, whose events are the body of the bus message too.
    #[must_use]
    pub fn to_row(&self) -> LogRow {
        let body = v1::EventGroup {
            service: self.log.service.name().to_owned(),
            shard: u32::from(self.log.shard.0),
            first_seq: self.first_seq.0,
            group_id: Bytes::copy_from_slice(&self.id),
            events: self.events.iter().map(|event| event.bytes.clone()).collect(),
        };
        LogRow {
            first_seq: self.first_seq,
            last_seq: self.last_seq(),
            group: self.id,
            events: body.encode_to_vec().into(),
        }
    }

    /// Reads the body of a bus message, or of a row.
    pub fn read(body: Bytes) -> Result<Self, Poison> {
        let unreadable = |problem: String| Poison::Unreadable { event_type: "a group".to_owned(), problem };
        let group = v1::EventGroup::decode(body).map_err(|error| unreadable(error.to_string()))?;
        let service = Service::from_name(&group.service)
            .ok_or_else(|| unreadable(format!("there is no service {:?}", group.service)))?;
        let shard = Shard(u16::try_from(group.shard).map_err(|error| unreadable(error.to_string()))?);
        let id = GroupId::try_from(group.group_id.as_ref()).map_err(|error| unreadable(error.to_string()))?;
        if group.events.is_empty() || group.first_seq == 0 {
            return Err(unreadable("it is empty".to_owned()));
        }
        let events = (group.first_seq..)
            .zip(group.events)
            .map(|(seq, bytes)| Recorded::read(Position { service, shard, seq: Seq(seq) }, bytes))
            .collect::<Result<_, _>>()?;
        Ok(Self { log: LogKey { service, shard }, first_seq: Seq(group.first_seq), id, events })
    }

    /// Reads a row and holds its columns against its body.
    pub fn from_row(log: LogKey, row: &LogRow) -> Result<Self, Poison> {
        let group = Self::read(row.events.clone())?;
        if group.log != log
            || group.first_seq != row.first_seq
            || group.last_seq() != row.last_seq
            || group.id != row.group
        {
            return Err(Poison::Unreadable {
                event_type: "a group".to_owned(),
                problem: format!(
                    "the row at {} of {}/{} says otherwise",
                    row.first_seq, log.service, log.shard
                ),
            });
        }
        Ok(group)
    }
}
