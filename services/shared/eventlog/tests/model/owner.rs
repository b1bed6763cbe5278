//! What an owner does with its shard: take over, decide, append, write rows, answer; and what it does after a lost slot.
//!
//! It exists as the model's account of the one mechanism of a shard's log, one function for each step. It refuses to know who
//! else is there: everything that it learns, it reads from the store.

use crate::state::{
    Answer, Answers, Client, Command, Counted, Event, Group, Loaded, Member, Phase, Process, SLOTS, Seq,
    Stamped, State, Unwritten, Verdict, bucket,
};
use crate::steps::{Asked, Mechanism, Mutant, Round, Step, forget, log_end};

/// Begins to take over: nothing is kept, and `applied` is read before the log.
pub fn begin(state: &mut State, member: Member) {
    let head = state.rows.applied;
    forget(state.process(member), Phase::Reading);
    state.process(member).head = head;
}

/// The next step of the oldest group under way, if there is one.
pub fn row_steps(state: &State, process: &Process, member: Member, steps: &mut Vec<Step>) {
    let Some(front) = process.queue.front() else { return };
    let has_rows = front.group.commands().next().is_some();
    if has_rows && front.counted == Counted::NotYet {
        steps.push(Step::Project(member));
    } else if has_rows && !front.written {
        steps.push(Step::WriteRows(member));
    } else {
        steps.push(Step::WriteApplied(member, false));
        if front.group.first > state.reader.at {
            steps.push(Step::WriteApplied(member, true));
        }
    }
}

/// Every round that this owner could decide now.
pub fn rounds(state: &State, member: Member, steps: &mut Vec<Step>) {
    let process = &state.processes[usize::from(member)];
    // Only an owner that keeps what nobody waits for has some left here.
    if let [Some(kept), _] = process.round {
        let first = Asked { command: kept.command, forbidden: false };
        steps.push(Step::Decide(member, Round { first, second: None, cached: false }));
        return;
    }
    let differs = process.cached != load(state, process, true).claimant;
    let asked = |left: u8, before: Option<Command>| {
        let sendable = Command::ALL.into_iter().filter(move |command| may_be_sent(state, *command, before));
        sendable.flat_map(move |command| {
            let forbidden = [false, true].into_iter().take(1 + usize::from(left > 0));
            forbidden.map(move |forbidden| Asked { command, forbidden })
        })
    };
    for first in asked(state.left.forbidden, None) {
        let left = state.left.forbidden - u8::from(first.forbidden);
        let others =
            asked(left, Some(first.command)).filter(|second| second.command != first.command).map(Some);
        for second in std::iter::once(None).chain(others) {
            for cached in [false, true].into_iter().take(1 + usize::from(differs)) {
                steps.push(Step::Decide(member, Round { first, second, cached }));
            }
        }
    }
}

/// A client sends what it has not sent, and repeats what was not answered; it may do so at any moment.
///
/// Both claims are alike, so the second is not the first to be sent.
fn may_be_sent(state: &State, command: Command, before: Option<Command>) -> bool {
    match state.clients[command as usize] {
        Client::Ready { attempt: 1 } if command == Command::ClaimForB => {
            before == Some(Command::ClaimForA)
                || state.clients[Command::ClaimForA as usize] != Client::Ready { attempt: 1 }
        }
        Client::Ready { .. } => true,
        Client::Sent { attempt, .. } => attempt == 1 && state.left.repeats > 0,
        Client::Succeeded(_) | Client::Refused => false,
    }
}

/// The store's rows, with those of groups under way laid over them.
fn load(state: &State, process: &Process, overlay: bool) -> Loaded {
    let rows = &state.rows;
    let mut loaded = Loaded { claimant: rows.claimant.value, claims: rows.claims.value, keys: rows.keys };
    for unwritten in process.queue.iter().filter(|_| overlay) {
        for (seq, command) in unwritten.group.commands() {
            loaded.claimant = command.claimant_after();
            loaded.keys[command as usize] = seq;
        }
        if let Counted::Is(claims) = unwritten.counted {
            loaded.claims = claims;
        }
    }
    loaded
}

