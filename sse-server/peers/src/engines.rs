//! What events can be kept in, started as one would who must not lose any: each write is on disk
//! before it is answered, except where the name says otherwise.

use std::env;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use testkit::daemons::{Daemons, End, Ready, as_user, free_port};

/// Names a NATS server.
pub const NATS: &str = "SSE_BENCH_NATS_SERVER";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
    /// `appendfsync always`
    Redis,
    /// `appendfsync everysec`: a power cut takes up to two seconds.
    RedisEverysec,
    /// So many NATS servers with JetStream, and a stream that all of them keep. This server has no
    /// storage of the kind.
    JetStream(usize),
}

impl Engine {
    pub const ALL: [Self; 6] = [
        Self::Sqlite,
        Self::Postgres,
        Self::Redis,
        Self::RedisEverysec,
        Self::JetStream(1),
        Self::JetStream(3),
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::RedisEverysec => "redis-everysec",
            Self::JetStream(1) => "jetstream-1",
            Self::JetStream(_) => "jetstream-3",
        }
    }

    /// Starts it, and returns the value of `--storage`, or the port of a NATS server. It is empty;
    /// a NATS server that was killed finds what it had.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn start(self, daemons: &Daemons) -> Result<String, String> {
        let folder = daemons.folder().join(self.name());
        let failed = |error: io::Error| format!("{}: {error}", self.name());
        fs::create_dir_all(&folder).map_err(failed)?;
        let started = match self {
            Self::Sqlite => Ok(format!("sqlite:{}", folder.join("events.db").display())),
            Self::Postgres => postgres(daemons, &folder),
            Self::Redis => redis(daemons, &folder, "always"),
            Self::RedisEverysec => redis(daemons, &folder, "everysec"),
            Self::JetStream(servers) => nats(daemons, &folder, servers),
        };
        let started = started.map_err(failed)?;
        daemons.wait()?;
        Ok(started)
    }
}

fn named(variable: &str) -> io::Result<String> {
    env::var(variable).map_err(|_| io::Error::other(format!("say where it is in {variable}")))
}

fn postgres(daemons: &Daemons, folder: &Path) -> io::Result<String> {
    let programs = named("SSE_TEST_POSTGRES_BIN")?;
    let port = free_port()?;
    // It refuses to be root. Its defaults: `fsync` and `synchronous_commit` are on.
    let mut command = as_user("postgres", folder)?;
    command
        .args(["sh", "-c"])
        .arg(
            "\"$1\"/initdb -D \"$2\"/data -U postgres --auth=trust --encoding=UTF8 --locale=C || exit
             exec \"$1\"/postgres -D \"$2\"/data -p \"$3\" -c listen_addresses=127.0.0.1 \
             -c unix_socket_directories=\"$2\" -c max_connections=200",
        )
        .args(["sh", &programs])
        .arg(folder)
        .arg(port.to_string());
    let ready = Ready::Says("is ready to accept connections");
    daemons.add("PostgreSQL", command, folder, ready, End::Quit)?;
    Ok(format!("postgres://postgres@127.0.0.1:{port}/postgres"))
}

fn redis(daemons: &Daemons, folder: &Path, sync: &str) -> io::Result<String> {
    let port = free_port()?;
    let mut command = Command::new(named("SSE_TEST_REDIS_SERVER")?);
    command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]);
    command.args(["--appendfsync", sync, "--port", &port.to_string(), "--dir"]).arg(folder);
    let ready = Ready::Says("Ready to accept connections");
    daemons.add("Redis", command, folder, ready, End::KillGroup)?;
    Ok(format!("redis://127.0.0.1:{port}"))
}

/// Returns the port of the first of them.
fn nats(daemons: &Daemons, folder: &Path, servers: usize) -> io::Result<String> {
    let program = named(NATS)?;
    let ports: Vec<_> = (0..servers).map(|_| free_port()).collect::<Result<_, _>>()?;
    let between: Vec<_> = (0..servers).map(|_| free_port()).collect::<Result<_, _>>()?;
    for (number, (port, own)) in ports.iter().zip(&between).enumerate() {
        let folder = folder.join(number.to_string());
        fs::create_dir_all(&folder)?;
        let routes: Vec<_> =
            between.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
        let cluster = if servers == 1 {
            String::new()
        } else {
            format!(
                "server_name: n{number}\ncluster {{ name: all, listen: \"127.0.0.1:{own}\", routes: [{}] }}\n",
                routes.join(", ")
            )
        };
        let config = format!(
            "listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: \"{}\", sync_interval: always }}\n{cluster}",
            folder.join("data").display()
        );
        fs::write(folder.join("nats.conf"), config)?;
        let mut command = Command::new(&program);
        command.args(["--config", "nats.conf"]);
        daemons.add("NATS", command, &folder, Ready::Says("Server is ready"), End::KillGroup)?;
    }
    Ok(ports[0].to_string())
}
