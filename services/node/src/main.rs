//! The `p92` binary.
fn main() {}
