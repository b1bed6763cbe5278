//! Ids, time, randomness, error codes and pages: pure, without an asynchronous runtime.
