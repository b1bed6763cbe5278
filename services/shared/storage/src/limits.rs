//! What every engine refuses alike, so that nobody gets used to what one of them could do.
//!
//! In: keys, writes and wishes as the port hands them over. Out: whether they keep to its borders. It must not know any
//! engine.

use crate::engine::Write;
use crate::{StoreError, TableRef};

/// Partition and clustering keys are at most this long.
pub const KEY_BYTES: usize = 512;
/// Behind every key: longer than any, and nothing is larger than its first byte.
pub const BEHIND_ALL: [u8; KEY_BYTES + 1] = [u8::MAX; KEY_BYTES + 1];
/// Rows of one page, at most.
pub const PAGE_ROWS: usize = 1_000;

/// How many rows a page has for whoever asks for so many.
pub fn page_rows(wanted: usize) -> usize {
    wanted.clamp(1, PAGE_ROWS)
}

/// Refuses a partition or clustering key that is too long: every engine does, so whoever decides looks before.
pub fn check_length(table: TableRef, key: &[u8]) -> Result<(), StoreError> {
    if key.len() > KEY_BYTES {
        return Err(StoreError::Damaged(format!(
            "a key of {table} has {} bytes, more than {KEY_BYTES}; its service should have refused it",
            key.len()
        )));
    }
    Ok(())
}

/// Refuses writes that cannot be all or nothing on every engine.
pub fn check_partition(writes: &[Write]) -> Result<(), StoreError> {
    let mut partitions = writes.iter().map(|write| (write.key.table, &write.key.partition));
    let first = partitions.next();
    if partitions.any(|other| Some(other) != first) {
        return Err(StoreError::Damaged("a batch of several partitions".to_owned()));
    }
    Ok(())
}
