//! What the file of settings says about access, checked and made into [`Rules`] and [`Publishers`].

mod jwt;

use std::collections::HashSet;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::HeaderName;
use reqwest::Url;
use serde::Deserialize;

use super::es_meta::EsMeta;
use super::forward::ForwardAuth;
use super::jwt::Key;
use super::rules::{Allow, Rule};
use super::{Pattern, PublishToken, Rules};
use crate::access::{SHORT_SECRET, token_text, without_line_end};
pub use jwt::{JwtSettings, Secrets};

/// The longest name of a publisher, in bytes.
const MAX_NAME: usize = 64;

/// Headers that belong to the client's connection, not to its request.
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The table `access`. Described in `docs/auth.md`.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct AccessSettings {
    /// Who may read which channels; the first rule that matches decides.
    pub rules: Vec<RuleSettings>,
    /// JSON Web Tokens.
    pub jwt: Option<JwtSettings>,
    /// django-eventstream's tokens.
    pub es_meta: Option<EsMetaSettings>,
    /// The backend to ask.
    pub forward_auth: Option<ForwardAuthSettings>,
}

/// One of `access.rules`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct RuleSettings {
    /// Patterns of channel names, with `*` and `{claim}`.
    pub channel: OneOrMany,
    /// `public`, `authenticated`, `token`, `backend` or `nobody`.
    pub allow: String,
}

/// The table `access.es-meta`.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct EsMetaSettings {
    /// Django's `SECRET_KEY`.
    pub secret: Option<Secret>,
    /// A file with it; the last line end does not count.
    pub secret_file: Option<PathBuf>,
}

/// The table `access.forward-auth`.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct ForwardAuthSettings {
    /// Where to ask.
    pub url: String,
    /// Which of the client's headers the backend gets. Default: `cookie` and `authorization`.
    pub headers: Option<Vec<String>>,
    /// Whether the backend is told method, host, URI and client address of the request. Default:
    /// yes.
    pub forwarded: Option<bool>,
    /// How long an answer may take. Default: 2 s.
    pub timeout: Option<String>,
    /// How long an answer is remembered. Default: 10 s.
    pub cache: Option<String>,
    /// How many answers are remembered. Default: 10000.
    pub cache_size: Option<usize>,
    /// How often an open stream is asked about again. Default: 30 s.
    pub recheck: Option<String>,
    /// How long a stream stays open while the backend does not answer. Default: 60 s.
    pub patience: Option<String>,
}

/// One of `publish-tokens`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct PublishTokenSettings {
    /// Whose it is: `Idempotency-Key` means the same with all tokens of one name, so that a token
    /// can be exchanged. Default: each token is a publisher of its own.
    pub name: Option<String>,
    /// The token.
    pub token: Option<Secret>,
    /// A file with the token; the last line end does not count.
    pub token_file: Option<PathBuf>,
    /// Patterns of the channels it is for, with `*`.
    pub channel: OneOrMany,
    /// Whether it is good for `POST /permissions/changed` too.
    #[serde(default)]
    pub may_change_permissions: bool,
}

/// A text or a list of texts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "a text in quotes, or a list of such texts")]
pub enum OneOrMany {
    /// `"a"`
    One(String),
    /// `["a", "b"]`
    Many(Vec<String>),
}

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

/// A field that cannot be used: which one, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct SettingError {
    /// Its name, such as `access.rules[0].allow`, counted from 0.
    pub field: String,
    /// What is wrong, and what would do.
    pub problem: String,
}

fn error<T>(field: impl Into<String>, problem: impl Into<String>) -> Result<T, SettingError> {
    Err(SettingError { field: field.into(), problem: problem.into() })
}

