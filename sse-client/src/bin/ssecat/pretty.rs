//! Lays out JSON. Only the white space between its parts changes: numbers stay as long, and names
//! in such an order, as the server has sent them.

use std::iter::repeat_n;
use std::str::Chars;

use serde::de::IgnoredAny;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Everything on one line.
    Compact,
    /// A line for each part, indented.
    Pretty,
}

/// The text laid out anew, if it is a JSON object or array.
pub(crate) fn lay_out(text: &str, layout: Layout) -> Option<String> {
    let is_json = text.trim_start().starts_with(['{', '['])
        && serde_json::from_str::<IgnoredAny>(text).is_ok();
    is_json.then(|| Writer { layout, out: String::with_capacity(text.len()), depth: 0 }.write(text))
}

struct Writer {
    layout: Layout,
    out: String,
    depth: usize,
}

impl Writer {
    /// Writes what is known to be JSON.
    fn write(mut self, text: &str) -> String {
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            match c {
                ' ' | '\t' | '\n' | '\r' => {}
                '"' => self.string(&mut rest),
                '{' | '[' => {
                    self.out.push(c);
                    if !rest.as_str().trim_ascii_start().starts_with(['}', ']']) {
                        self.depth += 1;
                        self.new_line();
                    }
                }
                '}' | ']' => {
                    if !self.out.ends_with(['{', '[']) {
                        self.depth -= 1;
                        self.new_line();
                    }
                    self.out.push(c);
                }
                ',' => {
                    self.out.push(c);
                    self.new_line();
                }
                ':' if self.layout == Layout::Pretty => self.out.push_str(": "),
                _ => self.out.push(c),
            }
        }
        self.out
    }

    /// The rest of a string, byte for byte.
    fn string(&mut self, rest: &mut Chars<'_>) {
        self.out.push('"');
        let mut is_escaped = false;
        for c in rest {
            self.out.push(c);
            if c == '"' && !is_escaped {
                return;
            }
            is_escaped = c == '\\' && !is_escaped;
        }
    }

    fn new_line(&mut self) {
        if self.layout == Layout::Pretty {
            self.out.push('\n');
            self.out.extend(repeat_n("  ", self.depth));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "{ \"b\" : 1.50 ,\n\t\"a\": [ ] , \"c\":[{}, {\"x\":\"[ \\\\\\\" { , é\"}, -1e400]}";

    #[test]
    fn nothing_changes_but_white_space() {
        let compact = lay_out(TEXT, Layout::Compact).expect("JSON");
        assert_eq!(compact, "{\"b\":1.50,\"a\":[],\"c\":[{},{\"x\":\"[ \\\\\\\" { , é\"},-1e400]}");
        let pretty = lay_out(TEXT, Layout::Pretty).expect("JSON");
        assert_eq!(lay_out(&pretty, Layout::Compact), Some(compact));
        assert!(
            pretty.starts_with("{\n  \"b\": 1.50,\n  \"a\": [],\n  \"c\": [\n    {},\n"),
            "{pretty}"
        );
        assert!(pretty.ends_with("    -1e400\n  ]\n}"), "{pretty}");
    }

    #[test]
    fn what_is_no_json_object_or_array_is_left_alone() {
        for text in ["", "1 2", "\"a  b\"", "{a}", "[1] x", "{\"a\":"] {
            assert_eq!(lay_out(text, Layout::Pretty), None, "{text}");
        }
    }
}
