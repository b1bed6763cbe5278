//! Shard logs: own, decide, append, read, project.
