//! The embedded engine under the suite that every engine passes.

use p92_storage::{Embedded, EmbeddedConfig, Engine};
use std::sync::Arc;
use tempfile::TempDir;

async fn fresh() -> (Arc<dyn Engine>, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let engine = Embedded::open(EmbeddedConfig::at(dir.path())).unwrap();
    (engine, dir)
}

p92_storage::conformance_tests!(fresh);
