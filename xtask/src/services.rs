//! Redis, PostgreSQL and RabbitMQ for the tests that need them: started here, on free ports of the
//! loopback address and in a throw-away folder, and stopped again however the tests end.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use crate::process::{say, shown};
use crate::setup::{self, Programs};
use crate::{Outcome, django, nothing_more};
use testkit::daemons::{Daemons, End, Ready, as_user, free_port};
use testkit::postgres;
use testkit::rabbitmq::{self, Ports};

/// The variables by which tests find them: addresses, and programs for tests that stop and start a
/// service of their own.
pub(crate) const VARIABLES: [&str; 9] = [
    "SSE_TEST_REDIS",
    "SSE_TEST_POSTGRES",
    "SSE_TEST_AMQP",
    "SSE_TEST_REDIS_SERVER",
    "SSE_TEST_POSTGRES_BIN",
    "SSE_TEST_RABBITMQ_SERVER",
    "SSE_TEST_EPMD",
    PGBOUNCER,
    PUSHPIN,
];

const PGBOUNCER: &str = "SSE_TEST_PGBOUNCER";
pub(crate) const PUSHPIN: &str = "SSE_TEST_PUSHPIN";

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
    daemons: Daemons,
    variables: Vec<(&'static str, String)>,
}

pub(crate) fn run(args: &mut lexopt::Parser) -> Outcome {
    nothing_more(args)?;
    let programs = Programs::set_up(&mut shown)?;
    let mut services = Services::start(&programs)?;
    // Their output must not get between the variables.
    let mut aside = |mut command: Command| {
        command.stdout(io::stderr());
        shown(command)
    };
    services.know(&setup::between(&mut aside));
    let python = django::set_up(&mut aside);
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
    /// Starts all of them without waiting.
    pub(crate) fn start(programs: &Programs) -> Result<Self, String> {
        let cannot = |error: io::Error| format!("cannot start the services: {error}");
        let daemons = Daemons::new("sse-services").map_err(cannot)?;
        let folder = daemons.folder().to_owned();
        let mut this = Self { daemons, variables: Vec::new() };
        this.redis(&programs.redis, &folder.join("redis")).map_err(cannot)?;
        this.postgres(&programs.postgres, &folder.join("postgres")).map_err(cannot)?;
        this.rabbitmq(programs, &folder.join("rabbitmq")).map_err(cannot)?;
        let own = self::programs(programs).map(|(name, path)| (name, path.display().to_string()));
        this.variables.extend(own);
        Ok(this)
    }

    /// Adds programs that are not started here.
    pub(crate) fn know(&mut self, programs: &[(&str, PathBuf)]) {
        for (program, variable) in [("pgbouncer", PGBOUNCER), ("pushpin", PUSHPIN)] {
            let found = programs.iter().find(|(name, _)| *name == program);
            self.variables.extend(found.map(|(_, path)| (variable, path.display().to_string())));
        }
    }

    /// Waits until all of them are ready.
    pub(crate) fn wait(&self) -> Result<(), String> {
        self.daemons.wait()
    }

    /// Tells a command's tests where they are.
    pub(crate) fn hand_to(&self, command: &mut Command) {
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
    }

    fn redis(&mut self, program: &Path, folder: &Path) -> io::Result<()> {
        fs::create_dir(folder)?;
        let port = free_port()?;
        let mut command = Command::new(program);
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"]);
        command.arg(port.to_string()).arg("--dir").arg(folder);
        let ready = Ready::Says("Ready to accept connections");
        self.daemons.add("Redis", command, folder, ready, End::KillGroup)?;
        self.variables.push(("SSE_TEST_REDIS", format!("redis://127.0.0.1:{port}")));
        Ok(())
    }

    fn postgres(&mut self, programs: &Path, folder: &Path) -> io::Result<()> {
        let settings = ["-c", "fsync=off", "-c", "max_connections=200"];
        let port = postgres::add(&self.daemons, programs, folder, &settings)?;
        let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
        self.variables.push(("SSE_TEST_POSTGRES", url));
        Ok(())
    }

    fn rabbitmq(&mut self, programs: &Programs, folder: &Path) -> io::Result<()> {
        fs::create_dir(folder)?;
        let ports = Ports { amqp: free_port()?, nodes: free_port()?, epmd: free_port()? };
        // Erlang's name server. One that RabbitMQ starts leaves the process group, and stays.
        let names = folder.join("names");
        fs::create_dir(&names)?;
        let mut epmd = as_user("rabbitmq", &names)?;
        epmd.arg(&programs.epmd).args(["-address", "127.0.0.1", "-port", &ports.epmd.to_string()]);
        self.daemons.add("epmd", epmd, &names, Ready::Accepts(ports.epmd), End::KillGroup)?;
        let mut command = as_user("rabbitmq", folder)?;
        rabbitmq::configure(command.arg(&programs.rabbitmq), folder, ports);
        let ready = Ready::Says("Server startup complete");
        self.daemons.add("RabbitMQ", command, folder, ready, End::KillGroup)?;
        self.variables.push(("SSE_TEST_AMQP", format!("amqp://127.0.0.1:{}", ports.amqp)));
        Ok(())
    }
}
