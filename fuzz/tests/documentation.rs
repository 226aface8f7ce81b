//! The table of cases in docs/hostile.md is the catalogue.

use std::path::Path;
use std::{env, fs};

#[test]
fn the_table_of_cases_is_up_to_date() {
    const MARK: &str = "--test documentation` -->\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/hostile.md");
    let found = fs::read_to_string(&path).expect("it is there");
    let (head, _) = found.split_once(MARK).expect("the mark is there");
    let expected = format!("{head}{MARK}\n{}", sse_fuzz::hostile::table());
    if env::var_os("BLESS").is_some() {
        fs::write(&path, &expected).expect("it can be written");
    } else if found != expected {
        panic!("the cases have changed: run this test with BLESS=1 and look at the difference");
    }
}
