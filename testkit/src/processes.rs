//! Other processes, by their numbers.

use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

/// `kill -9` for a process and those that it has started: PostgreSQL's others would go by
/// themselves, but not at once, and it cannot start before that.
pub fn kill_with_children(id: u32) {
    let others = [vec![id], children(id)].concat();
    signal("KILL", &others);
    while others.iter().any(|&id| is_running(id)) {
        thread::sleep(Duration::from_millis(5));
    }
}

/// std sends only SIGKILL, and only to children.
pub(crate) fn signal(name: &str, processes: &[u32]) {
    if processes.is_empty() {
        return;
    }
    let mut kill = Command::new("kill");
    kill.args(["-s", name]).args(processes.iter().map(u32::to_string)).stderr(Stdio::null());
    // It may be that they have ended meanwhile.
    kill.status().expect("kill is there");
}

/// The processes that this one has started.
pub(crate) fn children(of: u32) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let of = of.to_string();
    ids.filter(|&id| stat(id).is_some_and(|(_, parent)| parent == of)).collect()
}

/// Not if it has ended, and only its parent has not taken note yet.
pub(crate) fn is_running(id: u32) -> bool {
    stat(id).is_some_and(|(state, _)| state != "Z")
}

/// The state of a process, and its parent's number.
fn stat(id: u32) -> Option<(String, String)> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name of the program is in parentheses, and may have some itself.
    let (_, after_name) = stat.rsplit_once(") ")?;
    let mut fields = after_name.split(' ').map(str::to_owned);
    Some((fields.next()?, fields.next()?))
}
