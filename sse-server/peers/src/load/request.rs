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
        Self { bytes, marks, answers: 1 }
    }

    /// Several, to be sent in one write.
    pub fn pipelined(requests: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self { bytes: Vec::new(), marks: Vec::new(), answers: 0 };
        for request in requests {
            let from = all.bytes.len();
            all.bytes.extend_from_slice(&request.bytes);
            all.marks.extend(request.marks.iter().map(|at| from + at));
            all.answers += request.answers;
        }
        all
    }

    /// How many events it has.
    pub fn events(&self) -> usize {
        self.marks.len()
    }

    /// Writes the marks of its events, in their order.
    pub fn mark(&mut self, marks: impl Iterator<Item = Mark>) {
        for (at, mark) in self.marks.iter().zip(marks) {
            mark.write(&mut self.bytes[*at..]);
        }
    }
}
