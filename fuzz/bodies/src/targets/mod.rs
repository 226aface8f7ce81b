//! The bodies, a file for each.

pub(crate) mod cursor;
pub(crate) mod decoder;
pub(crate) mod encoder;
pub(crate) mod peers;
pub(crate) mod relay;
pub(crate) mod request;
pub(crate) mod session;
pub(crate) mod storage;
pub(crate) mod token;
