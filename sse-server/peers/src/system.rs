//! What the system says: the time, and what a process has used.

use std::fs;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

/// The monotonic clock, in nanoseconds.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// CPU time of a process, in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    /// In ticks of 10 ms.
    pub user: f64,
    pub system: f64,
    /// To the nanosecond, of the threads that it has.
    threads: f64,
}

/// What is lost by counting in ticks, both ways of both.
const GRAIN: f64 = 0.04;

impl Cpu {
    /// What the process has used so far, and those that it has started.
    ///
    /// # Errors
    ///
    /// If it has ended, or this is not Linux.
    pub fn of(pid: u32) -> io::Result<Self> {
        let mut sum = Self::default();
        for pid in family(pid)? {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
            // The name is in parentheses, and may have any sign in it.
            let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
            let mut ticks = fields.skip(11).map(|field| field.parse::<f64>().ok());
            let (Some(user), Some(system)) = (ticks.next().flatten(), ticks.next().flatten())
            else {
                return Err(io::Error::other("no CPU times in its stat"));
            };
            // A tick is 10 ms on every Linux that counts.
            sum.user += user / 100.0;
            sum.system += system / 100.0;
            for task in fs::read_dir(format!("/proc/{pid}/task"))? {
                // A thread may end meanwhile, and not every Linux says how long it ran.
                let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
                let ran = text.split(' ').next().and_then(|ran| ran.parse::<f64>().ok());
                sum.threads += ran.unwrap_or(0.0) / 1e9;
            }
        }
        Ok(sum)
    }

    /// What it has used since an earlier look.
    ///
    /// # Errors
    ///
    /// As [`Cpu::of`].
    pub fn since(self, pid: u32) -> io::Result<Self> {
        let now = Self::of(pid)?;
        Ok(Self {
            user: now.user - self.user,
            system: now.system - self.system,
            threads: now.threads - self.threads,
        })
    }

    /// Of each of so many.
    #[must_use]
    pub fn each(self, count: f64) -> Self {
        let threads = self.sum() / count;
        Self { user: self.user / count, system: self.system / count, threads }
    }

    /// Both together: what its threads say, unless some have ended, whose time the ticks have.
    pub fn sum(self) -> f64 {
        let ticks = self.user + self.system;
        if self.threads > ticks - GRAIN { self.threads } else { ticks }
    }
}

/// The resident memory of a process and of those that it has started, in bytes.
///
/// # Errors
///
/// If it has ended, or this is not Linux.
pub fn resident(pid: u32) -> io::Result<u64> {
    let one = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kilobytes.map(|kilobytes| kilobytes << 10).ok_or_else(|| io::Error::other("it has ended"))
    };
    family(pid)?.into_iter().map(one).sum()
}

/// A process and all below it.
fn family(pid: u32) -> io::Result<Vec<u32>> {
    let mut all = vec![pid];
    let mut at = 0;
    while let Some(parent) = all.get(at) {
        // Every thread may have children of its own.
        for task in fs::read_dir(format!("/proc/{parent}/task"))? {
            let children = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
        at += 1;
    }
    Ok(all)
}

/// How long we wait until the memory does not change any more.
const CALM_WITHIN: Duration = Duration::from_secs(8);
const CALM: Duration = Duration::from_millis(400);

/// The resident memory once it does not change any more.
///
/// # Errors
///
/// As [`resident`].
pub fn calm(pid: u32) -> io::Result<u64> {
    let deadline = Instant::now() + CALM_WITHIN;
    let mut last = resident(pid)?;
    loop {
        thread::sleep(CALM);
        let now = resident(pid)?;
        if now == last || Instant::now() > deadline {
            return Ok(now);
        }
        last = now;
    }
}

/// Has as many descriptors as are needed, for this process and for what it starts.
///
/// # Errors
///
/// If the system does not let us have as many.
pub fn enough_descriptors(count: usize) -> Result<(), String> {
    let count = u64::try_from(count).map_err(|error| error.to_string())?;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= count) {
        return Ok(());
    }
    let more = Rlimit { current: Some(count), maximum };
    setrlimit(Resource::Nofile, more).map_err(|error| {
        format!("{count} open files are needed, and this system does not allow as many: {error}")
    })
}
