//! Where streams are, and which channels each place has: fixed ones, ones made from the path, the
//! one in the path, or those of the query.
//!
//! May enter: paths and names. May not: who may read them.

mod openapi;
mod set;
mod template;

use std::fmt::Display;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::state::State;
use crate::hub::{MAX_CHANNEL_NAME, Types};
pub use set::Endpoints;
use template::Template;

/// A parameter of this name is a channel.
const CHANNEL: &str = "channel";

/// A place where streams are.
///
/// Which channels they have is decided as in django-eventstream; the first of these that there is
/// decides alone:
///
/// 1. [`format_channels`](Self::format_channels), made from the path's parameters,
/// 2. [`channels`](Self::channels), always the same,
/// 3. the path's parameter `{channel}`,
/// 4. `channel` in the query, any number of times.
///
/// A client that may not read one of them is refused, wherever the names come from.
///
/// ```
/// use sse_server::http::{Endpoint, Endpoints, HttpConfig};
///
/// let rooms = Endpoint::new("/rooms/{room}/events/")?.format_channels(["room-{room}"])?;
/// let feed = Endpoint::new("/feed/")?.channels(["news", "status"])?;
/// let endpoints = Endpoints::default().with(rooms)?.with(feed)?;
/// let config = HttpConfig::new("a secret to publish with").endpoints(endpoints);
/// # let _ = config;
/// # Ok::<(), sse_server::http::EndpointError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Endpoint {
    path: String,
    /// The path's parameters, in order.
    parameters: Vec<String>,
    format_channels: Vec<Template>,
    channels: Vec<Arc<str>>,
    messages_types: Option<Types>,
    state: Option<State>,
    /// What events are, for [`Endpoints::openapi`], by their type.
    schemas: Vec<(String, Value)>,
}

/// An endpoint that cannot be: which of its fields, and what would do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct EndpointError {
    pub(crate) field: &'static str,
    pub(crate) problem: String,
}

impl EndpointError {
    fn new(field: &'static str, problem: impl Into<String>) -> Self {
        Self { field, problem: problem.into() }
    }
}

impl Endpoint {
    /// Streams at this path, such as `/feed/` or `/rooms/{room}/events/`. A parameter stands for
    /// what is between two slashes, or for its end; `{*rest}` as the last part stands for any
    /// number of parts. If the path ends with a slash, then without it it leads to this one.
    ///
    /// # Errors
    ///
    /// If this is no path of a URL, or its parameters are not in order.
    pub fn new(path: impl Into<String>) -> Result<Self, EndpointError> {
        let path = path.into();
        let parameters = parameters(&path)
            .map_err(|problem| EndpointError::new("path", format!("{path:?} {problem}")))?;
        Ok(Self {
            path,
            parameters,
            format_channels: Vec::new(),
            channels: Vec::new(),
            messages_types: None,
            state: None,
            schemas: Vec::new(),
        })
    }

    /// Streams here have these channels, in which `{room}` stands for the path's parameter of that
    /// name. `{{` and `}}` are braces. Take care with two parameters in one name: `a-b` and `c`
    /// make the same of `{x}-{y}` as `a` and `b-c` do.
    ///
    /// # Errors
    ///
    /// If a name has a parameter that the path has not, or no channel can have the name.
    pub fn format_channels<T: AsRef<str>>(
        mut self,
        templates: impl IntoIterator<Item = T>,
    ) -> Result<Self, EndpointError> {
        let error = |problem| EndpointError::new("format-channels", problem);
        let templates = templates.into_iter().map(|text| {
            let text = text.as_ref();
            Template::parse(text, &self.parameters)
                .map_err(|problem| error(format!("{text:?} {problem}")))
        });
        self.format_channels = templates.collect::<Result<_, _>>()?;
        if self.format_channels.is_empty() {
            return Err(error("the list is empty".to_owned()));
        }
        Ok(self)
    }

    /// Streams here have these channels.
    ///
    /// # Errors
    ///
    /// If no channel can have one of the names.
    pub fn channels<T: AsRef<str>>(
        mut self,
        names: impl IntoIterator<Item = T>,
    ) -> Result<Self, EndpointError> {
        let error = |problem| EndpointError::new("channels", problem);
        self.channels.clear();
        for name in names {
            let name = name.as_ref();
            check(name).map_err(|problem| error(format!("{name:?} {problem}")))?;
            add(&mut self.channels, name);
        }
        if self.channels.is_empty() {
            return Err(error("the list is empty".to_owned()));
        }
        Ok(self)
    }

    /// Streams here have events of these types only, beside control events. A request cannot choose
    /// others.
    ///
    /// # Errors
    ///
    /// If the list is empty, or has an empty type.
    pub fn messages_types<T: AsRef<str>>(
        mut self,
        types: impl IntoIterator<Item = T>,
    ) -> Result<Self, EndpointError> {
        let types: Vec<Box<str>> = types.into_iter().map(|it| it.as_ref().into()).collect();
        if types.is_empty() || types.iter().any(|it| it.is_empty()) {
            let problem = "the list or a type is empty; name a type, such as message";
            return Err(EndpointError::new("messages-types", problem));
        }
        self.messages_types = Some(types.into_iter().collect());
        Ok(self)
    }

