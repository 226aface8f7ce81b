//! `sse-server token`: a token for a reader, or for a publisher.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::Args;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Map, Value};

use super::{EXIT_CODES, Failure, say};

/// Where the key is, if not in a file.
const KEY: &str = "SSE_SERVER_JWT_KEY";

/// Makes a token and prints it
///
/// By default a JSON Web Token for a reader, signed with the key in --key-file or in the variable
/// `SSE_SERVER_JWT_KEY`: a private key in PEM form (RS256, ES256 or Ed25519), or else a secret
/// (HS256). The server must know the secret or the public key, as `access.jwt` in its file of
/// settings. With --publish a random token for `--publish-token` or `publish-tokens`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Token {
    /// The user, as the claim `sub`
    #[arg(long, value_name = "USER")]
    sub: Option<String>,

    /// Channels, as the claim `channels`: with commas, or given several times
    #[arg(long, value_name = "CHANNEL", value_delimiter = ',')]
    channels: Vec<String>,

    /// How long it holds, such as `15m`
    #[arg(long, value_name = "TIME", default_value = "1h")]
    expires: humantime::Duration,

    /// The claim `iss`
    #[arg(long)]
    issuer: Option<String>,

    /// The claim `aud`
    #[arg(long)]
    audience: Option<String>,

    /// The key's id, as `kid`
    #[arg(long, value_name = "ID")]
    kid: Option<String>,

    /// A file with the key; the last line end does not count
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,

    /// Make a random token to publish with; it is in no need of a key
    #[arg(long, exclusive = true)]
    publish: bool,
}

impl Token {
    pub(super) fn run(self) -> Result<(), Failure> {
        if self.publish {
            return say(crate::run::random_token().map_err(Failure::refused)?);
        }
        let key = self.key()?;
        let (algorithm, key) = signer(&key)?;
        let mut header = Header::new(algorithm);
        header.kid = self.kid;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let expires = now.saturating_add(Duration::from(self.expires));
        let mut claims: Map<String, Value> = Map::new();
        let texts = [("sub", self.sub), ("iss", self.issuer), ("aud", self.audience)];
        let texts =
            texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?.into())));
        claims.extend(texts);
        if !self.channels.is_empty() {
            claims.insert("channels".to_owned(), self.channels.into());
        }
        claims.insert("iat".to_owned(), now.as_secs().into());
        claims.insert("exp".to_owned(), expires.as_secs().into());
        // The error says nothing of the key.
        let token = encode(&header, &claims, &key).map_err(|error| {
            Failure::Refused(format!("the key cannot sign with {algorithm:?}: {error}"))
        })?;
        say(token)
    }

    fn key(&self) -> Result<Vec<u8>, Failure> {
        let mut key = match &self.key_file {
            Some(path) => std::fs::read(path).map_err(|error| {
                Failure::Refused(format!("--key-file: cannot read {}: {error}", path.display()))
            })?,
            None => std::env::var_os(KEY).unwrap_or_default().into_encoded_bytes(),
        };
        while key.last().is_some_and(|byte| matches!(byte, b'\r' | b'\n')) {
            key.pop();
        }
        if key.trim_ascii().is_empty() {
            let text = format!("there is no key; name a file by --key-file, or set {KEY}");
            return Err(Failure::Refused(text));
        }
        Ok(key)
    }
}

/// The key, and the algorithm that it is for.
fn signer(key: &[u8]) -> Result<(Algorithm, EncodingKey), Failure> {
    if !key.trim_ascii().starts_with(b"-----BEGIN") {
        return Ok((Algorithm::HS256, EncodingKey::from_secret(key)));
    }
    let kinds = [
        (Algorithm::EdDSA, EncodingKey::from_ed_pem(key)),
        (Algorithm::ES256, EncodingKey::from_ec_pem(key)),
        (Algorithm::RS256, EncodingKey::from_rsa_pem(key)),
    ];
    let found = kinds.into_iter().find_map(|(algorithm, key)| Some((algorithm, key.ok()?)));
    found.ok_or_else(|| {
        let text = "the key is no private key of RSA, of P-256 in PKCS#8 form, or of Ed25519";
        Failure::Refused(text.to_owned())
    })
}
