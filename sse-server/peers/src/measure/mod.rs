//! The measurements, a file each.

pub mod fanout;
pub mod publish;
pub mod replay;