    /// The same URL answers with the present state, as JSON, where `application/json` is accepted:
    /// what this closure says of the channels, to those who may read them. The header
    /// `Last-Event-ID` of the answer is where a stream of the events after it goes on
    /// (`?lastEventId=`); events at the same moment can be in the state already, so they should be
    /// such that this does no harm.
    pub fn state<F, R, T, E>(mut self, ask: F) -> Self
    where
        F: Fn(Vec<Arc<str>>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<T, E>> + Send + 'static,
        T: Serialize,
        E: Display,
    {
        self.state = Some(State::new(ask));
        self
    }

    /// What the data of events of this type are, as a JSON schema, for [`Endpoints::openapi`].
    pub fn schema(mut self, event_type: impl Into<String>, schema: Value) -> Self {
        self.schemas.push((event_type.into(), schema));
        self
    }

    pub(in crate::http) const fn present(&self) -> Option<&State> {
        self.state.as_ref()
    }

    /// The types that its streams have, if that is not up to the request.
    pub(crate) fn types(&self) -> Option<&Types> {
        self.messages_types.as_ref()
    }

    /// The path, with its parameters.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// How many channels its streams have, if that is not up to the request.
    pub(crate) fn channels_count(&self) -> usize {
        if self.format_channels.is_empty() {
            self.channels.len()
        } else {
            self.format_channels.len()
        }
    }

    /// The channels, if they are always the same.
    pub(crate) fn fixed_channels(&self) -> &[Arc<str>] {
        if self.format_channels.is_empty() { &self.channels } else { &[] }
    }

    /// Which channels its streams have, for people. In the order in which
    /// [`channels_of`](Self::channels_of) decides.
    pub(crate) fn channels_in_words(&self) -> String {
        if !self.format_channels.is_empty() {
            self.format_channels.iter().map(Template::to_string).collect::<Vec<_>>().join(", ")
        } else if !self.channels.is_empty() {
            self.channels.join(", ")
        } else if self.parameters.iter().any(|name| name == CHANNEL) {
            "the channel in the path".to_owned()
        } else {
            "the channels of the query, channel=NAME".to_owned()
        }
    }

    /// The distinct channels of a request, by the parameters of its path and by its query.
    pub(super) fn channels_of<'a>(
        &self,
        parameters: &[(&str, &str)],
        mut query: impl Iterator<Item = String> + 'a,
        limit: usize,
    ) -> Vec<Arc<str>> {
        if self.format_channels.is_empty() && !self.channels.is_empty() {
            return self.channels.clone();
        }
        let mut channels = Vec::new();
        if !self.format_channels.is_empty() {
            self.format_channels.iter().for_each(|it| add(&mut channels, &it.fill(parameters)));
        } else if let Some((_, name)) = parameters.iter().find(|(name, _)| *name == CHANNEL) {
            add(&mut channels, name);
        } else {
            // One more than there may be is enough to refuse them.
            while channels.len() <= limit
                && let Some(name) = query.next()
            {
                add(&mut channels, &name);
            }
        }
        channels
    }
}

fn add(channels: &mut Vec<Arc<str>>, name: &str) {
    if !channels.iter().any(|known| **known == *name) {
        channels.push(name.into());
    }
}

/// Whether a channel can have this name.
fn check(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("is empty; name a channel".to_owned());
    }
    if name.chars().count() > MAX_CHANNEL_NAME {
        return Err(format!("is longer than {MAX_CHANNEL_NAME} characters"));
    }
    Ok(())
}

const BRACES: &str = "has braces that are no parameter; a parameter is a part of its own, or the end of \
    one, such as /rooms/{room}/";

/// The names of a path's parameters.
fn parameters(path: &str) -> Result<Vec<String>, String> {
    let Some(parts) = path.strip_prefix('/') else {
        return Err("does not begin with a slash; write for example /feed/".to_owned());
    };
    let mut names: Vec<String> = Vec::new();
    let mut parts = parts.split('/').peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        let (literal, name) = match part.split_once('{') {
            None => (part, None),
            Some((literal, rest)) => (literal, Some(rest.strip_suffix('}').ok_or(BRACES)?)),
        };
        if part.is_empty() && !is_last {
            return Err("has two slashes in a row".to_owned());
        }
        if matches!(part, "." | "..") {
            return Err(format!("has {part}, which clients resolve before they ask"));
        }
        // What RFC 3986 has in a path as it is. Requests are compared with it before they are
        // decoded.
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@".contains(c);
        if let Some(other) = literal.chars().find(|c| !is_plain(*c)) {
            return Err(format!(
                "has {other:?}; use letters, digits and -._~!$&'()*+,;=:@ of ASCII"
            ));
        }
        let Some(name) = name else { continue };
        let name = match name.strip_prefix('*') {
            Some(name) if is_last && literal.is_empty() => name,
            Some(_) => return Err(format!("has {{{name}}}, which can only be the last part")),
            None => name,
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(is_name) {
            return Err(format!("has {{{name}}}; a parameter has letters, digits and _"));
        }
        if names.iter().any(|known| known == name) {
            return Err(format!("has {{{name}}} twice"));
        }
        names.push(name.to_owned());
    }
    Ok(names)
}
