//! What must hold in every state, and what must be reached in some, so that the first is not true of nothing.
//!
//! It exists apart from the steps and asks only for outcomes: the log, the rows, the answers, the reader. It refuses to know how
//! they came about, with one exception, the rule that a log has one writer between two barriers.

use crate::state::{
    Client, Command, Counted, Event, Group, Late, Phase, Process, SLOTS, Seq, State, Verdict, bucket,
};
use crate::steps::{Mechanism, log_end};
use stateright::Property;

pub const ONCE: &str = "places are gapless and taken once, each command has one event at most";
pub const ALLOWED: &str = "every event was allowed by the events before it";
pub const ONE_WRITER: &str = "between two barriers the log has one writer";
pub const STAYS: &str = "an acknowledged success stays in the log";
pub const TRUE: &str = "a rejection was true between its request and its answer";
pub const NEVER_APPEARS: &str = "what was refused for certain never appears";
pub const ROWS: &str = "rows are the fold of the log, and lack nothing up to applied";
pub const READ_BACK: &str = "what an answer showed can be read";
pub const PUBLISHED: &str = "what is published stands in the log";
pub const READER: &str = "a reader's memory is the fold of the log";

/// What no state may break.
pub fn kept() -> Vec<Property<Mechanism>> {
    vec![
        Property::always(ONCE, |_, state: &State| once(state)),
        Property::always(ALLOWED, |_, state: &State| allowed(state)),
        Property::always(ONE_WRITER, |_, state: &State| one_writer(state)),
        Property::always(STAYS, |_, state: &State| stays(state)),
        Property::always(TRUE, |_, state: &State| !state.untrue),
        Property::always(NEVER_APPEARS, |_, state: &State| never_appears(state)),
        Property::always(ROWS, |_, state: &State| rows(state)),
        Property::always(READ_BACK, |_, state: &State| state.shown <= state.rows.applied),
        Property::always(PUBLISHED, |_, state: &State| published(state)),
        Property::always(READER, |_, state: &State| reader(state)),
    ]
}

/// The events of the log by place.
pub fn events(state: &State) -> [Event; SLOTS] {
    let mut events = [Event::Nothing; SLOTS];
    for group in state.log.iter().filter(|group| !group.is_none()) {
        for (at, event) in group.events.iter().enumerate().take(group.len().into()) {
            if let Some(place) = events.get_mut(usize::from(group.first) - 1 + at) {
                *place = *event;
            }
        }
    }
    events
}

/// Events up to a place, with their places.
fn commands_until(state: &State, until: Seq) -> impl Iterator<Item = (Seq, Command)> {
    events(state).into_iter().take(until.into()).zip(1..).filter_map(|(event, seq)| match event {
        Event::Of(command) => Some((seq, command)),
        Event::Nothing | Event::Barrier => None,
    })
}

/// The newest event up to a place that decides who has the name, and how many claims there are by then.
fn fold(state: &State, until: Seq) -> (Option<Command>, u8) {
    commands_until(state, until).fold((None, 0), |(_, claims), (_, command)| {
        let claimant = command.claimant_after();
        (claimant, claims + u8::from(claimant.is_some()))
    })
}

fn once(state: &State) -> bool {
    let places: usize = state.log.iter().map(|group| usize::from(group.len())).sum();
    let unique = Command::ALL.into_iter().all(|command| {
        state.log.iter().flat_map(Group::commands).filter(|(_, has)| *has == command).count() <= 1
    });
    places == usize::from(log_end(state)) && unique
}

fn allowed(state: &State) -> bool {
    let mut claimant = None;
    commands_until(state, log_end(state)).all(|(_, command)| {
        let rejected = command.is_rejected_by(claimant);
        claimant = command.claimant_after();
        !rejected
    })
}

fn one_writer(state: &State) -> bool {
    let mut writer = 0;
    state.log.iter().filter(|group| !group.is_none()).all(|group| {
        if group.is_barrier() {
            writer = group.writer;
        }
        group.writer == writer
    })
}

fn stays(state: &State) -> bool {
    let events = events(state);
    state.clients.iter().zip(Command::ALL).all(|(client, command)| match client {
        Client::Succeeded(seq) => events[usize::from(*seq) - 1] == Event::Of(command),
        _ => true,
    })
}

fn never_appears(state: &State) -> bool {
    let refused = |command: Command| state.clients[command as usize] == Client::Refused;
    !state.log.iter().flat_map(Group::commands).any(|(_, command)| refused(command))
}

