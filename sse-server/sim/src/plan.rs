//! What happens in a run: who is there, and what goes wrong when. All of it follows from the seed,
//! and can be taken away piece by piece.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;

/// A time in milliseconds from the beginning of a run.
pub type Millis = u64;

/// How often an open stream is checked again.
pub const RECHECK: Duration = Duration::from_secs(10);

/// How long it stays open while it cannot be checked.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How long nothing goes wrong at the end, and nothing is published: who waits for anything then
/// waits for ever.
pub const CALM: Millis = 75_000;

/// A run.
#[derive(Clone, Debug)]
// Each is a thing by itself, and none excludes another.
#[allow(clippy::struct_excessive_bools)]
pub struct Plan {
    pub seed: u64,
    pub hubs: usize,
    pub channels: usize,
    pub users: usize,
    pub publishers: Vec<Publisher>,
    pub readers: Vec<Reader>,
    pub has_relay: bool,
    /// The relay brings an instance its own notices.
    pub echoes: bool,
    /// How often heads are compared.
    pub refresh: Duration,
    /// How long events are kept, and how many of a channel.
    pub age: Duration,
    pub keep: Option<u64>,
    /// What tails may keep in memory, in bytes.
    pub memory: usize,
    /// Another program appends too, in two steps.
    pub is_late: bool,
    /// Hubs are asked whether they are ready, for which they write something.
    pub are_probed: bool,
    /// For how long things happen.
    pub length: Millis,
    pub disturbances: Vec<Disturbance>,
}

#[derive(Clone, Copy, Debug)]
pub struct Publisher {
    pub number: usize,
    pub has_keys: bool,
    /// The longest pause between two requests.
    pub pause: Millis,
    /// How many requests it has under way at most.
    pub width: usize,
}

#[derive(Clone, Debug)]
pub struct Reader {
    pub number: usize,
    pub user: usize,
    pub channels: Vec<usize>,
    /// Only events of the type `t`.
    pub is_choosy: bool,
    /// In a crowd, and not over HTTP.
    pub rests: bool,
    /// It begins at the first event.
    pub from_first: bool,
    pub begins: Millis,
}

/// Something that goes wrong for a while, or just once.
#[derive(Clone, Debug)]
pub struct Disturbance {
    pub at: Millis,
    pub lasts: Millis,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The storage cannot be reached, by one hub or by any.
    StorageDown(Option<usize>),
    StorageSlow,
    /// Answers are lost, after the work was done or before.
    AnswersLost,
    /// Nothing can be appended: the disk is full, or read-only.
    StorageFull,
    /// Pages have fewer events than were asked for.
    ShortPages,
    /// Another program holds a channel.
    Held(usize),
    /// Everything is lost, and ids go on.
    Wiped,
    /// The address leads to another server; connections stay at the old one, which lives on.
    FailOver,
    RelayCut(usize),
    HintsLost,
    HintsLate,
    HintsTwice,
    /// Somebody tells of events that are not there.
    WrongHint(usize),
    /// The relay takes what this hub says, and brings it nobody.
    RelayBlocked(usize),
    BackendDown,
    BackendSlow,
    Crash(usize),
    Drain(usize),
    Reload(usize),
    /// A reader's connection is cut.
    Cut(usize),
    /// It takes nothing.
    Lag(usize),
    /// A user may not read a channel.
    Revoked(usize, usize),
}

/// What a disturbance is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Storage,
    Relay,
    Backend,
    Instance,
    Reader,
    Permission,
}

pub const CLASSES: usize = 6;

