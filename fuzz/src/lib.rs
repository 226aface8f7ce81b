//! What the command `sse-fuzz` is made of, as far as others' tests can use it: [`hostile`], a server
//! that misbehaves on purpose, and [`probe`], which tests servers.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod hostile;
mod interruption;
pub mod probe;
mod report_file;
mod verdict;
