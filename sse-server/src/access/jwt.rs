//! JSON Web Tokens (RFC 7519): where they are in a request, and whether they hold.
//!
//! The key says which algorithm is meant, never the token: a token that names another one is
//! refused, and so is one that names none.

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, errors::ErrorKind};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::SHORT_SECRET;
use super::remote_keys::RemoteKeys;
use super::{AccessError, AccessRequest, Pattern, Principal, public_key};

/// Longer than any token should be; a request's head may have some 128 kB.
const MAX_LEN: usize = 16 << 10;

/// The length of a point on P-256, uncompressed.
const P256_POINT: usize = 65;

/// The issuer of django-eventstream's own tokens, which are not for this.
pub(super) const ES_META_ISSUER: &str = "es";

/// The claims of a token that holds.
pub(crate) type Claims = Map<String, Value>;

/// One key, and the only algorithm that it is used with.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    decoding: DecodingKey,
}

/// What a JWK set has.
#[derive(Debug, Default)]
pub(super) struct KeySet {
    pub(super) keys: Vec<Key>,
    /// Keys that cannot be used although they should be, and why.
    pub(super) left_out: Vec<String>,
}

/// What a token has to fulfil.
#[derive(Debug)]
pub(crate) struct Verifier {
    keys: Vec<Key>,
    validation: Validation,
}

/// Tokens that name a user.
#[derive(Debug)]
pub(super) struct Jwt {
    pub(super) verifier: Verifier,
    /// Where the keys are, if the verifier has none, and how old they may become.
    pub(super) remote: Option<(Arc<RemoteKeys>, Duration)>,
    pub(super) cookie: Option<String>,
    pub(super) parameter: Option<String>,
    pub(super) user_claim: String,
    pub(super) channels_claim: String,
    /// Keys that cannot be used, and why.
    pub(super) left_out: Vec<String>,
}

impl Key {
    pub(crate) fn of_secret(secret: &[u8]) -> Result<Self, String> {
        if secret.is_empty() {
            return Err("the secret is empty".to_owned());
        }
        if let Some(form) = public_key::form(secret) {
            return Err(format!(
                "this is a key in the form {form}, not a secret, and everyone who knows it could sign; use \
                 public-key (PEM) or jwks-file"
            ));
        }
        let key = DecodingKey::from_secret(secret);
        Ok(Self { id: None, algorithm: Algorithm::HS256, decoding: key })
    }

    /// Whether who knows it can only verify.
    pub(super) fn is_public(&self) -> bool {
        self.algorithm != Algorithm::HS256
    }

    fn is_meant(&self, algorithm: Algorithm, id: Option<&str>) -> bool {
        self.algorithm == algorithm
            && (self.id.is_none() || id.is_none() || self.id.as_deref() == id)
    }

    pub(crate) fn of_pem(pem: &[u8]) -> Result<Self, String> {
        if pem.windows(11).any(|window| window == b"PRIVATE KEY") {
            return Err("this is a private key, which the server must not have; \
                        use the public one"
                .to_owned());
        }
        let key = |algorithm, decoding| Ok(Self { id: None, algorithm, decoding });
        if let Ok(rsa) = DecodingKey::from_rsa_pem(pem) {
            return key(Algorithm::RS256, rsa);
        }
        if let Ok(ed) = DecodingKey::from_ed_pem(pem) {
            return key(Algorithm::EdDSA, ed);
        }
        match DecodingKey::from_ec_pem(pem) {
            Ok(ec) if ec.try_get_as_bytes().is_ok_and(|point| point.len() == P256_POINT) => {
                key(Algorithm::ES256, ec)
            }
            Ok(_) => {
                Err("of elliptic curves only P-256 (ES256) and Ed25519 are possible".to_owned())
            }
            Err(_) => Err("this is no public key in PEM form of RSA, P-256 or Ed25519".to_owned()),
        }
    }