impl What {
    pub fn class(&self) -> Class {
        match self {
            Self::StorageDown(_)
            | Self::StorageSlow
            | Self::AnswersLost
            | Self::StorageFull
            | Self::ShortPages
            | Self::Held(_)
            | Self::Wiped
            | Self::FailOver => Class::Storage,
            Self::RelayCut(_)
            | Self::HintsLost
            | Self::HintsLate
            | Self::HintsTwice
            | Self::WrongHint(_)
            | Self::RelayBlocked(_) => Class::Relay,
            Self::BackendDown | Self::BackendSlow => Class::Backend,
            Self::Crash(_) | Self::Drain(_) | Self::Reload(_) => Class::Instance,
            Self::Cut(_) | Self::Lag(_) => Class::Reader,
            Self::Revoked(..) => Class::Permission,
        }
    }
}

impl Plan {
    /// The run of a seed.
    pub fn of(seed: u64) -> Self {
        let random = &mut Rng::with_seed(seed ^ 0x5eed);
        let hubs = random.usize(1..=3);
        let channels = random.usize(1..=3);
        let users = random.usize(1..=3);
        let length = random.u64(30_000..=90_000);
        let publisher = |random: &mut Rng, number| {
            let pause = [150, 600, 2500][random.usize(0..3)];
            let width = if random.u8(0..3) == 0 { 3 } else { 1 };
            Publisher { number, has_keys: random.u8(0..5) > 0, pause, width }
        };
        let publishers = (0..random.usize(1..=3)).map(|n| publisher(random, n)).collect();
        let reader = |random: &mut Rng, number| {
            let mut all: Vec<usize> = (0..channels).collect();
            random.shuffle(&mut all);
            all.truncate(random.usize(1..=channels));
            Reader {
                number,
                user: random.usize(0..users),
                channels: all,
                is_choosy: random.u8(0..5) == 0,
                rests: random.u8(0..3) == 0,
                from_first: random.u8(0..3) == 0,
                begins: if random.bool() { 0 } else { random.u64(0..length) },
            }
        };
        let mut readers: Vec<_> = (0..random.usize(2..=6)).map(|n| reader(random, n)).collect();
        let has_relay = hubs > 1 && random.u8(0..6) > 0;
        let mut disturbances: Vec<_> = (0..random.usize(0..=9))
            .map(|_| Disturbance::random(random, length, hubs, channels, users, readers.len()))
            .collect();
        let mut publishers: Vec<Publisher> = publishers;
        let echoes = random.u8(0..4) > 0;
        let mut refresh = Duration::from_secs([1, 5, 20][random.usize(0..3)]);
        // Numbers of their own, so that the plans of seeds stay what they were.
        let more = &mut Rng::with_seed(seed ^ 0x0065_7874_7261);
        if more.u8(0..3) == 0 {
            // What is lost is then not noticed because something else comes, or is compared.
            for publisher in &mut publishers {
                publisher.pause = 9_000;
            }
            refresh = Duration::from_secs(20);
        }
        if more.bool() {
            let reader = &readers[more.usize(0..readers.len())];
            disturbances.extend(more_of(more, length, hubs, channels, reader));
        }
        let mut has_relay = has_relay;
        if more.u8(0..16) == 0 {
            // Nothing but the check now and then tells other instances of a change.
            has_relay = false;
            let reader = &mut readers[0];
            (reader.begins, reader.rests, reader.is_choosy) = (0, false, false);
            disturbances.retain(|it| !matches!(it.what.class(), Class::Backend | Class::Instance));
            let what = What::Revoked(reader.user, reader.channels[0]);
            disturbances.push(Disturbance { at: 4_000, lasts: length - 4_000, what });
        }
        // Once more, for the same reason.
        let rare = &mut Rng::with_seed(seed ^ 0x7261_7265);
        if rare.u8(0..64) == 0 {
            publishers[0].pause = 600;
            if !disturbances.iter().any(|it| it.what.class() == Class::Storage) {
                disturbances.extend(start_without_storage(rare, length, hubs));
            }
        }
        let moved = &mut Rng::with_seed(seed ^ 0x006d_6f76_6564);
        let are_probed = hubs == 1 || moved.u8(0..64) > 0;
        if !are_probed {
            publishers.truncate(1);
            publishers[0].pause = 5_000;
            for reader in &mut readers {
                reader.begins = 0;
            }
            disturbances.extend(resume_during_fail_over(moved, length, readers.len()));
        }
        disturbances.sort_by_key(|disturbance| disturbance.at);
        Self {
            seed,
            hubs,
            channels,
            users,
            publishers,
            readers,
            has_relay,
            echoes,
            refresh,
            age: Duration::from_secs([60, 90, 600][random.usize(0..3)]),
            keep: (random.u8(0..5) == 0).then(|| random.u64(5..60)),
            memory: [600, 8 << 10, 64 << 20][random.usize(0..3)],
            is_late: random.u8(0..5) == 0,
            are_probed,
            length,
            disturbances,
        }
    }
}

