//! Content codings: which are asked for, and how a body in them is decoded.

use std::fmt;

use http::header::{CONTENT_ENCODING, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::said::Said;
use crate::transport::ResponseBody;

/// What `Accept-Encoding` says. Without it a server may send any coding (RFC 9110, section
/// 12.5.3), so it is always sent.
pub(crate) fn accepted() -> HeaderValue {
    let all = [
        (cfg!(feature = "zstd"), "zstd"),
        (cfg!(feature = "brotli"), "br"),
        (cfg!(feature = "gzip"), "gzip"),
        (cfg!(feature = "deflate"), "deflate"),
    ];
    let names: Vec<_> = all.iter().filter(|(is_on, _)| *is_on).map(|(_, name)| *name).collect();
    match names.as_slice() {
        [] => HeaderValue::from_static("identity"),
        names => names.join(", ").parse().expect("names are header values"),
    }
}

/// A body in a coding that cannot be decoded.
#[derive(thiserror::Error)]
pub(crate) enum UnknownCoding {
    #[error(
        "its content coding is {:?}, although {:?} was asked for; see the features of the client",
        Said(.0),
        accepted()
    )]
    Content(String),
    #[error("its transfer coding is {:?}, although none was asked for", Said(.0))]
    Transfer(String),
}

/// The message, which quotes the name in part.
impl fmt::Debug for UnknownCoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnknownCoding({self})")
    }
}

/// What says that there is no coding. The last three are not registered: servers send `none` to
/// keep proxies from compressing, and some take the field for the charset's. Browsers pass over
/// all of them.
const NO_CODINGS: [&str; 5] = ["", "identity", "none", "utf-8", "utf8"];

/// What a transport has undone, or what is nothing. A server may apply no other transfer coding
/// than `chunked`, since the request has no `TE` (RFC 9112, section 7.4), and no transport undoes
/// one.
const NO_TRANSFER_CODINGS: [&str; 3] = ["", "identity", "chunked"];

/// The body as it was before it was coded.
pub(crate) fn decoded(
    headers: &HeaderMap,
    mut body: ResponseBody,
) -> Result<ResponseBody, UnknownCoding> {
    if let Some(name) = codings(headers, &TRANSFER_ENCODING, &NO_TRANSFER_CODINGS).pop() {
        return Err(UnknownCoding::Transfer(name));
    }
    let mut codings = codings(headers, &CONTENT_ENCODING, &NO_CODINGS);
    while let Some(name) = codings.pop() {
        body = decoder(&name, body)?;
    }
    Ok(body)
}

/// The codings that a header lists, in the order in which they were applied, on one line or several
/// (RFC 9110, section 8.4), without those that are `nothing`. In lower case.
fn codings(headers: &HeaderMap, name: &HeaderName, nothing: &[&str]) -> Vec<String> {
    let lines = headers.get_all(name).iter();
    let values = lines.map(|line| String::from_utf8_lossy(line.as_bytes()).to_ascii_lowercase());
    let values: Vec<_> = values.collect();
    let codings = values.iter().flat_map(|value| value.split(',')).map(str::trim);
    codings.filter(|name| !nothing.contains(name)).map(str::to_owned).collect()
}

#[cfg(not(any(feature = "brotli", feature = "deflate", feature = "gzip", feature = "zstd")))]
fn decoder(name: &str, _: ResponseBody) -> Result<ResponseBody, UnknownCoding> {
    Err(UnknownCoding::Content(name.to_owned()))
}

#[cfg(any(feature = "brotli", feature = "deflate", feature = "gzip", feature = "zstd"))]
use self::decoding::decoder;

#[cfg(any(feature = "brotli", feature = "deflate", feature = "gzip", feature = "zstd"))]
mod decoding {
    use std::io;
    use std::task::{Context, Poll, ready};

    use bytes::{Buf, Bytes};
    use compression_codecs::DecodeV2;
    use compression_core::util::{PartialBuffer, WriteBuffer};

    use super::UnknownCoding;
    use crate::send::BoxError;
    use crate::transport::{Pieces, ResponseBody};

    /// How much is decoded at once, in bytes. However much a body unpacks to, no more than this is
    /// held.
    const BLOCK: usize = 16 << 10;

    type Decoder = Box<dyn DecodeV2 + Send>;