impl Mechanism {
    /// A step of a process that holds, or held, the shard. `None` if it changes nothing.
    pub fn owner_step(&self, before: &State, step: Step) -> Option<State> {
        let mut state = *before;
        match step {
            Step::ReadLog(member) => self.read_log(&mut state, member),
            Step::Append(member) => self.append(&mut state, member),
            Step::AppendUnseen(member) => {
                let group = state.process(member).trying;
                state.insert(group);
                self.unknown(&mut state, member);
            }
            Step::Project(member) => self.project(&mut state, member),
            Step::WriteRows(member) => self.write_rows(&mut state, member),
            Step::WriteApplied(member, heard) => self.write_applied(&mut state, member, heard),
            Step::CheckOwnership(member) if state.holder == member => begin(&mut state, member),
            Step::CheckOwnership(member) => {
                turn_away(&mut state, member);
                forget(state.process(member), Phase::Idle);
            }
            Step::Decide(member, round) => return self.decide(state, member, round),
            Step::Look(member) => self.look(&mut state, member),
            _ => return None,
        }
        (state != *before).then_some(state)
    }

    /// Reads one partition, and goes on to the next if this one is full. At the log's end comes the barrier.
    fn read_log(&self, state: &mut State, member: Member) {
        let mut process = state.processes[usize::from(member)];
        let read = bucket(process.head + 1);
        while bucket(process.head + 1) == read {
            let group = state.slot(process.head + 1);
            if group.is_none() {
                break;
            }
            let claims = group.commands().any(|(_, command)| command.claimant_after().is_some());
            let counted = if claims { Counted::NotYet } else { Counted::Nothing };
            process.queue.push(Unwritten { group, counted, ..Unwritten::default() });
            process.head = group.last();
        }
        let whole = bucket(process.head + 1) == read;
        if whole && self.lacks(Mutant::NoBarrier) {
            process.phase = Phase::Filling;
        } else if whole && usize::from(process.head) < SLOTS {
            let events = [Event::Barrier, Event::Nothing];
            process.trying = Group { writer: member, first: process.head + 1, events };
            process.counted = Counted::Nothing;
            process.phase = Phase::Closing;
        }
        *state.process(member) = process;
        accept_if_filled(state, member);
    }

    /// One attempt with a certain outcome: insert if absent, and if a row stands there, compare.
    fn append(&self, state: &mut State, member: Member) {
        let group = state.process(member).trying;
        let stands = state.slot(group.first);
        if state.insert(group) || stands == group || self.lacks(Mutant::NoCollisionCheck) {
            self.appended(state, member);
        } else {
            self.lost(state, member, stands);
        }
    }

    fn appended(&self, state: &mut State, member: Member) {
        let process = state.process(member);
        let group = std::mem::take(&mut process.trying);
        let counted = std::mem::take(&mut process.counted);
        let mut answers = Answers::default();
        process.head = group.last();
        if process.phase == Phase::Closing {
            process.phase = Phase::Filling;
        } else {
            answers = std::mem::take(&mut process.round);
        }
        if self.lacks(Mutant::AnswersBeforeRows) {
            answer_all(state, std::mem::take(&mut answers));
        }
        state.process(member).queue.push(Unwritten { group, counted, written: false, answers });
    }

    fn lost(&self, state: &mut State, member: Member, stands: Group) {
        if !self.lacks(Mutant::DecidesForNobody) {
            turn_away(state, member);
        }
        let process = state.process(member);
        process.trying = Group::default();
        process.counted = Counted::NotYet;
        if process.phase == Phase::Closing {
            process.phase = Phase::ReadingOn;
        } else if self.lacks(Mutant::NoTakeOverAfterLoss) {
            process.phase = Phase::Owning;
            process.head = stands.last();
        } else {
            forget(process, Phase::Lost);
        }
    }

    /// The outcome of an append is not known: the same is repeated, and until then nothing else is appended.
    fn unknown(&self, state: &mut State, member: Member) {
        if !self.lacks(Mutant::UnknownIsFailure) || state.process(member).phase != Phase::Owning {
            return;
        }
        let process = state.process(member);
        process.trying = Group::default();
        let round = std::mem::take(&mut process.round);
        let failed =
            round.map(|answer| answer.map(|answer| Answer { verdict: Verdict::Forbidden, ..answer }));
        answer_all(state, failed);
    }