/// A hub starts while nothing can be stored, and its first append hangs.
fn start_without_storage(random: &mut Rng, length: Millis, hubs: usize) -> [Disturbance; 3] {
    let at = random.u64(1_000..length - 16_000);
    let parts = [
        (0, 28_000, What::StorageFull),
        (1_000, 10_000, What::Crash(random.usize(0..hubs))),
        (7_000, 7_500, What::StorageDown(None)),
    ];
    parts.map(|(after, lasts, what)| Disturbance { at: at + after, lasts, what })
}

/// Readers resume at a hub that has written nothing since the storage has moved, so that its
/// connections are still those of before, and may have seen what was appended elsewhere.
fn resume_during_fail_over(random: &mut Rng, length: Millis, readers: usize) -> Vec<Disturbance> {
    let at = random.u64(1_000..length - 11_000);
    let cut = |random: &mut Rng, reader| {
        let (at, what) = (at + random.u64(500..10_000), What::Cut(reader));
        Disturbance { at, lasts: 50, what }
    };
    let mut all = vec![Disturbance { at, lasts: 30_000, what: What::FailOver }];
    all.extend((0..3 * readers).map(|number| cut(random, number % readers)));
    all
}

/// What chance alone seldom brings together.
fn more_of(
    random: &mut Rng,
    length: Millis,
    hubs: usize,
    channels: usize,
    reader: &Reader,
) -> Vec<Disturbance> {
    let (hub, channel) = (random.usize(0..hubs), random.usize(0..channels));
    let at = random.u64(1_000..length - 1_000);
    let revoked = What::Revoked(reader.user, reader.channels[0]);
    let one =
        |random: &mut Rng, what| vec![Disturbance { at, lasts: random.u64(500..12_000), what }];
    match random.u8(0..7) {
        0 => one(random, What::WrongHint(channel)),
        1 => one(random, What::RelayCut(hub)),
        2 => one(random, What::Crash(hub)),
        // A hub that cannot reach the storage for a moment, again and again.
        3 | 4 => {
            let moment = |random: &mut Rng| Disturbance {
                at: random.u64(1_000..length - 1_000),
                lasts: random.u64(500..4_000),
                what: What::StorageDown(Some(hub)),
            };
            (0..4).map(|_| moment(random)).collect()
        }
        // No hub hears of any other, and a permission is taken back when they have noticed, or
        // just before.
        5 => {
            let after = if at.is_multiple_of(2) { 7_000 } else { at % 2_500 };
            let blocked = (0..hubs).map(|hub| (0, 25_000, What::RelayBlocked(hub)));
            let all = blocked.chain([(after, 15_000, revoked)]);
            all.map(|(after, lasts, what)| Disturbance { at: at + after, lasts, what }).collect()
        }
        // A permission is taken back while a reader asks to be let in.
        _ => {
            let parts = [
                (0, 9_000, What::BackendSlow),
                (random.u64(0..1_000), 300, What::Cut(reader.number)),
                (random.u64(500..5_000), random.u64(10_000..40_000), revoked),
            ];
            parts.map(|(after, lasts, what)| Disturbance { at: at + after, lasts, what }).into()
        }
    }
}

