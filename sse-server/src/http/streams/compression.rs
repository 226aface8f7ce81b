//! Streams in fewer bytes, for those who ask for it, each event whole as soon as it is written.

use std::io::{self, Write};
use std::task::{Context, Poll, ready};

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use zstd::stream::write::Encoder as ZstdEncoder;
use zstd::zstd_safe::CParameter;

use crate::http::coding::Coding;
use crate::http::headers;
use crate::http::server::long_lived::LongLived;
use crate::hub::{Framing, Outgoing};

/// How far back zstd looks for what it has seen, as a power of two: 64 kB. Its own default would
/// cost each stream megabytes.
const ZSTD_WINDOW: u32 = 16;

/// Which of these codings a client wants most; of equals, the first.
pub(super) fn choose(request: &HeaderMap, offered: &[Coding]) -> Option<Coding> {
    // An entry whose weight is not a number is not wanted.
    let wanted: Vec<(&str, f32)> = headers::weighed(request, &header::ACCEPT_ENCODING)
        .map(|(name, weight)| (name, weight.unwrap_or(0.0)))
        .collect();
    let weight = |coding: Coding| {
        let is_it = |(name, _): &&(&str, f32)| name.eq_ignore_ascii_case(coding.name());
        let any = |(name, _): &&(&str, f32)| *name == "*";
        let found = wanted.iter().find(is_it).or_else(|| wanted.iter().find(any));
        found.map_or(0.0, |(_, weight)| *weight)
    };
    let mut best = None;
    for &coding in offered {
        let weight = weight(coding);
        if weight > 0.0 && best.is_none_or(|(_, most)| weight > most) {
            best = Some((coding, weight));
        }
    }
    best.map(|(coding, _)| coding)
}

/// Says in a response what was decided.
pub(super) fn describe(response: &mut Response, coding: Option<Coding>) {
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if let Some(coding) = coding {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    }
}

/// A stream, compressed.
pub(super) struct Compressed<S> {
    stream: S,
    /// None: the last bytes have been written.
    encoder: Option<Encoder>,
}

/// Compresses one stream.
pub(super) enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(ZstdEncoder<'static, Vec<u8>>),
}

impl<S> Compressed<S> {
    pub(super) const fn new(stream: S, encoder: Encoder) -> Self {
        Self { stream, encoder: Some(encoder) }
    }
}

impl Encoder {
    /// None: there is no memory for it.
    pub(super) fn new(coding: Coding) -> Option<Self> {
        Some(match coding {
            Coding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), Compression::fast())),
            Coding::Zstd => {
                let mut encoder = ZstdEncoder::new(Vec::new(), 1).ok()?;
                encoder.set_parameter(CParameter::WindowLog(ZSTD_WINDOW)).ok()?;
                Self::Zstd(encoder)
            }
        })
    }

    pub(super) const fn coding(&self) -> Coding {
        match self {
            Self::Gzip(_) => Coding::Gzip,
            Self::Zstd(_) => Coding::Zstd,
        }
    }

    /// These bytes, and nothing kept back: the result can be decoded to all of them.
    fn encode(&mut self, bytes: &[u8]) -> io::Result<Bytes> {
        let encoded = match self {
            Self::Gzip(encoder) => {
                encoder.write_all(bytes)?;
                encoder.flush()?;
                std::mem::take(encoder.get_mut())
            }
            Self::Zstd(encoder) => {
                encoder.write_all(bytes)?;
                encoder.flush()?;
                std::mem::take(encoder.get_mut())
            }
        };
        Ok(encoded.into())
    }

    fn finish(self) -> io::Result<Bytes> {
        let encoded = match self {
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        };
        encoded.map(Bytes::from)
    }
}

impl<S: LongLived> LongLived for Compressed<S> {
    fn poll_outgoing(
        &mut self,
        cx: &mut Context<'_>,
        framing: Framing,
    ) -> Poll<Option<io::Result<Outgoing>>> {
        let Some(encoder) = &mut self.encoder else { return Poll::Ready(None) };
        let result = match ready!(self.stream.poll_outgoing(cx, Framing::Plain)) {
            Some(outgoing) => outgoing.and_then(|outgoing| encoder.encode(&outgoing.into_bytes())),
            None => self.encoder.take().map_or(Ok(Bytes::new()), Encoder::finish),
        };
        Poll::Ready(Some(result.map(|bytes| {
            let mut out = Outgoing::new(framing);
            out.put_shared(bytes);
            out
        })))
    }

    fn is_ended(&self) -> bool {
        self.encoder.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_chooses_and_of_equals_the_server() {
        let choose = |wanted: &str, offered: &[Coding]| {
            let value = HeaderValue::try_from(wanted).expect("a value");
            choose(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, value)]), offered)
        };
        let both = [Coding::Zstd, Coding::Gzip];
        assert_eq!(choose("gzip, deflate, br, zstd", &both), Some(Coding::Zstd));
        assert_eq!(choose("gzip, deflate, br, zstd", &[Coding::Gzip]), Some(Coding::Gzip));
        assert_eq!(choose("zstd;q=0.5, GZIP;q=0.8", &both), Some(Coding::Gzip));
        assert_eq!(choose("*", &both), Some(Coding::Zstd));
        assert_eq!(choose("*, zstd;q=0", &both), Some(Coding::Gzip));
        for none in ["", "identity", "br", "gzip;q=0, zstd;q=0.0", "gzip;q=x"] {
            assert_eq!(choose(none, &both), None, "{none}");
        }
        assert_eq!(choose("gzip", &[]), None);
    }
}
