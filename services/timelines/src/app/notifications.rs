//! Notifications: two views joined on reading, minus what was set aside, judged at that moment.

use super::App;
use crate::domain::notification::SetAside;
use crate::domain::window::Window;
use crate::error;
use crate::tables;
use futures::FutureExt as _;
use p92_eventlog::{CommandMeta, Receipt, Stream};
use p92_kernel::{AccountId, Failure};
use p92_proto::event::v1::ReadOptions;
use p92_proto::timelines::v1::{MarkedTimeline, Marker, Notification, NotificationType, SetAsideRow};
use p92_storage::{Direction, KeyReader, Range, Table};
use prost::Message as _;
use std::collections::HashSet;

/// Which notifications are wanted.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub types: Vec<i32>,
    pub exclude_types: Vec<i32>,
    pub account: u64,
}

impl Filter {
    fn wants(&self, notification: &Notification) -> bool {
        (self.types.is_empty() || self.types.contains(&notification.r#type))
            && !self.exclude_types.contains(&notification.r#type)
            && (self.account == 0 || self.account == notification.account_id)
    }
}

const AT_ONCE: usize = 100;
/// Rows looked at for one page; beyond, the page is what was found.
const LOOKED_AT: usize = 5_000;

impl App {
    /// A page of the viewer's notifications, newest first.
    pub async fn list_notifications(
        &self,
        options: &ReadOptions,
        window: Window,
        filter: &Filter,
    ) -> Result<Vec<Notification>, Failure> {
        if options.viewer_id == 0 {
            return Err(error::no_viewer());
        }
        let options = self.at_holder(options)?;
        self.runtime.reads().at_least(&options.at_least).await?;
        let mut left = Window { limit: AT_ONCE, ..window };
        let (mut page, mut looked_at) = (Vec::new(), 0);
        while page.len() < window.limit && looked_at < LOOKED_AT {
            let mut found = self.notification_rows(options.viewer_id, &left).await?;
            let exhausted = found.len() < left.limit;
            looked_at += found.len();
            if window.nearest {
                found.reverse();
            }
            if let Some(last) = found.last() {
                if window.nearest { left.above = last.id } else { left.below = last.id }
            }
            found.retain(|notification| filter.wants(notification));
            page.extend(self.shown(&options, found).await?);
            if exhausted {
                break;
            }
        }
        page.truncate(window.limit);
        if window.nearest {
            page.reverse();
        }
        Ok(page)
    }

    /// One of the viewer's notifications.
    pub async fn get_notification(&self, options: &ReadOptions, id: u64) -> Result<Notification, Failure> {
        let window =
            Window { below: id.saturating_add(1), above: id.saturating_sub(1), nearest: false, limit: 1 };
        let found = self.list_notifications(options, window, &Filter::default()).await?;
        found.into_iter().next().ok_or_else(|| Failure::not_found("notification"))
    }

    /// How many notifications stand above the viewer's marker.
    pub async fn count_unread(
        &self,
        options: &ReadOptions,
        filter: &Filter,
        limit: usize,
    ) -> Result<usize, Failure> {
        let options = self.at_holder(options)?;
        let markers = self.markers(&options).await?;
        let is_it = |marker: &&Marker| marker.timeline == i32::from(MarkedTimeline::Notifications);
        let above = markers.iter().find(is_it).map_or(0, |marker| marker.last_read_id);
        let window = Window { above, ..Window::newest(limit) };
        Ok(self.list_notifications(&options, window, filter).await?.len())
    }

    /// Rows of both views within a window, newest first.
    async fn notification_rows(&self, viewer: u64, window: &Window) -> Result<Vec<Notification>, Failure> {
        let (posts, follows) = tokio::join!(
            self.rows_of(&tables::NOTES_OF_POSTS, viewer, window),
            self.rows_of(&tables::NOTES_OF_FOLLOWS, viewer, window)
        );
        let all = posts?.into_iter().chain(follows?).collect();
        Ok(window.cut(all, |notification: &Notification| notification.id))
    }

    async fn rows_of(
        &self,
        table: &'static Table,
        viewer: u64,
        window: &Window,
    ) -> Result<Vec<Notification>, Failure> {
        let range = Range {
            from: Some(tables::at_id(window.above.saturating_add(1))),
            to: (window.below != u64::MAX).then(|| tables::at_id(window.below)),
        };
        let direction = if window.nearest { Direction::Forward } else { Direction::Backward };
        let reads = self.runtime.reads();
        let page = reads.scan(table, tables::recipient(viewer), range, direction, window.limit, None).await?;
        let rows = page.rows.into_iter();
        rows.map(|(_, row)| Notification::decode(row.value).map_err(Failure::internal)).collect()
    }

    /// Those that may be shown now: not set aside, and of nobody whom a block, a mute or a moderator hides.
    async fn shown(
        &self,
        options: &ReadOptions,
        mut found: Vec<Notification>,
    ) -> Result<Vec<Notification>, Failure> {
        let (Some(one), Some(other)) = (found.first(), found.last()) else { return Ok(found) };
        let (low, high) = (one.id.min(other.id), one.id.max(other.id));
        let (up_to, dismissed) = self.set_aside(options.viewer_id, low, high).await?;
        found.retain(|notification| notification.id > up_to && !dismissed.contains(&notification.id));
        let question = Self::question(options);
        let causers = found.iter().map(|notification| notification.account_id);
        let standings = self.clients.standings(&question, causers).await?;
        found.retain(|notification| {
            let standing = standings.get(&notification.account_id);
            // Somebody limited is heard only by those who follow him, but may ask to follow.
            standing.is_some_and(|standing| {
                let asks = notification.r#type == i32::from(NotificationType::FollowRequest);
                standing.notifies && (!standing.limited || standing.followed || asks)
            })
        });
        Ok(found)
    }

    /// Up to where all are gone, and which single ones between two ids.
    async fn set_aside(&self, viewer: u64, low: u64, high: u64) -> Result<(u64, HashSet<u64>), Failure> {
        let reads = self.runtime.reads();
        let partition = tables::of_account(viewer);
        let cleared: Option<SetAsideRow> =
            reads.get_message(&tables::SET_ASIDE, partition.clone(), tables::at_id(0)).await?;
        let range = Range { from: Some(tables::at_id(low)), to: Some(tables::at_id(high.saturating_add(1))) };
        let page = reads.scan(&tables::SET_ASIDE, partition, range, Direction::Forward, 1_000, None).await?;
        let ids = page.rows.iter().map(|(place, _)| KeyReader::new(place).num().map_err(Failure::internal));
        Ok((cleared.map_or(0, |row| row.up_to_id), ids.collect::<Result<_, _>>()?))
    }

    /// Throws one notification away.
    pub async fn dismiss(
        &self,
        meta: CommandMeta,
        account: AccountId,
        notification: u64,
    ) -> Result<Receipt, Failure> {
        let stream = Stream::new("notifications", account);
        let id = account.get();
        self.runtime
            .execute(account.shard(), meta, move |round| {
                let stream = stream.clone();
                async move {
                    let state = round.load::<SetAside>(&stream).await?.state;
                    let row = round
                        .row(&tables::SET_ASIDE, tables::of_account(id), tables::at_id(notification))
                        .await?;
                    let events = if row.is_some() { Vec::new() } else { state.dismiss(id, notification) };
                    round.emit::<SetAside>(&stream, &events).await
                }
                .boxed()
            })
            .await
    }

    /// Throws all notifications away that there are.
    pub async fn clear(&self, meta: CommandMeta, account: AccountId) -> Result<Receipt, Failure> {
        let id = account.get();
        let newest = self.notification_rows(id, &Window::newest(1)).await?;
        let newest = newest.first().map_or(0, |notification| notification.id);
        let stream = Stream::new("notifications", account);
        self.runtime
            .execute(account.shard(), meta, move |round| {
                let stream = stream.clone();
                async move {
                    let state = round.load::<SetAside>(&stream).await?.state;
                    round.emit::<SetAside>(&stream, &state.clear(id, newest)).await
                }
                .boxed()
            })
            .await
    }
}
