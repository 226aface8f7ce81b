//! What a server meets in operation: disks that are full, clocks that were wrong, databases that
//! fail over, locks that others hold, tasks that end by a fault. Publishing is back as soon as the
//! cause is gone, without a restart; and until then readiness says so.

mod appending;
mod clock;
mod disk;
mod failover;
mod held;
mod pooler;
mod tasks;

use testkit::{instances, port, server, services};
