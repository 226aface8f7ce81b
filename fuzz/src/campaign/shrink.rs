//! Makes what led to a finding as small as it can be: fewer cases, fewer oddities, shorter and plainer values.

use super::case::{Case, Raw};
use super::subject::{Kind, Subject};
use tokio::time::Instant;

/// The smallest cases that still show it, and whether there was time for all that could be left out.
pub(super) async fn shrink(
    subject: &mut Subject,
    kind: Kind,
    mut cases: Vec<Case>,
    deadline: Instant,
) -> (Vec<Case>, bool) {
    // Halves first, then one by one.
    let mut len = cases.len() / 2;
    while len > 0 {
        let mut at = 0;
        while at < cases.len() && cases.len() > 1 {
            if Instant::now() >= deadline {
                return (cases, false);
            }
            let mut fewer = cases.clone();
            fewer.drain(at..(at + len).min(cases.len()));
            if !fewer.is_empty() && subject.shows(kind, &fewer).await {
                cases = fewer;
            } else {
                at += len;
            }
        }
        len /= 2;
    }
    for index in 0..cases.len() {
        loop {
            let mut is_smaller = false;
            for smaller in smaller(&cases[index]) {
                if Instant::now() >= deadline {
                    return (cases, false);
                }
                let mut tried = cases.clone();
                tried[index] = smaller;
                if subject.shows(kind, &tried).await {
                    cases = tried;
                    is_smaller = true;
                    break;
                }
            }
            if !is_smaller {
                break;
            }
        }
    }
    (cases, true)
}

/// Cases that are a little smaller, those with the most left out first.
fn smaller(case: &Case) -> Vec<Case> {
    let mut all = Vec::new();
    let mut put = |change: &dyn Fn(&mut Case)| {
        let mut smaller = case.clone();
        change(&mut smaller);
        if smaller != *case {
            all.push(smaller);
        }
    };
    for index in 0..case.headers.len() {
        put(&|case| drop(case.headers.remove(index)));
    }
    put(&|case| case.body = None);
    put(&|case| case.path = None);
    put(&|case| case.query = None);
    put(&|case| case.method = None);
    put(&|case| case.version = None);
    put(&|case| case.cut = None);
    put(&|case| case.pause = 0);
    put(&|case| case.hold = 0);
    put(&|case| case.reset = false);
    for index in 0..case.headers.len() {
        if let Some(value) = &case.headers[index].1 {
            for shorter in shorter(value, b"") {
                put(&|case| case.headers[index].1 = Some(shorter.clone()));
            }
        }
    }
    let pick: [fn(&mut Case) -> &mut Option<Raw>; 4] = [
        |case| &mut case.path,
        |case| &mut case.query,
        |case| &mut case.body,
        |case| &mut case.whole,
    ];
    for part in pick {
        let mut same = case.clone();
        if let Some(value) = part(&mut same) {
            for shorter in shorter(value, b"/") {
                put(&|case| *part(case) = Some(shorter.clone()));
            }
        }
    }
    all
}

/// The value without some of it: halves, quarters … single bytes. Nothing before the first byte if that is
/// what it has to begin with. At last, what is left is tried with letters that mean nothing.
fn shorter(value: &Raw, beginning: &[u8]) -> Vec<Raw> {
    let bytes = &value.0;
    let from = usize::from(!beginning.is_empty() && bytes.starts_with(beginning));
    let mut all = Vec::new();
    let mut len = (bytes.len() - from).next_power_of_two();
    while len > 0 {
        for at in (from..bytes.len()).step_by(len) {
            let end = (at + len).min(bytes.len());
            all.push(Raw([&bytes[..at], &bytes[end..]].concat()));
        }
        len /= 2;
    }
    // Long ones are shortened first; of a short one each byte may be what matters.
    if bytes.len() <= 32 {
        for at in from..bytes.len() {
            if bytes[at].is_ascii_alphanumeric() && bytes[at] != b'a' {
                let mut plain = bytes.clone();
                plain[at] = b'a';
                all.push(Raw(plain));
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_smaller_so_that_it_ends() {
        let mut case = Case {
            path: Some("/x%y".into()),
            headers: vec![("A".into(), Some("bc".into())), ("Host".into(), None)],
            hold: 3,
            ..Case::default()
        };
        let mut steps = 0;
        while let Some(next) = smaller(&case).pop() {
            case = next;
            steps += 1;
            assert!(steps < 100, "{case:?}");
        }
        assert_eq!(case, Case::default());
    }
}
