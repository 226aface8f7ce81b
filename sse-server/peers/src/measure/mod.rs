//! The measurements, a file each, and what they have in common.

use std::fs;
use std::io;

use testkit::daemons::Daemons;

use crate::report::Report;
use crate::servers::Server;

pub mod connect;
pub mod engines;
pub mod fanout;
pub mod idle;
pub mod plots;
pub mod publish;
pub mod replay;
pub mod soak;
mod sql;

/// What the arguments ask for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// One round, and fewer cases.
    pub quick: bool,
    /// Another number of rounds than five.
    pub rounds: Option<usize>,
    /// Another number of streams than 10,000.
    pub streams: Option<usize>,
    /// How long `soak` takes.
    pub minutes: Option<u32>,
    /// Only these servers.
    pub servers: Vec<String>,
}

impl Options {
    /// How many rounds there are.
    pub fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 1 } else { 5 })
    }
}

/// Where a measurement runs, and what it writes into.
#[derive(Debug)]
pub struct Bench<'b> {
    pub daemons: &'b Daemons,
    pub options: &'b Options,
    pub report: &'b mut Report,
}

impl Bench<'_> {
    /// Those of these servers that are asked for, and have not failed twice in this bench.
    fn servers(&self, servers: &[Server]) -> Vec<Server> {
        let asked = &self.options.servers;
        let is_asked =
            |server: &&Server| asked.is_empty() || asked.iter().any(|name| name == server.name());
        let fails = |server: &&Server| self.report.remarks_of(server.name()) > 1;
        servers.iter().filter(is_asked).filter(|server| !fails(server)).copied().collect()
    }

    /// Ends what a bench that failed has left running.
    pub fn clear(&self) {
        stop(self.daemons);
    }

    /// How many rounds there are. In each, all servers take their turn.
    fn rounds(&self) -> usize {
        self.options.rounds()
    }

    /// What a peer cannot do is said, and leaves a hole in the table. What this server cannot do is
    /// an error.
    fn unless_a_peer_failed<T>(
        &mut self,
        server: Server,
        measured: Result<T, String>,
    ) -> Result<Option<T>, String> {
        match measured {
            Ok(measured) => Ok(Some(measured)),
            Err(why) if server == Server::Ours => Err(why),
            Err(why) => {
                stop(self.daemons);
                self.report.remark(why);
                Ok(None)
            }
        }
    }

    fn streams(&self) -> usize {
        self.options.streams.unwrap_or(10_000)
    }
}

/// Ends the servers, and deletes what they have written: gigabytes, after some rounds.
fn stop(daemons: &Daemons) {
    daemons.stop();
    for entry in fs::read_dir(daemons.folder()).into_iter().flatten().flatten() {
        let _ = fs::remove_dir_all(entry.path());
    }
}

/// Says which server it was.
fn failed(server: Server) -> impl Fn(io::Error) -> String {
    move |error| format!("{}: {error}", server.name())
}

fn names(servers: &[Server]) -> Vec<&'static str> {
    servers.iter().map(|server| server.name()).collect()
}

/// The value below which so many hundredths are, of sorted microseconds, in seconds.
fn hundredth(sorted: &[u32], part: usize) -> f64 {
    let index = (sorted.len() * part / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).map_or(f64::NAN, |micros| f64::from(*micros) / 1e6)
}
