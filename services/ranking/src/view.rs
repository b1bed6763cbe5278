//! Posts as uses of tags. A post counts on the day of its id, whenever it is edited or deleted, and its author's shard
//! writes all of it, so authors of different shards are different people and sums are exact.

use crate::consumer::{self, Change};
use crate::domain::trend::{SPANS, place};
use crate::tables;
use async_trait::async_trait;
use bytes::Bytes;
use p92_eventlog::{ProjectionError, Recorded, Rows, View};
use p92_kernel::{Id, Service, Shard};
use p92_proto::event::v1::Sealed;
use p92_proto::ranking::v1::TagUseRow;
use p92_storage::{Direction, Range, Table};
use std::sync::Arc;

/// Every view of ranking.
#[must_use]
pub fn all() -> Vec<Arc<dyn View>> {
    vec![Arc::new(TagUses)]
}

/// How tags are used.
#[derive(Debug)]
struct TagUses;

/// Whose post, and when and where it counts.
#[derive(Clone, Copy, Debug)]
struct Use {
    server: u64,
    author: u64,
    post: u64,
    day: u64,
    span: usize,
    shard: Shard,
}

#[async_trait]
impl View for TagUses {
    fn table(&self) -> &'static Table {
        &tables::TAG_USES
    }

    fn source(&self) -> Service {
        Service::Posting
    }

    fn wants(&self, event_type: &str) -> bool {
        consumer::concerns_tags(event_type)
    }

    async fn project(&self, event: &Recorded, rows: &mut Rows<'_>) -> Result<(), ProjectionError> {
        let Some(Change { server, author, post, gone, has }) = consumer::change_of(event)? else {
            return Ok(());
        };
        let Some(id) = Id::new(post) else { return Ok(()) };
        let (day, span) = place(id.millis().0);
        let one = Use { server, author, post, day, span, shard: event.position.shard };
        for key in gone.iter().filter(|key| !has.iter().any(|(kept, _)| kept == *key)) {
            one.end(key, rows).await?;
        }
        for (key, name) in &has {
            one.begin(key, name.as_ref(), rows).await?;
        }
        Ok(())
    }
}

impl Use {
    fn posts(&self, key: &[u8]) -> Bytes {
        tables::posts(self.server, self.day, self.shard, key)
    }

    async fn begin(
        &self,
        key: &[u8],
        name: Option<&Sealed>,
        rows: &mut Rows<'_>,
    ) -> Result<(), ProjectionError> {
        let (partition, place) = (self.posts(key), tables::post(self.author, self.post));
        let known = rows.get(partition.clone(), place.clone()).await?.is_some();
        if !known {
            let first = self.of_author(&partition, 1, rows).await? == 0;
            self.count(key, true, first, rows).await?;
        }
        let row = TagUseRow { name: name.cloned(), ..TagUseRow::default() };
        rows.put_message(partition, place, &row);
        Ok(())
    }

    async fn end(&self, key: &[u8], rows: &mut Rows<'_>) -> Result<(), ProjectionError> {
        let (partition, place) = (self.posts(key), tables::post(self.author, self.post));
        if rows.get(partition.clone(), place.clone()).await?.is_none() {
            return Ok(());
        }
        let last = self.of_author(&partition, 2, rows).await? == 1;
        rows.delete(partition, place);
        self.count(key, false, last, rows).await
    }

    /// How many posts with the tag its author has, as far as `most`.
    async fn of_author(
        &self,
        partition: &Bytes,
        most: usize,
        rows: &mut Rows<'_>,
    ) -> Result<usize, ProjectionError> {
        let range = Range::prefix(&tables::author(self.author));
        Ok(rows.scan(partition.clone(), range, Direction::Forward, most).await?.len())
    }

    /// One use more or fewer, and one author if this is the first or last use of its author.
    async fn count(
        &self,
        key: &[u8],
        more: bool,
        author: bool,
        rows: &mut Rows<'_>,
    ) -> Result<(), ProjectionError> {
        let (partition, place) = (tables::day(self.server, self.day, self.shard), tables::tag(key));
        let before: Option<TagUseRow> = rows.get_message(partition.clone(), place.clone()).await?;
        let mut row = before.unwrap_or_default();
        row.uses.resize(SPANS, 0);
        let step = |count: u32| if more { count.saturating_add(1) } else { count.saturating_sub(1) };
        if let Some(uses) = row.uses.get_mut(self.span) {
            *uses = step(*uses);
        }
        if author {
            row.accounts = step(row.accounts);
        }
        if row.accounts == 0 {
            rows.delete(partition, place);
        } else {
            rows.put_message(partition, place, &row);
        }
        Ok(())
    }
}