impl AccessSettings {
    /// Reads the files that are named, and checks everything. `None`: there are no rules, so
    /// everyone may read everything.
    ///
    /// # Errors
    ///
    /// A [`SettingError`] about the first field that cannot be used.
    pub fn rules(&self) -> Result<Option<Rules>, SettingError> {
        let Self { rules, jwt, es_meta, forward_auth } = self;
        if rules.is_empty() {
            if jwt.is_some() || es_meta.is_some() || forward_auth.is_some() {
                let problem = "there is no rule, so that everyone could read everything; \
                               say who may read which channels";
                return error("access.rules", problem);
            }
            return Ok(None);
        }
        let has_users = jwt.is_some() || es_meta.is_some() || forward_auth.is_some();
        let has_lists = jwt.is_some() || es_meta.is_some();
        let mut checked = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            let field = |name: &str| format!("access.rules[{index}].{name}");
            let allow = match &*rule.allow {
                "public" => Allow::Public,
                "nobody" => Allow::Nobody,
                "authenticated" if has_users => Allow::Authenticated,
                "token" if has_lists => Allow::Token,
                "backend" if forward_auth.is_some() => Allow::Backend,
                "authenticated" => {
                    let problem = "no reader could be: there is no access.jwt, no access.es-meta and no \
                                   access.forward-auth";
                    return error(field("allow"), problem);
                }
                "token" => {
                    let problem = "there is neither access.jwt nor access.es-meta";
                    return error(field("allow"), problem);
                }
                "backend" => return error(field("allow"), "there is no access.forward-auth"),
                other => {
                    let problem = format!(
                        "{other:?} is not one of public, authenticated, token, backend and nobody"
                    );
                    return error(field("allow"), problem);
                }
            };
            let texts = rule.channel.texts();
            if texts.is_empty() {
                return error(field("channel"), "the list is empty");
            }
            let mut patterns = Vec::new();
            for text in texts {
                match Pattern::parse(text) {
                    Ok(pattern) => patterns.push(pattern),
                    Err(problem) => return error(field("channel"), problem.to_string()),
                }
            }
            checked.push(Rule { patterns, allow });
        }
        let backend = forward_auth.as_ref().map(ForwardAuthSettings::backend).transpose()?;
        if backend.is_some() && !checked.iter().any(|rule| rule.allow == Allow::Backend) {
            let problem = "no rule says allow = \"backend\", so it would never be asked";
            return error("access.forward-auth", problem);
        }
        Ok(Some(Rules {
            list: checked,
            jwt: jwt.as_ref().map(JwtSettings::jwt).transpose()?,
            es_meta: es_meta.as_ref().map(EsMetaSettings::es_meta).transpose()?,
            backend,
        }))
    }
}

impl EsMetaSettings {
    fn es_meta(&self) -> Result<EsMeta, SettingError> {
        let secret =
            secret("access.es-meta", "secret", self.secret.as_ref(), self.secret_file.as_ref())?;
        match Key::of_secret(&secret) {
            Ok(key) => Ok(EsMeta::new(key, secret.len() < SHORT_SECRET)),
            Err(problem) => error("access.es-meta.secret", problem),
        }
    }
}

impl ForwardAuthSettings {
    fn backend(&self) -> Result<ForwardAuth, SettingError> {
        let field = |name: &str| format!("access.forward-auth.{name}");
        let url = match Url::parse(&self.url) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => url,
            _ => {
                let problem = "this is no URL; write for example http://127.0.0.1:8000/sse-auth/";
                return error(field("url"), problem);
            }
        };
        let default = ["cookie".to_owned(), "authorization".to_owned()];
        let mut headers = Vec::new();
        for name in self.headers.as_deref().unwrap_or(&default) {
            match HeaderName::try_from(name) {
                Ok(name) if HOP_BY_HOP.contains(&name.as_str()) => {
                    let problem =
                        format!("{name} is about the connection, and cannot be passed on");
                    return error(field("headers"), problem);
                }
                Ok(name) => headers.push(name),
                Err(_) => return error(field("headers"), format!("{name:?} is no header's name")),
            }
        }
        let duration = |name: &str, text: &Option<String>, default: u64| {
            duration(&field(name), text.as_deref(), Duration::from_secs(default))
        };
        let positive = |name: &str, found: Duration| match found {
            Duration::ZERO => error(field(name), "must be longer than nothing"),
            found => Ok(found),
        };
        let timeout = positive("timeout", duration("timeout", &self.timeout, 2)?)?;
        let Some(size) = NonZeroUsize::new(self.cache_size.unwrap_or(10_000)) else {
            return error(field("cache-size"), "must be 1 or more; use cache = \"0s\" for none");
        };
        let mut backend = match ForwardAuth::new(url, headers, timeout, size) {
            Ok(backend) => backend,
            Err(problem) => return error("access.forward-auth", problem.to_string()),
        };
        backend.forwarded = self.forwarded.unwrap_or(true);
        backend.cache = duration("cache", &self.cache, 10)?;
        backend.recheck = positive("recheck", duration("recheck", &self.recheck, 30)?)?;
        backend.patience = duration("patience", &self.patience, 60)?;
        Ok(backend)
    }
}

