//! `publish` on PostgreSQL: by our publish API, by `sse_publish` in transactions of `pgbench`, and
//! what it inserts without either.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use testkit::daemons::{Daemons, End, Ready, free_port};
use testkit::postgres;

use crate::servers::{Running, Server, ours_on};

/// What `sse_publish` consists of.
const FUNCTIONS: &str = include_str!("../../../src/storage/postgres/publish.sql");

/// A table as that of the events, with its indexes.
const FLOOR: &str = "
    DROP TABLE IF EXISTS floor;
    CREATE TABLE floor (LIKE django_eventstream_event INCLUDING ALL);
    CREATE SEQUENCE IF NOT EXISTS floor_eid CACHE 1000;
";

/// As long as the events of the other publishers.
const EVENT: usize = 240;

/// How many of them there are, and how many from each client at least.
const EVENTS: usize = 2_000;
const EACH: usize = 32;

/// How long our server may take to make its tables.
const WITHIN: Duration = Duration::from_secs(30);

/// Two of our servers on a database of their own.
#[derive(Debug)]
pub(super) struct Database {
    programs: PathBuf,
    folder: PathBuf,
    url: String,
    /// One that tells nobody.
    pub(super) alone: Running,
    /// One that tells other instances, by PostgreSQL.
    pub(super) relayed: Running,
}

impl Database {
    /// Starts all; none if there is no PostgreSQL with `pgbench` on this machine.
    pub(super) fn start(daemons: &Daemons) -> Result<Option<Self>, String> {
        let programs = postgres::programs().filter(|folder| folder.join("pgbench").is_file());
        let Some(programs) = programs else { return Ok(None) };
        let failed = |error: std::io::Error| format!("PostgreSQL: {error}");
        let folder = daemons.folder().join("postgres");
        let settings = ["-c", "max_connections=300"];
        let port = postgres::add(daemons, &programs, &folder, &settings).map_err(failed)?;
        daemons.wait()?;
        let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
        let own = daemons.folder().join("ours");
        fs::create_dir(&own).map_err(failed)?;
        let start = |args: &[&str]| {
            let port = free_port().map_err(failed)?;
            let mut command = ours_on(&url, port, &own).map_err(failed)?;
            command.args(args);
            let ready = Ready::Accepts(port);
            let pid = daemons.add("ours", command, &own, ready, End::KillGroup).map_err(failed)?;
            daemons.wait()?;
            Ok::<_, String>(Running { server: Server::Ours, port, pid })
        };
        let (alone, relayed) = (start(&[])?, start(&["--relay", &url])?);
        let this = Self { programs, folder: own, url, alone, relayed };
        // It listens before its tables are there.
        let deadline = Instant::now() + WITHIN;
        while let Err(why) = this.run("psql", &["-q", "-v", "ON_ERROR_STOP=1"], FUNCTIONS) {
            if Instant::now() > deadline {
                return Err(why);
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(Some(this))
    }

    /// How many events a second so many clients publish, each in a transaction, to as many channels
    /// in turn. Connecting does not count: `pgbench` begins when all are there, if it is told how
    /// many transactions each makes.
    pub(super) fn publish(
        &self,
        clients: usize,
        channels: usize,
        is_notified: bool,
    ) -> Result<f64, String> {
        let text = "x".repeat(EVENT);
        let notify = if is_notified { "on" } else { "off" };
        let script = format!(
            "\\set channel random(1, {channels})\n\
             SELECT set_config('sse_server.notify', '{notify}', false), \
             sse_publish('sql-' || :channel, 'message', '{text}');\n"
        );
        let each = (EVENTS / clients).max(EACH).to_string();
        let clients = clients.to_string();
        self.pgbench(&["-c", &clients, "-t", &each, "-M", "prepared"], &script)
    }

    /// How many rows a second one client inserts, so many in each statement and transaction, into a
    /// table as that of the events.
    pub(super) fn insert(&self, each: usize) -> Result<f64, String> {
        self.run("psql", &["-q", "-v", "ON_ERROR_STOP=1"], FLOOR)?;
        let text = "x".repeat(EVENT);
        let row = format!("('c', 'message', '{text}', nextval('floor_eid'), now())");
        let rows = vec![row; each].join(", ");
        let script =
            format!("INSERT INTO floor (channel, type, data, eid, created) VALUES {rows};\n");
        // The client sends the rows each time, as an application does.
        let count = EVENTS.to_string();
        let transactions = self.pgbench(&["-c", "1", "-t", &count, "-M", "simple"], &script)?;
        #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
        let each = each as f64;
        Ok(transactions * each)
    }

    /// How many transactions of this script there are in a second.
    fn pgbench(&self, args: &[&str], script: &str) -> Result<f64, String> {
        let said = self.run("pgbench", &[&["-n"], args].concat(), script)?;
        let tps = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next());
        tps.and_then(|tps| tps.parse().ok()).ok_or_else(|| format!("pgbench says {said}"))
    }

    /// Runs one of PostgreSQL's programs with a script, and returns what it prints.
    fn run(&self, program: &str, args: &[&str], script: &str) -> Result<String, String> {
        let file = self.folder.join("script.sql");
        let failed = |error: std::io::Error| format!("{program}: {error}");
        fs::write(&file, script).map_err(failed)?;
        let mut command = Command::new(self.programs.join(program));
        command.args(args).arg("-f").arg(&file).arg(&self.url);
        let output = command.output().map_err(failed)?;
        if !output.status.success() {
            return Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr)));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
