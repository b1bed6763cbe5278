//! A user's relations as his part knows them, for the rules of homes.

use super::{Local, Moment, Partition, Restriction, pair};
use crate::domain::entry::Language;
use crate::domain::home::{Follow, Sight};
use crate::domain::memory::members::Members;
use crate::domain::memory::people::{People, Person};

impl Partition {
    /// A user's relations at a moment.
    #[must_use]
    pub fn sight<'a>(&'a self, local: Local, people: &'a People, at: Moment) -> LocalSight<'a> {
        LocalSight {
            part: self,
            people,
            local,
            me: self.person(local),
            following: self.following.get(local.0 as usize),
            restrictions: self.restrictions.get(&local.0).map_or(&[][..], Vec::as_slice),
            at,
        }
    }
}

/// A user's relations, looked up in his part.
#[derive(Clone, Copy, Debug)]
pub struct LocalSight<'a> {
    part: &'a Partition,
    people: &'a People,
    local: Local,
    me: Person,
    following: Option<&'a Members>,
    restrictions: &'a [(Person, Restriction)],
    at: Moment,
}

impl LocalSight<'_> {
    fn restriction(&self, person: Person) -> Restriction {
        if self.restrictions.is_empty() {
            return Restriction::default();
        }
        let found = self.restrictions.binary_search_by_key(&person, |(other, _)| *other);
        found.ok().and_then(|place| self.restrictions.get(place)).map(|(_, found)| *found).unwrap_or_default()
    }
}

impl Sight for LocalSight<'_> {
    type Account = Person;

    fn viewer(&self) -> Person {
        self.me
    }

    fn follow(&self, person: Person) -> Option<Follow> {
        let follows = self.following.is_some_and(|following| following.contains(person.0));
        follows.then(|| Follow {
            boosts: self.part.quiet.is_empty() || !self.part.quiet.contains(&pair(self.local, person)),
        })
    }

    fn wants_language(&self, person: Person, language: Language) -> bool {
        let languages = &self.part.languages;
        languages.is_empty()
            || languages.get(&pair(self.local, person)).is_none_or(|wanted| wanted.contains(&language))
    }

    fn bars(&self, person: Person) -> bool {
        let restriction = self.restriction(person);
        restriction.blocks
            || restriction.blocked
            || restriction.muted_until > self.at.now
            || self.people.is_hidden(person, self.at.server)
    }

    fn avoids(&self, person: Person) -> bool {
        let restriction = self.restriction(person);
        restriction.blocks || restriction.muted_until > self.at.now
    }
}
