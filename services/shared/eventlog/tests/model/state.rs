//! What the model is made of: the store, three processes, the clients, one reader, and what may still go wrong.
//!
//! It exists apart from the steps so that a state can be read on its own. It is small on purpose, since every state that can be
//! reached is looked at: names are enums, lists are arrays, and whatever was forgotten has one form only. It refuses to know the
//! code that it is a model of; the two are compared by people, rule by rule.

use std::hash::{Hash, Hasher};

/// Processes that can own the shard.
pub const PROCESSES: usize = 3;
/// Places in the log.
pub const SLOTS: usize = 5;
/// Places in one bucket of the log, so that a group can run over the border between the third and the fourth.
pub const BUCKET: Seq = 3;
/// Commands in all.
pub const COMMANDS: usize = 3;
/// Events in one group, and commands in one round.
pub const GROUP: usize = 2;

/// Place of an event in the log, from 1; 0 is before all.
pub type Seq = u8;
/// Index of a process.
pub type Member = u8;

/// The partition of the log in which a row with this first seq stands.
pub const fn bucket(first: Seq) -> Seq {
    (first - 1) / BUCKET
}

/// What clients ask for. Each is asked for once, under its own idempotency key; it may be repeated under that key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Command {
    /// Claims the name for the first claimant; rejected if it is taken.
    ClaimForA,
    /// Claims the name for the second one; rejected if it is taken.
    ClaimForB,
    /// Gives the name back, whoever has it; rejected if it is free.
    Release,
}

impl Command {
    pub const ALL: [Self; COMMANDS] = [Self::ClaimForA, Self::ClaimForB, Self::Release];

    /// Whether a state in which the name is with `claimant` rejects it.
    pub fn is_rejected_by(self, claimant: Option<Self>) -> bool {
        (self == Self::Release) == claimant.is_none()
    }

    /// Who has the name after its event.
    pub fn claimant_after(self) -> Option<Self> {
        (self != Self::Release).then_some(self)
    }
}

/// One event; a command that changes something makes exactly one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Event {
    #[default]
    Nothing,
    /// Closes the log behind whoever takes it over.
    Barrier,
    Of(Command),
}

/// A row of the log, or an append under way.
///
/// Who made it, where, and with what stand for the group id: nobody makes two groups for one slot, since an owner that does not
/// know the outcome repeats the same one, and one that lost the slot never comes back to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Group {
    pub writer: Member,
    pub first: Seq,
    pub events: [Event; GROUP],
}

impl Group {
    pub fn is_none(&self) -> bool {
        self.events[0] == Event::Nothing
    }

    pub fn len(&self) -> Seq {
        self.events.iter().filter(|event| **event != Event::Nothing).count() as Seq
    }

    pub fn last(&self) -> Seq {
        self.first + self.len() - 1
    }

    pub fn is_barrier(&self) -> bool {
        self.events[0] == Event::Barrier
    }

    /// Its commands with their places.
    pub fn commands(&self) -> impl Iterator<Item = (Seq, Command)> + use<> {
        let first = self.first;
        self.events.into_iter().enumerate().filter_map(move |(at, event)| match event {
            Event::Of(command) => Some((first + at as Seq, command)),
            Event::Nothing | Event::Barrier => None,
        })
    }
}

/// A row of a view with the position that wrote it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stamped<T> {
    pub value: T,
    pub at: Seq,
}

/// The store's rows beside the log: a stream's state, a counter, the keys, and how far they go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rows {
    pub claimant: Stamped<Option<Command>>,
    /// How often the name was claimed: a row that is computed from its own last value.
    pub claims: Stamped<u8>,
    /// Place of each command's event, 0 if it has none.
    pub keys: [Seq; COMMANDS],
    pub applied: Seq,
}

/// What an owner reads before it decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Loaded {
    pub claimant: Option<Command>,
    pub claims: u8,
    pub keys: [Seq; COMMANDS],
}

/// What a command came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Its event stands at this place.
    Done(Seq),
    /// Its event stood there already: the answer to a repeated key.
    Repeated(Seq),
    /// The state rejects it.
    Rejected,
    /// Something beside the state rejects it: a quota, a suspension, what another service says just now.
    Forbidden,
}

/// An answer that waits for its moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Answer {
    pub command: Command,
    pub attempt: u8,
    pub verdict: Verdict,
}

pub type Answers = [Option<Answer>; GROUP];

/// What a group writes into the counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Counted {
    /// Not computed yet: a group that a new owner read from the log.
    #[default]
    NotYet,
    /// The row stays.
    Nothing,
    Is(u8),
}

