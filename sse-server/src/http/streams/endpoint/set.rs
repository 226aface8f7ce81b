//! The endpoints of a server, each at a path of its own.

use std::sync::Arc;

use super::{CHANNEL, Endpoint, EndpointError};

/// What begins like this is the server's own.
const RESERVED: [&str; 5] = ["publish", "permissions", "channels", "health", "metrics"];

/// Where the streams of a server are. Default: at `/events/` and `/events/{channel}/`.
#[derive(Clone, Debug)]
#[must_use]
pub struct Endpoints {
    list: Vec<Arc<Endpoint>>,
    /// The first ones are those that every server has.
    defaults: usize,
}

impl Default for Endpoints {
    fn default() -> Self {
        let default = |path| Endpoint::new(path).map(Arc::new).expect("a path in order");
        let query = default("/events/");
        let path = default("/events/{channel}/");
        debug_assert_eq!(path.parameters, [CHANNEL]);
        Self { list: vec![query, path], defaults: 2 }
    }
}

impl Endpoints {
    /// None at all, so that `/events/` can be something else.
    pub const fn none() -> Self {
        Self { list: Vec::new(), defaults: 0 }
    }

    /// These, and another one.
    ///
    /// # Errors
    ///
    /// If its path is one of those that are there, or one of the server's own.
    pub fn with(mut self, endpoint: Endpoint) -> Result<Self, EndpointError> {
        let error =
            |problem: String| EndpointError::new("path", format!("{:?} {problem}", endpoint.path));
        let first = endpoint.path[1..].split('/').next().unwrap_or_default();
        if RESERVED.contains(&first) {
            let reserved = RESERVED.map(|part| format!("/{part}")).join(", ");
            return Err(error(format!(
                "is the server's own; choose a path that begins with none of {reserved}"
            )));
        }
        if self.defaults > 0 && endpoint.path == "/" {
            return Err(error("leads to /events/; choose another path".to_owned()));
        }
        let mut paths = self.paths();
        if let Err(problem) = paths.insert(endpoint.path.clone(), ()) {
            let matchit::InsertError::Conflict { with } = problem else {
                return Err(error(format!("is no path that can be matched: {problem}")));
            };
            let index = self.list.iter().position(|known| known.path == with);
            return Err(error(if index.is_some_and(|index| index < self.defaults) {
                format!(
                    "is the server's own {with}; choose another path, or leave that one out (default-endpoints = false)"
                )
            } else {
                format!("is the same as {with}, which another endpoint has; choose another path")
            }));
        }
        self.list.push(Arc::new(endpoint));
        Ok(self)
    }

    /// The endpoints, each with whether it is one that every server has.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<Endpoint>, bool)> {
        self.list.iter().enumerate().map(|(index, endpoint)| (endpoint, index < self.defaults))
    }

    /// Whether those are there that every server has.
    pub(in crate::http) const fn has_defaults(&self) -> bool {
        self.defaults > 0
    }

    /// The paths that lead to an endpoint's because they lack only its last slash.
    pub(in crate::http) fn without_slash(&self) -> Vec<String> {
        let mut paths = self.paths();
        let slashed = self.list.iter().filter_map(|endpoint| endpoint.path.strip_suffix('/'));
        let slashed = slashed.filter(|path| !path.is_empty());
        slashed.filter(|path| paths.insert(*path, ()).is_ok()).map(str::to_owned).collect()
    }

    /// As the router will see them.
    fn paths(&self) -> matchit::Router<()> {
        let mut paths = matchit::Router::new();
        for endpoint in &self.list {
            paths
                .insert(endpoint.path.clone(), ())
                .expect("they were compared when they were added");
        }
        paths
    }
}