    /// The keys of a set, each by itself: one that is not in order is no reason to do without the
    /// others (RFC 7517, section 5).
    pub(super) fn of_jwks(json: &[u8]) -> Result<KeySet, String> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set =
            serde_json::from_slice(json).map_err(|error| format!("this is no JWK set: {error}"))?;
        let mut found = KeySet::default();
        for (index, jwk) in set.keys.into_iter().enumerate() {
            let id = jwk.get("kid").and_then(Value::as_str).map(|id| format!(" ({id:?})"));
            match Self::of_jwk(jwk) {
                Ok(key) => found.keys.extend(key),
                Err(problem) => {
                    let id = id.unwrap_or_default();
                    found.left_out.push(format!("keys[{index}]{id}: {problem}"));
                }
            }
        }
        if found.keys.is_empty() {
            let why = found.left_out.iter().map(|problem| format!("; {problem}"));
            let why: String = why.collect();
            return Err(format!("the set has no key for HS256, RS256, ES256 or EdDSA{why}"));
        }
        Ok(found)
    }

    /// One key, in the form of a JWK.
    pub(crate) fn of_one_jwk(json: &[u8]) -> Result<Self, String> {
        let jwk = serde_json::from_slice(json).map_err(|_| "this is no JWK".to_owned())?;
        let none = || "this JWK is no key for HS256, RS256, ES256 or EdDSA".to_owned();
        Self::of_jwk(jwk)?.ok_or_else(none)
    }

    /// The key, if it is for signatures with an algorithm that is possible here.
    fn of_jwk(jwk: Value) -> Result<Option<Self>, String> {
        let member = |name| jwk.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (kind, curve) = (member("kty"), member("crv"));
        let is_possible = match &*kind {
            "RSA" | "oct" => true,
            "EC" => curve == "P-256",
            "OKP" => curve == "Ed25519",
            _ => false,
        };
        if !is_possible {
            return Ok(None);
        }
        // What is wrong about a secret is not told in words that could quote it.
        let is_secret = kind == "oct";
        let describe = |error: &dyn Display| {
            if is_secret { "it is not as RFC 7517 has it".to_owned() } else { error.to_string() }
        };
        let jwk: Jwk = serde_json::from_value(jwk).map_err(|error| describe(&error))?;
        if matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption)) {
            return Ok(None);
        }
        let (algorithm, name) = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
            AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => {
                (Algorithm::ES256, KeyAlgorithm::ES256)
            }
            AlgorithmParameters::OctetKeyPair(ed) if ed.curve == EllipticCurve::Ed25519 => {
                (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
            }
            AlgorithmParameters::OctetKey(_) => (Algorithm::HS256, KeyAlgorithm::HS256),
            _ => return Err("a member is missing, or is no text".to_owned()),
        };
        if jwk.common.key_algorithm.as_ref().is_some_and(|named| *named != name) {
            return Ok(None);
        }
        let key = DecodingKey::from_jwk(&jwk).map_err(|error| describe(&error))?;
        let is_short = |secret: &[u8]| secret.len() < SHORT_SECRET;
        if is_secret && key.try_get_as_bytes().is_ok_and(is_short) {
            return Err(format!(
                "the secret has less than {SHORT_SECRET} bytes (RFC 7518, section 3.2)"
            ));
        }
        Ok(Some(Self { id: jwk.common.key_id, algorithm, decoding: key }))
    }
}

impl Verifier {
    pub(crate) fn new(keys: Vec<Key>, leeway: Duration) -> Self {
        let leeway = leeway.as_secs();
        let validation = Validation { leeway, validate_nbf: true, ..Validation::default() };
        Self { keys, validation }
    }

    /// Tokens must be from one of these issuers.
    pub(crate) fn issuers(mut self, issuers: &[String]) -> Self {
        if !issuers.is_empty() {
            self.validation.set_issuer(issuers);
            self.validation.required_spec_claims.insert("iss".to_owned());
        }
        self
    }

    /// Tokens must be for one of these audiences.
    pub(super) fn audiences(mut self, audiences: &[String]) -> Self {
        if !audiences.is_empty() {
            self.validation.set_audience(audiences);
            self.validation.required_spec_claims.insert("aud".to_owned());
        }
        self
    }

    fn names_issuers(&self) -> bool {
        self.validation.iss.is_some()
    }

    /// The claims, if the token holds.
    pub(crate) fn verify(&self, token: &[u8]) -> Result<Claims, AccessError> {
        self.verify_with(&self.keys, token)
    }

    /// The claims, if the token holds by one of these keys.
    fn verify_with(&self, keys: &[Key], token: &[u8]) -> Result<Claims, AccessError> {
        let invalid = |text: &str| AccessError::Invalid(text.to_owned());
        if token.len() > MAX_LEN {
            return Err(invalid("the token is too long"));
        }
        let header =
            decode_header(token).map_err(|_| invalid("this is no signed JSON Web Token"))?;
        if header.crit.is_some() {
            return Err(invalid("the token has critical headers, which are not understood here"));
        }
        let is_meant = |key: &&Key| key.is_meant(header.alg, header.kid.as_deref());
        let mut error = invalid("there is no key for this token's algorithm and key id");
        for key in keys.iter().filter(is_meant) {
            let mut validation = self.validation.clone();
            validation.algorithms = vec![key.algorithm];
            match decode::<Claims>(token, &key.decoding, &validation) {
                // The library lets a token live to the end of its last second.
                Ok(data) if self.expiry(&data.claims).is_some_and(|at| at <= SystemTime::now()) => {
                    return Err(invalid(describe(&ErrorKind::ExpiredSignature)));
                }
                Ok(data) => return Ok(data.claims),
                Err(problem) => error = AccessError::Invalid(describe(problem.kind()).to_owned()),
            }
        }
        Err(error)
    }

