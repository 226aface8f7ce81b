//! `publish`: how many events a second a server takes and makes durable, from publishers that each
//! wait for the answer, and in requests of 10,000 events.

use std::time::Duration;

use testkit::daemons::Daemons;

use crate::floor::{bare_sqlite, synced_writes};
use crate::load::{Published, Request, produce};
use crate::servers::{Running, Server};
use crate::system::Cpu;

/// How many publishers there are at once.
pub const CONNECTIONS: [usize; 4] = [1, 8, 64, 256];
/// How many events a batch has.
pub const BATCH: usize = 10_000;

/// Events a second, and the server's CPU time for each.
#[derive(Clone, Copy, Debug)]
pub struct Publishing {
    pub a_second: f64,
    /// Microseconds.
    pub user: f64,
    pub system: f64,
}

/// A server that is published to, and the number of the next event.
#[derive(Debug)]
pub struct Publishers {
    pub running: Running,
    next: u32,
}

impl Publishers {
    /// Starts a server.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn start(server: Server, daemons: &Daemons) -> Result<Self, String> {
        let running = server.start(daemons)?;
        running.make_channel().map_err(|error| error.to_string())?;
        Ok(Self { running, next: 0 })
    }

    /// Publishes single events on so many connections.
    ///
    /// # Errors
    ///
    /// If the server refuses an event, or ends.
    pub fn single(&mut self, connections: usize, time: Duration) -> Result<Publishing, String> {
        self.produce(&self.running.server.publish(1, 1)[0], connections, time)
    }

    /// Publishes batches on one connection.
    ///
    /// # Errors
    ///
    /// As [`Publishers::single`].
    pub fn batches(&mut self, time: Duration) -> Result<Publishing, String> {
        self.produce(&self.running.server.publish(BATCH, 1)[0], 1, time)
    }

    fn produce(
        &mut self,
        request: &Request,
        connections: usize,
        time: Duration,
    ) -> Result<Publishing, String> {
        let Running { server, port, pid } = self.running;
        let failed = |error: std::io::Error| format!("{}: {error}", server.name());
        let mut cpu = Cpu::default();
        let begin = || cpu = Cpu::of(pid).unwrap_or_default();
        let published = produce(port, request, connections, time, &mut self.next, begin);
        let Published { events, seconds } = published.map_err(failed)?;
        let cpu = cpu.since(pid).map_err(failed)?;
        #[expect(clippy::cast_precision_loss, reason = "a few millions")]
        let events = events as f64;
        Ok(Publishing {
            a_second: events / seconds,
            user: cpu.user * 1e6 / events,
            system: cpu.system * 1e6 / events,
        })
    }
}

/// The floors, in events a second.
///
/// # Errors
///
/// If the disk refuses.
pub fn floors(daemons: &Daemons, time: Duration) -> Result<Vec<(String, f64)>, String> {
    let folder = daemons.folder();
    let writes = synced_writes(folder, time).map_err(|error| error.to_string())?;
    let mut floors = vec![("write, fdatasync".to_owned(), writes)];
    for each in CONNECTIONS {
        let each = u32::try_from(each).map_err(|error| error.to_string())?;
        let rows = bare_sqlite(folder, each, time).map_err(|error| error.to_string())?;
        floors.push((format!("SQLite, {each} a commit"), rows));
    }
    Ok(floors)
}
