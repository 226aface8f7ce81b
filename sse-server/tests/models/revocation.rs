//! A permission is taken back while events are published, hints are lost, and streams open: in no
//! order of all this does a reader get what was published after the answer 200; and without that,
//! every event arrives although every hint may be lost.
//!
//! This is a model, not the server's own code. It has the steps of `access::gate`, `access::peers`,
//! `hub::follow` and `http::fanout` that others may come between:
//!
//! | here | there |
//! |---|---|
//! | `Ask`, `Admit` | `Access::admit`: watched, asked, let in |
//! | `Revoke`, `Done` | `Access::permission_changed`: tells the other instance, and waits |
//! | `Arrive(Changed)` | `Shared::hear`: asks again for each stream that is watched, then says so |
//! | `Arrive(Hint)`, `Refresh` | `hub::follow`: a hint, and the regular look at where logs end |
//! | `Read`, `Check`, `Write` | `Crowd::serve_place`, `Entry::give`: events are read; may they go? |
//!
//! The relay may lose, repeat and reorder whatever it carries. It is never cut off for so long that
//! an instance is taken for gone: that is the exception that the documents make.

use std::collections::BTreeSet;

use stateright::{Checker, Model, Property};

const EVENTS: u8 = 2;

/// A fault that must be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// A stream is watched only from when it was let in.
    WatchedLate,
    /// The permission is looked at before the events are read.
    CheckedBeforeReading,
    /// Whatever is confirmed, it is taken for the change that is waited for.
    AnyConfirmation,
    /// The answer does not wait for the other instance.
    NotAwaited,
    /// The other instance confirms before it has asked.
    ConfirmedBeforeAsking,
    /// Where logs end is never looked at.
    NoRefresh,
}