impl PublishTokenSettings {
    /// The tokens of a list of them, beside the one that is for everything.
    ///
    /// # Errors
    ///
    /// A [`SettingError`] about the first field that cannot be used.
    pub fn tokens(all: &[Self], other: Option<&str>) -> Result<Vec<PublishToken>, SettingError> {
        let mut seen: HashSet<Vec<u8>> = other.map(Into::into).into_iter().collect();
        let mut tokens = Vec::new();
        for (index, settings) in all.iter().enumerate() {
            let place = format!("publish-tokens[{index}]");
            let token =
                secret(&place, "token", settings.token.as_ref(), settings.token_file.as_ref())?;
            let from = if settings.token_file.is_some() { "token-file" } else { "token" };
            let token = match token_text(token) {
                Ok(token) => token,
                Err(problem) => return error(format!("{place}.{from}"), problem),
            };
            if !seen.insert(token.clone().into_bytes()) {
                return error(format!("{place}.token"), "another one has the same token");
            }
            let is_name = |name: &String| {
                (1..=MAX_NAME).contains(&name.len())
                    && name.bytes().all(|byte| byte.is_ascii_graphic())
            };
            if settings.name.as_ref().is_some_and(|name| !is_name(name)) {
                let problem = format!(
                    "a name has 1 to {MAX_NAME} ASCII letters, digits and signs, and no spaces"
                );
                return error(format!("{place}.name"), problem);
            }
            let texts = settings.channel.texts();
            if texts.is_empty() || texts.iter().any(String::is_empty) {
                return error(format!("{place}.channel"), "name a channel, or * for all");
            }
            let channels = texts.iter().map(|text| Pattern::without_claims(text)).collect();
            let mut token = PublishToken::new(token, channels);
            if let Some(name) = &settings.name {
                token = token.named(name);
            }
            tokens.push(token.may_change_permissions(settings.may_change_permissions));
        }
        Ok(tokens)
    }
}

impl OneOrMany {
    /// The texts, as a list.
    pub fn texts(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts,
        }
    }
}

impl Default for OneOrMany {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// What is in the field, or in the file that the other field names.
fn secret(
    place: &str,
    name: &str,
    value: Option<&Secret>,
    file: Option<&PathBuf>,
) -> Result<Vec<u8>, SettingError> {
    let found = match (value, file) {
        (Some(Secret(text)), None) => text.clone().into_bytes(),
        (None, Some(path)) => match read(path) {
            Ok(bytes) => without_line_end(bytes),
            Err(problem) => return error(format!("{place}.{name}-file"), problem),
        },
        _ => return error(place, format!("give either {name} or {name}-file")),
    };
    if found.trim_ascii().is_empty() {
        return error(format!("{place}.{name}"), "it is empty");
    }
    Ok(found)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

fn duration(field: &str, text: Option<&str>, default: Duration) -> Result<Duration, SettingError> {
    let Some(text) = text else { return Ok(default) };
    humantime::parse_duration(text).or_else(|problem| {
        error(field, format!("{text:?}: {problem}; write for example 30s, 15m or 24h"))
    })
}
