//! Faults that are put into the server one by one. The simulator has to find each; one that it does
//! not find is a hole in the oracle.
//!
//! A fault is a line `mutant!("its-name")` in the server's source, false but in a simulation of it.

/// A fault, and what it is.
pub struct Mutant {
    pub name: &'static str,
    /// What the server does wrong.
    pub fault: &'static str,
    /// The review or changelog entry that it stands for, if it was there once.
    pub was: Option<&'static str>,
}

const fn mutant(name: &'static str, fault: &'static str) -> Mutant {
    Mutant { name, fault, was: None }
}

const fn real(name: &'static str, fault: &'static str, was: &'static str) -> Mutant {
    Mutant { name, fault, was: Some(was) }
}

pub const MUTANTS: &[Mutant] = &[
    mutant("publish-before-commit", "readers see an event before it is stored"),
    mutant("confirm-before-commit", "a failed append is confirmed"),
    mutant("answers-mixed-up", "requests of a group get each other's ids"),
    mutant("key-forgotten", "a request that is sent again is stored again"),
    mutant("known-not-shown", "what another instance stored and told nobody is not looked for"),
    mutant("others-not-looked-for", "an append after those of others is not a reason to read"),
    mutant("nobody-told", "other instances are not told"),
    mutant("append-out-of-order", "the tail takes an event that is not the next one"),
    mutant("tail-taken-for-all", "who is further behind than the tail reads from its beginning"),
    mutant("one-reader-woken", "one of a channel's readers is woken"),
    mutant("heads-never-compared", "a lost hint is never noticed"),
    mutant("connection-means-nothing", "nothing is read when the relay is connected again"),
    mutant("hint-taken-for-the-event", "a hint is believed without looking"),
    mutant("hint-ignored", "a hint is no reason to read"),
    mutant("hint-lost-by-a-failure", "a hint is forgotten if the storage fails then"),
    mutant("failure-taken-for-a-gap", "a storage that fails is taken for history that is gone"),
    mutant("reset-swallowed", "a gap is not told"),
    mutant("id-of-the-whole-round", "each event has the position of the last one that is due"),
    mutant("pages-are-for-all", "history is read without a look at who may not have it"),
    mutant("resume-one-too-far", "a reader resumes behind the next event"),
    mutant("position-before-the-event", "a reader is told a position that it has not got to"),
    mutant("crowd-not-rung", "of readers at rest only those of one channel are woken"),
    mutant("crowd-gets-all", "readers at rest get what is not for them"),
    mutant("closed-without-a-word", "readers are not woken when the hub closes"),
    real(
        "closed-before-the-last",
        "who is not woken yet when the hub closes misses what is not stored",
        "found in a test that failed now and then",
    ),
    real(
        "doubt-forgotten",
        "what is not stored is confirmed to who asks again, and was never shown",
        "found by seed 691",
    ),
    mutant("held-never-tried-again", "a request that was held is never tried again"),
    mutant("trimmed-too-early", "retention removes what is half as old as it may become"),
    mutant("revoked-here-only", "a change of permissions is told to no other instance"),
    mutant("revocation-not-awaited", "a change is confirmed before others are done"),
    mutant("others-forgotten", "others are not waited for"),
    mutant(
        "old-answer-kept",
        "what is remembered of a permission is not forgotten when it changes",
    ),
    mutant("missed-changes-ignored", "streams are not checked when the relay is connected again"),
    mutant("never-checked-again", "open streams are never checked again"),
    mutant("end-not-heeded", "a stream whose permission is gone goes on"),
    mutant("asked-before-watched", "a stream is watched only when it has been let in"),
    mutant("unstored-twice", "an event that is not stored is shown twice when the relay brings it"),
    real(
        "all-fail-together",
        "what is not stored fails with what could not be stored",
        "found by seed 532",
    ),
    mutant("unstored-out-of-order", "what is not stored is shown in reverse"),
    mutant("unstored-not-shown", "what the relay brings that is not stored is left out"),
    mutant("unstored-not-told", "what is not stored is left out when hints are gathered"),
    mutant(
        "unstored-of-before",
        "who comes in gets, or has missed, what is not stored from before",
    ),
    mutant("failed-check-is-a-no", "who cannot be checked is shown out for good"),
    mutant("late-for-ever", "an event that never comes is waited for without end"),
    real("pages-never-grow", "after a large event history is read one by one", "found by seed 17"),
    real(
        "known-not-told",
        "who asks again is answered, and others learn late",
        "found by seed 255",
    ),
    real("loss-told-twice", "a reader is told of a loss again elsewhere", "found by seed 555"),
    real("ahead-spins", "a reader at rest ahead of its hub spins", "found by seed 24"),
    real("held-holds-all", "a channel that another program holds stops all others", "review A3"),
    real("old-server-believed", "after a fail-over the old server is believed", "review A4"),
    real("deaf-and-unaware", "an instance that nobody hears confirms a change", "review A5"),
    real(
        "deaf-by-now",
        "a change is confirmed when others have fallen silent since it was said to nobody",
        "found beside seed 11000",
    ),
    real(
        "loss-not-looked-for",
        "ids that go on after a loss are taken for the same log",
        "review A6",
    ),
    real(
        "reset-to-the-end",
        "after a loss readers miss what came since",
        "changelog, Redis that has lost all",
    ),
    real(
        "late-is-gone",
        "an event whose number is taken first is a gap",
        "changelog, beside Django",
    ),
    real(
        "writing-never-checked",
        "a hub that can store nothing says that it is ready",
        "review A1",
    ),
    real(
        "under-way-is-well",
        "a hub whose append hangs says that it is ready",
        "found by seed 11611",
    ),
    real(
        "nothing-written-is-well",
        "an event that is not stored is a sign that events can be",
        "found by seed 32100",
    ),
    real(
        "checked-beyond-the-end",
        "a stream that waits for a backend does not end with the server",
        "found by seed 32791",
    ),
    real(
        "unchecked-is-final",
        "who cannot be checked for too long is turned away for good",
        "changelog, stream-error",
    ),
    real(
        "memory-without-bound",
        "what all channels keep in memory has no bound in bytes",
        "review B7",
    ),
    real(
        "nothing-late-after-a-move",
        "an event that is late is a gap if the storage has just failed over",
        "found by seed 712139",
    ),
    real(
        "loss-told-at-its-end",
        "a reader at the very end of a loss is told of it again",
        "found by seed 118837",
    ),
    real("memory-never-ages", "what channels keep in memory has no bound in time", "review B7"),
];

/// Faults of connections, which `tests/network` has to find.
pub const NETWORK: &[Mutant] = &[
    mutant("rest-forgotten", "what a socket did not take at once is not written"),
    mutant("slow-for-ever", "a client that takes nothing is waited for without end"),
    mutant("gone-not-seen", "a stream goes on when its client has gone"),
];

/// The fault of this name.
pub fn find(name: &str) -> Option<&'static Mutant> {
    MUTANTS.iter().chain(NETWORK).find(|mutant| mutant.name == name)
}
