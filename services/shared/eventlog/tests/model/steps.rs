//! The model itself: which steps a state allows, and what each does. The steps of an owner are in `owner`.
//!
//! It exists so that the whole of the mechanism's concurrency stands on one page. A step is what one process does between two
//! moments at which another could be seen: one request to the store, or one decision. It refuses to know time: whatever may take
//! longer than expected may do so at any moment.
//!
//! Four things keep the space small without leaving a behaviour out:
//! - A pause is a stretch in which nothing of a process is scheduled. Any process may have one at any moment anyway; what a long
//!   one adds is that another takes the ownership row, and only that is a step and bounded. What was paused goes on, unaware.
//! - An append that lands late while its sender lives, paused or not, is `AppendUnseen` at that moment. Only a sender that
//!   crashed leaves one behind in the network. One whose slot is taken meanwhile comes to nothing whenever it arrives.
//! - A crash of anybody but the holder is the same as never being scheduled again.
//! - Processes that never held the shard are alike, and so are the two claims: they come in turn.

use crate::owner;
use crate::state::{
    Client, Command, Group, Late, Left, Member, PROCESSES, Phase, Process, Reader, Rows, SLOTS, Seq, State,
};
use stateright::{Model, Property};

/// A rule of the mechanism that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A row of somebody else in the slot counts as the own one.
    NoCollisionCheck,
    /// Whoever takes over reads the log and begins.
    NoBarrier,
    /// After a lost slot the next one is tried on the old state.
    NoTakeOverAfterLoss,
    /// The state is loaded from the store's rows alone.
    NoOverlay,
    /// A rejection is answered when it is decided.
    EarlyRejection,
    /// A round that changes nothing is answered without looking at the next slot.
    NoLook,
    /// An append without an answer counts as one without effect.
    UnknownIsFailure,
    /// Answers go out when the group stands, before its rows do.
    AnswersBeforeRows,
    /// A round that changes nothing is answered at once, before the rows that it was decided on are written.
    AnswersOvertake,
    /// `applied` is moved before the rows are written.
    AppliedBeforeRows,
    /// Rows are written without regard to what position wrote them last.
    OlderRowsOverwrite,
    /// A new owner counts events that are in the counter already.
    CountsTwice,
    /// Commands of a lost slot are decided again, whether anybody still waits for them or not.
    DecidesForNobody,
    /// A reader applies whatever group the bus brings.
    ReaderSkipsGaps,
}

/// How much may happen, and which rule is left out.
#[derive(Clone, Copy, Debug)]
pub struct Mechanism {
    pub mutant: Option<Mutant>,
    pub left: Left,
    /// What is asked of every state.
    pub properties: fn() -> Vec<Property<Self>>,
    /// Groups whose rows may be under way while the next round is decided.
    pub under_way: usize,
}

/// What can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Takes the ownership row of a crashed holder, or of one that was paused for too long, and reads `applied`.
    TakeOver(Member),
    /// Reads one bucket of the log.
    ReadLog(Member),
    /// Sends the append and gets the answer.
    Append(Member),
    /// The append has its effect, and the sender does not learn of it.
    AppendUnseen(Member),
    /// The append that a crashed process left in the network finds its slot free.
    Land,
    /// Computes the rows of a group that was read from the log.
    Project(Member),
    /// Writes the rows of the oldest group.
    WriteRows(Member),
    /// Moves `applied`, publishes, and answers. The reader hears of it, or does not.
    WriteApplied(Member, bool),
    /// After a lost slot: begins anew if the ownership row still says so, or gives up.
    CheckOwnership(Member),
    /// Decides a round.
    Decide(Member, Round),
    /// Looks at the slot behind the head.
    Look(Member),
    /// Stops for ever. What it tried to append stays in the network, or does not.
    Crash(Member, bool),
    /// The bus brings the next group late. What it brings is the row of the log, by `PUBLISHED`.
    Hear,
    /// The reader reads the log up to `applied`.
    CatchUp,
}

/// A command in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    pub command: Command,
    /// Something beside the state rejects it now.
    pub forbidden: bool,
}

/// What a round takes, and what it decides on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    pub first: Asked,
    pub second: Option<Asked>,
    /// The folded state that was kept, instead of loading it again.
    pub cached: bool,
}

impl Mechanism {
    /// The bounds that the sound mechanism is exhausted within.
    pub const fn new(mutant: Option<Mutant>) -> Self {
        let left = Left { crashes: 1, pauses: 1, repeats: 1, forbidden: 1 };
        Self { mutant, left, properties: crate::properties::kept, under_way: 2 }
    }

    pub fn lacks(&self, rule: Mutant) -> bool {
        self.mutant == Some(rule)
    }

