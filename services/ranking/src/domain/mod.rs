//! Pure: what a tag's use over a week is worth.

pub mod trend;

#[cfg(test)]
mod trend_tests;
