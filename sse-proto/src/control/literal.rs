//! Reads the data of control events: JSON, or the Python `repr` that some servers send in its
//! place.
//!
//! django-eventstream 4.4.1 to 4.5.0 sent `{'channels': ['a']}` where JSON was meant, and its GRIP
//! kicks still do. From both, this reads the little that control events hold, an object of strings
//! and lists of strings, and skips values of other kinds. No JSON library reads a `repr`, and this
//! crate depends on none.

use alloc::string::String;
use alloc::vec::Vec;

use nom::branch::alt;
use nom::bytes::complete::{tag, take_till1, take_while, take_while_m_n};
use nom::character::complete::{anychar, char, one_of};
use nom::combinator::{all_consuming, cut, map, map_opt, value};
use nom::multi::{fold_many0, separated_list0};
use nom::sequence::{delimited, preceded, separated_pair, terminated};
use nom::{IResult, Parser};

/// A value, as far as control events need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Literal {
    Text(String),
    List(Vec<Literal>),
    /// Numbers, booleans, null, None.
    Other,
}

/// The members of an object, in order. `None` if the text is not one object of strings, lists of
/// strings and plain values.
pub(crate) fn object(text: &str) -> Option<Vec<(String, Literal)>> {
    let member = separated_pair(token(string), symbol(':'), alt((token(scalar), list)));
    let members = delimited(symbol('{'), separated_list0(symbol(','), member), symbol('}'));
    all_consuming(members).parse(text).ok().map(|(_, members)| members)
}

/// Lists do not nest, so hostile input cannot nest the parser's calls either.
fn list(input: &str) -> IResult<&str, Literal> {
    let items = separated_list0(symbol(','), token(scalar));
    delimited(symbol('['), items, symbol(']')).map(Literal::List).parse(input)
}

fn scalar(input: &str) -> IResult<&str, Literal> {
    let word = take_while_m_n(1, 64, |c: char| c.is_ascii_alphanumeric() || "+-._".contains(c));
    alt((map(string, Literal::Text), value(Literal::Other, word))).parse(input)
}

/// A string in double quotes (JSON, Python) or single ones (Python).
fn string(input: &str) -> IResult<&str, String> {
    let (input, quote) = one_of("\"'").parse(input)?;
    let plain = take_till1(move |c| c == quote || c == '\\');
    let piece = alt((map(plain, Piece::Run), map(escape, Piece::Char)));
    let text = fold_many0(piece, String::new, |mut text, piece| {
        match piece {
            Piece::Run(run) => text.push_str(run),
            Piece::Char(c) => text.push(c),
        }
        text
    });
    cut(terminated(text, char(quote))).parse(input)
}

enum Piece<'a> {
    Run(&'a str),
    Char(char),
}

fn escape(input: &str) -> IResult<&str, char> {
    let (input, _) = char('\\').parse(input)?;
    let (rest, kind) = anychar(input)?;
    let plain = match kind {
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'x' => return map_opt(hex(2), char::from_u32).parse(rest),
        'u' => return utf16(rest),
        'U' => return map_opt(hex(8), char::from_u32).parse(rest),
        other => other,
    };
    Ok((rest, plain))
}

/// What follows `\u`: a code unit, or two of them that make a surrogate pair. A lone surrogate is
/// U+FFFD.
fn utf16(input: &str) -> IResult<&str, char> {
    let (rest, unit) = hex(4).parse(input)?;
    let pair = preceded(tag("\\u"), hex(4));
    let lone = char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER);
    let mut low = map_opt(pair, |low| {
        let is_pair = (0xD800..0xDC00).contains(&unit) && (0xDC00..0xE000).contains(&low);
        is_pair.then(|| 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00)).and_then(char::from_u32)
    });
    Ok(low.parse(rest).unwrap_or((rest, lone)))
}

fn hex<'a>(
    digits: usize,
) -> impl Parser<&'a str, Output = u32, Error = nom::error::Error<&'a str>> {
    let text = take_while_m_n(digits, digits, |c: char| c.is_ascii_hexdigit());
    map_opt(text, |text| u32::from_str_radix(text, 16).ok())
}

fn symbol<'a>(
    symbol: char,
) -> impl Parser<&'a str, Output = char, Error = nom::error::Error<&'a str>> {
    token(char(symbol))
}

/// A token with the white space around it.
fn token<'a, O, P>(inner: P) -> impl Parser<&'a str, Output = O, Error = nom::error::Error<&'a str>>
where
    P: Parser<&'a str, Output = O, Error = nom::error::Error<&'a str>>,
{
    delimited(white_space, inner, white_space)
}

fn white_space(input: &str) -> IResult<&str, &str> {
    take_while(|c: char| c.is_ascii_whitespace()).parse(input)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    fn text(text: &str) -> Literal {
        Literal::Text(text.to_string())
    }

    #[test]
    fn json_and_python_are_read_alike() {
        let channels = Literal::List(vec![text("a"), text("it's é")]);
        let expected = vec![("n".to_string(), Literal::Other), ("channels".to_string(), channels)];
        for source in [
            r#"{"n": null, "channels": ["a", "it's \u00e9"]}"#,
            r#" { "n":-1.5e3 ,"channels":[ "a","it's é" ] } "#,
            r#"{'n': None, 'channels': ['a', "it's é"]}"#,
            r"{'n': True, 'channels': ['a', 'it\'s \xe9']}",
        ] {
            assert_eq!(object(source).as_ref(), Some(&expected), "{source}");
        }
    }

    #[test]
    fn escapes_are_resolved() {
        let source = r#"{"a": "\"\\\/\b\f\n\r\t\ud83d\ude00\ud83d-\U0001F600", "": []}"#;
        let value = "\"\\/\u{8}\u{c}\n\r\t😀\u{FFFD}-😀";
        let expected = vec![("a".to_string(), text(value)), (String::new(), Literal::List(vec![]))];
        assert_eq!(object(source), Some(expected));
    }

    #[test]
    fn anything_else_is_no_object() {
        let nested = "[".repeat(100_000);
        for source in
            ["", "{", "[]", "{\"a\"}", "{\"a\": \"b}", "{} x", "{\"a\": '\\u12'}", &nested]
        {
            assert_eq!(object(source), None, "{source:.20}");
        }
        assert_eq!(object(&alloc::format!("{{\"a\": {nested}")), None);
    }
}
