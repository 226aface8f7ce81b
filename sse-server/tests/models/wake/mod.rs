//! Nobody sleeps while there is something to do: loom tries all orders of threads, and of what they
//! see of each other's memory, on the server's own signal, bell and inbox.
//!
//! Only these three are the server's own. A log is an end and whom to wake, under one lock, as in
//! `hub::log`; how a loop waits is an eventfd's way. Where the server does something in an order
//! that matters, a wrong one is tried too, and loom must find the thread that is never woken.

/// No faults of the simulator's are looked for here.
macro_rules! mutant {
    ($name:literal) => {
        false
    };
}

#[path = "../../../src/hub/wake/bell.rs"]
mod bell;
#[path = "../../../src/hub/wake/inbox.rs"]
mod inbox;
#[path = "../../../src/hub/wake/signal.rs"]
mod signal;
mod sync;

use std::future::poll_fn;
use std::process::Command;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bell::{Bell, Rope};
use inbox::Inbox;
use loom::future::block_on;
use loom::sync::{Condvar, Mutex};
use loom::thread;
use signal::Signal;

/// All orders in which threads are interrupted at most so often.
const INTERRUPTIONS: usize = 3;

fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(INTERRUPTIONS);
    builder.check(model);
}

#[derive(Default)]
struct Log(Mutex<State>);

#[derive(Default)]
struct State {
    head: u64,
    signals: Vec<Option<Arc<Signal>>>,
}

impl Log {
    fn append(&self) {
        let mut state = self.0.lock().expect("no panic");
        state.head += 1;
        state.signals.iter().flatten().for_each(|signal| signal.raise());
    }

    fn head(&self) -> u64 {
        self.0.lock().expect("no panic").head
    }

    fn add(&self, signal: Arc<Signal>) -> usize {
        let signals = &mut self.0.lock().expect("no panic").signals;
        signals.push(Some(signal));
        signals.len() - 1
    }

    fn remove(&self, place: usize) {
        self.0.lock().expect("no panic").signals[place] = None;
    }
}

/// Threads that append once each.
fn publishers(log: &Arc<Log>, count: usize) -> Vec<thread::JoinHandle<()>> {
    let publisher = |_| {
        let log = log.clone();
        thread::spawn(move || log.append())
    };
    (0..count).map(publisher).collect()
}

fn join(threads: impl IntoIterator<Item = thread::JoinHandle<()>>) {
    for thread in threads {
        thread.join().expect("no panic");
    }
}

fn a_reader_waits_for_all(lowers_first: bool) {
    explore(move || {
        let (log, signal) = (Arc::new(Log::default()), Arc::new(Signal::default()));
        log.add(signal.clone());
        let publishers = publishers(&log, 2);
        block_on(poll_fn(|cx| {
            let head = if lowers_first {
                signal.lower(cx);
                log.head()
            } else {
                let head = log.head();
                signal.lower(cx);
                head
            };
            if head == 2 { Poll::Ready(()) } else { Poll::Pending }
        }));
        join(publishers);
    });
}

#[test]
fn a_reader_that_lowers_its_signal_before_it_reads_is_woken_for_every_event() {
    a_reader_waits_for_all(true);
}

#[test]
#[ignore = "fails, as it must: see below"]
fn wrong_reads_first() {
    a_reader_waits_for_all(false);
}

/// What a loop waits at: what is rung before it waits wakes it at once.
#[derive(Default)]
struct Door {
    is_rung: Mutex<bool>,
    rung: Condvar,
}

impl Door {
    fn bell(self: &Arc<Self>) -> Arc<Bell> {
        let door = self.clone();
        Bell::new(move || {
            *door.is_rung.lock().expect("no panic") = true;
            door.rung.notify_one();
        })
    }

    fn wait(&self) {
        let mut is_rung = self.is_rung.lock().expect("no panic");
        while !*is_rung {
            is_rung = self.rung.wait(is_rung).expect("no panic");
        }
        *is_rung = false;
    }
}

#[test]
fn a_loop_hears_of_every_message_and_of_every_log_that_grows() {
    explore(|| {
        let door = Arc::new(Door::default());
        let bell = door.bell();
        let (remote, inbox) = Inbox::new(bell.clone());
        let signal = Arc::new(Signal::default());
        let rope = Waker::from(Arc::new(Rope { bell, group: 7 }));
        signal.lower(&Context::from_waker(&rope));
        let other = remote.clone();
        let threads = [
            thread::spawn(move || {
                remote.send(1).expect("the loop is there");
            }),
            thread::spawn(move || {
                signal.raise();
                other.send(2).expect("the loop is there");
            }),
        ];
        let (mut messages, mut groups, mut grown) = (Vec::new(), Vec::new(), Vec::new());
        while messages.len() < 2 || groups.is_empty() {
            door.wait();
            inbox.hear(&mut grown, |message| messages.push(message));
            groups.append(&mut grown);
        }
        join(threads);
        messages.sort_unstable();
        assert_eq!((messages, groups), (vec![1, 2], vec![7]), "each once");
    });
}

