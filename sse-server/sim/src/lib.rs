//! Several hubs in simulated time: storages, relays, backends and connections that fail, publishers
//! and readers that go on, and an oracle that knows what each of them must see.
//!
//! Everything follows from a seed: the same seed gives the same run, byte by byte. What runs is the
//! server itself, from its routes down to its storage's trait; what is simulated stands behind the
//! traits `Storage`, `Relay` and `ChannelManager`, and in place of sockets.
//!
//! Read [`plan`] for what can go wrong, [`oracle`] for what must not.

#![forbid(unsafe_code)]
// Never published; a panic is a fault of the simulator itself.
#![allow(clippy::missing_panics_doc)]

pub mod command;
pub mod disk;
pub mod instance;
pub mod mutants;
pub mod oracle;
pub mod plan;
pub mod process;
pub mod publisher;
pub mod reader;
pub mod relay;
pub mod rules;
pub mod run;
pub mod shrink;
pub mod storage;
pub mod story;
pub mod unstored;
pub mod world;
