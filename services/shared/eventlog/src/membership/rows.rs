//! The rows of members and of slots, as the store has them.

use crate::partition::every_row;
use crate::tables;
use bytes::Bytes;
use p92_kernel::{Service, Shard, digest};
use p92_proto::event::v1;
use p92_storage::{Conditional, Engine, Key, KeyReader, LogKey, Row, RowKey, StoreError};
use prost::Message;
use std::collections::BTreeMap;

/// Every member row, with its version.
pub(super) async fn members(engine: &dyn Engine) -> Result<Vec<(String, u64, v1::MemberRow)>, StoreError> {
    let damaged = |problem: String| StoreError::Damaged(format!("a member row: {problem}"));
    let rows = every_row(engine, tables::MEMBERS.only(), members_partition()).await?;
    let read = |(clustering, row): (Bytes, Row)| {
        let member = KeyReader::new(&clustering).text().map_err(|error| damaged(error.to_string()))?;
        let decoded = v1::MemberRow::decode(row.value).map_err(|error| damaged(error.to_string()))?;
        Ok((member, row.stamp, decoded))
    };
    rows.into_iter().map(read).collect()
}

/// An ownership row, with its version; `None` and nobody if there is none.
pub(super) type Owned = (Option<u64>, v1::OwnershipRow);

/// Every ownership row of a service.
pub(super) async fn owned(
    engine: &dyn Engine,
    service: Service,
) -> Result<BTreeMap<Shard, Owned>, StoreError> {
    let partition = Key::new().text(service.name()).build();
    let read = |(clustering, row): (Bytes, Row)| {
        let shard = KeyReader::new(&clustering).small();
        let shard =
            shard.map_err(|error| StoreError::Damaged(format!("an ownership row of {service}: {error}")))?;
        Ok((Shard(shard), read_ownership(Some(row))?))
    };
    every_row(engine, tables::OWNERSHIP.only(), partition).await?.into_iter().map(read).collect()
}

/// The ownership row of one slot.
pub(super) async fn owner(engine: &dyn Engine, service: Service, shard: Shard) -> Result<Owned, StoreError> {
    read_ownership(engine.get(&tables::ownership_key(service, shard)).await?)
}

fn read_ownership(row: Option<Row>) -> Result<Owned, StoreError> {
    let Some(row) = row else { return Ok((None, v1::OwnershipRow::default())) };
    let owner = v1::OwnershipRow::decode(row.value)
        .map_err(|error| StoreError::Damaged(format!("an ownership row: {error}")))?;
    Ok((Some(row.stamp), owner))
}

/// Moves a slot to `next` if its row stands in this version.
pub(super) async fn put_owner(
    engine: &dyn Engine,
    service: Service,
    shard: Shard,
    version: Option<u64>,
    next: &v1::OwnershipRow,
) -> Result<bool, StoreError> {
    let key = tables::ownership_key(service, shard);
    let written = engine.compare_and_set(&key, version, Bytes::from(next.encode_to_vec())).await?;
    Ok(written == Conditional::Applied)
}

/// Whether the ownership row names this member and epoch.
pub async fn is_held(engine: &dyn Engine, log: LogKey, member: &str, epoch: u64) -> Result<bool, StoreError> {
    let (_, row) = owner(engine, log.service, log.shard).await?;
    Ok(row.member == member && row.epoch == epoch)
}

/// Takes a slot from whoever has it, at the version that stands. For those who decide about slots themselves.
pub async fn take_slot(engine: &dyn Engine, log: LogKey, member: &str) -> Result<Option<u64>, StoreError> {
    let (version, row) = owner(engine, log.service, log.shard).await?;
    let next = v1::OwnershipRow { member: member.to_owned(), epoch: row.epoch + 1 };
    let taken = put_owner(engine, log.service, log.shard, version, &next).await?;
    Ok(taken.then_some(next.epoch))
}

pub(super) fn slot_name(service: Service, shard: Shard) -> v1::SlotName {
    v1::SlotName { service: service.name().to_owned(), shard: u32::from(shard.0) }
}

/// Rendezvous hashing: the member with the largest weight should hold the slot.
pub(super) fn weight(member: &str, service: Service, shard: Shard) -> u64 {
    digest::leading_u64(&digest::of_parts(&[
        member.as_bytes(),
        service.name().as_bytes(),
        &shard.0.to_be_bytes(),
    ]))
}

fn members_partition() -> Bytes {
    Key::new().text("members").build()
}

pub(super) fn member_key(member: &str) -> RowKey {
    RowKey::new(tables::MEMBERS.only(), members_partition(), Key::new().text(member))
}
