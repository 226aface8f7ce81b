//! Small models, in which all orders of what may happen are tried, not those that chance shows.

mod revocation;
mod wake;
