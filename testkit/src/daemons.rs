//! Programs that serve until they are stopped. They start in a throw-away folder, each with a log
//! there, and are stopped however we end.

use std::env;
use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::ops::Range;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use signal_hook::consts::signal;
use signal_hook::iterator::Signals;

/// How often something that cannot wake us is looked at.
const TICK: Duration = Duration::from_millis(50);
/// How long all of them together may take to start. RabbitMQ takes longest: several seconds, and
/// many more on a machine that has much else to do.
const READY_WITHIN: Duration = Duration::from_mins(4);
/// How long one may take to end before it is killed.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// What has been started. Dropped, all of it ends and leaves nothing.
#[derive(Debug)]
pub struct Daemons {
    running: Arc<Mutex<Running>>,
    folder: PathBuf,
}

#[derive(Debug)]
struct Running {
    folder: PathBuf,
    daemons: Vec<Daemon>,
    /// A command that we wait for.
    guest: Option<Child>,
}

#[derive(Debug)]
struct Daemon {
    name: &'static str,
    child: Child,
    log: PathBuf,
    ready: Ready,
    end: End,
}

/// The sign that it is ready.
#[derive(Clone, Copy, Debug)]
pub enum Ready {
    /// It logs this.
    Says(&'static str),
    /// It accepts connections at this port.
    Accepts(u16),
}

/// What ends it at once, and its children too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// SIGQUIT: PostgreSQL's processes are not in one group, and end only if it tells them to.
    Quit,
    /// SIGTERM: the same is true of Pushpin.
    Terminate,
    KillGroup,
}

impl Daemons {
    /// None yet. The folder is in the system's place for such, since that of cargo's target may be
    /// one which other users cannot enter.
    pub fn new(name: &str) -> io::Result<Self> {
        let folder = new_folder(&env::temp_dir(), name)?;
        let running = Running { folder: folder.clone(), daemons: Vec::new(), guest: None };
        let running = Arc::new(Mutex::new(running));
        stop_at_signals(&running)?;
        Ok(Self { running, folder })
    }

    /// The folder for all of them.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts one without waiting. Returns its process id.
    pub fn add(
        &self,
        name: &'static str,
        mut command: Command,
        folder: &Path,
        ready: Ready,
        end: End,
    ) -> io::Result<u32> {
        let log = folder.join("log");
        let file = File::create(&log)?;
        command.current_dir(folder).process_group(0).stdin(Stdio::null());
        command.stdout(file.try_clone()?).stderr(file);
        let child = spawn(&mut command)?;
        let pid = child.id();
        lock(&self.running).daemons.push(Daemon { name, child, log, ready, end });
        Ok(pid)
    }

    /// Waits until all of them are ready.
    pub fn wait(&self) -> Result<(), String> {
        let deadline = Instant::now() + READY_WITHIN;
        for index in 0.. {
            loop {
                let mut running = lock(&self.running);
                let Some(daemon) = running.daemons.get_mut(index) else { return Ok(()) };
                let log = fs::read(&daemon.log).unwrap_or_default();
                let log = String::from_utf8_lossy(&log);
                let is_ready = match daemon.ready {
                    Ready::Says(what) => log.contains(what),
                    Ready::Accepts(port) => TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok(),
                };
                let problem = match daemon.child.try_wait() {
                    Ok(Some(status)) => format!("has ended ({status})"),
                    _ if is_ready => break,
                    _ if Instant::now() > deadline => "does not become ready".to_owned(),
                    _ => {
                        drop(running);
                        thread::sleep(TICK);
                        continue;
                    }
                };
                return Err(format!("{} {problem}; it said:\n{log}", daemon.name));
            }
        }
        Ok(())
    }

    /// Runs a command to its end. A signal ends it with the rest.
    pub fn run(&self, mut command: Command) -> io::Result<ExitStatus> {
        command.process_group(0).stdin(Stdio::null());
        lock(&self.running).guest = Some(spawn(&mut command)?);
        loop {
            let mut running = lock(&self.running);
            let ended = running.guest.as_mut().map(Child::try_wait).transpose()?.flatten();
            if let Some(status) = ended {
                running.guest = None;
                return Ok(status);
            }
            drop(running);
            thread::sleep(TICK);
        }
    }

    /// Ends all of them, and keeps the folder for others.
    pub fn stop(&self) {
        lock(&self.running).stop();
    }
}

/// Everything that a signal has to stop.
static ALL: Mutex<Vec<Weak<Mutex<Running>>>> = Mutex::new(Vec::new());

