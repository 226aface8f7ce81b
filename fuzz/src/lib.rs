//! The parts of the command `sse-fuzz` that tests of others can use: [`hostile`], a server that
//! misbehaves on purpose, [`probe`], which tests servers, [`grip`], which tests origins behind GRIP
//! proxies, and [`campaign`], which sends them odd requests for as long as you like. [`site`] puts
//! their reports side by side.
//!
//! `cargo install ssekit-fuzz` installs the command, and `cargo add ssekit-fuzz` adds the library,
//! once 0.1 is published; until then with `--git https://github.com/ssekit/ssekit`.

#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod campaign;
mod command;
pub mod grip;
pub mod hostile;
mod interruption;
pub mod probe;
mod report_file;
pub mod site;
mod verdict;
mod wire;
