//! A client's processes: their memory, and their end.

use tokio::process::Child;

/// A client's process and the processes that it has started. Ended when dropped.
pub(super) struct Group {
    #[cfg(unix)]
    id: Option<rustix::process::Pid>,
}

impl Group {
    #[cfg(unix)]
    pub(super) fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self { id: id.and_then(rustix::process::Pid::from_raw) }
    }

    #[cfg(not(unix))]
    pub(super) fn of(_: &Child) -> Self {
        Self {}
    }

    pub(super) fn end(&mut self) {
        #[cfg(unix)]
        if let Some(id) = self.id.take() {
            // An error says that the group has ended.
            let _ = rustix::process::kill_process_group(id, rustix::process::Signal::KILL);
        }
    }

    /// The most that each of them has ever needed, together, in bytes.
    #[cfg(target_os = "linux")]
    pub(super) fn memory(&self) -> Option<u64> {
        let sum: u64 = self.members().filter_map(|(path, _)| peak(&path)).sum();
        (sum > 0).then_some(sum << 10)
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn memory(&self) -> Option<u64> {
        None
    }

    /// How long they have been at work, in ticks of the system's clock; 0 where that cannot be
    /// seen.
    #[cfg(target_os = "linux")]
    pub(super) fn worked(&self) -> u64 {
        // Of the fields after the name: the time in user mode, and in the kernel.
        let ticks = |stat: &str| -> Option<u64> {
            let mut fields = stat.split(' ').skip(11);
            let (user, kernel) = (fields.next()?, fields.next()?);
            Some(user.parse::<u64>().ok()? + kernel.parse::<u64>().ok()?)
        };
        self.members().filter_map(|(_, stat)| ticks(&stat)).sum()
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn worked(&self) -> u64 {
        0
    }

    /// The processes' places in /proc, and what their `stat` says after the name.
    #[cfg(target_os = "linux")]
    fn members(&self) -> impl Iterator<Item = (std::path::PathBuf, String)> {
        let group = self.id.map(|id| id.as_raw_nonzero().to_string());
        let processes = std::fs::read_dir("/proc").into_iter().flatten();
        processes.filter_map(move |process| {
            let path = process.ok()?.path();
            let stat = std::fs::read_to_string(path.join("stat")).ok()?;
            // After the name, which is in parentheses: state, parent, group.
            let (_, rest) = stat.rsplit_once(") ")?;
            let is_member = rest.split(' ').nth(2) == group.as_deref();
            is_member.then(|| (path, rest.to_owned()))
        })
    }
}

/// The most memory that a process has had, in KiB.
#[cfg(target_os = "linux")]
fn peak(process: &std::path::Path) -> Option<u64> {
    let status = std::fs::read_to_string(process.join("status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    peak.trim().strip_suffix(" kB")?.parse().ok()
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
    }
}