    /// Computes what a group read from the log writes into the counter. An earlier owner may have written the row already.
    fn project(&self, state: &mut State, member: Member) {
        let row = state.rows.claims;
        let Some(front) = state.process(member).queue.front_mut() else { return };
        let mut counted = Counted::Nothing;
        for (seq, command) in front.group.commands() {
            let ahead = row.at >= seq && !self.lacks(Mutant::CountsTwice);
            if command.claimant_after().is_some() && !ahead {
                counted = Counted::Is(row.value + 1);
            }
        }
        front.counted = counted;
    }

    fn write_rows(&self, state: &mut State, member: Member) {
        let Some(front) = state.process(member).queue.front_mut() else { return };
        front.written = true;
        let front = *front;
        if self.lacks(Mutant::AppliedBeforeRows) {
            state.rows.applied = state.rows.applied.max(front.group.last());
        } else {
            self.put_rows(state, &front);
        }
    }

    fn put_rows(&self, state: &mut State, unwritten: &Unwritten) {
        let rows = &mut state.rows;
        let blind = self.lacks(Mutant::OlderRowsOverwrite);
        for (at, command) in unwritten.group.commands() {
            put(&mut rows.claimant, command.claimant_after(), at, blind);
            rows.keys[command as usize] = at;
            if let (Counted::Is(claims), Some(_)) = (unwritten.counted, command.claimant_after()) {
                put(&mut rows.claims, claims, at, blind);
            }
        }
    }

    /// The last step of a group: from here on it is a row like any other, its readers are told, its callers are answered.
    fn write_applied(&self, state: &mut State, member: Member, heard: bool) {
        let done = state.process(member).queue.pop();
        if !done.group.is_none() {
            if self.lacks(Mutant::AppliedBeforeRows) {
                self.put_rows(state, &done);
            }
            state.rows.applied = state.rows.applied.max(done.group.last());
            if heard {
                self.hear(state, done.group);
            }
        }
        answer_all(state, done.answers);
        accept_if_filled(state, member);
    }

    /// A round that changed nothing is answered if the log still ends where this owner thinks.
    fn look(&self, state: &mut State, member: Member) {
        let head = state.process(member).head;
        let stands = state.slot(head + 1);
        if stands.is_none() {
            let process = state.process(member);
            let answers = std::mem::take(&mut process.round);
            process.phase = Phase::Owning;
            if self.lacks(Mutant::AnswersOvertake) {
                answer_all(state, answers);
            } else {
                process.queue.push(Unwritten { answers, ..Unwritten::default() });
            }
        } else {
            self.lost(state, member, stands);
        }
    }

    fn decide(&self, mut state: State, member: Member, round: Round) -> Option<State> {
        let process = state.processes[usize::from(member)];
        let mut loaded = load(&state, &process, !self.lacks(Mutant::NoOverlay));
        if round.cached {
            loaded.claimant = process.cached;
        }
        let mut group = Group { writer: member, first: process.head + 1, ..Group::default() };
        let mut answers = Answers::default();
        let mut counted = Counted::Nothing;
        for (slot, asked) in std::iter::once(round.first).chain(round.second).enumerate() {
            let verdict = decide_one(&mut loaded, &mut group, asked)?;
            let attempt = match process.round[0] {
                Some(kept) => kept.attempt,
                None => send(&mut state, asked.command, verdict)?,
            };
            if let (Verdict::Done(_), Some(_)) = (verdict, asked.command.claimant_after()) {
                loaded.claims += 1;
                counted = Counted::Is(loaded.claims);
            }
            state.left.forbidden -= u8::from(asked.forbidden);
            answers[slot] = Some(Answer { command: asked.command, attempt, verdict });
        }
        if self.lacks(Mutant::EarlyRejection) {
            answer_early(&mut state, &mut answers);
        }
        let process = state.process(member);
        process.cached = loaded.claimant;
        if !group.is_none() {
            process.trying = group;
            process.counted = counted;
            process.round = answers;
        } else if self.lacks(Mutant::NoLook) || self.lacks(Mutant::EarlyRejection) {
            process.queue.push(Unwritten { answers, ..Unwritten::default() });
        } else {
            process.round = answers;
            process.phase = Phase::Looking;
        }
        Some(state)
    }
}

