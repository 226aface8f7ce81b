//! A server seen from outside, byte by byte, for all commands that look at one: where it is
//! ([`target`]), connections to it ([`connection`]) over TCP or TLS ([`socket`], [`tls`]), what
//! came of them and when ([`tape`]), how that is shown ([`shown`]), and a stream that is read all
//! the time and never cut by us ([`witness`]).
//!
//! May enter: HTTP/1.1 as it is on the wire, HTTP/2 as a library has it ([`http2`]). May not: what
//! any of it means, and what is right.

pub(crate) mod connection;
pub(crate) mod http2;
pub(crate) mod shown;
pub(crate) mod socket;
pub(crate) mod tape;
pub(crate) mod target;
pub(crate) mod tls;
pub(crate) mod witness;
