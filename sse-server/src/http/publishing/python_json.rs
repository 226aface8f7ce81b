//! JSON in the form in which django-eventstream sends it: that of Python's `json.dumps`.

use std::fmt::Write;

/// Rewrites a JSON text: `, ` and `: ` between the parts, no other white space, and ASCII only, the
/// rest as `\uXXXX`. Numbers, the order of members and escapes stay as they were written.
pub(super) fn dumps(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + json.len() / 8);
    let mut in_string = false;
    let mut is_escaped = false;
    for c in json.chars() {
        match c {
            _ if is_escaped => {
                is_escaped = false;
                out.push(c);
            }
            '\\' => {
                is_escaped = true;
                out.push(c);
            }
            '"' => {
                in_string = !in_string;
                out.push(c);
            }
            ' '..='~' if in_string => out.push(c),
            _ if in_string => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}").expect("writing to a String cannot fail");
                }
            }
            ' ' | '\t' | '\r' | '\n' => {}
            ',' => out.push_str(", "),
            ':' => out.push_str(": "),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn the_form_is_pythons() {
        for (json, python) in [
            (r#"{"text":"hello world"}"#, r#"{"text": "hello world"}"#),
            ("[1 ,\n2,{ }\t, []]", "[1, 2, {}, []]"),
            (r#"{"é":"😀, \"x\": \\"}"#, r#"{"\u00e9": "\ud83d\ude00, \"x\": \\"}"#),
            ("12345678901234567890.10e+5", "12345678901234567890.10e+5"),
            ("\"\u{7f}\"", r#""\u007f""#),
            (r#""\ud800""#, r#""\ud800""#),
            (" null ", "null"),
        ] {
            assert_eq!(dumps(json), python);
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_value_stays_the_same_in_one_line_of_ascii(value in value(), pretty: bool) {
            let json = if pretty { format!("{value:#}") } else { value.to_string() };
            let out = dumps(&json);
            prop_assert!(out.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{out}");
            prop_assert_eq!(serde_json::from_str::<Value>(&out).expect("still JSON"), value);
        }
    }
}
