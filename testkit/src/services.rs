//! Real services, which `cargo xtask test` starts and names in variables. Without them the tests
//! that want one say so.

use std::env;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use sqlx::{Connection, PgConnection};
use sse_server::relay::AmqpRelay;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::port::Port;
use crate::processes::{children, kill_with_children, signal};
use crate::rabbitmq::{self, Ports};

/// The URL of an empty PostgreSQL database for this test alone.
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
        // stderr directly: the test harness hides what tests print.
        let _ = writeln!(
            io::stderr(),
            "{}: left out, it needs {name}; `cargo xtask test` runs it",
            test.name().unwrap_or("a test")
        );
    }
    value
}

/// A service of a test's own, which may be killed and started. Killed when dropped.
pub struct Own {
    folder: tempfile::TempDir,
    ports: Ports,
    // Only to be dropped.
    _held: [Port; 3],
    kind: Kind,
    /// None: it speaks in the clear.
    certificates: Option<PathBuf>,
    child: Option<Child>,
}

enum Kind {
    Redis { program: String },
    Postgres { folder: String },
    RabbitMq { program: String, epmd: String },
}

/// Files that a service of TLS needs: `ca.pem`, `cert.pem` and `key.pem`.
const TLS: [&str; 3] = ["ca.pem", "cert.pem", "key.pem"];

impl Own {
    /// A Redis server that keeps nothing when it is stopped.
    pub async fn redis() -> Option<Self> {
        Self::new(Kind::Redis { program: variable("SSE_TEST_REDIS_SERVER")? }, None).await
    }

    /// The same, with the certificates in this folder, and nothing in the clear.
    pub async fn redis_with_tls(certificates: &Path) -> Option<Self> {
        let kind = Kind::Redis { program: variable("SSE_TEST_REDIS_SERVER")? };
        Self::new(kind, Some(certificates)).await
    }

    /// A PostgreSQL server.
    pub async fn postgres() -> Option<Self> {
        Self::new(Kind::Postgres { folder: variable("SSE_TEST_POSTGRES_BIN")? }, None).await
    }

    /// The same, with the certificates in this folder.
    pub async fn postgres_with_tls(certificates: &Path) -> Option<Self> {
        let kind = Kind::Postgres { folder: variable("SSE_TEST_POSTGRES_BIN")? };
        Self::new(kind, Some(certificates)).await
    }

    /// A RabbitMQ broker. Takes seconds to start.
    pub async fn rabbitmq() -> Option<Self> {
        let program = variable("SSE_TEST_RABBITMQ_SERVER")?;
        Self::new(Kind::RabbitMq { program, epmd: variable("SSE_TEST_EPMD")? }, None).await
    }

    /// The same, with the certificates in this folder.
    pub async fn rabbitmq_with_tls(certificates: &Path) -> Option<Self> {
        let program = variable("SSE_TEST_RABBITMQ_SERVER")?;
        let kind = Kind::RabbitMq { program, epmd: variable("SSE_TEST_EPMD")? };
        Self::new(kind, Some(certificates)).await
    }

    fn not_started(kind: Kind, certificates: Option<&Path>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let held = [Port::reserve(), Port::reserve(), Port::reserve()];
        let [amqp, nodes, epmd] = held.each_ref().map(Port::number);
        let ports = Ports { amqp, nodes, epmd };
        let certificates = certificates.map(Path::to_owned);
        Self { folder, ports, _held: held, kind, certificates, child: None }
    }

    async fn new(kind: Kind, certificates: Option<&Path>) -> Option<Self> {
        let mut this = Self::not_started(kind, certificates);
        if let Kind::Postgres { folder } = &this.kind {
            let mut initdb = this.as_user("postgres", &format!("{folder}/initdb"));
            initdb.arg("-D").arg(this.folder.path().join("data"));
            initdb.args(["-U", "postgres", "--auth=trust", "--no-sync", "--encoding=UTF8"]);
            assert!(initdb.stdout(Stdio::null()).status().expect("it starts").success());
        }
        this.start().await;
        Some(this)
    }

