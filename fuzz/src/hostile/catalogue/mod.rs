//! All cases, section by section. A case that has been published keeps its id.

mod connect;
mod cut;
mod h2;
mod http;
mod limit;
mod parse;
mod time;

use super::case::Case;
use super::dialect;

/// All cases, in the order in which they are listed.
pub fn cases() -> Vec<Case> {
    let mut cases = parse::cases();
    cases.extend(connect::cases());
    cases.extend(http::cases());
    cases.extend(time::cases());
    cases.extend(cut::cases());
    cases.extend(h2::cases());
    cases.extend(limit::cases());
    cases.extend(dialect::cases());
    cases
}

/// The cases as a table in Markdown, as the documentation has it.
pub fn table() -> String {
    let rows = cases().into_iter().map(|case| {
        let cells = [&case.title, &case.correct, &case.reference];
        let [title, correct, reference] = cells.map(|cell| cell.replace('|', "\\|"));
        format!("| `{}` | {title} | {correct} | {reference} |\n", case.id)
    });
    let head = "| case | the server | a correct client | reference |\n|---|---|---|---|\n";
    std::iter::once(head.to_owned()).chain(rows).collect()
}