    pub(super) fn decoder(name: &str, body: ResponseBody) -> Result<ResponseBody, UnknownCoding> {
        let decoder: Decoder = match name {
            #[cfg(feature = "gzip")]
            "gzip" | "x-gzip" => Box::new(compression_codecs::GzipDecoder::new()),
            #[cfg(feature = "deflate")]
            "deflate" => Box::new(Deflate(None)),
            #[cfg(feature = "brotli")]
            "br" => Box::new(compression_codecs::BrotliDecoder::new()),
            #[cfg(feature = "zstd")]
            "zstd" => Box::new(compression_codecs::ZstdDecoder::new()),
            name => return Err(UnknownCoding::Content(name.to_owned())),
        };
        let (input, block) = (Bytes::new(), vec![0; BLOCK].into());
        let is = State { has_more: false, has_begun: false, is_done: false };
        Ok(ResponseBody::of(Decoded { body, decoder, input, block, is }))
    }

    /// A body that is decoded as it arrives: what a flush of the server completes comes at once.
    struct Decoded {
        body: ResponseBody,
        decoder: Decoder,
        /// What has arrived and is not decoded yet.
        input: Bytes,
        block: Box<[u8]>,
        is: State,
    }

    struct State {
        /// The decoder may have more without input.
        has_more: bool,
        has_begun: bool,
        /// What is coded has ended; the same may begin again.
        is_done: bool,
    }

    impl Decoded {
        /// Decodes until there is something, or more input is needed.
        fn decode(&mut self) -> io::Result<Option<Bytes>> {
            while !self.input.is_empty() || self.is.has_more {
                if self.is.is_done {
                    self.decoder.reinit()?;
                    self.is.is_done = false;
                }
                let mut input = PartialBuffer::new(&self.input[..]);
                let mut output = WriteBuffer::new_initialized(&mut self.block);
                self.is.is_done = self.decoder.decode(&mut input, &mut output)?;
                let (read, written) = (input.written_len(), output.written_len());
                self.input.advance(read);
                self.is.has_more = written == BLOCK && !self.is.is_done;
                if written > 0 {
                    return Ok(Some(Bytes::copy_from_slice(&self.block[..written])));
                }
                if read == 0 && !self.input.is_empty() {
                    return Err(io::Error::other("the coded body cannot be decoded"));
                }
            }
            Ok(None)
        }
    }

    impl Pieces for Decoded {
        fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
            loop {
                match self.decode() {
                    Ok(Some(bytes)) => return Poll::Ready(Some(Ok(bytes))),
                    Ok(None) => {}
                    Err(error) => return Poll::Ready(Some(Err(error.into()))),
                }
                match ready!(self.body.poll_piece(cx)) {
                    Some(Ok(piece)) => {
                        self.is.has_begun |= !piece.is_empty();
                        self.input = piece;
                    }
                    Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                    None if self.is.has_begun && !self.is.is_done => {
                        let cut = io::Error::new(
                            io::ErrorKind::UnexpectedEof,
                            "the coded body ended in the middle",
                        );
                        return Poll::Ready(Some(Err(cut.into())));
                    }
                    None => return Poll::Ready(None),
                }
            }
        }
    }

    /// `deflate` is zlib's format (RFC 9110, section 8.4.1.2), but some servers leave its frame
    /// out.
    #[cfg(feature = "deflate")]
    struct Deflate(Option<Decoder>);

    #[cfg(feature = "deflate")]
    impl Deflate {
        /// The first byte tells: zlib's says method 8 and a window of at most 32 KiB (RFC 1950,
        /// section 2.2).
        fn of(&mut self, input: &[u8]) -> &mut Decoder {
            self.0.get_or_insert_with(|| match input.first() {
                Some(first) if first & 0x0f == 8 && first >> 4 <= 7 => {
                    Box::new(compression_codecs::ZlibDecoder::new())
                }
                _ => Box::new(compression_codecs::DeflateDecoder::new()),
            })
        }
    }

    #[cfg(feature = "deflate")]
    impl DecodeV2 for Deflate {
        fn reinit(&mut self) -> io::Result<()> {
            self.0 = None;
            Ok(())
        }

        fn decode(
            &mut self,
            input: &mut PartialBuffer<&[u8]>,
            output: &mut WriteBuffer<'_>,
        ) -> io::Result<bool> {
            self.of(input.unwritten()).decode(input, output)
        }

        fn flush(&mut self, output: &mut WriteBuffer<'_>) -> io::Result<bool> {
            self.of(&[]).flush(output)
        }

        fn finish(&mut self, output: &mut WriteBuffer<'_>) -> io::Result<bool> {
            self.of(&[]).finish(output)
        }
    }
}
