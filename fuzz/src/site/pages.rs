//! The pages. All text comes from reports of others; maud escapes it wherever it stands.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::subject::{Case, Client, Subject};
use crate::verdict::{Summary, Verdict};

const STYLE: &str = include_str!("style.css");

fn whole(title: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { main { (body) footer { "sse-fuzz " (env!("CARGO_PKG_VERSION")) } } }
        }
    };
    page.into_string()
}

/// Servers and clients, and what they come to in each section.
pub(super) fn index(subjects: &[Subject]) -> String {
    let servers: Vec<_> = numbered(subjects, true);
    let clients: Vec<_> = numbered(subjects, false);
    let body = html! {
        h1 { "Event streams, tested" }
        p {
            "Servers by " code { "sse-fuzz probe" } ", clients by " code { "sse-fuzz hostile" }
            ". A cell has how many checks passed, and how many failed; what could not be asked is left out."
        }
        @if !servers.is_empty() { h2 { "Servers" } (table(&servers)) }
        @if !clients.is_empty() { h2 { "Clients" } (table(&clients)) }
    };
    whole("Event streams, tested", &body)
}

fn numbered(subjects: &[Subject], servers: bool) -> Vec<(usize, &Subject)> {
    let all = subjects.iter().enumerate();
    all.filter(|(_, subject)| matches!(subject, Subject::Server(_)) == servers).collect()
}

fn table(subjects: &[(usize, &Subject)]) -> Markup {
    let mut sections: Vec<&str> = Vec::new();
    for (id, _) in subjects.iter().flat_map(|(_, subject)| subject.verdicts()) {
        let section = id.split('.').next().unwrap_or_default();
        if !sections.contains(&section) {
            sections.push(section);
        }
    }
    html! {
        table {
            thead { tr {
                th { "name" } @if is_servers(subjects) { th { "level" } }
                @for section in &sections { th { (section) } }
                th { "tested" }
            } }
            @for (number, subject) in subjects {
                tr {
                    td.name { a href=(subject.file(*number, "html")) { (subject.name()) } }
                    @if let Subject::Server(report) = subject {
                        td data-of="level" { (report.level().unwrap_or("none")) }
                    }
                    @for section in &sections { (cell(section, subject.summary(section))) }
                    td data-of="tested" {
                        (subject.date()) " "
                        small { "by " (subject.version()) " · " a href=(subject.file(*number, "json")) { "report" } }
                    }
                }
            }
        }
    }
}

fn is_servers(subjects: &[(usize, &Subject)]) -> bool {
    subjects.iter().all(|(_, subject)| matches!(subject, Subject::Server(_)))
}

fn cell(section: &str, summary: Summary) -> Markup {
    let Summary { pass, fail, warn, info, .. } = summary;
    let class = if fail > 0 {
        "fail"
    } else if warn > 0 {
        "warn"
    } else if pass > 0 {
        "pass"
    } else {
        "none"
    };
    html! {
        td.(class) data-of=(section) {
            @if pass + fail + warn + info == 0 { "–" } @else { (pass) "\u{a0}pass" }
            @if fail > 0 { ", " b { (fail) "\u{a0}fail" } }
            @if warn > 0 { ", " (warn) "\u{a0}warn" }
        }
    }
}

/// A server's or a client's own page.
pub(super) fn page(subject: &Subject) -> String {
    match subject {
        Subject::Server(report) => report.html(),
        Subject::Client(name, client) => whole(name, &of_client(name, client)),
    }
}

fn of_client(name: &str, client: &Client) -> Markup {
    let of = |verdicts: &[Verdict]| -> Vec<&Case> {
        client.cases.iter().filter(|case| verdicts.contains(&case.verdict)).collect()
    };
    let failed = of(&[Verdict::Fail, Verdict::Warn]);
    let passed = of(&[Verdict::Pass, Verdict::Info]);
    let unjudged = of(&[Verdict::Inconclusive, Verdict::Skip]);
    html! {
        p { a href="index.html" { "all" } }
        h1 { (name) }
        pre { "sse-fuzz hostile --check '" (client.command) "'" }
        p { (failed.len()) " failed, " (passed.len()) " passed, " (unjudged.len()) " not judged. " (client.date) }
        h2 { "Failed" }
        @if failed.is_empty() { p { "Nothing." } }
        @for case in &failed {
            details id=(case.id) open {
                summary { b.fail { (case.verdict.word()) } " " code { (case.id) } " " (case.title) }
                p { "A correct client: " (case.correct) " " small { (case.reference) } }
                ul { @for reason in &case.reasons { li { (reason) } } }
                @if !case.evidence.is_empty() { pre { (case.evidence.join("\n")) } }
            }
        }
        @for (title, cases) in [("passed", &passed), ("not judged", &unjudged)] {
            @if !cases.is_empty() {
                details {
                    summary { (cases.len()) " " (title) }
                    ul { @for case in cases {
                        li { code { (case.id) } " " (case.title) " " small { (case.reasons.join("; ")) } }
                    } }
                }
            }
        }
    }
}