fn rows(state: &State) -> bool {
    let rows = &state.rows;
    let end = log_end(state);
    let mut claimed = (0, 0);
    for (seq, command) in commands_until(state, rows.applied) {
        claimed.0 = seq;
        if command.claimant_after().is_some() {
            claimed.1 = seq;
        }
        if rows.keys[command as usize] != seq {
            return false;
        }
    }
    let keys = Command::ALL.into_iter().all(|command| {
        let key = rows.keys[command as usize];
        key == 0 || commands_until(state, end).any(|stands| stands == (key, command))
    });
    let fresh = rows.claimant.at >= claimed.0 && rows.claims.at >= claimed.1;
    let known = rows.applied <= end && rows.claimant.at <= end && rows.claims.at <= end;
    let fold_then = (fold(state, rows.claimant.at).0, fold(state, rows.claims.at).1);
    keys && fresh && known && fold_then == (rows.claimant.value, rows.claims.value)
}

fn published(state: &State) -> bool {
    let mut unwritten = state.processes.iter().flat_map(|process| process.queue.iter());
    unwritten
        .all(|unwritten| unwritten.group.is_none() || state.slot(unwritten.group.first) == unwritten.group)
}

fn reader(state: &State) -> bool {
    let reader = &state.reader;
    reader.at <= state.rows.applied && fold(state, reader.at) == (reader.claimant, reader.claims)
}

fn any(state: &State, holds: impl Fn(&Process) -> bool) -> bool {
    state.processes.iter().any(holds)
}

fn any_answer(state: &State, holds: impl Fn(Verdict) -> bool) -> bool {
    let unwritten = state.processes.iter().flat_map(|process| process.queue.iter());
    unwritten.flat_map(|unwritten| unwritten.answers).flatten().any(|answer| holds(answer.verdict))
}

/// What some state must show: each fault, and each rule at work.
pub fn reached() -> Vec<Property<Mechanism>> {
    vec![
        Property::sometimes("a slot is lost", |_, state: &State| {
            any(state, |process| process.phase == Phase::Lost)
        }),
        Property::sometimes("a barrier finds its slot taken", |_, state: &State| {
            any(state, |process| process.phase == Phase::ReadingOn)
        }),
        Property::sometimes("a late append lands", |_, state: &State| state.late == Late::Landed),
        Property::sometimes("a late append is refused", |_, state: &State| state.late == Late::Refused),
        Property::sometimes("a repeated append finds its own row", |_, state: &State| {
            any(state, |process| {
                !process.trying.is_none() && state.slot(process.trying.first) == process.trying
            })
        }),
        Property::sometimes("the third process owns", |_, state: &State| {
            state.processes[2].phase == Phase::Owning
        }),
        Property::sometimes("two believe to own", |_, state: &State| {
            state.processes.iter().filter(|process| process.phase == Phase::Owning).count() == 2
        }),
        Property::sometimes("the holder takes over anew", |_, state: &State| {
            any(state, |process| {
                process.phase == Phase::Lost && state.processes[usize::from(state.holder)] == *process
            })
        }),
        Property::sometimes("a group runs over the bucket border", |_, state: &State| {
            state.log.iter().any(|group| !group.is_none() && bucket(group.first) != bucket(group.last()))
        }),
        Property::sometimes("the log is full", |_, state: &State| usize::from(log_end(state)) == SLOTS),
        Property::sometimes("the next group is appended while rows are under way", |_, state: &State| {
            any(state, |process| {
                !process.trying.is_none()
                    && process.queue.front().is_some_and(|front| !front.group.is_barrier())
            })
        }),
        Property::sometimes("a repeated key meets its event", |_, state: &State| {
            any_answer(state, |verdict| matches!(verdict, Verdict::Repeated(_)))
        }),
        Property::sometimes("a taken name rejects", |_, state: &State| {
            state.clients[..2].contains(&Client::Refused)
                && any(state, |process| process.phase == Phase::Looking)
        }),
        Property::sometimes("a free name rejects", |_, state: &State| {
            state.clients[2] == Client::Refused && state.left.forbidden > 0
        }),
        Property::sometimes("a round of rejections waits its turn", |_, state: &State| {
            any(state, |process| {
                process.queue.len() == 2
                    && process.queue.iter().nth(1).is_some_and(|next| next.group.is_none())
            })
        }),
        Property::sometimes("older rows meet newer ones", |_, state: &State| {
            any(state, |process| {
                let front = process.queue.front().filter(|front| front.group.commands().next().is_some());
                front.is_some_and(|front| front.group.last() < state.rows.claimant.at)
            })
        }),
        Property::sometimes("a new owner finds rows ahead of applied", |_, state: &State| {
            any(state, |process| {
                let front = process.queue.front().filter(|front| front.counted == Counted::NotYet);
                process.phase == Phase::Filling
                    && front.is_some_and(|front| {
                        front.group.commands().any(|(seq, _)| seq <= state.rows.claims.at)
                    })
            })
        }),
        Property::sometimes("a reader is behind a group that is published", |_, state: &State| {
            any(state, |process| {
                process
                    .queue
                    .front()
                    .is_some_and(|next| next.written && next.group.first > state.reader.at + 1)
            })
        }),
        Property::sometimes("everybody is answered", |_, state: &State| {
            state.clients.iter().all(|client| matches!(client, Client::Succeeded(_) | Client::Refused))
        }),
    ]
}