    fn steps_of(&self, state: &State, member: Member, steps: &mut Vec<Step>) {
        let process = &state.processes[usize::from(member)];
        match process.phase {
            Phase::Crashed => return,
            Phase::New | Phase::Idle => {
                if may_take_over(state, member) {
                    steps.push(Step::TakeOver(member));
                }
                return;
            }
            Phase::Reading | Phase::ReadingOn => steps.push(Step::ReadLog(member)),
            Phase::Closing | Phase::Owning if !process.trying.is_none() => {
                append_steps(state, process, member, steps)
            }
            Phase::Owning if process.queue.len() < self.under_way => owner::rounds(state, member, steps),
            Phase::Looking => steps.push(Step::Look(member)),
            Phase::Lost if process.queue.is_empty() => steps.push(Step::CheckOwnership(member)),
            Phase::Closing | Phase::Filling | Phase::Owning | Phase::Lost => {}
        }
        if process.phase != Phase::Reading
            && process.phase != Phase::ReadingOn
            && process.phase != Phase::Closing
        {
            owner::row_steps(state, process, member, steps);
        }
        if state.left.crashes > 0 && state.holder == member {
            steps.push(Step::Crash(member, false));
            if !process.trying.is_none() && state.slot(process.trying.first).is_none() {
                steps.push(Step::Crash(member, true));
            }
        }
    }
}

fn append_steps(state: &State, process: &Process, member: Member, steps: &mut Vec<Step>) {
    // An attempt without effect and without answer changes nothing: the same is sent again.
    steps.push(Step::Append(member));
    if state.slot(process.trying.first).is_none() {
        steps.push(Step::AppendUnseen(member));
    }
}

/// The rule of beats: the ownership row is taken from a holder that crashed, or that was paused for too long.
fn may_take_over(state: &State, member: Member) -> bool {
    let holder = &state.processes[usize::from(state.holder)];
    let silent = holder.phase == Phase::Crashed || state.left.pauses > 0;
    let in_turn = state.processes[..usize::from(member)].iter().all(|before| before.phase != Phase::New);
    state.holder != member && silent && (in_turn || state.processes[usize::from(member)].phase == Phase::Idle)
}

impl Model for Mechanism {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let mut processes = [Process::default(); PROCESSES];
        processes[0].phase = Phase::Owning;
        vec![State {
            log: [Group::default(); SLOTS],
            rows: Rows::default(),
            holder: 0,
            processes,
            clients: [Client::Ready { attempt: 1 }; _],
            shown: 0,
            late: Late::NotYet,
            left: self.left,
            reader: Reader::default(),
            untrue: false,
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        for member in 0..PROCESSES as Member {
            self.steps_of(state, member, steps);
        }
        if matches!(state.late, Late::UnderWay(_)) {
            steps.push(Step::Land);
        }
        if state.reader.at < state.rows.applied {
            steps.push(Step::CatchUp);
            // Past a gap the bus leads to the same as silence; the last group, to the same as the whole log.
            let next = state.slot(state.reader.at + 1);
            if !next.is_none() && next.last() < state.rows.applied {
                steps.push(Step::Hear);
            }
        }
    }

    fn next_state(&self, before: &State, step: Step) -> Option<State> {
        let mut state = *before;
        match step {
            Step::TakeOver(member) => take_over(&mut state, member),
            Step::Crash(member, late) => {
                state.left.crashes -= 1;
                if late {
                    state.late = Late::UnderWay(state.process(member).trying);
                }
                *state.process(member) = Process { phase: Phase::Crashed, ..Process::default() };
            }
            Step::Land => {
                if let Late::UnderWay(group) = state.late {
                    state.insert(group);
                    state.late = Late::Landed;
                }
            }
            Step::Hear => apply(&mut state.reader, before.slot(before.reader.at + 1)),
            Step::CatchUp => catch_up(&mut state),
            step => return self.owner_step(before, step),
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        (self.properties)()
    }
}

fn take_over(state: &mut State, member: Member) {
    let holder = state.processes[usize::from(state.holder)].phase;
    if holder != Phase::Crashed {
        state.left.pauses -= 1;
    }
    state.holder = member;
    owner::begin(state, member);
}

/// What readers do with a group: the next one is applied.
fn apply(reader: &mut Reader, group: Group) {
    for (_, command) in group.commands() {
        reader.claimant = command.claimant_after();
        reader.claims += u8::from(reader.claimant.is_some());
    }
    reader.at = group.last();
}

fn catch_up(state: &mut State) {
    loop {
        let next = state.slot(state.reader.at + 1);
        if next.is_none() || next.last() > state.rows.applied {
            return;
        }
        apply(&mut state.reader, next);
    }
}

impl Mechanism {
    pub fn hear(&self, state: &mut State, hint: Group) {
        if hint.first == state.reader.at + 1 || self.lacks(Mutant::ReaderSkipsGaps) {
            apply(&mut state.reader, hint);
        } else {
            catch_up(state);
        }
    }
}

/// Empties what a process keeps of the shard, but for the groups whose rows it still has to write, and for whom it has to answer.
pub fn forget(process: &mut Process, phase: Phase) {
    let Process { queue, round, .. } = *process;
    *process = Process { phase, queue, round, ..Process::default() };
}

/// The last place of the log that is reached from its beginning without a gap.
pub fn log_end(state: &State) -> Seq {
    let mut end = 0;
    while usize::from(end) < SLOTS && !state.slot(end + 1).is_none() {
        end = state.slot(end + 1).last();
    }
    end
}
