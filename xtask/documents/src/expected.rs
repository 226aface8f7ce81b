//! What a document says that a command prints, beside what it has printed.

/// How many lines there are up to the last that is expected, if all of these are there. An expected
/// line `…` stands for any lines, also none.
#[must_use]
pub fn all_fit(found: &[&str], expected: &[&str]) -> Option<usize> {
    let Some((first, rest)) = expected.split_first() else { return Some(0) };
    if *first == "…" {
        return (0..=found.len()).find_map(|at| all_fit(&found[at..], rest).map(|len| at + len));
    }
    let (line, others) = found.split_first()?;
    if fits(line, first) { all_fit(others, rest).map(|len| 1 + len) } else { None }
}

/// Whether a line is the expected one, where `…` stands for anything, also nothing.
#[must_use]
pub fn fits(line: &str, expected: &str) -> bool {
    match expected.split_once('…') {
        None => line == expected,
        Some((before, after)) => line.strip_prefix(before).is_some_and(|rest| {
            let mut ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
            ends.any(|at| fits(&rest[at..], after))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ellipsis_in_a_line_stands_for_anything() {
        for (line, expected) in [("a 1 c", "a … c"), ("a", "a…"), ("a b a b", "…a b"), ("", "…")]
        {
            assert!(fits(line, expected), "{line:?} {expected:?}");
        }
        for (line, expected) in [("a 1 d", "a … c"), ("ab", "a"), ("a", "ab"), ("ac", "a…bc")] {
            assert!(!fits(line, expected), "{line:?} {expected:?}");
        }
    }

    #[test]
    fn a_line_that_is_an_ellipsis_stands_for_any_lines() {
        assert_eq!(all_fit(&["a", "b", "c", "d"], &["a", "…", "c"]), Some(3));
        assert_eq!(all_fit(&["a", "c"], &["a", "…", "c"]), Some(2));
        assert_eq!(all_fit(&["a", "b"], &["a", "c"]), None);
        assert_eq!(all_fit(&["a"], &["a", "b"]), None);
        assert_eq!(all_fit(&["b"], &[]), Some(0));
    }
}
