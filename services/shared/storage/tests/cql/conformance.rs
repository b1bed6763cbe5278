//! The CQL engine under the suite that every engine passes.

use crate::scene::{self, Scene};
use p92_storage::Engine;
use std::sync::Arc;

async fn fresh() -> (Arc<dyn Engine>, Scene) {
    let scene = scene::emptied().await;
    let engine = scene.open().await;
    (engine, scene)
}

p92_storage::conformance_tests!(fresh);