/// The bell is heard only when it was looked what the reason was.
#[test]
#[ignore = "fails, as it must: see below"]
fn wrong_hears_late() {
    explore(|| {
        let door = Arc::new(Door::default());
        let bell = door.bell();
        let told = Arc::new(Mutex::new(0));
        let threads = [1, 2].map(|message| {
            let (bell, told) = (bell.clone(), told.clone());
            thread::spawn(move || {
                *told.lock().expect("no panic") += message;
                bell.ring();
            })
        });
        let mut sum = 0;
        while sum < 3 {
            door.wait();
            sum = *told.lock().expect("no panic");
            bell.hear();
        }
        join(threads);
    });
}

/// A reader goes to rest: as `Crowd::enter`, `Crowd::serve_one` and `Crowd::serve` do it.
fn a_reader_goes_to_rest(looks_again: bool) {
    explore(move || {
        let log = Arc::new(Log::default());
        let own = log.add(Arc::default());
        let door = Arc::new(Door::default());
        let bell = door.bell();
        let publishers = publishers(&log, 2);
        // It has everything there is now.
        let mut at = log.head();
        let signal = Arc::new(Signal::default());
        let rope = Waker::from(Arc::new(Rope { bell: bell.clone(), group: 0 }));
        signal.lower(&Context::from_waker(&rope));
        log.add(signal.clone());
        log.remove(own);
        if looks_again {
            at = log.head();
        }
        let (_remote, inbox) = Inbox::<()>::new(bell);
        let mut grown = Vec::new();
        while at < 2 {
            door.wait();
            inbox.hear(&mut grown, drop);
            for _ in grown.drain(..) {
                signal.lower(&Context::from_waker(&rope));
                at = log.head();
            }
        }
        join(publishers);
    });
}

#[test]
fn a_reader_that_goes_to_rest_misses_nothing_meanwhile() {
    a_reader_goes_to_rest(true);
}

#[test]
#[ignore = "fails, as it must: see below"]
fn wrong_is_not_served() {
    a_reader_goes_to_rest(false);
}

/// A permission ends, that is confirmed, and an event follows: as `Watch::end` and `Entry::give` do
/// it, which look closely only where the bell has rung.
fn a_permission_ends(tells_before_it_confirms: bool) {
    explore(move || {
        let bell = Arc::new(Door::default()).bell();
        let (remote, inbox) = Inbox::new(bell.clone());
        let log = Arc::new(Log::default());
        let theirs = log.clone();
        let revoker = thread::spawn(move || {
            let tell = || remote.send(()).expect("the loop is there");
            if tells_before_it_confirms {
                tell();
                theirs.append();
            } else {
                theirs.append();
                tell();
            }
        });
        let (mut is_told, mut grown) = (false, Vec::new());
        for _ in 0..2 {
            inbox.hear(&mut grown, |()| is_told = true);
            let head = log.head();
            let looks_closely = bell.is_rung();
            assert!(head == 0 || is_told || looks_closely, "an event that is forbidden");
        }
        join([revoker]);
    });
}

#[test]
fn no_event_is_given_to_whom_it_was_forbidden_before() {
    a_permission_ends(true);
}

#[test]
#[ignore = "fails, as it must: see below"]
fn wrong_confirms_first() {
    a_permission_ends(false);
}

/// loom ends the process when it finds a deadlock in which something is still to be dropped.
#[test]
fn each_wrong_order_is_found() {
    let this = std::env::current_exe().expect("a test knows where it is");
    for (wrong, why) in [
        ("wrong_reads_first", "deadlock"),
        ("wrong_hears_late", "deadlock"),
        ("wrong_is_not_served", "deadlock"),
        ("wrong_confirms_first", "an event that is forbidden"),
    ] {
        let mut test = Command::new(&this);
        test.args(["--ignored", "--exact", &format!("wake::{wrong}")]);
        let output = test.env("RUST_BACKTRACE", "0").output().expect("it starts");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains("running 1 test") && said.contains(why), "{wrong}: {said}");
    }
}
