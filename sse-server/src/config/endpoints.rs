//! What the file of settings says about where streams are.

use std::sync::Arc;

use serde::Deserialize;
use sse_proto::encode_channel;

use super::ConfigError;
use crate::access::OneOrMany;
use crate::http::{Endpoint, EndpointError, Endpoints, Limits};
use crate::hub::MAX_CHANNEL_NAME;

/// One of `endpoint`. Described in `docs/protocol.md`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct EndpointSettings {
    /// Where: such as `/feed/` or `/rooms/{room}/events/`.
    pub path: String,
    /// The channels, with the path's parameters in them.
    pub format_channels: Option<OneOrMany>,
    /// The channels.
    pub channels: Option<OneOrMany>,
    /// The types of events that streams here have. Default: all, or those of the query.
    pub messages_types: Option<OneOrMany>,
}

impl EndpointSettings {
    fn endpoint(&self) -> Result<Endpoint, EndpointError> {
        let mut endpoint = Endpoint::new(&self.path)?;
        if let Some(templates) = &self.format_channels {
            endpoint = endpoint.format_channels(templates.texts())?;
        }
        if let Some(names) = &self.channels {
            endpoint = endpoint.channels(names.texts())?;
        }
        if let Some(types) = &self.messages_types {
            endpoint = endpoint.messages_types(types.texts())?;
        }
        Ok(endpoint)
    }
}

/// The endpoints of a server, with those that every server has if `defaults`. No stream may have
/// more channels than this.
pub(super) fn endpoints(
    all: &[EndpointSettings],
    defaults: bool,
    most_channels: usize,
) -> Result<Endpoints, ConfigError> {
    let mut endpoints = if defaults { Endpoints::default() } else { Endpoints::none() };
    for (index, settings) in all.iter().enumerate() {
        let error = |EndpointError { field, problem }| {
            ConfigError::new(format!("endpoint[{index}].{field}"), problem)
        };
        let endpoint = settings.endpoint().map_err(error)?;
        let count = endpoint.channels_count();
        if count > most_channels {
            let field =
                if settings.format_channels.is_some() { "format-channels" } else { "channels" };
            let problem = format!("there are {count}, and a stream has at most {most_channels}");
            return Err(error(EndpointError { field, problem }));
        }
        endpoints = endpoints.with(endpoint).map_err(error)?;
    }
    if !defaults && all.is_empty() {
        let problem = "without them there is no stream at all; add an [[endpoint]]";
        return Err(ConfigError::new("default-endpoints", problem));
    }
    Ok(endpoints)
}

