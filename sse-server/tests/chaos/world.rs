//! Three instances on one database, with a relay between them, and what can happen to them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use sqlx::{Connection, PgConnection};
use sse_server::storage::{PostgresStorage, Storage};
use tempfile::TempDir;
use testkit::django::Django;
use testkit::pushpin::Pushpin;
use testkit::services;
use tokio::time::sleep;

use crate::server::Server;
use crate::services::{Own, StableAddress};
use crate::traffic::{CHANNELS, Record};

pub(crate) const INSTANCES: usize = 3;

/// How instances tell each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relay {
    Redis,
    /// The database itself.
    Postgres,
    Amqp,
}

/// What happens. Everything is ended as by `kill -9`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The relay ends.
    Relay,
    /// What listens to the relay is cut off. What sends over it may not be.
    Listeners,
    /// The database ends.
    Database,
    /// One process of the database ends, after which it begins anew by itself.
    DatabaseProcess,
    /// The database takes no more writes and lives on; then another one takes over, at the same
    /// address.
    FailOver,
    /// The relay lets nothing through that is published, until there is memory again.
    Blocked,
    /// An instance ends.
    Instance(usize),
    /// What reads the log of an instance ends, and does not come back.
    LogReader(usize),
    /// The proxy that holds the connections ends, and so do these.
    Proxy,
    /// A Django site that publishes, in the same database and over the same relay, ends.
    Django,
}

#[derive(PartialEq, Eq)]
enum Struck {
    Database,
    Relay,
    Instance(usize),
    Proxy,
    Django,
}

impl Relay {
    /// What can happen, each kind once.
    pub(crate) fn faults(self, proxied: bool, random: &mut Rng) -> Vec<Fault> {
        let mut faults = match self {
            Self::Redis if proxied => {
                vec![Fault::Relay, Fault::Database, Fault::Proxy, Fault::Django]
            }
            Self::Redis => vec![Fault::Relay, Fault::Listeners, Fault::Database],
            Self::Postgres => vec![Fault::Listeners, Fault::Database, Fault::DatabaseProcess],
            Self::Amqp => {
                vec![Fault::Relay, Fault::Blocked, Fault::Database, Fault::DatabaseProcess]
            }
        };
        faults.push(Fault::FailOver);
        faults.push(Fault::Instance(random.usize(..INSTANCES)));
        faults.push(Fault::LogReader(random.usize(..INSTANCES)));
        random.shuffle(&mut faults);
        faults
    }
}

impl Fault {
    /// Whether both strike the same.
    pub(crate) fn is_of(self, other: Self) -> bool {
        self == other || self.strikes() == other.strikes()
    }

    fn strikes(self) -> Struck {
        match self {
            Self::Database | Self::DatabaseProcess | Self::FailOver => Struck::Database,
            Self::Relay | Self::Listeners | Self::Blocked => Struck::Relay,
            Self::Instance(number) | Self::LogReader(number) => Struck::Instance(number),
            Self::Proxy => Struck::Proxy,
            Self::Django => Struck::Django,
        }
    }
}

pub(crate) struct World {
    kind: Relay,
    /// None: it is the database.
    relay: Option<Own>,
    database: Own,
    /// Where the database is found.
    address: StableAddress,
    /// The one before, which lives on and takes no writes.
    left: Option<Own>,
    pub(crate) instances: Vec<Server>,
    /// What readers connect to, if it is not the instances.
    pub(crate) pushpin: Option<Pushpin>,
    /// Publishes too.
    pub(crate) django: Option<Django>,
    // Only to be dropped: the instances' settings.
    _settings: TempDir,
    /// To see what is stored.
    storage: PostgresStorage,
    record: Arc<Record>,
}