    /// When a token with these claims ends to hold.
    pub(super) fn expiry(&self, claims: &Claims) -> Option<SystemTime> {
        let exp = claims.get("exp")?;
        // A time beyond what can be reckoned with is as good as none.
        let exp = exp.as_u64().map(Duration::from_secs);
        let exp = exp.or_else(|| Duration::try_from_secs_f64(claims.get("exp")?.as_f64()?).ok())?;
        let leeway = Duration::from_secs(self.validation.leeway);
        SystemTime::UNIX_EPOCH.checked_add(exp.checked_add(leeway)?)
    }
}

/// What the sender of the token can mend, without telling more than they know.
fn describe(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ExpiredSignature => "the token has expired",
        ErrorKind::ImmatureSignature => "the token is not valid yet",
        ErrorKind::InvalidIssuer => "the token is of another issuer",
        ErrorKind::InvalidAudience => "the token is for another audience",
        ErrorKind::MissingRequiredClaim(_) => "the token lacks a claim: exp, iss or aud",
        ErrorKind::InvalidClaimFormat(_) => "a time in the token is no number",
        ErrorKind::InvalidSignature => "the token's signature is wrong",
        _ => "the token cannot be understood",
    }
}

impl Jwt {
    /// The principal that a request's token names, if it has a token: in the authorization, the
    /// query, or a cookie, whichever comes first.
    pub(super) async fn authenticate(
        &self,
        request: &AccessRequest<'_>,
    ) -> Result<Option<Principal>, AccessError> {
        let parameter = || request.parameter(self.parameter.as_ref()?).map(String::into_bytes);
        let cookie =
            || request.cookie(self.cookie.as_ref()?).map(|token| token.as_bytes().to_vec());
        let bearer = request.bearer().map(<[u8]>::to_vec);
        let Some(token) = bearer.or_else(parameter).or_else(cookie) else { return Ok(None) };
        let claims = self.verify(&token).await?;
        // Signed with the same secret, perhaps, but to continue a stream, not to say who somebody
        // is.
        let is_es_meta = claims.get("iss").is_some_and(|issuer| issuer == ES_META_ISSUER);
        if is_es_meta && !self.verifier.names_issuers() {
            return Err(AccessError::Invalid("this is a token for es-meta only".to_owned()));
        }
        let name = claims.get(&self.user_claim).and_then(text);
        let mut principal = name.map_or_else(Principal::nameless, Principal::user);
        if let Some(expiry) = self.verifier.expiry(&claims) {
            principal = principal.with_expiry(expiry);
        }
        Ok(Some(principal.with_claims(claims)))
    }

    async fn verify(&self, token: &[u8]) -> Result<Claims, AccessError> {
        let Some((remote, refresh)) = &self.remote else { return self.verifier.verify(token) };
        // What is no token is refused without a question to anybody.
        let Ok(header) = decode_header(token) else { return self.verifier.verify(token) };
        let is_meant = |key: &Key| key.is_meant(header.alg, header.kid.as_deref());
        let keys = remote.keys(*refresh, is_meant).await?;
        self.verifier.verify_with(&keys, token)
    }

    /// Fetches the keys, if they are elsewhere, so that the first token need not wait for them.
    pub(super) async fn fetch_keys(&self) {
        if let Some((remote, refresh)) = &self.remote {
            // If that fails, the log says so.
            remote.keys(*refresh, |_| true).await.ok();
        }
    }

    /// The channels that a principal's token lists.
    pub(super) fn channels(&self, principal: &Principal) -> Vec<Pattern> {
        match principal.claims().get(&self.channels_claim) {
            Some(Value::String(one)) => vec![Pattern::without_claims(one)],
            Some(Value::Array(all)) => {
                let all = all.iter().filter_map(Value::as_str);
                all.filter(|text| !text.is_empty()).map(Pattern::without_claims).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// A claim as text: a string that is not empty, or a whole number.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        _ => None,
    }
}
