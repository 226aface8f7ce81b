//! PostgreSQL and Redis, on files that are theirs alone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sse_server::config::StorageChoice;
use sse_server::storage::{Retention, Storage};
use testkit::port::Port;
use testkit::processes::kill_with_children;
use testkit::services::{self, as_user};

/// How long it may take to start on what is left of its files.
const STARTS_WITHIN: Duration = Duration::from_mins(1);

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Postgres { programs: String },
    Redis { program: String },
}

/// A database with settings of its own.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) kind: Kind,
    pub(crate) settings: Vec<&'static str>,
}

impl Service {
    pub(crate) fn postgres(settings: &[&'static str]) -> Option<Self> {
        let programs = services::variable("SSE_TEST_POSTGRES_BIN")?;
        Some(Self { kind: Kind::Postgres { programs }, settings: settings.to_vec() })
    }

    pub(crate) fn redis(settings: &[&'static str]) -> Option<Self> {
        let program = services::variable("SSE_TEST_REDIS_SERVER")?;
        Some(Self { kind: Kind::Redis { program }, settings: settings.to_vec() })
    }

    pub(crate) fn url(&self, port: &Port) -> String {
        match self.kind {
            Kind::Postgres { .. } => format!("postgres://postgres@{port}/postgres"),
            Kind::Redis { .. } => format!("redis://{port}"),
        }
    }

    /// Makes its files, in a folder of its own, and returns that of its data.
    pub(crate) fn prepare(&self, folder: &Path) -> PathBuf {
        let data = folder.join("data");
        match &self.kind {
            Kind::Postgres { programs } => {
                let initdb = format!("{programs}/initdb");
                // Small files, so that they are used up while it is looked at.
                let args = ["-U", "postgres", "--auth=trust", "--no-sync", "--wal-segsize=1", "-D"];
                let mut words = as_user("postgres", folder).into_iter().chain([initdb]);
                let mut command = Command::new(words.next().expect("a program"));
                command.args(words).args(args).arg(&data).stdout(Stdio::null());
                assert!(command.status().expect("it starts").success());
            }
            Kind::Redis { .. } => fs::create_dir(&data).expect("it can be made"),
        }
        data
    }

    /// The command that starts it.
    pub(crate) fn command(&self, folder: &Path, port: &Port) -> Vec<String> {
        let (data, number) = (folder.join("data").display().to_string(), port.number().to_string());
        let (mut words, args): (Vec<String>, _) = match &self.kind {
            Kind::Postgres { programs } => {
                let mut words = as_user("postgres", folder);
                words.push(format!("{programs}/postgres"));
                let sockets = format!("unix_socket_directories={}", folder.display());
                let settings = ["listen_addresses=127.0.0.1", "shared_buffers=1MB", &sockets];
                let settings = settings.into_iter().chain(["max_wal_size=2MB", "min_wal_size=2MB"]);
                let settings = settings.flat_map(|setting| ["-c".to_owned(), setting.to_owned()]);
                words.extend(settings);
                (words, vec!["-D".to_owned(), data, "-p".to_owned(), number])
            }
            Kind::Redis { program } => {
                let args = ["--bind", "127.0.0.1", "--port", &number, "--dir", &data];
                (vec![program.clone()], args.map(str::to_owned).to_vec())
            }
        };
        words.extend(args);
        words.extend(self.settings.iter().map(|&setting| setting.to_owned()));
        words
    }

    /// Starts it on files that were left. An error: it does not start, and what it said.
    pub(crate) async fn start(&self, folder: &Path, port: &Port) -> Result<Running, String> {
        if let Kind::Postgres { .. } = self.kind {
            let data = folder.join("data");
            fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).expect("it is ours");
            as_user("postgres", folder);
            // After a cut another process may have its number; it is not running.
            fs::remove_file(data.join("postmaster.pid")).ok();
        }
        let words = self.command(folder, port);
        let log = folder.join("log");
        let file = fs::File::create(&log).expect("writable");
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(folder).stdin(Stdio::null());
        command.stdout(file.try_clone().expect("a file")).stderr(file);
        let mut running = Running { child: command.spawn().expect("it starts"), storage: None };
        let choice = StorageChoice::parse(&self.url(port)).expect("a URL");
        let start = Instant::now();
        loop {
            if let Ok(storage) = choice.open(Retention::default()).await {
                running.storage = Some(storage);
                return Ok(running);
            }
            let has_ended = running.child.try_wait().expect("ours").is_some();
            if has_ended || start.elapsed() > STARTS_WITHIN {
                let said = fs::read_to_string(&log).unwrap_or_default();
                let last: Vec<&str> = said.lines().rev().take(6).collect();
                return Err(format!("it does not start: {}", last.join(" / ")));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Has Redis's own tool cut off what cannot be read of its log.
    pub(crate) fn repair(&self, folder: &Path) -> bool {
        let Kind::Redis { program } = &self.kind else { return false };
        let tool = program.replace("redis-server", "redis-check-aof");
        let logs = folder.join("data/appendonlydir");
        let manifests = fs::read_dir(logs).into_iter().flatten().flatten();
        let manifest = manifests
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "manifest"));
        let Some(manifest) = manifest else { return false };
        let mut command = Command::new(tool);
        command.arg("--fix").arg(manifest).stdin(Stdio::piped()).stdout(Stdio::null());
        let Ok(mut child) = command.stderr(Stdio::null()).spawn() else { return false };
        std::io::Write::write_all(child.stdin.as_mut().expect("piped"), b"y\ny\n").ok();
        child.wait().is_ok_and(|status| status.success())
    }
}

/// A database that runs, and our storage in it. Killed when dropped.
pub(crate) struct Running {
    child: Child,
    storage: Option<Arc<dyn Storage>>,
}

impl Running {
    pub(crate) fn storage(&self) -> &Arc<dyn Storage> {
        self.storage.as_ref().expect("it has started")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        kill_with_children(self.child.id());
        self.child.wait().expect("it ends");
    }
}
