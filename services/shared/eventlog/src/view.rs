//! Views: what they are. Which of their two tables is read and written is in `pointers`.

use crate::{ProjectionError, Recorded, Rows};
use async_trait::async_trait;
use p92_kernel::Service;
use p92_storage::Table;
use std::sync::Arc;

/// One table as a function of one service's events: no clock, no randomness, no call, no other view.
///
/// A service's own views are computed by the owner before the append; others by a leased reader.
#[async_trait]
pub trait View: Send + Sync + std::fmt::Debug + 'static {
    /// The table, of class view.
    fn table(&self) -> &'static Table;

    /// Whose events it is a function of.
    fn source(&self) -> Service;

    /// Whether events of this type matter. Asked for every event, so cheap.
    fn wants(&self, event_type: &str) -> bool;

    /// Writes what the event changes. Each row has exactly one writing shard.
    async fn project(&self, event: &Recorded, rows: &mut Rows<'_>) -> Result<(), ProjectionError>;
}

/// Views by whose events they are a function of.
#[derive(Clone, Debug, Default)]
pub struct ViewSet(pub Arc<[Arc<dyn View>]>);

impl ViewSet {
    /// Those with this source.
    #[must_use]
    pub fn of_source(views: &[Arc<dyn View>], source: Service) -> Self {
        Self(views.iter().filter(|view| view.source() == source).cloned().collect())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
