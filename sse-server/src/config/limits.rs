//! What the file of settings says about how large requests may be.

use std::ops::RangeInclusive;

use serde::Deserialize;

use super::ConfigError;
use crate::http::Limits;

/// The table `request-limits`. Described in `docs/protocol.md`.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct RequestLimitsSettings {
    /// The longest path and query together, in bytes. Default: 16384.
    pub url: Option<usize>,
    /// The most bytes of all headers together. Default: 32768.
    pub header_size: Option<usize>,
    /// The most headers. Default: 64.
    pub headers: Option<usize>,
    /// The most channels of a stream. Default: 10.
    pub channels: Option<usize>,
}

impl RequestLimitsSettings {
    pub(super) fn limits(&self) -> Result<Limits, ConfigError> {
        let within = |field: &str, value: usize, range: RangeInclusive<usize>| {
            if range.contains(&value) {
                return Ok(value);
            }
            let (least, most) = range.into_inner();
            let problem = format!("{value} is not from {least} to {most}");
            Err(ConfigError::new(format!("request-limits.{field}"), problem))
        };
        let mut limits = Limits::default();
        // The parser of HTTP has limits too, which are just above these.
        if let Some(bytes) = self.url {
            limits = limits.url(within("url", bytes, 256..=65_000)?);
        }
        if let Some(bytes) = self.header_size {
            limits = limits.header_size(within("header-size", bytes, 1024..=65_000)?);
        }
        if let Some(count) = self.headers {
            limits = limits.headers(within("headers", count, 8..=100)?);
        }
        if let Some(count) = self.channels {
            limits = limits.channels(within("channels", count, 1..=1000)?);
        }
        Ok(limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_would_never_or_always_be_hit_is_refused() {
        for (toml, expected) in [
            ("url = 255", "request-limits.url: 255 is not from 256 to 65000"),
            ("url = 65001", "request-limits.url: 65001 is not"),
            ("header-size = 65001", "request-limits.header-size: 65001 is not"),
            ("headers = 101", "request-limits.headers: 101 is not"),
            ("channels = 0", "request-limits.channels: 0 is not from 1 to 1000"),
        ] {
            let settings: RequestLimitsSettings = toml::from_str(toml).expect(toml);
            let error = settings.limits().expect_err(toml).to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