/// An instance takes permissions back; another one has the reader.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "each may change while the others do not")]
struct State {
    /// How many events are stored.
    stored: u8,
    /// What the backend says.
    is_allowed: bool,
    /// How many changes there have been.
    changes: u8,
    /// The change that somebody waits for.
    waiting: Option<u8>,
    /// A permission that is gone for sure: how many events there were.
    gone_at: Option<u8>,
    relay: BTreeSet<Message>,
    /// How many events the reader's instance knows of.
    known: u8,
    reader: Reader,
    is_watched: bool,
    is_ended: bool,
    round: Round,
    /// How many events the reader has got.
    at: u8,
    /// It has got one that was published after its permission was gone for sure.
    has_too_much: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Message {
    Hint(u8),
    Changed(u8),
    /// To the instance that waits.
    Done(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Reader {
    Away,
    /// The backend has said so.
    Asked(bool),
    Open,
}

/// How far the next write is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Round {
    Nothing,
    /// So many events are to be written.
    Read(u8),
    Checked(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Action {
    Publish,
    Revoke,
    Grant,
    Ask,
    Admit,
    Arrive(Message),
    Lose(Message),
    Refresh,
    Read,
    Check,
    Write,
    Leave,
}

struct Hub {
    fault: Fault,
    /// How often a permission is taken back at most.
    changes: u8,
}

impl Model for Hub {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            stored: 0,
            is_allowed: true,
            changes: 0,
            waiting: None,
            gone_at: None,
            relay: BTreeSet::new(),
            known: 0,
            reader: Reader::Away,
            is_watched: false,
            is_ended: false,
            round: Round::Nothing,
            at: 0,
            has_too_much: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        use Action::{
            Admit, Arrive, Ask, Check, Grant, Leave, Lose, Publish, Read, Refresh, Revoke, Write,
        };
        actions.extend([Publish, Revoke, Grant, Ask, Admit, Refresh, Read, Check, Write, Leave]);
        actions.extend(state.relay.iter().flat_map(|&message| [Arrive(message), Lose(message)]));
    }

    /// None: it cannot be done now, or changes nothing.
    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut next = last.clone();
        match action {
            Action::Publish if last.stored < EVENTS => {
                next.stored += 1;
                next.relay.insert(Message::Hint(next.stored));
            }
            Action::Revoke
                if last.is_allowed && last.changes < self.changes && last.waiting.is_none() =>
            {
                next.is_allowed = false;
                next.changes += 1;
                next.waiting = Some(next.changes);
                next.relay.insert(Message::Changed(next.changes));
                if self.fault == Fault::NotAwaited {
                    next.confirm();
                }
            }
            // Whoever takes it back and does not wait for the answer has none.
            Action::Grant if !last.is_allowed => {
                next.is_allowed = true;
                (next.waiting, next.gone_at) = (None, None);
            }
            Action::Ask if last.reader == Reader::Away => {
                next.reader = Reader::Asked(last.is_allowed);
                next.is_watched = self.fault != Fault::WatchedLate;
                next.is_ended = false;
            }
            Action::Admit => {
                let Reader::Asked(is_let) = last.reader else { return None };
                let is_open = is_let && !last.is_ended;
                next.reader = if is_open { Reader::Open } else { Reader::Away };
                next.is_watched = is_open;
            }
            Action::Arrive(Message::Hint(head)) => next.known = last.known.max(head),
            Action::Arrive(Message::Changed(number)) => {
                if last.is_watched && !last.is_allowed && self.fault != Fault::ConfirmedBeforeAsking
                {
                    next.is_ended = true;
                }
                next.relay.insert(Message::Done(number));
            }
            Action::Arrive(Message::Done(number)) => {
                let is_it = last.waiting == Some(number) || self.fault == Fault::AnyConfirmation;
                if last.waiting.is_some() && is_it {
                    next.confirm();
                }
            }
            Action::Lose(message) => drop(next.relay.remove(&message)),
            Action::Refresh if self.fault != Fault::NoRefresh => next.known = last.stored,
            Action::Read if last.reader == Reader::Open => match (last.round, self.fault) {
                (Round::Nothing, Fault::CheckedBeforeReading) => return None,
                (Round::Nothing, _) if last.at < last.known => next.round = Round::Read(last.known),
                (Round::Checked(0), Fault::CheckedBeforeReading) if last.at < last.known => {
                    next.round = Round::Checked(last.known);
                }
                _ => return None,
            },
            Action::Check if last.reader == Reader::Open => match last.round {
                Round::Read(to) if !last.is_ended => next.round = Round::Checked(to),
                Round::Nothing
                    if self.fault == Fault::CheckedBeforeReading
                        && !last.is_ended
                        && last.at < last.known =>
                {
                    next.round = Round::Checked(0);
                }
                _ => return None,
            },
            Action::Write => {
                let Round::Checked(to) = last.round else { return None };
                if to == 0 {
                    return None;
                }
                next.has_too_much |= last.gone_at.is_some_and(|gone_at| to > gone_at);
                (next.at, next.round) = (to, Round::Nothing);
            }
            // What was not written yet never is.
            Action::Leave if last.is_ended && last.reader == Reader::Open => {
                if let Round::Checked(_) = last.round {
                    return None;
                }
                (next.reader, next.round, next.is_watched) = (Reader::Away, Round::Nothing, false);
            }
            _ => return None,
        }
        (next != *last).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(SAFE, |_, state: &State| !state.has_too_much),
            Property::eventually(ARRIVES, |_, state: &State| state.at == EVENTS),
            Property::sometimes(CONFIRMED, |_, state: &State| {
                state.gone_at.is_some() && state.is_ended && state.at > 0
            }),
        ]
    }
}

impl State {
    /// The answer is 200.
    fn confirm(&mut self) {
        (self.waiting, self.gone_at) = (None, Some(self.stored));
    }
}

const SAFE: &str = "nothing that is published after a confirmed revocation is read";
const ARRIVES: &str = "every event arrives";
const CONFIRMED: &str = "a revocation is confirmed while a reader is there";

/// The properties that do not hold, or that there is an example of.
fn found(fault: Fault, changes: u8) -> Vec<&'static str> {
    let checker = Hub { fault, changes }.checker().spawn_bfs().join();
    println!("{fault:?}, {changes} changes: {} states", checker.unique_state_count());
    checker.discoveries().into_keys().collect()
}

#[test]
fn nothing_is_read_that_is_published_after_a_confirmed_revocation() {
    let found = found(Fault::None, 2);
    assert!(!found.contains(&SAFE) && found.contains(&CONFIRMED), "{found:?}");
}

#[test]
fn every_event_arrives_though_hints_are_lost() {
    assert!(!found(Fault::None, 0).contains(&ARRIVES));
    assert!(found(Fault::NoRefresh, 0).contains(&ARRIVES), "a fault that must be found");
}

#[test]
fn each_fault_in_revoking_is_found() {
    for fault in [
        Fault::WatchedLate,
        Fault::CheckedBeforeReading,
        Fault::AnyConfirmation,
        Fault::NotAwaited,
        Fault::ConfirmedBeforeAsking,
    ] {
        assert!(found(fault, 2).contains(&SAFE), "{fault:?}");
    }
}
