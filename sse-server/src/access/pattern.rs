//! Patterns of channel names.

use std::fmt;

/// Which channels are meant: a name in which `*` stands for any characters, also none, and
/// `{claim}` for what is known of the reader, such as `user-{sub}`.
///
/// What a claim says is compared as it is: a `*` in it is a star. An issuer that lets users choose
/// a claim lets them choose what it matches, so `user-{sub}-*` is only safe if no `sub` can be the
/// beginning of another one and a dash.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
}

#[derive(Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Any,
    Claim(String),
}

/// A text that is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// There is nothing in it.
    #[error("the pattern is empty; write a channel's name, or * for all")]
    Empty,
    /// A brace without its counterpart, or with nothing between.
    #[error("{0:?} has a brace that is not a part of {{claim}}")]
    Brace(String),
}

impl Pattern {
    /// Understands `*` and `{claim}`.
    ///
    /// ```
    /// use sse_server::access::Pattern;
    ///
    /// let pattern = Pattern::parse("user-{sub}")?;
    /// assert!(pattern.matches("user-7", |claim| (claim == "sub").then(|| "7".to_owned())));
    /// assert!(!pattern.matches("user-7", |_| None));
    /// # Ok::<(), sse_server::access::PatternError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If it is empty, or its braces are not in order.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        let brace = || PatternError::Brace(text.to_owned());
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['*', '{', '}']) {
            push_literal(&mut parts, &rest[..at]);
            let tail = &rest[at + 1..];
            rest = match rest.as_bytes()[at] {
                b'*' => {
                    parts.push(Part::Any);
                    tail
                }
                b'{' => {
                    let (claim, tail) = tail.split_once('}').ok_or_else(brace)?;
                    if claim.is_empty() || claim.contains('{') {
                        return Err(brace());
                    }
                    parts.push(Part::Claim(claim.to_owned()));
                    tail
                }
                _ => return Err(brace()),
            };
        }
        push_literal(&mut parts, rest);
        Ok(Self { parts })
    }

    /// Understands `*` only; braces are themselves. For what others than the operator write.
    pub fn without_claims(text: &str) -> Self {
        let mut parts = Vec::new();
        for (index, literal) in text.split('*').enumerate() {
            if index > 0 {
                parts.push(Part::Any);
            }
            push_literal(&mut parts, literal);
        }
        Self { parts }
    }

    /// This channel alone, whatever characters its name has.
    pub fn literal(name: &str) -> Self {
        let mut parts = Vec::new();
        push_literal(&mut parts, name);
        Self { parts }
    }

    /// How many bytes its texts have.
    pub(super) fn size(&self) -> usize {
        let size = |part: &Part| match part {
            Part::Literal(text) | Part::Claim(text) => text.len(),
            Part::Any => 1,
        };
        self.parts.iter().map(size).sum()
    }

    /// Whether this is one of the channels. A claim that is not known, or empty, matches nothing.
    pub fn matches(&self, channel: &str, claim: impl Fn(&str) -> Option<String>) -> bool {
        // The literals between the stars.
        let mut literals = Vec::new();
        let mut last = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => last.push_str(text),
                Part::Any => literals.push(std::mem::take(&mut last)),
                Part::Claim(name) => match claim(name) {
                    Some(value) if !value.is_empty() => last.push_str(&value),
                    _ => return false,
                },
            }
        }
        let [first, middle @ ..] = &literals[..] else { return last == channel };
        let Some(mut rest) = channel.strip_prefix(&**first) else { return false };
        for literal in middle {
            match rest.find(&**literal) {
                Some(at) => rest = &rest[at + literal.len()..],
                None => return false,
            }
        }
        rest.ends_with(&last)
    }
}

fn push_literal(parts: &mut Vec<Part>, text: &str) {
    if !text.is_empty() {
        parts.push(Part::Literal(text.to_owned()));
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Literal(text) => f.write_str(text),
            Part::Any => f.write_str("*"),
            Part::Claim(name) => write!(f, "{{{name}}}"),
        })
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, channel: &str) -> bool {
        let claim = |name: &str| match name {
            "sub" => Some("u1".to_owned()),
            "star" => Some("*".to_owned()),
            "empty" => Some(String::new()),
            _ => None,
        };
        Pattern::parse(pattern).expect("a pattern").matches(channel, claim)
    }

    #[test]
    fn stars_stand_for_anything_and_claims_for_what_they_say() {
        for (pattern, channel, expected) in [
            ("news", "news", true),
            ("news", "news2", false),
            ("*", "", true),
            ("*", "a/b é", true),
            ("news-*", "news-", true),
            ("news-*", "news", false),
            ("a*b", "ab", true),
            ("a*b", "axbxb", true),
            ("a*b", "axbx", false),
            ("ab*ba", "aba", false),
            ("*a*a*", "a", false),
            ("*a*a*", "xaya", true),
            ("user-{sub}", "user-u1", true),
            ("user-{sub}", "user-u2", false),
            ("user-{sub}", "user-u1x", false),
            ("{sub}*", "u1/inbox", true),
            ("{star}", "*", true),
            ("{star}", "a", false),
            ("x{empty}", "x", false),
            ("x{unknown}", "x", false),
            ("x{unknown}*", "x{unknown}", false),
        ] {
            assert_eq!(matches(pattern, channel), expected, "{pattern} {channel}");
        }
    }

    #[test]
    fn braces_that_are_not_in_order_are_no_pattern() {
        for text in ["", "{", "}", "{}", "a{b", "a}b", "{a{b}", "{a}}"] {
            Pattern::parse(text).expect_err(text);
        }
        assert!(Pattern::without_claims("{sub}").matches("{sub}", |_| None));
    }

    /// The same, the slow way.
    fn slowly(pattern: &[char], text: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['*', rest @ ..] => (0..=text.len()).any(|at| slowly(rest, &text[at..])),
            [c, rest @ ..] => text.first() == Some(c) && slowly(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn stars_match_what_trying_everything_matches(pattern in "[ab*]{1,8}", text in "[ab]{0,10}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(matches(&pattern, &text), slowly(&chars(&pattern), &chars(&text)));
        }
    }
}
