//! The tables of cases and checks in the documentation are the catalogues.

use std::path::Path;
use std::{env, fs};

/// Compares the end of a file with a table, or writes it there.
fn is_up_to_date(file: &str, table: &str) {
    const MARK: &str = "--test documentation` -->\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(file);
    let found = fs::read_to_string(&path).expect("it is there");
    let (head, _) = found.split_once(MARK).expect("the mark is there");
    let expected = format!("{head}{MARK}\n{table}");
    if env::var_os("BLESS").is_some() {
        fs::write(&path, &expected).expect("it can be written");
    } else if found != expected {
        panic!("{file}: run this test with BLESS=1 and look at the difference");
    }
}

#[test]
fn the_table_of_cases_is_up_to_date() {
    is_up_to_date("hostile.md", &sse_fuzz::hostile::table());
}

#[test]
fn the_table_of_checks_of_origins_is_up_to_date() {
    is_up_to_date("origin.md", &sse_fuzz::grip::table());
}

#[test]
fn the_table_of_checks_is_up_to_date() {
    is_up_to_date("probe.md", &sse_fuzz::probe::table());
}

#[test]
fn the_document_on_doubles_has_every_trouble_and_the_examples_as_they_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |file: &str| fs::read_to_string(root.join(file)).expect("it is there");
    let document = read("docs/doubles.md");
    for (trouble, what) in sse_fuzz::hostile::TROUBLES {
        let row = format!("| `{trouble}` | {what} |");
        assert!(document.contains(&row), "docs/doubles.md lacks {row}");
    }
    for file in ["examples/hostile/test_openai.py", "examples/hostile/openai.test.mjs"] {
        assert!(document.contains(&read(file)), "docs/doubles.md has another {file}");
    }
}
