//! Answers on a connection that stays open.

use std::io;

use httparse::{EMPTY_HEADER, Response, Status};

/// The bytes of answers that are not counted yet.
#[derive(Debug, Default)]
pub struct Answers {
    bytes: Vec<u8>,
    /// Of a body that is still to come.
    skip: usize,
}

impl Answers {
    /// Takes the next bytes, and returns how many answers have ended in them.
    ///
    /// # Errors
    ///
    /// If an answer is not a success, or does not say how long it is.
    pub fn take(&mut self, mut bytes: &[u8]) -> io::Result<usize> {
        let mut ended = 0;
        if self.skip > 0 {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if self.skip > 0 {
                return Ok(0);
            }
            ended = 1;
        }
        if self.bytes.is_empty() {
            let used = self.count(bytes, &mut ended)?;
            self.bytes.extend_from_slice(&bytes[used..]);
        } else {
            let mut all = std::mem::take(&mut self.bytes);
            all.extend_from_slice(bytes);
            let used = self.count(&all, &mut ended)?;
            all.drain(..used);
            self.bytes = all;
        }
        Ok(ended)
    }

    /// Returns how many bytes the answers had that were counted.
    fn count(&mut self, bytes: &[u8], ended: &mut usize) -> io::Result<usize> {
        let mut at = 0;
        while at < bytes.len() {
            let Some(len) = answer_len(&bytes[at..])? else { break };
            at += len;
            if at > bytes.len() {
                self.skip = at - bytes.len();
                return Ok(bytes.len());
            }
            *ended += 1;
        }
        Ok(at)
    }
}

/// The length of an answer with its body, once its head is whole.
fn answer_len(bytes: &[u8]) -> io::Result<Option<usize>> {
    let mut headers = [EMPTY_HEADER; 32];
    let mut answer = Response::new(&mut headers);
    let head = match answer.parse(bytes).map_err(io::Error::other)? {
        Status::Complete(head) => head,
        Status::Partial => return Ok(None),
    };
    let status = answer.code.unwrap_or_default();
    if !(200..300).contains(&status) {
        return Err(io::Error::other(String::from_utf8_lossy(bytes).into_owned()));
    }
    let field = |name: &str| {
        let mut fields = answer.headers.iter();
        let field = fields.find(|field| field.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(field.value).ok().map(str::trim)
    };
    if let Some(length) = field("content-length").and_then(|length| length.parse::<usize>().ok()) {
        return Ok(Some(head + length));
    }
    if field("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        // No answer to a publisher has this in a chunk.
        let last = b"0\r\n\r\n";
        let end = memchr::memmem::find(&bytes[head..], last);
        return Ok(end.map(|end| head + end + last.len()));
    }
    if status == 204 {
        return Ok(Some(head));
    }
    Err(io::Error::other("an answer does not say how long it is"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_however_the_bytes_are_cut() {
        let stream = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello\
            HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n\
            HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        for size in 1..=stream.len() {
            let mut answers = Answers::default();
            let counts = stream.chunks(size).map(|chunk| answers.take(chunk).expect("successes"));
            assert_eq!(counts.sum::<usize>(), 4, "in chunks of {size}");
        }
    }

    #[test]
    fn a_refusal_is_an_error_that_has_its_text() {
        let refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";
        let error = Answers::default().take(refusal).expect_err("a refusal");
        assert!(error.to_string().ends_with("no"), "{error}");
    }
}
