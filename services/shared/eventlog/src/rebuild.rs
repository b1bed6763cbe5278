//! Rebuilds a view.