/// The longest id that a stream's reader may have to send, where that is more than the limits let
/// through: the reader could not come back.
pub(super) fn long_ids(endpoints: &Endpoints, limits: &Limits) -> Vec<String> {
    // A number of 64 bits, its colon and a comma.
    const POSITION: usize = 22;
    let mut warnings = Vec::new();
    for (endpoint, _) in endpoints.iter() {
        let (count, names) = match endpoint.fixed_channels() {
            [] if endpoint.channels_count() > 0 => (endpoint.channels_count(), None),
            [] => (limits.most_channels(), None),
            fixed => {
                let len = |name: &Arc<str>| encode_channel(name).to_string().len();
                (fixed.len(), Some(fixed.iter().map(len).sum::<usize>()))
            }
        };
        // Of names that are not known: letters of ASCII, as many as there may be.
        let names = names.unwrap_or(count.saturating_mul(MAX_CHANNEL_NAME));
        let longest = names.saturating_add(count.saturating_mul(POSITION));
        if longest > limits.header_size {
            warnings.push(format!(
                "{}: the id of a stream of {count} channels can have {longest} bytes, and \
                 request-limits.header-size is {}: its reader could not come back with it",
                endpoint.path(),
                limits.header_size
            ));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct File {
        endpoint: Vec<EndpointSettings>,
    }

    fn read(toml: &str, defaults: bool) -> Result<Endpoints, ConfigError> {
        endpoints(&toml::from_str::<File>(toml).expect(toml).endpoint, defaults, 3)
    }

    #[test]
    fn an_endpoint_that_cannot_be_is_named_with_its_field_and_what_to_do() {
        let long = "x".repeat(256);
        for (endpoint, expected) in [
            ("path = 'feed'", "path: \"feed\" does not begin with a slash"),
            ("path = ''", "path: \"\" does not begin with a slash"),
            ("path = '/a//b'", "path: \"/a//b\" has two slashes in a row"),
            ("path = '/a/../b/'", "path: \"/a/../b/\" has .., which clients resolve"),
            ("path = '/a b/'", "path: \"/a b/\" has ' '; use letters"),
            ("path = '/a%20b/'", "path: \"/a%20b/\" has '%'; use letters"),
            ("path = '/é/'", "path: \"/é/\" has 'é'; use letters"),
            ("path = '/a?b=c'", "path: \"/a?b=c\" has '?'; use letters"),
            ("path = '/{a/'", "path: \"/{a/\" has braces that are no parameter"),
            ("path = '/{a}b/'", "path: \"/{a}b/\" has braces that are no parameter"),
            ("path = '/a}/'", "path: \"/a}/\" has '}'; use letters"),
            ("path = '/{}/'", "path: \"/{}/\" has {}; a parameter has letters"),
            ("path = '/{a.b}/'", "path: \"/{a.b}/\" has {a.b}; a parameter has letters"),
            ("path = '/{a}/{a}/'", "path: \"/{a}/{a}/\" has {a} twice"),
            ("path = '/{*a}/'", "path: \"/{*a}/\" has {*a}, which can only be the last part"),
            ("path = '/'", "path: \"/\" leads to /events/; choose another path"),
            (
                "path = '/events/'",
                "path: \"/events/\" is the server's own /events/; choose another path, or leave",
            ),
            (
                "path = '/events/{x}/'",
                "path: \"/events/{x}/\" is the server's own /events/{channel}/;",
            ),
            (
                "path = '/publish/'",
                "path: \"/publish/\" is the server's own; choose a path that begins",
            ),
            (
                "path = '/health/{x}'",
                "path: \"/health/{x}\" is the server's own; choose a path that",
            ),
            (
                "path = '/channels/'",
                "path: \"/channels/\" is the server's own; choose a path that begins",
            ),
            (
                "path = '/metrics'",
                "path: \"/metrics\" is the server's own; choose a path that begins",
            ),
            (
                "path = '/r/{room}/'\nformat-channels = 'r-{rom}'",
                "format-channels: \"r-{rom}\" has {rom}, which is no parameter of the path; the path has \
                 room",
            ),
            ("path = '/r/'\nformat-channels = []", "format-channels: the list is empty"),
            ("path = '/r/'\nchannels = []", "channels: the list is empty"),
            ("path = '/r/'\nchannels = ['a', '']", "channels: \"\" is empty; name a channel"),
            ("path = '/r/'\nmessages-types = ''", "messages-types: the list or a type is empty"),
            (&format!("path = '/r/'\nchannels = '{long}'"), "channels: \"xxxxx"),
            (&format!("path = '/r/'\nformat-channels = '{long}'"), "format-channels: \"xxxxx"),
            (
                "path = '/r/'\nchannels = ['a', 'b', 'c', 'd']",
                "channels: there are 4, and a stream has at most 3",
            ),
        ] {
            let toml = format!("[[endpoint]]\npath = '/first/'\n[[endpoint]]\n{endpoint}\n");
            let error = read(&toml, true).expect_err(endpoint).to_string();
            let expected = format!("endpoint[1].{expected}");
            assert!(error.starts_with(&expected), "{error}\n{expected}");
        }
        let twice = "[[endpoint]]\npath = '/a/{b}/'\n[[endpoint]]\npath = '/a/{c}/'\n";
        let error = read(twice, true).expect_err("the same").to_string();
        assert!(
            error.starts_with("endpoint[1].path: \"/a/{c}/\" is the same as /a/{b}/, w"),
            "{error}"
        );
        let error = endpoints(&[], false, 3).expect_err("none").to_string();
        assert!(error.starts_with("default-endpoints: without them"), "{error}");
    }

    #[test]
    fn without_the_default_endpoints_their_paths_are_free() {
        let paths = "[[endpoint]]\npath = '/'\n[[endpoint]]\npath = '/events/'\nchannels = 'a'\n\
                     [[endpoint]]\npath = '/events/{room}/'\n[[endpoint]]\npath = '/x/{*rest}'\n\
                     [[endpoint]]\npath = '/a-{b}/:c/*'\n";
        assert_eq!(read(paths, false).expect("all of them").iter().count(), 5);
    }
}
