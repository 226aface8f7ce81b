//! Redis, PostgreSQL and RabbitMQ for the tests that need them: started here, on free ports of the
//! loopback address and in a throw-away folder, and stopped again however the tests end.

mod rabbitmq;

use std::env;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::signal;
use signal_hook::iterator::Signals;

use crate::process::{TICK, say};
use crate::setup::{Programs, is_root};
use crate::{Outcome, django, usage};
use rabbitmq::Ports;

/// How long all of them together may take to start. RabbitMQ takes longest, several seconds.
const READY_WITHIN: Duration = Duration::from_secs(90);
/// How long one may take to end before it is killed.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// What tests find them by: the address of each, and the programs for tests that need one to stop and
/// start.
pub(crate) const VARIABLES: [&str; 7] = [
    "SSE_TEST_REDIS",
    "SSE_TEST_POSTGRES",
    "SSE_TEST_AMQP",
    "SSE_TEST_REDIS_SERVER",
    "SSE_TEST_POSTGRES_BIN",
    "SSE_TEST_RABBITMQ_SERVER",
    "SSE_TEST_EPMD",
];

/// The programs, for tests that start their own.
pub(crate) fn programs(programs: &Programs) -> [(&'static str, &Path); 4] {
    [
        ("SSE_TEST_REDIS_SERVER", &programs.redis),
        ("SSE_TEST_POSTGRES_BIN", &programs.postgres),
        ("SSE_TEST_RABBITMQ_SERVER", &programs.rabbitmq),
        ("SSE_TEST_EPMD", &programs.epmd),
    ]
}

/// The running services. Dropped, they end and leave nothing.
#[derive(Debug)]
pub(crate) struct Services {
    running: Arc<Mutex<Running>>,
    variables: Vec<(&'static str, String)>,
}

#[derive(Debug)]
struct Running {
    folder: PathBuf,
    services: Vec<Service>,
    epmd: Option<(PathBuf, u16)>,
}

#[derive(Debug)]
struct Service {
    name: &'static str,
    child: Child,
    log: PathBuf,
    /// What it logs when it can be used.
    ready: &'static str,
    /// The signal after which it ends at once, and its children too.
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// SIGQUIT: PostgreSQL's processes are not in one group, and end only if it tells them to.
    Quit,
    KillGroup,
}

pub(crate) fn run(args: &[String]) -> Outcome {
    if let Some(arg) = args.first() {
        return Ok(usage(&format!("services knows no {arg:?}")));
    }
    let programs =
        Programs::set_up(&mut |mut command| command.status().is_ok_and(|status| status.success()))?;
    let services = Services::start(&programs)?;
    // What it prints is not to be mixed with the variables.
    let python = django::set_up(&mut |mut command| {
        command.stdout(io::stderr());
        command.status().is_ok_and(|status| status.success())
    });
    services.wait()?;
    for (name, value) in &services.variables {
        say(&format!("export {name}={value}"));
    }
    match python {
        Ok(python) => say(&format!("export {}='{}'", django::VARIABLE, python.display())),
        Err(why) => eprintln!("xtask: {why}"),
    }
    loop {
        // A signal ends us.
        thread::park();
    }
}

impl Services {
    /// Starts all of them, and does not wait.
    pub(crate) fn start(programs: &Programs) -> Result<Self, String> {
        // Not in the target folder, which other users may not be able to enter.
        let folder = env::temp_dir().join(format!("sse-services-{}", std::process::id()));
        let cannot = |error: io::Error| format!("cannot start the services: {error}");
        fs::create_dir(&folder).map_err(cannot)?;
        let running = Running { folder: folder.clone(), services: Vec::new(), epmd: None };
        let mut this = Self { running: Arc::new(Mutex::new(running)), variables: Vec::new() };
        this.stop_at_signals().map_err(cannot)?;
        this.redis(&programs.redis, &folder.join("redis")).map_err(cannot)?;
        this.postgres(&programs.postgres, &folder.join("postgres")).map_err(cannot)?;
        this.rabbitmq(programs, &folder.join("rabbitmq")).map_err(cannot)?;
        let own = self::programs(programs).map(|(name, path)| (name, path.display().to_string()));
        this.variables.extend(own);
        Ok(this)
    }

    /// Waits until all can be used.
    pub(crate) fn wait(&self) -> Result<(), String> {
        let deadline = Instant::now() + READY_WITHIN;
        for index in 0.. {
            loop {
                let mut running = lock(&self.running);
                let Some(service) = running.services.get_mut(index) else { return Ok(()) };
                let log = fs::read(&service.log).unwrap_or_default();
                let log = String::from_utf8_lossy(&log);
                if log.contains(service.ready) {
                    break;
                }
                let problem = match service.child.try_wait() {
                    Ok(Some(status)) => format!("has ended ({status})"),
                    _ if Instant::now() > deadline => "does not become ready".to_owned(),
                    _ => {
                        drop(running);
                        thread::sleep(TICK);
                        continue;
                    }
                };
                return Err(format!("{} {problem}; it said:\n{log}", service.name));
            }
        }
        Ok(())
    }

    /// Tells a command's tests where they are.
    pub(crate) fn hand_to(&self, command: &mut Command) {
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
    }

    /// Ctrl-C must not leave them running. They are in process groups of their own, so that they do
    /// not end before the tests that use them.
    fn stop_at_signals(&self) -> io::Result<()> {
        let mut signals = Signals::new([signal::SIGINT, signal::SIGTERM, signal::SIGHUP])?;
        let running = Arc::downgrade(&self.running);
        thread::spawn(move || {
            if let Some(signal) = signals.forever().next() {
                if let Some(running) = running.upgrade() {
                    lock(&running).stop();
                }
                std::process::exit(128 + signal);
            }
        });
        Ok(())
    }

    fn redis(&mut self, program: &Path, folder: &Path) -> io::Result<()> {
        fs::create_dir(folder)?;
        let port = free_port()?;
        let mut command = Command::new(program);
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"]);
        command.arg(port.to_string()).arg("--dir").arg(folder);
        self.add("Redis", command, folder, "Ready to accept connections", End::KillGroup)?;
        self.variables.push(("SSE_TEST_REDIS", format!("redis://127.0.0.1:{port}")));
        Ok(())
    }

    fn postgres(&mut self, programs: &Path, folder: &Path) -> io::Result<()> {
        fs::create_dir(folder)?;
        let port = free_port()?;
        // It refuses to be root.
        let mut command = as_user("postgres", folder)?;
        command
            .args(["sh", "-c"])
            .arg(
                "\"$1\"/initdb -D \"$2\"/data -U postgres --auth=trust --no-sync \
                 --encoding=UTF8 --locale=C || exit
                 exec \"$1\"/postgres -D \"$2\"/data -p \"$3\" -c listen_addresses=127.0.0.1 \
                 -c unix_socket_directories=\"$2\" -c fsync=off -c max_connections=200",
            )
            .arg("sh")
            .args([programs, folder])
            .arg(port.to_string());
        self.add("PostgreSQL", command, folder, "is ready to accept connections", End::Quit)?;
        let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
        self.variables.push(("SSE_TEST_POSTGRES", url));
        Ok(())
    }

    fn rabbitmq(&mut self, programs: &Programs, folder: &Path) -> io::Result<()> {
        fs::create_dir(folder)?;
        let ports = Ports { amqp: free_port()?, nodes: free_port()?, epmd: free_port()? };
        let mut command = as_user("rabbitmq", folder)?;
        rabbitmq::configure(command.arg(&programs.rabbitmq), folder, ports);
        lock(&self.running).epmd = Some((programs.epmd.clone(), ports.epmd));
        self.add("RabbitMQ", command, folder, "Server startup complete", End::KillGroup)?;
        self.variables.push(("SSE_TEST_AMQP", format!("amqp://127.0.0.1:{}", ports.amqp)));
        Ok(())
    }

    fn add(
        &self,
        name: &'static str,
        mut command: Command,
        folder: &Path,
        ready: &'static str,
        end: End,
    ) -> io::Result<()> {
        let log = folder.join("log");
        let file = File::create(&log)?;
        command.current_dir(folder).process_group(0).stdin(Stdio::null());
        command.stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", command.get_program().display()))
        })?;
        lock(&self.running).services.push(Service { name, child, log, ready, end });
        Ok(())
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        lock(&self.running).stop();
    }
}

