//! Real services, which `cargo xtask test` starts and names in variables. Without them the tests that
//! want one say so.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::env;
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use sqlx::{Connection, PgConnection};

/// The URL of a PostgreSQL database that is empty, and nobody else's.
pub async fn postgres() -> Option<String> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let url = variable("SSE_TEST_POSTGRES")?;
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("test_{}_{count}", std::process::id());
    let mut connection = PgConnection::connect(&url).await.expect("PostgreSQL runs");
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::raw_sql(create).execute(&mut connection).await.expect("a database");
    connection.close().await.expect("closed");
    let (server, _) = url.rsplit_once('/').expect("a database");
    Some(format!("{server}/{name}"))
}

/// The URL of a Redis server, which other tests use too.
pub fn redis() -> Option<String> {
    variable("SSE_TEST_REDIS")
}

/// The URL of a broker, which other tests use too.
pub fn amqp() -> Option<String> {
    variable("SSE_TEST_AMQP")
}

pub fn variable(name: &str) -> Option<String> {
    let value = env::var(name).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        let test = thread::current();
        // Past the test harness, which keeps what tests print to itself.
        let _ = writeln!(
            io::stderr(),
            "{}: left out, it needs {name}; `cargo xtask test` runs it",
            test.name().unwrap_or("a test")
        );
    }
    value
}

/// A service of a test's own, which may be stopped and started. Killed when dropped.
pub struct Own {
    folder: tempfile::TempDir,
    port: u16,
    kind: Kind,
    child: Option<Child>,
}

enum Kind {
    Redis(String),
    Postgres(String),
}

impl Own {
    /// A Redis server that keeps nothing when it is stopped.
    pub async fn redis() -> Option<Self> {
        Self::new(Kind::Redis(variable("SSE_TEST_REDIS_SERVER")?)).await
    }

    /// A PostgreSQL server.
    pub async fn postgres() -> Option<Self> {
        Self::new(Kind::Postgres(variable("SSE_TEST_POSTGRES_BIN")?)).await
    }

    async fn new(kind: Kind) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
        let port = port.expect("a port").port();
        let mut this = Self { folder, port, kind, child: None };
        if let Kind::Postgres(programs) = &this.kind {
            let mut initdb = this.as_user(&format!("{programs}/initdb"));
            initdb.arg("-D").arg(this.folder.path().join("data"));
            initdb.args(["-U", "postgres", "--auth=trust", "--no-sync", "--encoding=UTF8"]);
            assert!(initdb.stdout(Stdio::null()).status().expect("it starts").success());
        }
        this.start().await;
        Some(this)
    }

    pub fn url(&self) -> String {
        match self.kind {
            Kind::Redis(_) => format!("redis://127.0.0.1:{}", self.port),
            Kind::Postgres(_) => format!("postgres://postgres@127.0.0.1:{}/postgres", self.port),
        }
    }

    /// Starts it, and waits until it answers.
    pub async fn start(&mut self) {
        let port = self.port.to_string();
        let mut command = match &self.kind {
            Kind::Redis(program) => {
                let mut command = Command::new(program);
                command.args(["--bind", "127.0.0.1", "--save", "", "--port", &port]);
                command
            }
            Kind::Postgres(programs) => {
                let mut command = self.as_user(&format!("{programs}/postgres"));
                command.arg("-D").arg(self.folder.path().join("data")).args(["-p", &port]);
                command.args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]);
                let sockets = self.folder.path().display();
                command.args(["-c", &format!("unix_socket_directories={sockets}")]);
                command
            }
        };
        command.current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("it starts"));
        let url = self.url();
        let answers = async {
            loop {
                let answers = match self.kind {
                    Kind::Redis(_) => {
                        let client = redis::Client::open(&*url).expect("a URL");
                        client.get_multiplexed_async_connection().await.is_ok()
                    }
                    Kind::Postgres(_) => PgConnection::connect(&url).await.is_ok(),
                };
                if answers {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), answers).await.expect("it answers");
    }

    /// Stops it at once, as a crash would; what PostgreSQL has committed is kept.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        match self.kind {
            Kind::Redis(_) => child.kill().expect("it is ours"),
            // SIGQUIT is its "immediate shutdown": no goodbye, recovery at the next start. SIGKILL
            // would leave processes behind.
            Kind::Postgres(_) => {
                let id = child.id().to_string();
                let sent = Command::new("kill").args(["-QUIT", &id]).status();
                assert!(sent.expect("kill is there").success());
            }
        }
        child.wait().expect("it ends");
    }

    /// As a user whom PostgreSQL accepts, and who gets the folder.
    fn as_user(&self, program: &str) -> Command {
        let owner = self.folder.path().metadata().expect("it is there").uid();
        let id = Command::new("id").arg("-u").output().expect("id is there");
        if id.stdout.trim_ascii() != b"0" {
            return Command::new(program);
        }
        if owner == 0 {
            let folder = self.folder.path();
            let chown = Command::new("chown").arg("postgres").arg(folder).status();
            assert!(chown.expect("chown is there").success());
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups", "--"]);
        command.arg(program);
        command
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.stop();
    }
}
