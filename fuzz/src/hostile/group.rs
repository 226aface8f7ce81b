//! A client's processes: their memory, their work, and their end.
//!
//! What they need and do is seen in /proc. To look through it takes as long as there are processes
//! on the machine. So a thread of its own does it, for all clients at once: the threads that serve
//! would answer late otherwise, and right clients would look wrong.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::process::Child;

/// How often the processes are looked at. It is less often if that takes long: so many times the
/// time that it takes passes between two looks.
const LOOK: Duration = Duration::from_millis(100);
const PAUSE: u32 = 4;

/// What the processes of a group need and do, together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// The most memory that each of them has ever had, in bytes.
    pub(super) memory: u64,
    /// How long they have been at work, in ticks of the system's clock.
    pub(super) worked: u64,
}

/// By the ids of groups.
type Groups = HashMap<i32, Option<Seen>>;

/// Looks at the processes of the groups that somebody asks for.
#[derive(Debug)]
pub(super) struct Census {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    groups: Groups,
    is_over: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Census {
    /// One that looks into /proc. Elsewhere than on Linux nothing is ever seen.
    pub(super) fn new() -> Self {
        Self::by(seen)
    }

    /// One that finds out by this function about all groups whose ids it is given.
    fn by(look: impl Fn(&mut Groups) + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        // Without the thread nothing is ever seen.
        drop(thread::Builder::new().name("census".to_owned()).spawn(move || own.run(&look)));
        Self { shared }
    }
}

impl Shared {
    fn run(&self, look: &dyn Fn(&mut Groups)) {
        let mut state = self.state();
        while !state.is_over {
            if state.groups.is_empty() {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            // Nothing of what was seen before somebody asked.
            let mut groups: Groups = state.groups.keys().map(|&id| (id, None)).collect();
            drop(state);
            let begun = Instant::now();
            look(&mut groups);
            let pause = LOOK.max(begun.elapsed() * PAUSE);
            state = self.state();
            for (id, seen) in groups {
                if let Some(known) = state.groups.get_mut(&id) {
                    *known = seen.or(*known);
                }
            }
            let end = Instant::now() + pause;
            while !state.is_over
                && let Some(left) = end.checked_duration_since(Instant::now())
            {
                let waited = self.changed.wait_timeout(state, left);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }
}

impl Drop for Census {
    fn drop(&mut self) {
        self.shared.state().is_over = true;
        self.shared.changed.notify_all();
    }
}

/// A client's process and the processes that it has started. Ended when dropped.
pub(super) struct Group {
    id: Option<i32>,
    shared: Arc<Shared>,
}

impl Group {
    pub(super) fn of(child: &Child, census: &Census) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self { id, shared: Arc::clone(&census.shared) }
    }

    /// What has been seen of it since this was called first, if that can be seen. It does not wait.
    pub(super) fn seen(&self) -> Option<Seen> {
        let id = self.id?;
        let mut state = self.shared.state();
        let is_new = !state.groups.contains_key(&id);
        let seen = *state.groups.entry(id).or_default();
        if is_new {
            self.shared.changed.notify_all();
        }
        seen
    }

    pub(super) fn end(&mut self) {
        let Some(id) = self.id.take() else { return };
        self.shared.state().groups.remove(&id);
        #[cfg(unix)]
        if let Some(id) = rustix::process::Pid::from_raw(id) {
            // An error says that the group has ended.
            let _ = rustix::process::kill_process_group(id, rustix::process::Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
    }
}

/// Looks through /proc once.
#[cfg(target_os = "linux")]
fn seen(groups: &mut Groups) {
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        if !process.file_name().as_encoded_bytes().first().is_some_and(u8::is_ascii_digit) {
            continue;
        }
        let path = process.path();
        let Ok(stat) = std::fs::read_to_string(path.join("stat")) else { continue };
        let Some((group, worked)) = group_and_work(&stat) else { continue };
        if let Some(seen) = groups.get_mut(&group)
            && let Some(peak) = peak(&path)
        {
            let seen = seen.get_or_insert_default();
            seen.memory += peak << 10;
            seen.worked += worked;
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn seen(_: &mut Groups) {}

/// What a process's `stat` says: its group, and its time in user mode and in the kernel.
#[cfg(target_os = "linux")]
fn group_and_work(stat: &str) -> Option<(i32, u64)> {
    // After the name, which is in parentheses: state, parent, group.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(2);
    let group = fields.next()?.parse().ok()?;
    let mut times = fields.skip(8).map(|time| time.parse::<u64>().ok());
    Some((group, times.next()?? + times.next()??))
}

/// The most memory that a process has had, in KiB. One that is over and not waited for has none.
#[cfg(target_os = "linux")]
fn peak(process: &std::path::Path) -> Option<u64> {
    let status = std::fs::read_to_string(process.join("status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    peak.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use tokio::process::Command;

    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]).kill_on_drop(true);
        #[cfg(unix)]
        command.process_group(0);
        command
    }

    async fn until<T>(mut found: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            if let Some(found) = found() {
                return found;
            }
            assert!(Instant::now() < deadline, "it is not seen");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// A machine may have thousands of processes, and little time for this one.
    #[tokio::test]
    #[cfg(unix)]
    async fn whoever_asks_does_not_wait_for_the_look_through_all_processes() {
        let (begun, is_begun) = mpsc::channel();
        let (go_on, is_to_go_on) = mpsc::channel();
        let census = Census::by(move |groups| {
            let _ = begun.send(groups.len());
            is_to_go_on.recv().expect("the test goes on");
            for seen in groups.values_mut() {
                *seen = Some(Seen { memory: 1, worked: 2 });
            }
        });
        let child = sh("exec sleep 60").spawn().expect("there is a shell");
        let group = Group::of(&child, &census);
        assert_eq!(group.seen(), None, "nobody has looked yet");
        assert_eq!(is_begun.recv_timeout(Duration::from_mins(1)), Ok(1));
        assert_eq!(group.seen(), None, "somebody looks, and is not ready");
        let later = sh("exec sleep 60").spawn().expect("there is a shell");
        let later = Group::of(&later, &census);
        assert_eq!(later.seen(), None);
        go_on.send(()).expect("it waits");
        assert_eq!(until(|| group.seen()).await, Seen { memory: 1, worked: 2 });
        assert_eq!(later.seen(), None, "the look had begun before it was asked for");
        assert_eq!(is_begun.recv_timeout(Duration::from_mins(1)), Ok(2));
        drop(go_on);
    }

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn memory_and_work_of_a_client_and_its_children_are_seen() {
        let census = Census::new();
        // The shell waits; it is its child that works.
        let child = sh("(while :; do :; done) & wait").spawn().expect("there is a shell");
        let idle = sh("exec sleep 60").spawn().expect("there is a shell");
        let [mut group, idle] = [Group::of(&child, &census), Group::of(&idle, &census)];
        let first = until(|| group.seen()).await;
        assert!(first.memory > 100 << 10, "{first:?}");
        until(|| group.seen().filter(|now| now.worked > first.worked + 5)).await;
        let at_rest = until(|| idle.seen()).await;
        assert!(at_rest.worked < 100 && at_rest.memory > 100 << 10, "{at_rest:?}");
        group.end();
        assert_eq!(group.seen(), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_name_with_spaces_and_parentheses_is_no_field() {
        let stat = "17 (a ) (b) S 1 42 42 0 -1 4194560 9 8 7 6 500 30 2 1 20 0 1 0";
        assert_eq!(group_and_work(stat), Some((42, 530)));
        assert_eq!(group_and_work("17 (a"), None);
    }
}
