//! Requests that publish, made once and sent often: only the marks in them change.

use super::{MARK, Mark};

/// The length of an event's text, in bytes.
const TEXT: usize = 240;

/// The bytes of one request, or of several to be sent together.
#[derive(Clone, Debug)]
pub struct Request {
    pub bytes: Vec<u8>,
    /// Where the marks are.
    marks: Vec<usize>,
    /// Where its key is: the mark of its first event.
    key: Option<usize>,
    /// How many answers it gets.
    pub answers: usize,
}

impl Request {
    /// One request with this head, whose body is made of events. `body` writes the event of an
    /// index, with this text in it.
    ///
    /// # Panics
    ///
    /// If `body` leaves the text out.
    pub fn new(head: &str, events: usize, body: impl Fn(&str, usize) -> String) -> Self {
        // No sign of a mark, and none that JSON escapes.
        let text = "abcdefghijklmno ".repeat(TEXT / 16);
        let place = "#".repeat(MARK);
        let text = format!("{}{place}", &text[..TEXT - MARK]);
        let body: String = (0..events).map(|index| body(&text, index)).collect();
        let body = body.as_bytes();
        let mut bytes = format!("{head}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
        let from = bytes.len();
        bytes.extend_from_slice(body);
        let found = memchr::memmem::find_iter(body, place.as_bytes());
        let marks: Vec<_> = found.map(|at| from + at).collect();
        assert_eq!(marks.len(), events, "each event has its mark");
        Self { bytes, marks, key: None, answers: 1 }
    }

    /// Several, to be sent in one write.
    pub fn pipelined(requests: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self { bytes: Vec::new(), marks: Vec::new(), key: None, answers: 0 };
        for request in requests {
            let from = all.bytes.len();
            all.bytes.extend_from_slice(&request.bytes);
            all.marks.extend(request.marks.iter().map(|at| from + at));
            all.answers += request.answers;
        }
        all
    }

    /// The same with a key, so that it is published once however often it is sent.
    ///
    /// # Panics
    ///
    /// If it is several requests.
    #[must_use]
    pub fn with_key(mut self) -> Self {
        assert_eq!(self.answers, 1, "each has a key of its own");
        let before = b"Idempotency-Key: \"";
        let header = [&before[..], &[b'#'; MARK], b"\"\r\n"].concat();
        let at = memchr::memmem::find(&self.bytes, b"Content-Length: ").expect("it has a body");
        self.key = Some(at + before.len());
        for mark in &mut self.marks {
            *mark += header.len();
        }
        self.bytes.splice(at..at, header);
        self
    }

    /// How many events it has.
    pub fn events(&self) -> usize {
        self.marks.len()
    }

    /// Writes the marks of its events, in their order.
    pub fn mark(&mut self, marks: impl Iterator<Item = Mark>) {
        let mut key = self.key;
        for (at, mark) in self.marks.iter().zip(marks) {
            mark.write(&mut self.bytes[*at..]);
            if let Some(at) = key.take() {
                mark.write(&mut self.bytes[at..]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_with_a_key_has_another_one_each_time() {
        let mut request =
            Request::new("POST / HTTP/1.1\r\n", 2, |text, _| text.to_owned()).with_key();
        let mut keys = Vec::new();
        for number in [1, 3] {
            request.mark((number..).map(|number| Mark { due: 7, number }));
            let text = String::from_utf8(request.bytes.clone()).expect("text");
            assert!(!text.contains('#'), "{text}");
            let (head, body) = text.split_once("\r\n\r\n").expect("a body");
            let mark = |number| format!("~{:019},{number:09}!", 7);
            assert!(head.contains(&format!("Idempotency-Key: \"{}\"\r\n", mark(number))), "{head}");
            assert!(body.ends_with(&mark(number + 1)), "{body}");
            assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{head}");
            keys.push(head.to_owned());
        }
        assert_ne!(keys[0], keys[1]);
    }
}
