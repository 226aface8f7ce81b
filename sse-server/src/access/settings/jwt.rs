//! What the file of settings says about JSON Web Tokens, checked and made into [`Jwt`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::{OneOrMany, Secret, SettingError, duration, error, read};
use crate::access::jwt::{Jwt, Key, Verifier};
use crate::access::remote_keys::RemoteKeys;
use crate::access::{SHORT_SECRET, without_line_end};

/// The longest leeway that makes sense for a clock.
const MAX_LEEWAY: Duration = Duration::from_mins(10);

/// How often keys may be fetched again as a rule.
const SHORTEST_REFRESH: Duration = Duration::from_mins(1);

/// The table `access.jwt`.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct JwtSettings {
    /// The secret of HS256, of 32 bytes or more; or several, so that one can be exchanged.
    pub secret: Secrets,
    /// A file with the secret, or several; the last line end does not count.
    pub secret_file: OneOrMany,
    /// The public key of RS256, ES256 or `EdDSA`, in PEM form.
    pub public_key: Option<String>,
    /// A file with the public key.
    pub public_key_file: Option<PathBuf>,
    /// A file with a JWK set (RFC 7517).
    pub jwks_file: Option<PathBuf>,
    /// A URL with a JWK set: https, or of this machine.
    pub jwks_url: Option<String>,
    /// How old what was fetched there may become. Default: 1 h.
    pub jwks_refresh: Option<String>,
    /// Who must have issued the token. Default: anyone.
    pub issuer: OneOrMany,
    /// The audience that a token must have. Default: a token with an audience is refused.
    pub audience: OneOrMany,
    /// By how much clocks may differ. Default: not at all.
    pub leeway: Option<String>,
    /// A cookie in which tokens come too.
    pub cookie: Option<String>,
    /// A parameter of the query in which tokens come too.
    pub query: Option<String>,
    /// The claim that names the user. Default: `sub`.
    pub user_claim: Option<String>,
    /// The claim that lists channels. Default: `channels`.
    pub channels_claim: Option<String>,
}

/// A secret or a list of secrets.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "a text in quotes, or a list of such texts")]
pub enum Secrets {
    /// `"a"`
    One(Secret),
    /// `["a", "b"]`
    Many(Vec<Secret>),
}

impl Default for Secrets {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Secrets {
    fn all(&self) -> &[Secret] {
        match self {
            Self::One(secret) => std::slice::from_ref(secret),
            Self::Many(secrets) => secrets,
        }
    }
}

impl JwtSettings {
    pub(super) fn jwt(&self) -> Result<Jwt, SettingError> {
        let field = |name: &str| format!("access.jwt.{name}");
        let mut keys: Vec<Key> = Vec::new();
        let mut named = 0;
        let mut left_out = Vec::new();
        let mut add = |name: &str, found: Result<Vec<Key>, String>| match found {
            Ok(found) => {
                keys.extend(found);
                named += 1;
                Ok(())
            }
            Err(problem) => error(field(name), problem),
        };
        if !self.secret.all().is_empty() {
            let secrets = self.secret.all().iter();
            add("secret", secrets.map(|Secret(secret)| strong(secret.as_bytes())).collect())?;
        }
        if !self.secret_file.texts().is_empty() {
            let secrets = self
                .secret_file
                .texts()
                .iter()
                .map(|path| strong(&without_line_end(read(Path::new(path))?)));
            add("secret-file", secrets.collect())?;
        }
        if let Some(pem) = &self.public_key {
            add("public-key", Key::of_pem(pem.as_bytes()).map(|key| vec![key]))?;
        }
        if let Some(path) = &self.public_key_file {
            add("public-key-file", read(path).and_then(|pem| Ok(vec![Key::of_pem(&pem)?])))?;
        }
        if let Some(path) = &self.jwks_file {
            let set = read(path).and_then(|json| Key::of_jwks(&json)).map(|set| {
                left_out = set.left_out;
                set.keys
            });
            add("jwks-file", set)?;
        }
        let mut remote = None;
        if let Some(url) = &self.jwks_url {
            let refresh = Duration::from_hours(1);
            let refresh = duration(&field("jwks-refresh"), self.jwks_refresh.as_deref(), refresh)?;
            if refresh < SHORTEST_REFRESH {
                return error(
                    field("jwks-refresh"),
                    "that is more often than anybody needs; 1m at least",
                );
            }
            let keys = RemoteKeys::at(url).map(|keys| remote = Some((keys, refresh)));
            add("jwks-url", keys.map(|()| Vec::new()))?;
        } else if self.jwks_refresh.is_some() {
            return error(
                field("jwks-refresh"),
                "there is no jwks-url that could be fetched again",
            );
        }
        if named != 1 {
            let problem = "give exactly one of secret, secret-file, public-key, public-key-file, \
                           jwks-file and jwks-url";
            return error("access.jwt", problem);
        }
        let leeway = duration(&field("leeway"), self.leeway.as_deref(), Duration::ZERO)?;
        if leeway > MAX_LEEWAY {
            return error(field("leeway"), "clocks do not differ by more than 10m");
        }
        let name = |name: &str, value: &Option<String>| match value {
            Some(value) if value.is_empty() => error(field(name), "the name is empty"),
            value => Ok(value.clone()),
        };
        let user_claim = name("user-claim", &self.user_claim)?;
        let channels_claim = name("channels-claim", &self.channels_claim)?;
        Ok(Jwt {
            verifier: Verifier::new(keys, leeway)
                .issuers(self.issuer.texts())
                .audiences(self.audience.texts()),
            remote,
            cookie: name("cookie", &self.cookie)?,
            parameter: name("query", &self.query)?,
            user_claim: user_claim.unwrap_or_else(|| "sub".to_owned()),
            channels_claim: channels_claim.unwrap_or_else(|| "channels".to_owned()),
            left_out,
        })
    }
}

/// A secret that is as long as it has to be.
fn strong(secret: &[u8]) -> Result<Key, String> {
    let key = Key::of_secret(secret)?;
    match secret.len() {
        ..SHORT_SECRET => Err(format!(
            "the secret has {} bytes, and HS256 needs {SHORT_SECRET} at least (RFC 7518, section 3.2); \
             make one with `openssl rand -base64 32`",
            secret.len()
        )),
        _ => Ok(key),
    }
}
