//! Holds the vectors and the oracles against each other, so that a mistake in one shows.

use std::collections::HashSet;

use proptest::prelude::*;

use crate::{
    additions::{self, Delivery, Wanted},
    oracle, strategy, vectors,
};

#[test]
fn the_oracle_agrees_with_every_vector() {
    let mut checked = 0;
    for case in vectors::all() {
        let Some(expected) = case.plain() else {
            continue;
        };
        checked += 1;
        let (items, last_event_id) = oracle::parse(&case.bytes(), &case.last_event_id);
        assert_eq!(items, expected, "{}", case.name);
        assert_eq!(last_event_id, case.final_last_event_id, "{}", case.name);
    }
    assert!(checked > 150, "only {checked} vectors are about the standard");
}

/// The oracle reads only lines that have ended, so what it makes of the bytes so far is exactly
/// what must have been delivered by then.
#[test]
fn every_step_delivers_what_its_bytes_complete() {
    for case in vectors::all() {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for (index, step) in case.steps.iter().enumerate() {
            bytes.extend(step.bytes());
            expected.extend(step.expect());
            let (delivered, _) = additions::parse(&bytes, &case.last_event_id, case.wanted());
            assert_eq!(delivered, expected, "{}, step {index}", case.name);
            if case.plain().is_some() {
                let (items, _) = oracle::parse(&bytes, &case.last_event_id);
                let expected = expected.iter().filter_map(as_item).cloned();
                assert_eq!(items, expected.collect::<Vec<_>>(), "{}, step {index}", case.name);
            }
        }
        let (_, last_event_id) = additions::parse(&bytes, &case.last_event_id, case.wanted());
        assert_eq!(last_event_id, case.final_last_event_id, "{}", case.name);
    }
}

#[test]
fn vectors_are_well_formed() {
    let mut names = HashSet::new();
    for case in vectors::all() {
        let kebab = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '-';
        assert!(case.name.chars().all(kebab), "{} is kebab-case", case.name);
        assert!(!case.standard.is_empty(), "{} has a source", case.name);
        assert!(case.why.ends_with('.'), "{}: `why` is a sentence", case.name);
        assert!(!case.steps.is_empty(), "{} has a step", case.name);
        assert!(names.insert(case.name.clone()), "{} is there twice", case.name);
        let comments = case.expect().iter().any(|one| matches!(one, Delivery::Comment(_)));
        assert!(case.comments || !comments, "{} gets comments unasked", case.name);
        let failures = case
            .expect()
            .iter()
            .any(|one| matches!(one, Delivery::EventTooLarge | Delivery::LineTooLarge));
        assert!(case.plain().is_none() || !failures, "{} fails without a limit", case.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn without_limits_and_comments_the_additions_are_the_oracle(
        bytes in strategy::stream(),
        seed in strategy::id(),
    ) {
        let (delivered, last_event_id) = additions::parse(&bytes, &seed, Wanted::default());
        let items: Vec<_> = delivered.iter().filter_map(as_item).cloned().collect();
        prop_assert_eq!(items.len(), delivered.len());
        prop_assert_eq!((items, last_event_id), oracle::parse(&bytes, &seed));
    }

    /// Limits that cannot be reached change nothing.
    #[test]
    fn limits_as_long_as_the_stream_are_no_limits(bytes in strategy::stream()) {
        let limits = Wanted {
            event_limit: Some(bytes.len()),
            line_limit: Some(bytes.len()),
            ..Wanted::default()
        };
        prop_assert_eq!(
            additions::parse(&bytes, "", limits),
            additions::parse(&bytes, "", Wanted::default())
        );
    }
}

fn as_item(delivery: &Delivery) -> Option<&oracle::Item> {
    match delivery {
        Delivery::Item(item) => Some(item),
        _ => None,
    }
}
