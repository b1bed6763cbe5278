//! How far one account has read its lists, shared by all its devices.
//!
//! ```text
//! unset ──SetMarkers──▶ set (version 1) ──SetMarkers──▶ set (version 2) …
//! ```

use p92_kernel::Millis;

/// Which list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum List {
    Home,
    Notifications,
}

/// How far it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marker {
    pub last_read: u64,
    pub version: u64,
    pub updated: Millis,
}

/// The markers of one account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Markers {
    pub home: Marker,
    pub notifications: Marker,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Set {
    pub account: u64,
    pub list: List,
    pub last_read: u64,
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("a list is named twice")]
    Twice,
}

impl Markers {
    /// One marker.
    #[must_use]
    pub const fn of(&self, list: List) -> Marker {
        match list {
            List::Home => self.home,
            List::Notifications => self.notifications,
        }
    }

    /// Sets markers, also backwards: the client knows what its user saw.
    pub fn set(&self, account: u64, changes: &[(List, u64)]) -> Result<Vec<Set>, Rejection> {
        let mut events: Vec<Set> = Vec::new();
        for (list, last_read) in changes {
            if events.iter().any(|event| event.list == *list) {
                return Err(Rejection::Twice);
            }
            events.push(Set { account, list: *list, last_read: *last_read });
        }
        Ok(events)
    }

    /// The state after an event.
    #[must_use]
    pub const fn evolve(mut self, event: &Set) -> Self {
        let marker = match event.list {
            List::Home => &mut self.home,
            List::Notifications => &mut self.notifications,
        };
        marker.last_read = event.last_read;
        marker.version += 1;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_rise_per_list() {
        let set = |state: Markers, changes: &[(List, u64)]| {
            state.set(1, changes).unwrap().iter().fold(state, Markers::evolve)
        };
        let state = set(Markers::default(), &[(List::Home, 5), (List::Notifications, 9)]);
        let state = set(state, &[(List::Home, 4)]);
        assert_eq!((state.home.last_read, state.home.version), (4, 2));
        assert_eq!((state.notifications.last_read, state.notifications.version), (9, 1));
        assert_eq!(state.set(1, &[(List::Home, 1), (List::Home, 2)]), Err(Rejection::Twice));
    }
}
