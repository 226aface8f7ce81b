//! What all parts of a run share: the time, what is wrong at the moment, the log of what happens,
//! and the first thing that must not have happened.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::plan::{CLASSES, Class, Millis, Plan, Shown, What};
use crate::unstored::Unstored;

pub struct World {
    pub plan: Plan,
    pub unstored: Unstored,
    began: Instant,
    state: Mutex<State>,
    /// Something has begun or ended to go wrong.
    pub changed: Notify,
    pub failed: Notify,
}

struct State {
    active: Vec<What>,
    /// For each class, until when something was wrong.
    until: [Millis; CLASSES],
    log: Log,
    violation: Option<Violation>,
}

/// What happened: a sum of it in any case, the lines if somebody wants to read them.
pub struct Log {
    sum: u64,
    pub lines: Option<Vec<String>>,
}

/// Something that must not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub at: Millis,
    /// The promise that was broken.
    pub rule: &'static str,
    pub text: String,
}

impl Log {
    /// Whether the lines are kept.
    pub fn new(is_kept: bool) -> Self {
        Self { sum: 0xcbf2_9ce4_8422_2325, lines: is_kept.then(Vec::new) }
    }

    fn add(&mut self, line: String) {
        for byte in line.bytes().chain([b'\n']) {
            // FNV-1a: any change of a byte changes the sum.
            self.sum = (self.sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if let Some(lines) = &mut self.lines {
            lines.push(line);
        }
    }

    pub fn sum(&self) -> u64 {
        self.sum
    }
}

impl World {
    pub fn new(plan: Plan, log: Log) -> Arc<Self> {
        let state = State { active: Vec::new(), until: [0; CLASSES], log, violation: None };
        Arc::new(Self {
            plan,
            unstored: Unstored::default(),
            began: Instant::now(),
            state: Mutex::new(state),
            changed: Notify::new(),
            failed: Notify::new(),
        })
    }

    /// A part's own random numbers, so that what one part does changes nothing for another.
    pub fn random(&self, part: &str, number: usize) -> Rng {
        let mut seed = self.plan.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number as u64;
        for byte in part.bytes() {
            seed = (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Rng::with_seed(seed)
    }

    pub fn now(&self) -> Millis {
        u64::try_from(self.began.elapsed().as_millis()).expect("runs are short")
    }

    pub fn nanos(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).expect("runs are short")
    }

    pub async fn until(&self, time: Millis) {
        tokio::time::sleep_until(self.began + Duration::from_millis(time)).await;
    }

    /// Whether something is wrong now.
    pub fn is(&self, what: &What) -> bool {
        self.state().active.contains(what)
    }

    pub fn begin(&self, what: &What) {
        self.say(format_args!("** {what}"));
        let mut state = self.state();
        state.active.push(what.clone());
        state.until[what.class() as usize] = Millis::MAX;
        drop(state);
        self.changed.notify_waiters();
    }

    pub fn end(&self, what: &What) {
        self.say(format_args!("** no longer: {what}"));
        let now = self.now();
        let mut state = self.state();
        if let Some(index) = state.active.iter().position(|active| active == what) {
            state.active.remove(index);
        }
        let class = what.class();
        if !state.active.iter().any(|active| active.class() == class) {
            state.until[class as usize] = now;
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Whether nothing of these classes has been wrong since then.
    pub fn is_quiet_since(&self, time: Millis, classes: &[Class]) -> bool {
        let state = self.state();
        classes.iter().all(|class| match state.until[*class as usize] {
            0 => true,
            until => until < time,
        })
    }

    /// Takes note of what happens.
    pub fn say(&self, what: fmt::Arguments<'_>) {
        let line = format!("{}  {what}", Shown(self.now()));
        self.state().log.add(line);
    }

    /// Takes note that something has happened that must not. The first counts.
    pub fn violated(&self, rule: &'static str, text: String) {
        self.say(format_args!("!! {rule}: {text}"));
        let violation = Violation { at: self.now(), rule, text };
        self.state().violation.get_or_insert(violation);
        self.failed.notify_one();
    }

    /// What a run has come to.
    pub fn take(&self) -> (Option<Violation>, Log) {
        let mut state = self.state();
        let log = std::mem::replace(&mut state.log, Log::new(false));
        (state.violation.take(), log)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for a random time up to this many milliseconds, or not at all.
pub async fn pause(random: &Mutex<Rng>, most: Millis) {
    let millis = random.lock().unwrap_or_else(PoisonError::into_inner).u64(0..=most);
    if millis == 0 {
        tokio::task::yield_now().await;
    } else {
        sleep(Duration::from_millis(millis)).await;
    }
}
