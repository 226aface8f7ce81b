//! What puts load on a server: readers, and publishers in an open and in a closed loop.
//!
//! It shares the cores with the server, so it must be much cheaper: one thread, epoll, buffers that
//! are shared, no parser of event streams. It knows nothing of any server: requests are bytes, and
//! events are known by their [`Mark`].

mod answers;
mod crowd;
mod mark;
mod producers;
mod publisher;
mod request;
mod socket;

pub use answers::Answers;
pub use crowd::{Crowd, Deliveries, Readers};
pub use mark::{MARK, Mark};
pub use producers::{Published, produce};
pub use publisher::{Plan, publish};
pub use request::Request;
