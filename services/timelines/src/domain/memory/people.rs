//! Small numbers for accounts, so that an edge takes three or four bytes instead of eight, and which accounts are hidden.

use std::collections::{HashMap, HashSet};

/// An account by its number in this process. Numbers are never given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Person(pub u32);

/// Accounts and their numbers.
#[derive(Debug, Default)]
pub struct People {
    numbers: HashMap<u64, Person, ahash::RandomState>,
    accounts: Vec<u64>,
    /// By server, 0 for all of them. Few accounts are ever hidden.
    hidden: HashSet<(u64, Person), ahash::RandomState>,
}

impl People {
    /// The number of an account, if it has one.
    #[must_use]
    pub fn find(&self, account: u64) -> Option<Person> {
        self.numbers.get(&account).copied()
    }

    /// The number of an account, a new one if needed.
    pub fn number(&mut self, account: u64) -> Person {
        if let Some(found) = self.find(account) {
            return found;
        }
        // Four billion accounts in one process end the memory of the machine first.
        let person = Person(u32::try_from(self.accounts.len()).unwrap_or(u32::MAX));
        self.accounts.push(account);
        self.numbers.insert(account, person);
        person
    }

    /// The account with that number; 0 if there is none.
    #[must_use]
    pub fn account(&self, person: Person) -> u64 {
        self.accounts.get(person.0 as usize).copied().unwrap_or_default()
    }

    /// Whether nothing of the account may be shown to members of a server: it is suspended there, everywhere, or gone.
    #[must_use]
    pub fn is_hidden(&self, person: Person, server: u64) -> bool {
        !self.hidden.is_empty()
            && (self.hidden.contains(&(0, person)) || self.hidden.contains(&(server, person)))
    }

    /// Hides or shows an account, to members of one server or, with 0, to everybody.
    pub fn set_hidden(&mut self, person: Person, scope: u64, hidden: bool) {
        if hidden {
            self.hidden.insert((scope, person));
        } else {
            self.hidden.remove(&(scope, person));
        }
    }

    /// How many accounts have numbers.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.accounts.len()
    }

    /// Whether none has.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }
}
