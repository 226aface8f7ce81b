//! Makes what led to a finding as small as it can be: fewer cases, fewer oddities, shorter and
//! plainer values.

use super::case::{Case, Raw};
use super::subject::{Kind, Subject};
use tokio::time::Instant;

/// The smallest cases that still show it, and whether there was time for all that could be left
/// out.
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
            let case = cases[index].clone();
            for step in steps(&case) {
                let Some(smaller) = taken(&case, &step) else { continue };
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

/// One way to make a case smaller. A request can be long, and there are many ways: none is tried
/// out before it is its turn.
#[derive(Clone, Copy)]
enum Step {
    Without(fn(&mut Case)),
    WithoutHeader(usize),
    /// Without some bytes of a value.
    Shorter(Part, usize, usize),
    /// With a letter that means nothing in this place of a value.
    Plainer(Part, usize),
}

/// A value in a case.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Header(usize),
    Path,
    Query,
    Body,
    Whole,
}

impl Part {
    fn of(self, case: &mut Case) -> Option<&mut Raw> {
        match self {
            Self::Header(index) => case.headers.get_mut(index)?.1.as_mut(),
            Self::Path => case.path.as_mut(),
            Self::Query => case.query.as_mut(),
            Self::Body => case.body.as_mut(),
            Self::Whole => case.whole.as_mut(),
        }
    }
}

/// Longer values are not tried with plainer letters, only made shorter.
const SHORT: usize = 32;

/// The ways to make a case smaller, those that leave out most first.
fn steps(case: &Case) -> impl Iterator<Item = Step> + use<> {
    const WITHOUT: [fn(&mut Case); 9] = [
        |case| case.body = None,
        |case| case.path = None,
        |case| case.query = None,
        |case| case.method = None,
        |case| case.version = None,
        |case| case.cut = None,
        |case| case.pause = 0,
        |case| case.hold = 0,
        |case| case.reset = false,
    ];
    let parts = (0..case.headers.len()).map(Part::Header);
    let parts = parts.chain([Part::Path, Part::Query, Part::Body, Part::Whole]);
    let mut case = case.clone();
    let lens: Vec<_> =
        parts.map(|part| (part, part.of(&mut case).map_or(0, |raw| raw.0.len()))).collect();
    let shorter = lens.into_iter().flat_map(|(part, len)| {
        let sizes = std::iter::successors(Some(len.next_power_of_two()), |size| Some(size / 2));
        let sizes = sizes.take_while(|size| *size > 0);
        let cuts = sizes.flat_map(move |size| {
            (0..len).step_by(size).map(move |at| Step::Shorter(part, at, size))
        });
        let plain = (0..if len <= SHORT { len } else { 0 }).map(move |at| Step::Plainer(part, at));
        cuts.chain(plain)
    });
    let headers = (0..case.headers.len()).map(Step::WithoutHeader);
    headers.chain(WITHOUT.map(Step::Without)).chain(shorter)
}

/// The case after a step, if it changes anything and leaves what has to be.
fn taken(case: &Case, step: &Step) -> Option<Case> {
    let mut smaller = case.clone();
    match *step {
        Step::Without(clear) => clear(&mut smaller),
        Step::WithoutHeader(index) => drop(smaller.headers.remove(index)),
        Step::Shorter(part, at, len) => {
            let value = &mut part.of(&mut smaller)?.0;
            let end = value.len().min(at + len);
            drop(value.drain(at..end));
            if part == Part::Path && !value.starts_with(b"/") {
                return None;
            }
        }
        Step::Plainer(part, at) => {
            let byte = part.of(&mut smaller)?.0.get_mut(at)?;
            if !byte.is_ascii_alphanumeric() {
                return None;
            }
            *byte = b'a';
        }
    }
    (smaller != *case).then_some(smaller)
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
        let mut count = 0;
        while let Some(next) = steps(&case).filter_map(|step| taken(&case, &step)).last() {
            case = next;
            count += 1;
            assert!(count < 100, "{case:?}");
        }
        // A path begins with a slash until it goes as a whole.
        assert_eq!(case, Case::default());
    }

    #[test]
    fn a_long_value_is_made_smaller_in_little_memory() {
        let long = Raw(vec![b'%'; 1 << 20]);
        let case = Case { query: Some(long), ..Case::default() };
        let mut cuts = steps(&case).filter(|step| matches!(step, Step::Shorter(..)));
        let first = cuts.next().and_then(|step| taken(&case, &step)).expect("all of it goes");
        assert_eq!(first.query, Some("".into()));
        let half = cuts.next().and_then(|step| taken(&case, &step)).expect("half of it goes");
        assert_eq!(half.query.map(|query| query.0.len()), Some(1 << 19));
    }
}