impl Disturbance {
    fn random(
        random: &mut Rng,
        length: Millis,
        hubs: usize,
        channels: usize,
        users: usize,
        readers: usize,
    ) -> Self {
        let hub = random.usize(0..hubs);
        let channel = random.usize(0..channels);
        let reader = random.usize(0..readers);
        let what = match random.u8(0..32) {
            0 => What::StorageDown((random.bool()).then_some(hub)),
            1 => What::StorageSlow,
            2 | 3 => What::AnswersLost,
            4 => What::StorageFull,
            5 => What::ShortPages,
            6 => What::Held(channel),
            7 => What::Wiped,
            8 => What::FailOver,
            9 | 10 => What::RelayCut(hub),
            11 => What::HintsLost,
            12 => What::HintsLate,
            13 => What::HintsTwice,
            14 => What::WrongHint(channel),
            15 => What::RelayBlocked(hub),
            16 => What::BackendDown,
            17 => What::BackendSlow,
            18 | 19 => What::Crash(hub),
            20 => What::Drain(hub),
            21 => What::Reload(hub),
            22..=24 => What::Cut(reader),
            25..=27 => What::Lag(reader),
            _ => What::Revoked(random.usize(0..users), channel),
        };
        let lasts = match what {
            What::FailOver => random.u64(25_000..35_000),
            What::BackendDown | What::RelayBlocked(_) | What::Revoked(..) => {
                random.u64(3_000..40_000)
            }
            What::StorageFull => random.u64(2_000..20_000),
            _ => random.u64(500..12_000),
        };
        let at = random.u64(1_000..length - 1_000);
        Self { at, lasts, what }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StorageDown(None) => write!(f, "the storage cannot be reached"),
            Self::StorageDown(Some(hub)) => write!(f, "hub {hub} cannot reach the storage"),
            Self::StorageSlow => write!(f, "the storage is slow"),
            Self::AnswersLost => write!(f, "answers of the storage are lost"),
            Self::StorageFull => write!(f, "the storage takes nothing more"),
            Self::ShortPages => write!(f, "the storage's pages are short"),
            Self::Held(channel) => write!(f, "another program holds c{channel}"),
            Self::Wiped => write!(f, "the storage has lost everything; ids go on"),
            Self::FailOver => write!(f, "the storage fails over; connections stay at the old one"),
            Self::RelayCut(hub) => write!(f, "the relay is cut off from hub {hub}"),
            Self::HintsLost => write!(f, "the relay loses messages"),
            Self::HintsLate => write!(f, "the relay is late, and mixes up the order"),
            Self::HintsTwice => write!(f, "the relay brings messages twice"),
            Self::WrongHint(channel) => {
                write!(f, "somebody tells of events in c{channel} that are not there")
            }
            Self::RelayBlocked(hub) => {
                write!(f, "the relay takes what hub {hub} says and brings it nobody")
            }
            Self::BackendDown => write!(f, "the backend cannot be reached"),
            Self::BackendSlow => write!(f, "the backend is slow"),
            Self::Crash(hub) => write!(f, "hub {hub} is killed"),
            Self::Drain(hub) => write!(f, "hub {hub} shuts down"),
            Self::Reload(hub) => write!(f, "hub {hub} reads its rules again"),
            Self::Cut(reader) => write!(f, "reader {reader} is cut off"),
            Self::Lag(reader) => write!(f, "reader {reader} takes nothing"),
            Self::Revoked(user, channel) => write!(f, "u{user} may not read c{channel}"),
        }
    }
}

impl fmt::Display for Disturbance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, lasts, what } = self;
        write!(f, "{} for {}: {what}", Shown(*at), Shown(*lasts))
    }
}

/// A time in seconds.
pub struct Shown(pub Millis);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:03} s", self.0 / 1000, self.0 % 1000);
        write!(f, "{text:>9}")
    }
}
