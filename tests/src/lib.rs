//! The outside view: architecture, whole node, faults, load.
