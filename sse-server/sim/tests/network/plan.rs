//! What a run is: who is there, and what goes wrong when. All of it follows from the seed.

use std::fmt;

use fastrand::Rng;

/// A time in milliseconds from the beginning of a run.
pub(crate) type Millis = u64;

/// How many servers there are, over one storage.
pub(crate) const SERVERS: usize = 2;

/// For how long things are published.
pub(crate) const LENGTH: Millis = 30_000;

/// How long nothing goes wrong at the end.
pub(crate) const CALM: Millis = 50_000;

/// How long a shutdown may take.
pub(crate) const DRAIN: Millis = 10_000;

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) readers: usize,
    pub(crate) publishers: usize,
    /// What tails may keep in memory, in bytes.
    pub(crate) memory: usize,
    pub(crate) troubles: Vec<Trouble>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Trouble {
    pub(crate) at: Millis,
    pub(crate) until: Millis,
    pub(crate) what: What,
}

/// Clients are the readers and then the publishers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// What the one sends to the other is lost, and connections that lose something are dead.
    Lost {
        client: usize,
        server: usize,
        way: Way,
    },
    /// What is sent arrives when this is over.
    Held {
        client: usize,
        server: usize,
    },
    /// So many bytes a second get through.
    Slow {
        client: usize,
        server: usize,
        bytes: u64,
    },
    /// Each part takes up to so long, so that others overtake it.
    Late {
        client: usize,
        server: usize,
        most: Millis,
    },
    Crash(usize),
    Drain(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    ToServer,
    ToClient,
    Both,
}

impl Plan {
    pub(crate) fn of(seed: u64) -> Self {
        let random = &mut Rng::with_seed(seed ^ 0x006e_6574);
        let (readers, publishers) = (random.usize(1..=3), random.usize(1..=2));
        let memory = [600, 64 << 10][random.usize(0..2)];
        let mut troubles: Vec<Trouble> = Vec::new();
        for _ in 0..random.usize(1..=9) {
            let trouble = Trouble::random(random, readers + publishers);
            // One at a time of each link, and of each server.
            if !troubles.iter().any(|other| other.meets(&trouble)) {
                troubles.push(trouble);
            }
        }
        troubles.sort_by_key(|trouble| trouble.at);
        Self { seed, readers, publishers, memory, troubles }
    }

    pub(crate) fn clients(&self) -> usize {
        self.readers + self.publishers
    }

    /// When nothing is wrong any more.
    pub(crate) fn calm(&self) -> Millis {
        self.troubles.iter().map(|trouble| trouble.until).max().unwrap_or_default().max(LENGTH)
    }
}

impl Trouble {
    fn random(random: &mut Rng, clients: usize) -> Self {
        let (client, server) = (random.usize(0..clients), random.usize(0..SERVERS));
        let at = random.u64(500..LENGTH);
        let what = match random.u8(0..12) {
            0..=2 => {
                let way = [Way::ToServer, Way::ToClient, Way::Both][random.usize(0..3)];
                What::Lost { client, server, way }
            }
            3 | 4 => What::Held { client, server },
            5..=7 => What::Slow { client, server, bytes: random.u64(100..4_000) },
            8 | 9 => What::Late { client, server, most: random.u64(200..2_500) },
            10 => What::Crash(server),
            _ => What::Drain(server),
        };
        let lasts = match what {
            What::Drain(_) => DRAIN + random.u64(2_000..6_000),
            What::Crash(_) => random.u64(100..8_000),
            _ => random.u64(500..25_000),
        };
        Self { at, until: at + lasts, what }
    }

    /// Whether two are of the same link, or of the same server, at the same time.
    fn meets(&self, other: &Self) -> bool {
        self.at <= other.until
            && other.at <= self.until
            && self.what.link() == other.what.link()
            && self.what.server() == other.what.server()
    }
}

impl What {
    pub(crate) const fn server(&self) -> usize {
        match self {
            Self::Lost { server, .. }
            | Self::Held { server, .. }
            | Self::Slow { server, .. }
            | Self::Late { server, .. }
            | Self::Crash(server)
            | Self::Drain(server) => *server,
        }
    }

    /// The client whose link to the server it is about.
    const fn link(&self) -> Option<usize> {
        match self {
            Self::Lost { client, .. }
            | Self::Held { client, .. }
            | Self::Slow { client, .. }
            | Self::Late { client, .. } => Some(*client),
            Self::Crash(_) | Self::Drain(_) => None,
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { client, server, way } => {
                let way = match way {
                    Way::ToServer => "to",
                    Way::ToClient => "from",
                    Way::Both => "to and from",
                };
                write!(f, "what client {client} has {way} server {server} is lost")
            }
            Self::Held { client, server } => {
                write!(f, "what is between client {client} and server {server} is held up")
            }
            Self::Slow { client, server, bytes } => {
                write!(f, "client {client} and server {server} have {bytes} bytes a second")
            }
            Self::Late { client, server, most } => {
                write!(f, "between client {client} and server {server} all takes up to {most} ms")
            }
            Self::Crash(server) => write!(f, "server {server} is killed"),
            Self::Drain(server) => write!(f, "server {server} shuts down"),
        }
    }
}