/// Ctrl-C must not leave any running. They are in process groups of their own, so that they do not
/// end before those who use them.
fn stop_at_signals(running: &Arc<Mutex<Running>>) -> io::Result<()> {
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    let is_first = all.is_empty();
    all.push(Arc::downgrade(running));
    if !is_first {
        return Ok(());
    }
    let mut signals = Signals::new([signal::SIGINT, signal::SIGTERM, signal::SIGHUP])?;
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            let all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
            for running in all.iter().filter_map(Weak::upgrade) {
                let mut running = lock(&running);
                running.stop();
                running.clear();
            }
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

impl Drop for Daemons {
    fn drop(&mut self) {
        let mut running = lock(&self.running);
        running.stop();
        running.clear();
    }
}

impl Running {
    fn stop(&mut self) {
        if let Some(mut guest) = self.guest.take() {
            let _ = kill_process_group(Pid::from_child(&guest), Signal::KILL);
            let _ = guest.wait();
        }
        for daemon in &self.daemons {
            let pid = Pid::from_child(&daemon.child);
            // It does not matter if it has ended already.
            let _ = match daemon.end {
                End::Quit => kill_process(pid, Signal::QUIT),
                End::Terminate => kill_process(pid, Signal::TERM),
                End::KillGroup => kill_process_group(pid, Signal::KILL),
            };
        }
        let deadline = Instant::now() + STOP_WITHIN;
        for mut daemon in self.daemons.drain(..) {
            while let Ok(None) = daemon.child.try_wait() {
                if Instant::now() > deadline {
                    let _ = daemon.child.kill();
                }
                thread::sleep(TICK);
            }
        }
    }

    fn clear(&self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A command that runs its arguments as this user if we are root, and as ourselves otherwise. The
/// user gets the folder.
pub fn as_user(user: &str, folder: &Path) -> io::Result<Command> {
    if !rustix::process::geteuid().is_root() {
        return Ok(Command::new("env"));
    }
    let chown = Command::new("chown").arg(user).arg(folder).status()?;
    if !chown.success() {
        return Err(io::Error::other(format!("there is no user {user}")));
    }
    // Unlike su and runuser it leaves no parent in between, which would keep signals to itself.
    let mut command = Command::new("setpriv");
    command.args(["--reuid", user, "--regid", user, "--clear-groups"]);
    // Even if we are killed.
    command.args(["--pdeathsig", "QUIT", "--"]);
    Ok(command)
}

fn spawn(command: &mut Command) -> io::Result<Child> {
    command.spawn().map_err(|error| {
        io::Error::new(error.kind(), format!("{}: {error}", command.get_program().display()))
    })
}

fn lock(running: &Mutex<Running>) -> MutexGuard<'_, Running> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a folder of this name, with something after it that makes it the only one. Another of this
/// process's number may have been left behind.
fn new_folder(place: &Path, name: &str) -> io::Result<PathBuf> {
    let mut number = 0;
    loop {
        let folder = place.join(format!("{name}-{}-{number}", std::process::id()));
        match fs::create_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            made => return made.map(|()| folder),
        }
    }
}

/// Below the ports that systems give to programs that ask for any, so that none is given away
/// between our look at it and the daemon's start.
const PORTS: Range<u16> = 20_000..32_000;

/// A free port of the loopback address, never the same twice. It stays free, except for programs
/// that ask for just this one.
pub fn free_port() -> io::Result<u16> {
    static NEXT: Mutex<Option<u16>> = Mutex::new(None);
    let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
    let mut port = next.unwrap_or_else(|| {
        // Others may be looking too: each begins somewhere else.
        let random = RandomState::new().build_hasher().finish();
        let offset = random % PORTS.len() as u64;
        PORTS.start + u16::try_from(offset).expect("there are fewer ports")
    });
    for _ in PORTS {
        let candidate = port;
        port = if port + 1 < PORTS.end { port + 1 } else { PORTS.start };
        if is_free(candidate) {
            *next = Some(port);
            return Ok(candidate);
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "there is no free port"))
}

/// By IPv6 too, which some daemons speak unasked; unless this machine does not.
fn is_free(port: u16) -> bool {
    let is_taken = |host: IpAddr| {
        let bound = TcpListener::bind((host, port));
        bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
    };
    !is_taken(Ipv4Addr::LOCALHOST.into()) && !is_taken(Ipv6Addr::LOCALHOST.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_was_left_behind_is_passed_over() {
        let place = tempfile::tempdir().expect("a temporary folder");
        let first = new_folder(place.path(), "x").expect("made");
        let second = new_folder(place.path(), "x").expect("made");
        assert!(first.is_dir() && second.is_dir() && first != second);
    }

    #[test]
    fn free_ports_differ_and_are_none_that_systems_give_away() {
        let ports: Vec<_> = (0..50).map(|_| free_port().expect("a port")).collect();
        let mut distinct = ports.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), ports.len());
        for port in ports {
            assert!(PORTS.contains(&port));
            // If this fails, somebody else has it by now.
            let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
            assert!(!is_free(port));
        }
    }
}
