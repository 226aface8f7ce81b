//! What the file of settings says about proxies that hold streams, and the variables `GRIP_URL` and
//! `GRIP_VERIFY_KEY`, as other implementations of GRIP have them.

use std::time::Duration;

use serde::Deserialize;

use super::ConfigError;
use crate::access::Secret;
use crate::grip::{Grip, GripProxy};
use crate::values::Time;

/// The table `grip`. Described in `docs/grip.md`.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct GripSettings {
    /// The proxies: where each takes what is published, and the keys, such as
    /// `http://127.0.0.1:5561?iss=NAME&key=SECRET`. The variable `GRIP_URL` adds one.
    pub urls: Vec<Secret>,
    /// What the names of all channels begin with at the proxies. Default: nothing.
    pub prefix: Option<String>,
    /// How often a proxy asks about each connection: how long a permission that nobody has taken
    /// back may outlive its end, and how late an event can be that was never published. Default:
    /// 60s.
    pub link_timeout: Option<Time>,
}

/// The variables.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct GripVariables {
    /// `GRIP_URL`
    pub url: Option<String>,
    /// `GRIP_VERIFY_KEY`: what the proxy signs with, if the URL does not say.
    pub verify_key: Option<String>,
}

impl GripVariables {
    /// Those of this process.
    pub fn of_process() -> Self {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        Self { url: variable("GRIP_URL"), verify_key: variable("GRIP_VERIFY_KEY") }
    }

    fn proxy(&self) -> Result<Option<GripProxy>, ConfigError> {
        let Some(url) = &self.url else { return Ok(None) };
        let proxy = match &self.verify_key {
            Some(key) if !url.contains("verify-key=") => {
                let key: String = form_urlencoded::byte_serialize(key.as_bytes()).collect();
                let sign = if url.contains('?') { '&' } else { '?' };
                format!("{url}{sign}verify-key={key}").parse()
            }
            _ => url.parse(),
        };
        proxy.map(Some).map_err(|error: crate::grip::GripUrlError| {
            ConfigError::new("GRIP_URL", error.to_string())
        })
    }
}

/// Shows nothing of the keys.
impl std::fmt::Debug for GripVariables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GripVariables")
            .field("has_url", &self.url.is_some())
            .finish_non_exhaustive()
    }
}

/// The proxies, if there is one.
pub(super) fn grip(
    settings: Option<&GripSettings>,
    variables: &GripVariables,
) -> Result<Option<Grip>, ConfigError> {
    let settings = settings.cloned().unwrap_or_default();
    let mut proxies = Vec::new();
    for (index, url) in settings.urls.iter().enumerate() {
        let proxy = url.expose().parse().map_err(|error: crate::grip::GripUrlError| {
            ConfigError::new(format!("grip.urls[{index}]"), error.to_string())
        })?;
        proxies.push(proxy);
    }
    proxies.extend(variables.proxy()?);
    if proxies.is_empty() {
        return Ok(None);
    }
    let prefix = settings.prefix.unwrap_or_default();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !prefix.bytes().all(is_plain) {
        let problem = format!("{prefix:?} has more than letters, digits, -, _ and . of ASCII");
        return Err(ConfigError::new("grip.prefix", problem));
    }
    let timeout = settings.link_timeout.map_or(Duration::from_mins(1), |Time(time)| time);
    Ok(Some(Grip::new(proxies).prefix(prefix).link_timeout(timeout)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_proxy_is_refused_and_its_key_is_not_shown() {
        let url = "http://localhost:5561?key=s3cret";
        for (text, variable, expected) in [
            (&*format!("urls = ['{url}']"), None, "grip.urls[0]: verify-key is missing"),
            ("prefix = 'a b'\nurls = ['http://h?verify-key=v']", None, "grip.prefix: \"a b\""),
            ("", Some(url), "GRIP_URL: verify-key is missing"),
        ] {
            let settings: GripSettings = toml::from_str(text).expect("TOML");
            let variables = GripVariables { url: variable.map(str::to_owned), verify_key: None };
            let error = grip(Some(&settings), &variables).expect_err(text).to_string();
            assert!(error.starts_with(expected) && !error.contains("s3cret"), "{error}");
        }
        let of = |key: Option<&str>| GripVariables {
            url: Some(url.to_owned()),
            verify_key: key.map(str::to_owned),
        };
        assert!(grip(None, &of(Some("a key + more"))).expect("in order").is_some());
        assert!(grip(None, &GripVariables::default()).expect("in order").is_none());
    }
}
