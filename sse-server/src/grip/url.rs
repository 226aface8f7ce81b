//! `GRIP_URL`: a proxy and its keys in one text, as other implementations of GRIP write it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey};
use url::Url;

use crate::access::{TokenKey, Verifier};

/// How far the clocks of a proxy and of this machine may differ.
const LEEWAY: Duration = Duration::from_secs(30);

/// A proxy: where to publish, and the keys.
///
/// Made from a text such as `http://127.0.0.1:5561?iss=NAME&key=SECRET`, or, for Fastly Fanout,
/// `https://api.fastly.com/service/ID?key=TOKEN&verify-iss=fastly:ID&verify-key=KEY`:
///
/// | parameter | |
/// |---|---|
/// | `iss` and `key` | what we send to publish is signed with the key in the name of `iss` |
/// | `key` alone | it is sent as it is (`Authorization: Bearer KEY`) |
/// | `verify-key` | what the proxy signs with: a secret, or its public key; else it is `key` if there is an `iss` |
/// | `verify-iss` | in whose name it signs; a must if others have the same key |
///
/// A key is a text, or `base64:` and bytes, or PEM, or a JWK. A user and a password in the URL are
/// sent as they are (`Authorization: Basic`).
#[derive(Clone)]
pub struct GripProxy(pub(super) Arc<Proxy>);

pub(super) struct Proxy {
    /// Without parameters, and without a slash at the end.
    pub(super) control: String,
    pub(super) authorization: Authorization,
    verifier: Verifier,
    secret: Option<Vec<u8>>,
    pub(super) client: reqwest::Client,
}

/// How we say who we are.
pub(super) enum Authorization {
    None,
    Basic(String, String),
    Bearer(String),
    Signed { issuer: String, algorithm: Algorithm, key: EncodingKey },
}

/// A text that is no `GRIP_URL`. It quotes no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct GripUrlError(String);

impl FromStr for GripProxy {
    type Err = GripUrlError;

    fn from_str(text: &str) -> Result<Self, GripUrlError> {
        let error = |text: String| GripUrlError(text);
        let mut url = Url::parse(text).map_err(|problem| {
            error(format!("this is no URL such as http://HOST:PORT ({problem})"))
        })?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(error("a proxy is reached by http:// or https://".to_owned()));
        }
        let mut of = [const { None }; 4];
        let mut others = Vec::new();
        for (name, value) in url.query_pairs() {
            match ["iss", "key", "verify-iss", "verify-key"].iter().position(|it| *it == name) {
                Some(index) => of[index] = Some(value.into_owned()),
                None => others.push((name.into_owned(), value.into_owned())),
            }
        }
        let [issuer, key, verify_issuer, verify_key] = of;
        url.set_query(None);
        if !others.is_empty() {
            url.query_pairs_mut().extend_pairs(&others);
        }
        let user = url.username().to_owned();
        let password = url.password().unwrap_or_default().to_owned();
        // They cannot fail for a URL that has a host.
        url.set_username("").and_then(|()| url.set_password(None)).ok();
        let key =
            key.map(|key| bytes(&key)).transpose().map_err(|why| error(format!("key: {why}")))?;
        let verify_key = match verify_key {
            Some(key) => Some(bytes(&key).map_err(|why| error(format!("verify-key: {why}")))?),
            None => key.clone().filter(|_| issuer.is_some()),
        };
        let Some(verify_key) = verify_key else {
            return Err(error(
                "verify-key is missing: it is not known what the proxy signs with, so \
                 that everyone could say they are the proxy"
                    .to_owned(),
            ));
        };
        let token_key =
            token_key(&verify_key).map_err(|why| error(format!("verify-key: {why}")))?;
        let is_shared = url.host_str().is_some_and(|host| host.ends_with("api.fastly.com"));
        if is_shared && verify_issuer.is_none() {
            return Err(error(
                "verify-iss is missing: all services of Fastly sign with one key, so \
                 that any of them could say they are yours; write verify-iss=fastly:SERVICE"
                    .to_owned(),
            ));
        }
        let keys = [key.as_ref(), Some(&verify_key)];
        let secret = keys.into_iter().flatten().find(|key| !is_public(key)).cloned();
        let authorization = match (issuer, key) {
            (Some(issuer), Some(key)) => signed(&issuer, &key).map_err(error)?,
            (None, Some(key)) => Authorization::Bearer(String::from_utf8(key).map_err(|_| {
                error("key: without iss it is sent, and must be a text".to_owned())
            })?),
            (Some(_), None) => {
                return Err(error("iss: without a key nothing can be signed".to_owned()));
            }
            (None, None) if !user.is_empty() => Authorization::Basic(user, password),
            (None, None) => Authorization::None,
        };
        let issuers: Vec<String> = verify_issuer.into_iter().collect();
        let verifier = Verifier::new(vec![token_key], LEEWAY).issuers(&issuers);
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(2))
            .timeout(Duration::from_secs(5))
            .build()
            .map_err(|problem| error(format!("no client can be made: {problem}")))?;
        let control = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self(Arc::new(Proxy { control, authorization, verifier, secret, client })))
    }
}

impl GripProxy {
    /// Whether this is a signature of the proxy that holds.
    pub(super) fn has_signed(&self, signature: &[u8]) -> bool {
        self.0.verifier.verify(signature).is_ok()
    }

    /// What only we and the proxy know, if there is something.
    pub(super) fn secret(&self) -> Option<&[u8]> {
        self.0.secret.as_deref()
    }