impl Running {
    fn stop(&mut self) {
        for service in &self.services {
            match service.end {
                End::Quit => kill("QUIT", &service.child.id().to_string()),
                End::KillGroup => kill("KILL", &format!("-{}", service.child.id())),
            }
        }
        let deadline = Instant::now() + STOP_WITHIN;
        for mut service in self.services.drain(..) {
            while let Ok(None) = service.child.try_wait() {
                if Instant::now() > deadline {
                    let _ = service.child.kill();
                }
                thread::sleep(TICK);
            }
        }
        // Erlang's name server leaves the process group, and stays.
        if let Some((epmd, port)) = self.epmd.take() {
            let mut command = Command::new(epmd);
            command.args(["-port", &port.to_string(), "-kill"]).stdin(Stdio::null());
            let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn lock(running: &Mutex<Running>) -> std::sync::MutexGuard<'_, Running> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

/// std sends only SIGKILL, and only to one process.
fn kill(signal: &str, target: &str) {
    let mut kill = Command::new("sh");
    kill.args(["-c", "kill -s \"$1\" -- \"$2\" 2>/dev/null", "sh", signal, target]);
    let _ = kill.status();
}

/// A command that runs its arguments as this user if we are root, else as we are. The user gets the
/// folder.
fn as_user(user: &str, folder: &Path) -> io::Result<Command> {
    if !is_root() {
        return Ok(Command::new("env"));
    }
    let chown = Command::new("chown").arg(user).arg(folder).status()?;
    if !chown.success() {
        return Err(io::Error::other(format!("there is no user {user}")));
    }
    // Unlike su and runuser it leaves no parent in between, which would keep signals to itself.
    let mut command = Command::new("setpriv");
    command.args(["--reuid", user, "--regid", user, "--clear-groups"]);
    // Whatever happens to us.
    command.args(["--pdeathsig", "QUIT", "--"]);
    Ok(command)
}

/// A port that was free a moment ago.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
