//! The contract: every message that services and clients may know of each other.