    const fn has_tls(&self) -> bool {
        self.certificates.is_some()
    }

    /// Copies them to where the service may read them, and only the service the key.
    fn take_certificates(&self, from: &Path) {
        for name in TLS {
            let own = self.folder.path().join(name);
            std::fs::copy(from.join(name), &own).expect("it can be copied");
            let owner = self.folder.path().metadata().expect("it is there").uid();
            std::os::unix::fs::chown(&own, Some(owner), None).expect("it is ours, or we are root");
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&own, mode).expect("it is ours, or we are root");
        }
    }

    /// Whether all connections that a client of PostgreSQL has but this one are encrypted.
    pub async fn connections_have_tls(&self) -> bool {
        let mut connection = PgConnection::connect(&self.url()).await.expect("it runs");
        let count = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                     WHERE NOT ssl AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
        let count: i64 =
            sqlx::query_scalar(count).fetch_one(&mut connection).await.expect("a count");
        count == 0
    }

    pub fn url(&self) -> String {
        let port = self.ports.amqp;
        match self.kind {
            Kind::Redis { .. } if self.has_tls() => format!("rediss://127.0.0.1:{port}"),
            Kind::RabbitMq { .. } if self.has_tls() => format!("amqps://127.0.0.1:{port}"),
            Kind::Redis { .. } => format!("redis://127.0.0.1:{port}"),
            Kind::Postgres { .. } => format!("postgres://postgres@127.0.0.1:{port}/postgres"),
            Kind::RabbitMq { .. } => format!("amqp://127.0.0.1:{port}"),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.amqp).into()
    }

    /// A PostgreSQL server that begins with what another one has now, and takes writes.
    pub async fn copy_of(other: &Self) -> Self {
        let Kind::Postgres { folder } = &other.kind else { panic!("PostgreSQL only") };
        let mut this = Self::not_started(Kind::Postgres { folder: folder.clone() }, None);
        this.start_from(other).await;
        this
    }

    /// Starts a PostgreSQL server anew with what another one has now. It takes writes, even if the
    /// other does not.
    pub async fn start_from(&mut self, other: &Self) {
        self.kill();
        let Kind::Postgres { folder } = &self.kind else { panic!("PostgreSQL only") };
        let data = self.folder.path().join("data");
        if data.exists() {
            std::fs::remove_dir_all(&data).expect("it is ours");
        }
        let mut copy = self.as_user("postgres", &format!("{folder}/pg_basebackup"));
        copy.args(["-h", "127.0.0.1", "-p", &other.ports.amqp.to_string(), "-U", "postgres"]);
        let copied = copy.args(["-c", "fast", "-D"]).arg(&data).status();
        assert!(copied.expect("it starts").success());
        std::fs::write(data.join("postgresql.auto.conf"), "").expect("it is ours");
        self.start().await;
    }

    /// Has a PostgreSQL server take no more writes, and waits until those under way are done. It
    /// lives on.
    pub async fn stop_writing(&self) {
        for statement in
            ["ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"]
        {
            let mut admin = PgConnection::connect(&self.url()).await.expect("it runs");
            sqlx::raw_sql(statement).execute(&mut admin).await.expect("done");
        }
        // A connection that is made later has the setting when all others have been told.
        let is_over =
            "SELECT current_setting('default_transaction_read_only') = 'on' AND NOT EXISTS (
                           SELECT FROM pg_stat_activity WHERE state <> 'idle'
                           AND backend_type = 'client backend' AND pid <> pg_backend_pid())";
        loop {
            let mut admin = PgConnection::connect(&self.url()).await.expect("it runs");
            if sqlx::query_scalar(is_over).fetch_one(&mut admin).await.expect("it answers") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Starts it, and waits until it answers.
    pub async fn start(&mut self) {
        let port = self.ports.amqp.to_string();
        let folder = self.folder.path();
        let mut command = match &self.kind {
            Kind::Redis { program } => {
                let mut command = Command::new(program);
                command.args(["--bind", "127.0.0.1", "--save", ""]);
                if self.has_tls() {
                    let [ca, cert, key] = TLS;
                    command.args(["--port", "0", "--tls-port", &port, "--tls-auth-clients", "no"]);
                    command.args(["--tls-ca-cert-file", ca, "--tls-cert-file", cert]);
                    command.args(["--tls-key-file", key]);
                } else {
                    command.args(["--port", &port]);
                }
                command
            }
            Kind::Postgres { folder: programs } => {
                let mut command = self.as_user("postgres", &format!("{programs}/postgres"));
                command.arg("-D").arg(folder.join("data")).args(["-p", &port]);
                command.args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]);
                command.args(["-c", &format!("unix_socket_directories={}", folder.display())]);
                if self.has_tls() {
                    let file = |name| folder.join(name).display().to_string();
                    command.args(["-c", "ssl=on"]);
                    command.args(["-c", &format!("ssl_cert_file={}", file(TLS[1]))]);
                    command.args(["-c", &format!("ssl_key_file={}", file(TLS[2]))]);
                }
                command
            }
            Kind::RabbitMq { program, .. } => {
                let mut command = self.as_user("rabbitmq", program);
                rabbitmq::configure(&mut command, folder, self.ports);
                // Then the script becomes the broker, so that we kill the right process.
                command.env("RUNNING_UNDER_SYSTEMD", "true");
                if self.has_tls() {
                    let file = folder.join("tls.conf");
                    let [ca, cert, key] = TLS.map(|name| folder.join(name).display().to_string());
                    let settings = format!(
                        "listeners.tcp = none\nlisteners.ssl.1 = 127.0.0.1:{port}\n\
                         ssl_options.cacertfile = {ca}\nssl_options.certfile = {cert}\n\
                         ssl_options.keyfile = {key}\nssl_options.verify = verify_none\n"
                    );
                    std::fs::write(&file, settings).expect("writable");
                    command.env("RABBITMQ_CONFIG_FILE", file).env_remove("RABBITMQ_NODE_PORT");
                }
                command
            }
        };
        // The folder is the service's by now.
        if let Some(certificates) = &self.certificates {
            self.take_certificates(certificates);
        }
        command.current_dir(folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("it starts"));
        self.answers().await;
    }

    /// Waits until it answers.
    pub async fn answers(&self) {
        let url = self.url();
        let answers = async {
            loop {
                let answers = match self.kind {
                    // This process does not trust its authority, so it cannot speak TLS with it.
                    _ if self.has_tls() && !matches!(self.kind, Kind::Postgres { .. }) => {
                        TcpStream::connect(("127.0.0.1", self.ports.amqp)).await.is_ok()
                    }
                    Kind::Redis { .. } => {
                        let client = redis::Client::open(&*url).expect("a URL");
                        client.get_multiplexed_async_connection().await.is_ok()
                    }
                    Kind::Postgres { .. } => PgConnection::connect(&url).await.is_ok(),
                    Kind::RabbitMq { .. } => AmqpRelay::open(&url).await.is_ok(),
                };
                if answers {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        // RabbitMQ takes several seconds, and many more beside others.
        tokio::time::timeout(Duration::from_mins(3), answers).await.expect("it answers");
    }

    /// Stops it at once. It cannot say goodbye; what PostgreSQL has committed is kept.
    pub fn stop(&mut self) {
        if let (Kind::Postgres { .. }, Some(child)) = (&self.kind, &self.child) {
            // Its "immediate shutdown", after which it has to recover.
            signal("QUIT", &[child.id()]);
            self.child.take().expect("just seen").wait().expect("it ends");
        } else {
            self.kill();
        }
    }

    /// `kill -9`, for all of its processes.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        kill_with_children(child.id());
        child.wait().expect("it ends");
    }

    /// It stands still: connections stay open, and nothing is answered.
    pub fn pause(&self) {
        signal("STOP", &self.processes());
    }

    /// It goes on.
    pub fn go_on(&self) {
        signal("CONT", &self.processes());
    }

    fn processes(&self) -> Vec<u32> {
        let child = self.child.as_ref().expect("it runs").id();
        [vec![child], children(child)].concat()
    }

    /// Has RabbitMQ write to disk what was declared; by itself it does so up to two seconds later.
    pub fn keep_declared(&self) {
        self.control(&["eval", "ok = mnesia:sync_log()."]);
    }

    /// `rabbitmqctl`.
    pub fn control(&self, args: &[&str]) {
        let Kind::RabbitMq { program, .. } = &self.kind else { panic!("not of RabbitMQ") };
        let program = program.replace("rabbitmq-server", "rabbitmqctl");
        let mut command = self.as_user("rabbitmq", &program);
        rabbitmq::configure(&mut command, self.folder.path(), self.ports);
        let done = command.args(args).stdin(Stdio::null()).output().expect("it starts");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// `kill -9` for one of the processes of PostgreSQL that serve connections, after which it ends
    /// all others too, and recovers.
    pub fn kill_one(&self) {
        let child = self.child.as_ref().expect("it runs");
        let serves = |id: &u32| {
            let title = std::fs::read_to_string(format!("/proc/{id}/cmdline"));
            title.is_ok_and(|title| title.contains("127.0.0.1"))
        };
        signal(
            "KILL",
            &children(child.id()).into_iter().find(serves).into_iter().collect::<Vec<_>>(),
        );
    }

    /// As a user whom PostgreSQL or RabbitMQ accepts, and who gets the folder.
    fn as_user(&self, user: &str, program: &str) -> Command {
        let mut words = as_user(user, self.folder.path()).into_iter().chain([program.to_owned()]);
        let mut command = Command::new(words.next().expect("a program"));
        command.args(words);
        command
    }
}

/// The words before a command that has to run as this user, who gets the folder and all in it. None
/// are needed if it is not root who asks.
pub fn as_user(user: &str, folder: &Path) -> Vec<String> {
    let owner = folder.metadata().expect("it is there").uid();
    let id = Command::new("id").arg("-u").output().expect("id is there");
    if id.stdout.trim_ascii() != b"0" {
        return Vec::new();
    }
    if owner == 0 {
        let chown = Command::new("chown").args(["-R", user]).arg(folder).status();
        assert!(chown.expect("chown is there").success());
    }
    let words = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups", "--"];
    words.map(str::to_owned).to_vec()
}

/// An address that leads to one of several servers. What is connected stays where it is.
pub struct StableAddress {
    address: SocketAddr,
    leads_to: Arc<Mutex<SocketAddr>>,
    accepting: JoinHandle<()>,
}

impl StableAddress {
    pub async fn of(server: &Own) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let leads_to = Arc::new(Mutex::new(server.address()));
        let to = leads_to.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let to = *to.lock().expect("no panic");
                tokio::spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(to).await {
                        copy_bidirectional(&mut client, &mut server).await.ok();
                    }
                });
            }
        });
        Self { address, leads_to, accepting }
    }

    /// A server's URL with this address in place of its own.
    pub fn url(&self, server: &Own) -> String {
        server.url().replace(&server.address().to_string(), &self.address.to_string())
    }

    /// From now on it leads there.
    pub fn lead_to(&self, server: SocketAddr) {
        *self.leads_to.lock().expect("no panic") = server;
    }
}

impl Drop for StableAddress {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.kill();
        if let Kind::RabbitMq { epmd, .. } = &self.kind {
            let mut command = Command::new(epmd);
            command.args(["-port", &self.ports.epmd.to_string(), "-kill"]).stdin(Stdio::null());
            command.stdout(Stdio::null()).stderr(Stdio::null());
            // It refuses until it has noticed that the broker is gone.
            for _ in 0..100 {
                if command.status().is_ok_and(|status| status.success()) {
                    break;
                }
                thread::sleep(Duration::from_millis(20));
            }
        }
    }
}