/// Decides one command on the state that the ones before it left. `None` if that cannot happen, or the log is full.
fn decide_one(loaded: &mut Loaded, group: &mut Group, asked: Asked) -> Option<Verdict> {
    let command = asked.command;
    let key = loaded.keys[command as usize];
    if key > 0 {
        return (!asked.forbidden).then_some(Verdict::Repeated(key));
    }
    if asked.forbidden {
        return Some(Verdict::Forbidden);
    }
    if command.is_rejected_by(loaded.claimant) {
        return Some(Verdict::Rejected);
    }
    let seq = group.first + group.len();
    group.events[usize::from(group.len())] = Event::Of(command);
    loaded.claimant = command.claimant_after();
    loaded.keys[command as usize] = seq;
    (usize::from(seq) <= SLOTS).then_some(Verdict::Done(seq))
}

fn put<T: PartialOrd>(row: &mut Stamped<T>, value: T, at: Seq, blind: bool) {
    // Of two values with one timestamp the larger stays.
    if blind || at > row.at || (at == row.at && value > row.value) {
        *row = Stamped { value, at };
    }
}

fn accept_if_filled(state: &mut State, member: Member) {
    let claimant = state.rows.claimant.value;
    let process = state.process(member);
    if process.phase == Phase::Filling && process.queue.is_empty() {
        process.phase = Phase::Owning;
        process.cached = claimant;
    }
}

/// The client sends a command: which attempt it is. `None` if it has no more repeats.
fn send(state: &mut State, command: Command, verdict: Verdict) -> Option<u8> {
    let since = if verdict == Verdict::Rejected { state.shown } else { 0 };
    let client = &mut state.clients[command as usize];
    let attempt = match *client {
        Client::Ready { attempt } => attempt,
        Client::Sent { attempt, .. } => {
            state.left.repeats = state.left.repeats.checked_sub(1)?;
            attempt + 1
        }
        Client::Succeeded(_) | Client::Refused => return None,
    };
    *client = Client::Sent { attempt, since };
    Some(attempt)
}

/// Commands that were decided on a lost slot go back to their clients, undone.
fn turn_away(state: &mut State, member: Member) {
    for answer in std::mem::take(&mut state.process(member).round).into_iter().flatten() {
        let client = &mut state.clients[answer.command as usize];
        if matches!(*client, Client::Sent { attempt, .. } if attempt == answer.attempt) {
            *client = Client::Ready { attempt: answer.attempt };
        }
    }
}

fn answer_early(state: &mut State, answers: &mut Answers) {
    for answer in answers {
        if let Some(Answer { verdict: Verdict::Rejected | Verdict::Forbidden, .. }) = answer {
            answer_all(state, [answer.take(), None]);
        }
    }
}

/// Answers go out. A client that has sent the command again no longer listens to the attempt before.
fn answer_all(state: &mut State, answers: Answers) {
    for answer in answers.into_iter().flatten() {
        let Client::Sent { attempt, since } = state.clients[answer.command as usize] else { continue };
        if attempt != answer.attempt {
            continue;
        }
        let client = match answer.verdict {
            Verdict::Done(seq) | Verdict::Repeated(seq) => {
                state.shown = state.shown.max(seq);
                Client::Succeeded(seq)
            }
            Verdict::Rejected => {
                match justified(state, answer.command, since) {
                    Some(seq) => state.shown = state.shown.max(seq),
                    None => state.untrue = true,
                }
                Client::Refused
            }
            Verdict::Forbidden => Client::Refused,
        };
        state.clients[answer.command as usize] = client;
    }
}

/// The first place, not before `since`, at which the log justifies a rejection: where it takes its turn among the events.
///
/// The first is the right one to take. It binds later answers least, and nothing else can still come before it.
fn justified(state: &State, command: Command, since: Seq) -> Option<Seq> {
    let events = crate::properties::events(state);
    let mut claimant = None;
    for seq in 0..=log_end(state) {
        if seq > 0
            && let Event::Of(command) = events[usize::from(seq - 1)]
        {
            claimant = command.claimant_after();
        }
        if seq >= since && command.is_rejected_by(claimant) {
            return Some(seq);
        }
    }
    None
}
