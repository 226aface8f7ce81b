//! What operators rely on: limits, slow readers, ends, numbers, TLS, the log.

mod age;
mod base_path;
mod compression;
mod connection_reuse;
mod drain;
mod hosts;
mod http2;
mod large;
mod limits;
mod log;
mod metrics;
mod reload;
mod rest;
mod slow;
mod storm;
mod unix;
mod windows;

use testkit::{port, server};
