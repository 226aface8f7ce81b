//! The proxy's signature, `Grip-Sig`, and forged ones.

use std::fmt;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Map, Value, json};

/// How long a signature is good, as Pushpin's are.
const GOOD_FOR: i64 = 3600;

/// Signs as the proxy does.
#[derive(Clone)]
pub struct Signer {
    algorithm: Algorithm,
    key: EncodingKey,
    issuer: Option<String>,
    /// What the origin verifies with, if it is public.
    public: Option<String>,
}

/// A key that cannot sign. It quotes none of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// `file:` names nothing that can be read.
    #[error("the file {0} cannot be read: {1}")]
    File(String, String),
    /// What follows `base64:` is something else.
    #[error("what follows base64: is no base64")]
    Base64,
    /// It is PEM of another kind.
    #[error("this PEM is no private key of RSA or P-256 (PKCS #8); give the one the proxy has")]
    Pem,
}

/// What is wrong with a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forgery {
    /// It is one for other claims.
    Altered,
    /// It is made with another secret.
    OtherKey,
    /// `alg` is `none`, and there is no signature.
    None,
    /// It was good until two minutes ago; clocks may differ.
    Expired,
    /// It does not say until when it is good.
    Endless,
    /// It is in the name of another.
    OtherIssuer,
    /// An HMAC with the text of the public key.
    Confused,
}

impl Signer {
    /// With a key as proxies have it in their settings: a text, `base64:` and bytes, or `file:` and
    /// the path of one; a private key in PEM signs RS256 or ES256, anything else HS256.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is PEM of another kind.
    pub fn new(key: &str) -> Result<Self, KeyError> {
        let bytes = match (key.strip_prefix("file:"), key.strip_prefix("base64:")) {
            (Some(path), _) => fs::read(path)
                .map_err(|error| KeyError::File(path.to_owned(), error.to_string()))?,
            (_, Some(text)) => STANDARD.decode(text).map_err(|_| KeyError::Base64)?,
            _ => key.as_bytes().to_vec(),
        };
        let (algorithm, key) = if !bytes.trim_ascii_start().starts_with(b"-----BEGIN") {
            (Algorithm::HS256, EncodingKey::from_secret(&bytes))
        } else if let Ok(key) = EncodingKey::from_rsa_pem(&bytes) {
            (Algorithm::RS256, key)
        } else {
            let key = EncodingKey::from_ec_pem(&bytes).map_err(|_| KeyError::Pem)?;
            (Algorithm::ES256, key)
        };
        Ok(Self { algorithm, key, issuer: None, public: None })
    }

    /// In this name (`sig_iss` of Pushpin, `fastly:SERVICE`). Default: in none.
    #[must_use]
    pub fn issuer(self, issuer: Option<String>) -> Self {
        Self { issuer, ..self }
    }

    /// What the origin verifies with, if it is a public key in PEM: an origin must not take it for
    /// a secret.
    #[must_use]
    pub fn public(self, pem: Option<String>) -> Self {
        Self { public: pem, ..self }
    }

    pub(super) const fn has_issuer(&self) -> bool {
        self.issuer.is_some()
    }

    pub(super) const fn has_public(&self) -> bool {
        self.public.is_some()
    }

    fn claims(&self, good_for: i64) -> Map<String, Value> {
        let mut claims = Map::new();
        if let Some(issuer) = &self.issuer {
            claims.insert("iss".to_owned(), json!(issuer));
        }
        claims.insert("exp".to_owned(), json!(now() + good_for));
        claims
    }

    fn signed(&self, claims: &Map<String, Value>) -> String {
        encode(&Header::new(self.algorithm), claims, &self.key)
            .expect("the key was made for the algorithm, and the claims are JSON")
    }

    /// One that holds.
    pub(super) fn sign(&self) -> String {
        self.signed(&self.claims(GOOD_FOR))
    }

    /// One that does not.
    pub(super) fn forge(&self, forgery: Forgery) -> String {
        let mut claims = self.claims(GOOD_FOR);
        let by = |secret: &[u8], claims: &Map<String, Value>| {
            encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(secret))
                .expect("a secret is a key of HMAC, and the claims are JSON")
        };
        match forgery {
            Forgery::Altered => {
                let good = self.signed(&claims);
                claims.insert("exp".to_owned(), json!(now() + 2 * GOOD_FOR));
                let other = self.signed(&claims);
                // The head and the claims of the one, the signature of the other.
                let (unsigned, _) = other.rsplit_once('.').expect("a JWT has three parts");
                let (_, signature) = good.rsplit_once('.').expect("a JWT has three parts");
                format!("{unsigned}.{signature}")
            }
            Forgery::OtherKey => by(b"a key that no proxy has, of 32 bytes and more", &claims),
            Forgery::None => {
                let head = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"none"}"#);
                format!("{head}.{}.", URL_SAFE_NO_PAD.encode(Value::Object(claims).to_string()))
            }
            Forgery::Expired => self.signed(&self.claims(-120)),
            Forgery::Endless => {
                claims.remove("exp");
                self.signed(&claims)
            }
            Forgery::OtherIssuer => {
                claims.insert("iss".to_owned(), json!("another"));
                self.signed(&claims)
            }
            Forgery::Confused => by(self.public.as_deref().unwrap_or_default().as_bytes(), &claims),
        }
    }
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX / 2)
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { algorithm, issuer, .. } = self;
        f.debug_struct("Signer")
            .field("algorithm", algorithm)
            .field("issuer", issuer)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation, decode};

    use super::*;

    fn holds(token: &str) -> bool {
        let mut rules = Validation::new(Algorithm::HS256);
        rules.set_issuer(&["me"]);
        rules.set_required_spec_claims(&["exp", "iss"]);
        rules.leeway = 30;
        decode::<Value>(token, &DecodingKey::from_secret(b"k\xffey"), &rules).is_ok()
    }

    #[test]
    fn a_signature_holds_and_no_forged_one_does() {
        let signer = Signer::new("base64:a/9leQ==").expect("a key").issuer(Some("me".to_owned()));
        let signer = signer.public(Some("-----BEGIN PUBLIC KEY-----".to_owned()));
        assert!(holds(&signer.sign()));
        for forgery in [
            Forgery::Altered,
            Forgery::OtherKey,
            Forgery::None,
            Forgery::Expired,
            Forgery::Endless,
            Forgery::OtherIssuer,
            Forgery::Confused,
        ] {
            assert!(!holds(&signer.forge(forgery)), "{forgery:?}");
        }
    }

    #[test]
    fn the_form_of_a_key_decides_about_the_algorithm() {
        let pem = rcgen::KeyPair::generate().expect("a key of P-256").serialize_pem();
        assert_eq!(Signer::new(&pem).expect("a key").algorithm, Algorithm::ES256);
        assert_eq!(Signer::new("secret").expect("a key").algorithm, Algorithm::HS256);
        assert_eq!(Signer::new("base64:*").err(), Some(KeyError::Base64));
        assert_eq!(Signer::new("-----BEGIN s3cret").err(), Some(KeyError::Pem));
        assert!(matches!(Signer::new("file:/nothing/there"), Err(KeyError::File(..))));
    }
}
