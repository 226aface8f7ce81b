//! The fuzz targets with their seeds, and with some random bytes: in every run of the tests, on any
//! compiler.
//!
//! `cargo xtask fuzz` does the same for as long as one likes, and lets coverage lead it.

use fastrand::Rng;
use sse_fuzz_bodies::{TARGETS, seeds};

/// A run's random inputs are always the same.
const SEED: u64 = 1;

fn few(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("there is such a target");
    let seeds = seeds::of(name);
    for seed in &seeds {
        (target.run)(seed);
    }
    let mut rng = Rng::with_seed(SEED);
    for _ in 0..target.few {
        let input = random(&mut rng, &seeds);
        let is_well = std::panic::catch_unwind(|| (target.run)(&input)).is_ok();
        assert!(is_well, "{name} with \"{}\"", input.escape_ascii());
    }
}

/// Bytes, or a seed with some of its bytes changed, put in, left out, or taken from another seed.
fn random(rng: &mut Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    if seeds.is_empty() || rng.u8(0..4) == 0 {
        let len = rng.usize(0..200);
        return std::iter::repeat_with(|| rng.u8(..)).take(len).collect();
    }
    let mut input = seeds[rng.usize(0..seeds.len())].clone();
    for _ in 0..rng.usize(1..6) {
        let at = rng.usize(0..=input.len());
        let end = input.len().min(at + rng.usize(0..8));
        let other = &seeds[rng.usize(0..seeds.len())];
        let from = rng.usize(0..=other.len());
        let piece = &other[from..other.len().min(from + rng.usize(0..24))];
        match rng.u8(0..4) {
            0 => drop(input.splice(at..end, [rng.u8(..)])),
            1 => drop(input.splice(at..end, [])),
            2 => drop(input.splice(at..at, piece.iter().copied())),
            _ => drop(input.splice(at..end, piece.iter().copied())),
        }
    }
    input
}

macro_rules! tests {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            few(stringify!($name));
        })*

        #[test]
        fn each_target_has_its_test_and_its_binary() {
            let names = TARGETS.map(|target| target.name);
            assert_eq!(names, [$(stringify!($name)),*]);
            let manifest = include_str!("../../targets/Cargo.toml");
            for name in names {
                assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
            }
        }
    };
}

tests! { decoder peers encoder cursor session request token relay storage }
