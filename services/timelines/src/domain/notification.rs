//! What one account sets aside of its notifications. The notifications themselves are views of other logs.
//!
//! ```text
//! nothing ──ClearNotifications──▶ all up to an id gone ──ClearNotifications──▶ all up to a larger id gone
//!    └────DismissNotification──▶ one more gone, in any state
//! ```

/// What has to be remembered to decide: up to where everything is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetAside {
    pub up_to: u64,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Cleared { account: u64, up_to: u64 },
    Dismissed { account: u64, notification: u64 },
}

impl SetAside {
    /// Throws away everything up to the newest notification that there is; nothing if that is done already.
    #[must_use]
    pub fn clear(&self, account: u64, newest: u64) -> Vec<Event> {
        if newest <= self.up_to { Vec::new() } else { vec![Event::Cleared { account, up_to: newest }] }
    }

    /// Throws one away; nothing if it is gone with others already.
    #[must_use]
    pub fn dismiss(&self, account: u64, notification: u64) -> Vec<Event> {
        if notification <= self.up_to { Vec::new() } else { vec![Event::Dismissed { account, notification }] }
    }

    /// The state after an event.
    #[must_use]
    pub fn evolve(self, event: &Event) -> Self {
        match event {
            Event::Cleared { up_to, .. } => Self { up_to: self.up_to.max(*up_to) },
            Event::Dismissed { .. } => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clearing_twice_changes_nothing() {
        let events = SetAside::default().clear(1, 50);
        assert_eq!(events, [Event::Cleared { account: 1, up_to: 50 }]);
        let state = events.iter().fold(SetAside::default(), SetAside::evolve);
        assert!(state.clear(1, 50).is_empty() && state.dismiss(1, 50).is_empty());
        assert_eq!(state.dismiss(1, 51), [Event::Dismissed { account: 1, notification: 51 }]);
    }
}
