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
        let group = self.id?.as_raw_nonzero().to_string();
        let processes = std::fs::read_dir("/proc").ok()?;
        let peaks = processes.filter_map(|process| {
            let path = process.ok()?.path();
            let stat = std::fs::read_to_string(path.join("stat")).ok()?;
            // After the name, which is in parentheses: state, parent, group.
            let (_, rest) = stat.rsplit_once(") ")?;
            if rest.split(' ').nth(2)? != group {
                return None;
            }
            let status = std::fs::read_to_string(path.join("status")).ok()?;
            let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
            peak.trim().strip_suffix(" kB")?.parse::<u64>().ok()
        });
        let sum: u64 = peaks.sum();
        (sum > 0).then_some(sum << 10)
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn memory(&self) -> Option<u64> {
        None
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
    }
}
