//! How many streams an account holds open. One place is freed when its guard is dropped.

use crate::error::Problem;
use http::StatusCode;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// Open streams by account.
#[derive(Clone, Debug, Default)]
pub struct Sockets(Arc<Mutex<HashMap<u64, usize>>>);

/// One open stream.
#[derive(Debug)]
pub struct Open {
    sockets: Sockets,
    account_id: u64,
}

impl Sockets {
    /// Takes a place, if one is free.
    pub fn take(&self, account_id: u64, most: usize) -> Result<Open, Problem> {
        let mut counts = self.0.lock();
        let count = counts.entry(account_id).or_default();
        if *count >= most {
            let words = "Too many streams are open";
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_STREAMS", words));
        }
        *count += 1;
        Ok(Open { sockets: self.clone(), account_id })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut counts = self.sockets.0.lock();
        if let Some(count) = counts.get_mut(&self.account_id) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.account_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back() {
        let sockets = Sockets::default();
        let first = sockets.take(1, 1).unwrap();
        assert!(sockets.take(1, 1).is_err() && sockets.take(2, 1).is_ok());
        drop(first);
        assert!(sockets.take(1, 1).is_ok());
    }
}