    /// Where it takes what is published, without the keys.
    pub(crate) fn control(&self) -> &str {
        &self.0.control
    }
}

/// The bytes of a key.
fn bytes(key: &str) -> Result<Vec<u8>, String> {
    match key.strip_prefix("base64:") {
        // A plus sign in a query is a space.
        Some(text) => STANDARD
            .decode(text.trim().replace(' ', "+"))
            .map_err(|_| "what follows base64: is no base64".to_owned()),
        None => Ok(key.as_bytes().to_vec()),
    }
}

fn is_pem(key: &[u8]) -> bool {
    key.trim_ascii_start().starts_with(b"-----BEGIN")
}

fn is_jwk(key: &[u8]) -> bool {
    key.trim_ascii_start().starts_with(b"{")
}

fn is_public(key: &[u8]) -> bool {
    is_jwk(key) || is_pem(key) && !key.windows(11).any(|window| window == b"PRIVATE KEY")
}

/// The key, and by its form the only algorithm that it is for.
fn token_key(key: &[u8]) -> Result<TokenKey, String> {
    if is_pem(key) {
        return TokenKey::of_pem(key);
    }
    if is_jwk(key) {
        return TokenKey::of_one_jwk(key);
    }
    TokenKey::of_secret(key)
}

fn signed(issuer: &str, key: &[u8]) -> Result<Authorization, String> {
    let of =
        |algorithm, key| Ok(Authorization::Signed { issuer: issuer.to_owned(), algorithm, key });
    if !is_pem(key) {
        return of(Algorithm::HS256, EncodingKey::from_secret(key));
    }
    if let Ok(key) = EncodingKey::from_rsa_pem(key) {
        return of(Algorithm::RS256, key);
    }
    EncodingKey::from_ec_pem(key)
        .map_err(|_| "key: this PEM is no private key of RSA or P-256".to_owned())
        .and_then(|key| of(Algorithm::ES256, key))
}

impl fmt::Debug for GripProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GripProxy").field("control", &self.0.control).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    #[test]
    fn a_url_without_a_key_to_verify_with_is_refused_and_no_key_is_quoted() {
        for (text, expected) in [
            ("localhost", "this is no URL"),
            ("ftp://localhost/?key=s3cret&iss=a", "a proxy is reached by"),
            ("http://localhost:5561", "verify-key is missing"),
            ("http://localhost:5561?key=s3cret", "verify-key is missing"),
            ("http://localhost:5561?verify-key=base64:*", "verify-key: what follows"),
            (
                "http://localhost:5561?verify-key=-----BEGIN s3cret",
                "verify-key: this is no public key",
            ),
            ("http://localhost:5561?verify-key={\"kty\":\"s3cret\"}", "verify-key: "),
            ("http://localhost:5561?iss=a&verify-key=s3cret", "iss: without a key"),
            ("https://api.fastly.com/service/x?key=t&verify-key=s3cret", "verify-iss is missing"),
        ] {
            let error = text.parse::<GripProxy>().expect_err(text).to_string();
            assert!(error.starts_with(expected) && !error.contains("s3cret"), "{text}: {error}");
        }
    }

    /// A service of Fastly: its token is sent as it is, and what is signed with the key that all
    /// services have is believed in the name of this one only.
    #[test]
    fn a_service_of_fastly_is_told_from_others_with_the_same_key() {
        let pair = rcgen::KeyPair::generate().expect("a key of P-256");
        let point = URL_SAFE_NO_PAD.encode(&pair.public_key_raw()[1..33]);
        let other = URL_SAFE_NO_PAD.encode(&pair.public_key_raw()[33..]);
        let jwk = format!(r#"{{"kty":"EC","crv":"P-256","x":"{point}","y":"{other}"}}"#);
        let mut url = Url::parse("https://api.fastly.com/service/SID").expect("a URL");
        let pairs = [("key", "TOKEN"), ("verify-iss", "fastly:SID"), ("verify-key", jwk.as_str())];
        url.query_pairs_mut().extend_pairs(pairs);
        let proxy: GripProxy = url.as_str().parse().expect("a GRIP_URL");
        assert_eq!(proxy.control(), "https://api.fastly.com/service/SID");
        assert!(matches!(&proxy.0.authorization, Authorization::Bearer(key) if key == "TOKEN"));
        let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).expect("a key");
        let signed = |issuer: &str| {
            let claims = serde_json::json!({"iss": issuer, "exp": 4_102_444_800_u64});
            let header = jsonwebtoken::Header::new(Algorithm::ES256);
            jsonwebtoken::encode(&header, &claims, &key).expect("a token")
        };
        assert!(proxy.has_signed(signed("fastly:SID").as_bytes()));
        assert!(!proxy.has_signed(signed("fastly:OTHER").as_bytes()));
    }

    #[test]
    fn what_is_no_key_belongs_to_the_address() {
        let proxy: GripProxy =
            "https://host/a/?x=1&key=k&iss=me&verify-key=v&y=%20".parse().expect("a URL");
        assert_eq!(proxy.control(), "https://host/a/?x=1&y=+");
        let proxy: GripProxy = "http://u:p@host:5561/?verify-key=v".parse().expect("a URL");
        assert_eq!(proxy.control(), "http://host:5561");
        assert!(
            matches!(&proxy.0.authorization, Authorization::Basic(u, p) if u == "u" && p == "p")
        );
    }
}