/// A group that stands in the log and whose rows the store has not acknowledged, or only answers that wait their turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Unwritten {
    pub group: Group,
    pub counted: Counted,
    /// Rows are in the store, `applied` is not moved yet.
    pub written: bool,
    pub answers: Answers,
}

/// Groups under way to the store's rows, the oldest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    items: [Unwritten; SLOTS],
    len: u8,
}

impl Hash for Queue {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.iter().for_each(|item| item.hash(state));
        self.len.hash(state);
    }
}

impl Queue {
    pub fn iter(&self) -> impl Iterator<Item = &Unwritten> {
        self.items.iter().take(self.len.into())
    }

    pub const fn len(&self) -> usize {
        self.len as usize
    }

    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn front(&self) -> Option<&Unwritten> {
        self.iter().next()
    }

    pub fn front_mut(&mut self) -> Option<&mut Unwritten> {
        (self.len > 0).then_some(&mut self.items[0])
    }

    pub fn push(&mut self, item: Unwritten) {
        self.items[usize::from(self.len)] = item;
        self.len += 1;
    }

    pub fn pop(&mut self) -> Unwritten {
        let front = std::mem::take(&mut self.items[0]);
        self.items.rotate_left(1);
        self.len -= 1;
        front
    }
}

/// What a process is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Has not held the shard yet.
    #[default]
    New,
    /// Held it, and gave up.
    Idle,
    /// Gone, with its memory. Only what it sent may still arrive.
    Crashed,
    /// Holds the ownership row and reads the log from `applied` on.
    Reading,
    /// The same, after another row stood where the barrier should.
    ReadingOn,
    /// Appends the barrier.
    Closing,
    /// Writes the rows that were missing.
    Filling,
    /// Decides, or appends what was decided.
    Owning,
    /// Decided a round that changes nothing, and has to look whether it still owns the log.
    Looking,
    /// Lost a slot: writes the rows of what stands in the log, then begins anew or gives up.
    Lost,
}

/// A process, as far as this shard goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Process {
    pub phase: Phase,
    /// Last place that it knows to be taken.
    pub head: Seq,
    /// The folded state that it keeps from one round to the next.
    pub cached: Option<Command>,
    /// The append whose outcome it does not know.
    pub trying: Group,
    /// What `trying` will write into the counter.
    pub counted: Counted,
    /// Answers of the round that is under way.
    pub round: Answers,
    pub queue: Queue,
}

/// How far a command has come, as its client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    /// Not sent, or turned away: this attempt can be sent.
    Ready { attempt: u8 },
    /// Sent; `since` is the newest place that any answer had shown by then.
    Sent { attempt: u8, since: Seq },
    /// Answered: the event stands there.
    Succeeded(Seq),
    /// Answered: rejected or forbidden, for certain.
    Refused,
}

/// The append that a crashed process left in the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Late {
    NotYet,
    UnderWay(Group),
    /// It found its slot free.
    Landed,
    /// It found its slot taken.
    Refused,
}

/// How much may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Left {
    pub crashes: u8,
    /// Pauses that last until another takes over.
    pub pauses: u8,
    /// Commands that a client sends once more.
    pub repeats: u8,
    /// Commands that something beside the state rejects.
    pub forbidden: u8,
}

/// A reader that keeps what it reads in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reader {
    pub at: Seq,
    pub claimant: Option<Command>,
    pub claims: u8,
}

/// Everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// Rows of the log by their first seq. Filled only by insert-if-absent.
    pub log: [Group; SLOTS],
    pub rows: Rows,
    /// Whom the ownership row names.
    pub holder: Member,
    pub processes: [Process; PROCESSES],
    pub clients: [Client; COMMANDS],
    /// The newest place that any answer has shown.
    pub shown: Seq,
    pub late: Late,
    pub left: Left,
    pub reader: Reader,
    /// A rejection was answered that no state since its request justifies.
    pub untrue: bool,
}

impl State {
    pub fn process(&mut self, member: Member) -> &mut Process {
        &mut self.processes[usize::from(member)]
    }

    /// The row at exactly this slot; an empty one if there is none, or the slot is past the end of the model.
    pub fn slot(&self, first: Seq) -> Group {
        self.log.get(usize::from(first - 1)).copied().unwrap_or_default()
    }

    /// Insert if absent: whether the slot was free.
    pub fn insert(&mut self, group: Group) -> bool {
        let slot = &mut self.log[usize::from(group.first - 1)];
        let free = slot.is_none();
        if free {
            *slot = group;
            // What has still to come for this slot comes to nothing, whenever it does.
            if matches!(self.late, Late::UnderWay(late) if late.first == group.first) {
                self.late = Late::Refused;
            }
        }
        free
    }
}