impl World {
    /// None if what is needed is not there.
    pub(crate) async fn start(kind: Relay, proxied: bool, record: Arc<Record>) -> Option<Self> {
        let mut pushpin = if proxied { Some(Pushpin::reserve()?) } else { None };
        let python = if proxied { Some(services::variable("SSE_TEST_DJANGO")?) } else { None };
        let database = Own::postgres().await?;
        let relay = match kind {
            Relay::Redis => Some(Own::redis().await?),
            Relay::Postgres => None,
            Relay::Amqp => Some(Own::rabbitmq().await?),
        };
        let address = StableAddress::of(&database).await;
        let database_url = address.url(&database);
        let url = relay.as_ref().map_or_else(|| database_url.clone(), Own::url);
        let mut django = None;
        if let Some(python) = python {
            // Its tables are there first, as where a site begins with this server.
            let (_, place) = database_url.rsplit_once(':').expect("a port");
            django = Some(Django::start(&python, Some(&url), "model", place).await);
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let settings = folder.path().join("settings.toml");
        let grip = pushpin.as_ref().map(|pushpin| {
            format!("[grip]\nurls = [\"{}\"]\nlink-timeout = \"3s\"\n", pushpin.grip_url())
        });
        std::fs::write(&settings, grip.unwrap_or_default()).expect("it is ours");
        let settings = settings.display().to_string();
        let mut instances = Vec::new();
        for _ in 0..INSTANCES {
            let flags = ["--relay", &url, "--refresh", "1s", "--config", &settings];
            let flags = if proxied { &flags[..] } else { &flags[..4] };
            instances.push(Server::start_on(&database_url, flags).await);
        }
        if let Some(pushpin) = &mut pushpin {
            let addresses: Vec<_> = instances.iter().map(|instance| instance.address).collect();
            pushpin.in_front_of(&addresses).await;
        }
        let storage = PostgresStorage::open(&database_url).await.expect("it answers");
        let left = None;
        Some(Self {
            kind,
            relay,
            database,
            address,
            left,
            instances,
            pushpin,
            django,
            _settings: folder,
            storage,
            record,
        })
    }

    /// What readers may connect to.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        match &self.pushpin {
            Some(pushpin) => vec![pushpin.address()],
            None => self.instances.iter().map(|instance| instance.address).collect(),
        }
    }

    pub(crate) async fn strike(&mut self, fault: Fault) {
        self.record.note(format!("strikes: {fault:?}"));
        match fault {
            Fault::Relay => self.relay.as_mut().expect("it has one").kill(),
            Fault::Listeners => self.cut_listeners().await,
            Fault::Database => self.database.kill(),
            Fault::DatabaseProcess => self.database.kill_one(),
            Fault::FailOver => self.database.stop_writing().await,
            Fault::Blocked => self.limit_memory("0.000001"),
            Fault::Instance(number) => self.instances[number].kill().await,
            Fault::LogReader(number) => self.instances[number].leave_log(),
            Fault::Proxy => self.pushpin.as_mut().expect("it has one").kill(),
            Fault::Django => self.django.as_mut().expect("it has one").kill().await,
        }
        self.record.note(format!("has struck: {fault:?}"));
    }

    pub(crate) async fn mend(&mut self, fault: Fault) {
        self.record.note(format!("is mended: {fault:?}"));
        match fault {
            Fault::Relay => self.relay.as_mut().expect("it has one").start().await,
            Fault::Database => self.database.start().await,
            Fault::DatabaseProcess => self.database.answers().await,
            Fault::FailOver => {
                let new = Own::copy_of(&self.database).await;
                self.address.lead_to(new.address());
                let url = self.address.url(&self.database);
                self.storage = PostgresStorage::open(&url).await.expect("it answers");
                self.left = Some(std::mem::replace(&mut self.database, new));
            }
            Fault::Blocked => self.limit_memory("0.4"),
            Fault::Instance(number) => self.instances[number].restart().await,
            Fault::Proxy => self.pushpin.as_mut().expect("it has one").again().await,
            Fault::Django => self.django.as_mut().expect("it has one").restart().await,
            // They come back by themselves, or not at all.
            Fault::Listeners | Fault::LogReader(_) => {}
        }
        self.record.note(format!("is well: {fault:?}"));
    }

    /// Where channels end.
    pub(crate) async fn ends(&self) -> Option<std::collections::HashMap<&'static str, u64>> {
        let heads = self.storage.heads(&CHANNELS).await.ok()?;
        Some(CHANNELS.into_iter().zip(heads).collect())
    }

    /// What the database is doing, and where Django is, on standard error: for who looks why
    /// something does not get on.
    pub(crate) async fn say_where(&self) {
        let activity = "SELECT concat_ws(' | ', pid, pg_blocking_pids(pid), state, wait_event_type, \
                        wait_event, now() - xact_start, query) FROM pg_stat_activity \
                        WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
        if let Ok(mut connection) = PgConnection::connect(&self.database.url()).await {
            let rows = sqlx::query_scalar::<_, String>(activity).fetch_all(&mut connection).await;
            eprintln!("the database: {rows:#?}");
        }
        if let Some(django) = &self.django {
            django.say_where().await;
        }
    }

    fn limit_memory(&self, share: &str) {
        let relay = self.relay.as_ref().expect("it has one");
        tokio::task::block_in_place(|| relay.control(&["set_vm_memory_high_watermark", share]));
    }

    async fn cut_listeners(&self) {
        let url = self.relay.as_ref().unwrap_or(&self.database).url();
        match self.kind {
            Relay::Redis => {
                let client = redis::Client::open(&*url).expect("a URL");
                // It may have been killed just now, which cuts them off as well.
                if let Ok(mut connection) = client.get_multiplexed_async_connection().await {
                    let mut kill = redis::cmd("CLIENT");
                    kill.arg(&["KILL", "TYPE", "pubsub"]);
                    kill.query_async::<i64>(&mut connection).await.ok();
                }
            }
            Relay::Postgres => {
                if let Ok(mut connection) = PgConnection::connect(&url).await {
                    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                               WHERE query LIKE 'LISTEN %'";
                    sqlx::query(cut).execute(&mut connection).await.ok();
                }
            }
            Relay::Amqp => unreachable!("not among its faults"),
        }
        sleep(Duration::from_millis(10)).await;
    }
}
