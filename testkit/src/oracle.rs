//! The event stream format as the WHATWG HTML standard words it, sections 9.2.5 and 9.2.6.
//!
//! Slow and obvious on purpose: it sees the whole stream at once, so there are no chunks, no limits
//! and no state machine to get wrong. Every line of code stands beside the sentence it comes from.
//! A decoder that disagrees with this is wrong, or this misquotes the standard.

/// What a stream delivers, in the order in which the lines that cause it end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// An event dispatched by a blank line; `id` is its lastEventId, empty if there is none.
    Event { event: String, data: String, id: String },
    /// A new reconnection time, in milliseconds.
    Retry(u64),
}

/// Parses a whole stream. `seed` is the last event ID string from before it. Returns what is
/// delivered, and the last event ID string at the end.
pub fn parse(bytes: &[u8], seed: &str) -> (Vec<Item>, String) {
    // "Streams must be decoded using the UTF-8 decode algorithm."
    // It replaces each maximal subpart of an ill-formed sequence by one U+FFFD, as Rust does.
    let decoded = String::from_utf8_lossy(bytes);
    // "The UTF-8 decode algorithm strips one leading UTF-8 Byte Order Mark (BOM), if any."
    let stream = decoded.strip_prefix('\u{FEFF}').unwrap_or(&decoded);

    // "When a stream is parsed, a data buffer, an event type buffer, and a last event ID buffer
    // must be associated with it. They must be initialized to the empty string."
    // The ID buffer is seeded instead: taken literally, the first blank line of a new connection
    // would forget the ID that the connection was resumed with, and no browser does that.
    let mut interpreter = Interpreter {
        data: String::new(),
        event_type: String::new(),
        last_event_id: seed.to_owned(),
        last_event_id_string: seed.to_owned(),
        delivered: Vec::new(),
    };
    // "Lines must be processed, in the order they are received, as follows:"
    for line in lines(stream) {
        interpreter.process_line(line);
    }
    // "Once the end of the file is reached, any pending data must be discarded. (If the file ends
    // in the middle of an event, before the final empty line, the incomplete event is not
    // dispatched.)"
    (interpreter.delivered, interpreter.last_event_id_string)
}

/// The lines of a decoded stream, without their ends. A last line that has no end is not a line:
///
/// ```text
/// event         = *( comment / field ) end-of-line
/// comment       = colon *any-char end-of-line
/// field         = 1*name-char [ colon [ space ] *any-char ] end-of-line
/// end-of-line   = ( cr lf / cr / lf )
/// ```
fn lines(stream: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = stream;
    // "The stream must then be parsed by reading everything line by line, with a U+000D CARRIAGE
    // RETURN U+000A LINE FEED (CRLF) character pair, a single U+000A LINE FEED (LF) character not
    // preceded by a U+000D CARRIAGE RETURN (CR) character, and a single U+000D CARRIAGE RETURN (CR)
    // character not followed by a U+000A LINE FEED (LF) character being the ways in which a line
    // can end."
    while let Some(end) = rest.find(['\r', '\n']) {
        lines.push(&rest[..end]);
        let from_end = &rest[end..];
        rest = from_end.strip_prefix("\r\n").unwrap_or(&from_end[1..]);
    }
    lines
}

struct Interpreter {
    data: String,
    event_type: String,
    last_event_id: String,
    /// "The last event ID string of the event source": what a reconnection would send.
    last_event_id_string: String,
    delivered: Vec<Item>,
}

impl Interpreter {
    fn process_line(&mut self, line: &str) {
        // "If the line is empty (a blank line): Dispatch the event, as defined below."
        if line.is_empty() {
            self.dispatch();
        }
        // "If the line starts with a U+003A COLON character (:): Ignore the line."
        else if line.starts_with(':') {
        }
        // "If the line contains a U+003A COLON character (:): Collect the characters on the line
        // before the first U+003A COLON character (:), and let field be that string. Collect the
        // characters on the line after the first U+003A COLON character (:), and let value be that
        // string."
        else if let Some((field, value)) = line.split_once(':') {
            // "If value starts with a U+0020 SPACE character, remove it from value."
            let value = value.strip_prefix('\u{0020}').unwrap_or(value);
            // "Process the field using the steps described below, using field as the field name
            // and value as the field value."
            self.process_field(field, value);
        }
        // "Otherwise, the string is not empty but does not contain a U+003A COLON character (:):
        // Process the field using the steps described below, using the whole line as the field
        // name, and the empty string as the field value."
        else {
            self.process_field(line, "");
        }
    }

    fn process_field(&mut self, field: &str, value: &str) {
        // "Field names must be compared literally, with no case folding performed."
        match field {
            // "Set the event type buffer to the field value."
            "event" => self.event_type = value.to_owned(),
            // "Append the field value to the data buffer, then append a single U+000A LINE FEED
            // (LF) character to the data buffer."
            "data" => {
                self.data.push_str(value);
                self.data.push('\u{000A}');
            }
            // "If the field value does not contain U+0000 NULL, then set the last event ID buffer
            // to the field value. Otherwise, ignore the field."
            "id" if !value.contains('\u{0000}') => self.last_event_id = value.to_owned(),
            // "If the field value consists of only ASCII digits, then interpret the field value as
            // an integer in base ten, and set the event stream's reconnection time to that integer.
            // Otherwise, ignore the field."
            // An empty value has no digits to be interpreted. The standard's integers have no
            // bound; ours end at u64::MAX milliseconds, some 580 million years.
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.delivered.push(Item::Retry(value.parse().unwrap_or(u64::MAX)));
            }
            // "The field is ignored."
            _ => {}
        }
    }

    fn dispatch(&mut self) {
        // "1. Set the last event ID string of the event source to the value of the last event ID
        // buffer. The buffer does not get reset, so the last event ID string of the event source
        // remains set to this value until the next time it is set by the server."
        self.last_event_id_string = self.last_event_id.clone();
        // "2. If the data buffer is an empty string, set the data buffer and the event type buffer
        // to the empty string and return."
        if self.data.is_empty() {
            self.event_type.clear();
            return;
        }
        // "3. If the data buffer's last character is a U+000A LINE FEED (LF) character, then remove
        // the last character from the data buffer."
        if self.data.ends_with('\u{000A}') {
            self.data.pop();
        }
        // "4. Let event be the result of creating an event using MessageEvent, in the relevant
        // realm of the EventSource object."
        // "5. Initialize event's type attribute to "message", its data attribute to data, its
        // origin attribute to [...], and its lastEventId attribute to the last event ID string of
        // the event source."
        // "6. If the event type buffer has a value other than the empty string, change the type of
        // the newly created event to equal the value of the event type buffer."
        let event = if self.event_type.is_empty() { "message" } else { &self.event_type };
        let item = Item::Event {
            event: event.to_owned(),
            data: self.data.clone(),
            id: self.last_event_id_string.clone(),
        };
        // "7. Set the data buffer and the event type buffer to the empty string."
        self.data.clear();
        self.event_type.clear();
        // "8. Queue a task which, if the readyState attribute is set to a value other than CLOSED,
        // dispatches the newly created event at the EventSource object."
        self.delivered.push(item);
    }
}
