//! A stream in chunks of one size, in the forms that decoders take them in.

use bytes::Bytes;

/// Names and lengths of the chunks that speed is measured with: what a fast connection reads at
/// once, a packet, and a trickle.
pub const CHUNK_LENS: [(&str, usize); 3] = [("64k", 64 << 10), ("1500", 1500), ("16", 16)];

/// A stream that comes in chunks of one size; the last one may be shorter.
#[derive(Clone, Debug)]
pub struct Chunks {
    stream: Bytes,
    len: usize,
}

impl Chunks {
    /// This stream, `len` bytes at a time.
    ///
    /// # Panics
    ///
    /// If `len` is 0.
    pub fn new(stream: Bytes, len: usize) -> Self {
        assert!(len > 0, "a chunk has at least one byte");
        Self { stream, len }
    }

    /// The first bytes of the stream, in the same chunks.
    #[must_use]
    pub fn prefix(&self, len: usize) -> Self {
        Self { stream: self.stream.slice(..len.min(self.stream.len())), len: self.len }
    }

    /// The length of the stream.
    pub fn stream_len(&self) -> usize {
        self.stream.len()
    }

    /// The chunks, for decoders that take any bytes.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        self.stream.chunks(self.len)
    }

    /// The chunks as an HTTP library hands them out, for decoders that want to share them: counted
    /// references, nothing copied.
    pub fn shared(&self) -> impl Iterator<Item = Bytes> + Send + Sync + use<> {
        let mut rest = self.stream.clone();
        let len = self.len;
        std::iter::from_fn(move || (!rest.is_empty()).then(|| rest.split_to(len.min(rest.len()))))
    }
}
