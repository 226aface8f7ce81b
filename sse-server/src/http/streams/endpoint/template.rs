//! Names of channels that are made from the parameters of a path.

use std::fmt;

use super::check;

/// A name with places to fill in, in the form of Python's `str.format`.
#[derive(Clone, Debug)]
pub(super) struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Literal(String),
    Parameter(String),
}

impl Template {
    /// Understands `{name}` of these names, `{{` and `}}`.
    pub(super) fn parse(text: &str, parameters: &[String]) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literals = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literals.push_str(&rest[..at]);
            let (brace, tail) = rest[at..].split_at(1);
            if let Some(tail) = tail.strip_prefix(brace) {
                literals.push_str(brace);
                rest = tail;
                continue;
            }
            let name = (brace == "{").then(|| tail.split_once('}')).flatten();
            let Some((name, tail)) = name else {
                let problem =
                    "has a brace without its counterpart; write {{ or }} for a brace itself";
                return Err(problem.to_owned());
            };
            if !parameters.iter().any(|known| known == name) {
                let known = if parameters.is_empty() {
                    "the path has none".to_owned()
                } else {
                    format!("the path has {}", parameters.join(", "))
                };
                return Err(format!("has {{{name}}}, which is no parameter of the path; {known}"));
            }
            parts.push(Part::Literal(std::mem::take(&mut literals)));
            parts.push(Part::Parameter(name.to_owned()));
            rest = tail;
        }
        literals.push_str(rest);
        parts.push(Part::Literal(literals));
        let template = Self { parts };
        // At least one character takes the place of each.
        check(&template.made(|_| Some("x")))?;
        Ok(template)
    }

    /// The name, with these values.
    pub(super) fn fill(&self, parameters: &[(&str, &str)]) -> String {
        self.made(|name| {
            let found = parameters.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| *value)
        })
    }

    fn made<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> String {
        let parts = self.parts.iter().map(|part| match part {
            Part::Literal(text) => text,
            Part::Parameter(name) => value(name).unwrap_or_default(),
        });
        parts.collect()
    }
}

/// As it would be written.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Literal(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}")),
            Part::Parameter(name) => write!(f, "{{{name}}}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_filled_in_and_doubled_braces_are_braces() {
        let parameters = ["room".to_owned(), "user".to_owned()];
        for (text, made) in [
            ("news", "news"),
            ("{room}", "a{user}"),
            ("room-{room}", "room-a{user}"),
            ("{user}@{room}:{user}", "7@a{user}:7"),
            ("{{room}}", "{room}"),
            ("{{{room}}}", "{a{user}}"),
            ("é{room}", "éa{user}"),
        ] {
            let template = Template::parse(text, &parameters).expect(text);
            assert_eq!(template.fill(&[("room", "a{user}"), ("user", "7")]), made);
            assert_eq!(template.to_string(), text);
        }
        for (text, problem) in [
            ("{rom}", "has {rom}, which is no parameter of the path; the path has room, user"),
            ("{}", "has {}, which"),
            ("{0}", "has {0}, which"),
            ("{room!r}", "has {room!r}, which"),
            ("{room", "has a brace without"),
            ("room}", "has a brace without"),
            ("", "is empty"),
        ] {
            let found = Template::parse(text, &parameters).expect_err(text);
            assert!(found.starts_with(problem), "{text}: {found}");
        }
        let long = format!("{{room}}{}", "é".repeat(255));
        assert!(Template::parse(&long, &parameters).expect_err("long").contains("longer than 255"));
        Template::parse(&long[..long.len() - 2], &parameters).expect("254 and one");
    }
}
