//! Next links: who asks must be in the path.
//!
//! A proxy sends nothing of the client's with the request for a next link, and it merges requests
//! that differ in their query only. So the path has all that says whose stream it is, sealed:
//! nobody can read it, change it, or make another one. Streams that everyone may read have links
//! that say nothing but the channels, so that one answer does for all of them.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use super::pace::{self, Asked};

/// What follows the part of the path that is before it.
pub(crate) const SEALED: &str = "/grip/next/";
pub(crate) const PUBLIC: &str = "/grip/public/";

/// A proxy may have a limit for links, and some servers for paths.
pub(crate) const LONGEST: usize = 4096;

/// What a channel's name has as it is in a path.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Seals links, and opens them.
#[derive(Clone)]
pub(crate) struct Link(Arc<RandomizedNonceKey>);

/// The request that has opened a stream, as far as it says who reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pinned {
    #[serde(rename = "m")]
    pub(crate) method: String,
    #[serde(rename = "p")]
    pub(crate) path: String,
    #[serde(rename = "q")]
    pub(crate) query: String,
    #[serde(rename = "h")]
    pub(crate) headers: Vec<(String, String)>,
    #[serde(rename = "s")]
    pub(crate) scheme: String,
    #[serde(rename = "o")]
    pub(crate) host: String,
    #[serde(rename = "u")]
    pub(crate) uri: String,
    #[serde(rename = "a")]
    pub(crate) client: Option<IpAddr>,
    /// The channels that it names.
    #[serde(rename = "c")]
    pub(crate) channels: Vec<String>,
    /// Where to go on, if the proxy does not say.
    #[serde(rename = "f")]
    pub(crate) cursor: String,
    /// When the link was given, in seconds since 1970.
    #[serde(rename = "g")]
    pub(crate) given: u64,
    /// After how many seconds the proxy was to ask, if there was nothing else.
    #[serde(rename = "w")]
    pub(crate) wait: u64,
    /// How many seconds it is good.
    #[serde(rename = "x")]
    pub(crate) expires: u64,
}

impl Pinned {
    /// How long the proxy is to wait until it asks again about this connection; usually this long.
    pub(crate) fn pace(&self, usual: Duration) -> Duration {
        let elapsed = Duration::from_secs(now().saturating_sub(self.given));
        let wait = Duration::from_secs(self.wait);
        pace::next(usual, (self.given > 0).then_some(Asked { wait, elapsed }))
    }
}

impl Link {
    /// With a key that all who know this secret have; without one, with a key of its own.
    pub(super) fn new(secret: Option<&[u8]>) -> Self {
        let mut random = [0; 32];
        let secret = secret.unwrap_or_else(|| {
            getrandom::fill(&mut random).expect("the system gives random numbers");
            &random
        });
        let key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), b"sse-server: GRIP links");
        let key = RandomizedNonceKey::new(&AES_256_GCM, key.as_ref()).expect("32 bytes");
        Self(Arc::new(key))
    }

    /// The path for this, which the proxy is to follow after so long at the latest, and which is
    /// good for so much longer. `None`: it is too long for a link.
    pub(crate) fn seal(&self, pinned: &Pinned, wait: Duration, spare: Duration) -> Option<String> {
        let (wait, expires) = (wait.as_secs(), (wait + spare).as_secs());
        let pinned = Pinned { given: now(), wait, expires, ..pinned.clone() };
        let mut sealed = serde_json::to_vec(&pinned).expect("strings are JSON");
        let nonce = self.0.seal_in_place_append_tag(Aad::empty(), &mut sealed).ok()?;
        let token = URL_SAFE_NO_PAD.encode([&nonce.as_ref()[..], &sealed].concat());
        (token.len() <= LONGEST).then(|| format!("{SEALED}{token}"))
    }

    /// What is in the last part of such a path, if it is one of ours and still good.
    pub(crate) fn open(&self, token: &str) -> Option<Pinned> {
        let mut bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = self.0.open_in_place(nonce, Aad::empty(), sealed).ok()?;
        let pinned: Pinned = serde_json::from_slice(opened).ok()?;
        (pinned.given.saturating_add(pinned.expires) >= now()).then_some(pinned)
    }
}

/// The path for channels that everyone may read, with the ids to go on from if the proxy does not
/// say.
pub(crate) fn public(channels: &[(Arc<str>, Option<u64>)]) -> Option<String> {
    let names = channels.iter().map(|(name, id)| {
        let name = utf8_percent_encode(name, PLAIN);
        id.map_or_else(|| name.to_string(), |id| format!("{name}:{id}"))
    });
    // Not commas, at which proxies cut the header.
    let names = names.collect::<Vec<_>>().join("+");
    (names.len() <= LONGEST).then(|| format!("{PUBLIC}{names}"))
}

/// What the last part of such a path says.
pub(crate) fn open_public(names: &str) -> Option<Vec<(Arc<str>, Option<u64>)>> {
    let names = names.split('+').map(|name| {
        let (name, id) = match name.split_once(':') {
            Some((name, id)) => (name, Some(id.parse().ok()?)),
            None => (name, None),
        };
        Some((Arc::from(&*percent_decode_str(name).decode_utf8().ok()?), id))
    });
    names.collect()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_link_is_opened_by_who_has_the_secret_and_only_as_it_is() {
        let ours = Link::new(Some(b"a secret"));
        let channels = vec!["a b/c,d:é%~".to_owned()];
        let pinned =
            Pinned { channels, query: "access_token=t0ken".to_owned(), ..Pinned::default() };
        let (wait, spare) = (Duration::from_mins(1), Duration::from_mins(1));
        let path = ours.seal(&pinned, wait, spare).expect("short");
        let token = path.strip_prefix(SEALED).expect("its place");
        assert!(!path.contains("t0ken"), "{path}");
        let opened = Link::new(Some(b"a secret")).open(token).expect("ours");
        assert_eq!((opened.wait, opened.expires), (60, 120));
        assert_eq!(Pinned { given: 0, wait: 0, expires: 0, ..opened }, pinned);
        assert_ne!(ours.seal(&pinned, wait, spare), Some(path.clone()), "no two alike");
        assert_eq!(Link::new(Some(b"another")).open(token), None);
        assert_eq!(Link::new(None).open(token), None);
        for at in 0..token.len() {
            let other = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
            let mut changed = token.to_owned();
            changed.replace_range(at..=at, other);
            assert_eq!(ours.open(&changed), None, "changed at {at}");
        }
        assert_eq!(ours.open(""), None);
        let long = Pinned { query: "x".repeat(LONGEST), ..pinned };
        assert_eq!(ours.seal(&long, wait, spare), None);
    }

    #[test]
    fn a_public_link_says_channels_and_places() {
        let places = [(Arc::from("a b/c,d:é%~"), Some(7)), (Arc::from("b"), None)];
        let path = public(&places).expect("short");
        assert_eq!(path, "/grip/public/a%20b%2Fc%2Cd%3A%C3%A9%25~:7+b");
        assert_eq!(open_public(path.strip_prefix(PUBLIC).expect("its place")), Some(places.into()));
        assert_eq!(open_public("a:x"), None);
        assert_eq!(open_public("%ff"), None);
    }
}
