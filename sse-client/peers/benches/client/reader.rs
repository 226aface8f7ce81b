//! A client at work, in a process of its own: what one leaves behind in the memory's allocator
//! makes the next one quicker or slower, and no program has five of them.

use std::env;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use sse_client_peers::{Client, Count, LIMIT, Meter, OURS, OURS_BY_HYPER, PEERS};
use tokio::runtime::{Builder, Runtime};

/// The argument that makes this program a reader; the client's name follows it.
pub(crate) const READ: &str = "--read";

/// One stream, from the request to its last event.
#[derive(Clone, Copy)]
pub(crate) struct Round {
    /// By the clock, in seconds.
    pub(crate) time: f64,
    /// What the client's thread has spent, in seconds.
    pub(crate) cpu: f64,
}

/// A reader's process. It ends with this.
pub(crate) struct Reader {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Reader {
    pub(crate) fn start(client: &Client) -> io::Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .args([READ, client.name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let answers =
            child.stdout.take().ok_or_else(|| io::Error::other("a reader without an output"))?;
        Ok(Self { child, answers: BufReader::new(answers) })
    }

    /// Has it read a stream up to so many events, and tells what that took and what was delivered.
    pub(crate) fn read(&mut self, url: &str, events: usize) -> Result<(Round, Count), String> {
        let mut answer = String::new();
        self.child
            .stdin
            .as_mut()
            .ok_or_else(|| io::Error::other("a reader without an input"))
            .and_then(|orders| writeln!(orders, "{url} {events}"))
            .and_then(|()| self.answers.read_line(&mut answer))
            .map_err(|error| error.to_string())?;
        let mut words = answer.split_whitespace();
        let mut word = || words.next().unwrap_or_default();
        match (word().parse(), word().parse(), word().parse(), word().parse()) {
            (Ok(time), Ok(cpu), Ok(events), Ok(data_len)) => {
                Ok((Round { time, cpu }, Count { events, data_len }))
            }
            _ => Err(answer.trim().to_owned()),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // Its input ends, and so does it.
        drop(self.child.stdin.take());
        drop(self.child.wait());
    }
}

/// Reads streams until standard input ends.
pub(crate) fn serve(name: &str) -> io::Result<()> {
    let known =
        [OURS, OURS_BY_HYPER, LIMIT].into_iter().chain(PEERS).find(|client| client.name == name);
    let client = known.ok_or_else(|| io::Error::other(format!("there is no client {name:?}")))?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    for line in io::stdin().lines() {
        let line = line?;
        let (url, events) = line.split_once(' ').unwrap_or_default();
        match measure(&runtime, &client, url, events.parse().unwrap_or_default()) {
            Ok((Round { time, cpu }, Count { events, data_len })) => {
                println!("{time} {cpu} {events} {data_len}");
            }
            Err(error) => println!("{}", error.replace('\n', " ")),
        }
    }
    Ok(())
}

fn measure(
    runtime: &Runtime,
    client: &Client,
    url: &str,
    events: usize,
) -> Result<(Round, Count), String> {
    let mut meter = Meter::new(events);
    let cpu = cpu_time();
    let start = Instant::now();
    let read = runtime.block_on((client.read)(url, &mut meter));
    let round = Round {
        time: start.elapsed().as_secs_f64(),
        cpu: cpu_time().saturating_sub(cpu).as_secs_f64(),
    };
    read.map_err(|error| error.to_string())?;
    Ok((round, meter.count()))
}

/// Of this thread, on which a client does all its work.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let part = |value: i64| u64::try_from(value).expect("time goes forward");
    Duration::from_secs(part(time.tv_sec)) + Duration::from_nanos(part(time.tv_nsec))
}
