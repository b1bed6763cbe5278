//! Typed tables over the embedded engine and, later, CQL.
