//! What the file of settings says about pages of other origins.

use axum::http::HeaderName;
use serde::Deserialize;

use super::ConfigError;
use crate::access::OneOrMany;
use crate::http::{Cors, CorsError};
use crate::values::{Value, readable};

/// The table `cors`. Described in `docs/protocol.md`.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct CorsSettings {
    /// The origins whose pages may read streams, such as `https://example.com` or
    /// `https://*.example.com`.
    pub origins: OneOrMany,
    /// Whether they may send cookies. Default: no.
    pub credentials: bool,
    /// More headers that they may send.
    pub headers: OneOrMany,
    /// How long a browser may remember this. Default: 1 h.
    pub max_age: Option<String>,
    /// Whether they may publish. Default: no.
    pub publish: bool,
}

/// An origin whose pages may read streams, as a flag names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorsOrigin(String);

readable!(CorsOrigin);

impl Value for CorsOrigin {
    const EXAMPLE: &'static str = "\"http://localhost:5173\"";

    fn read(text: &str) -> Result<Self, String> {
        let _cors = Cors::new([text]).map_err(|CorsError { problem, .. }| problem)?;
        Ok(Self(text.to_owned()))
    }
}

/// What the file says, with other origins if flags name some. None: there are none.
pub(super) fn cors(
    settings: Option<&CorsSettings>,
    flags: &[CorsOrigin],
) -> Result<Option<Cors>, ConfigError> {
    if flags.is_empty() {
        return settings.map(CorsSettings::cors).transpose();
    }
    let origins = flags.iter().map(|CorsOrigin(origin)| origin.clone()).collect();
    let settings = settings.cloned().unwrap_or_default();
    CorsSettings { origins: OneOrMany::Many(origins), ..settings }.cors().map(Some)
}

impl CorsSettings {
    pub(super) fn cors(&self) -> Result<Cors, ConfigError> {
        let error =
            |field: &str, problem: String| ConfigError::new(format!("cors.{field}"), problem);
        let refused = |CorsError { field, problem }| error(field, problem);
        let cors = Cors::new(self.origins.texts()).map_err(refused)?;
        let mut cors = cors.credentials(self.credentials).map_err(refused)?.publish(self.publish);
        for name in self.headers.texts() {
            match HeaderName::try_from(name) {
                Ok(name) if name.as_str() != "*" => cors = cors.headers([name]),
                _ => return Err(error("headers", format!("{name:?} is no header's name"))),
            }
        }
        if let Some(text) = &self.max_age {
            let time = humantime::parse_duration(text).map_err(|problem| {
                error("max-age", format!("{text:?}: {problem}; write for example 30s, 15m or 24h"))
            })?;
            cors = cors.max_age(time);
        }
        Ok(cors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_cannot_be_is_named_with_what_to_do() {
        for (toml, expected) in [
            ("", "cors.origins: the list is empty"),
            ("origins = 'example.com'", "cors.origins: \"example.com\" is no origin; write"),
            ("origins = 'null'", "cors.origins: \"null\" is no origin; write"),
            ("origins = ['*', 'x']", "cors.origins: \"x\" is no origin; write"),
            ("origins = '://x'", "cors.origins: \"://x\" is no origin; write"),
            ("origins = 'https://a.b/'", "cors.origins: \"https://a.b/\" has more than a scheme"),
            ("origins = 'https://u@a.b'", "cors.origins: \"https://u@a.b\" has more than"),
            ("origins = 'https://a.b:x'", "cors.origins: \"https://a.b:x\" has the port \"x\""),
            (
                "origins = 'https://'",
                "cors.origins: \"https://\" has the host \"\", which is not a host",
            ),
            ("origins = 'https://a b'", "cors.origins: \"https://a b\" has the host \"a b\""),
            ("origins = 'https://*'", "cors.origins: \"https://*\" has a * where it would"),
            ("origins = 'https://*a.b'", "cors.origins: \"https://*a.b\" has a * where it"),
            ("origins = 'https://a.*'", "cors.origins: \"https://a.*\" has a * where it would"),
            (
                "origins = 'https://*.com'",
                "cors.origins: \"https://*.com\" has everything below com",
            ),
            ("origins = '*'\ncredentials = true", "cors.credentials: every origin is allowed"),
            ("origins = '*'\nheaders = 'a b'", "cors.headers: \"a b\" is no header's name"),
            ("origins = '*'\nheaders = '*'", "cors.headers: \"*\" is no header's name"),
            ("origins = '*'\nmax-age = 'long'", "cors.max-age: \"long\": "),
        ] {
            let settings: CorsSettings = toml::from_str(toml).expect(toml);
            let error = settings.cors().expect_err(toml).to_string();
            assert!(error.starts_with(expected), "{toml}\n{error}");
        }
    }
}
