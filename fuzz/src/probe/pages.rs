//! A page for each check, for bug reports to link: what, why, how to see it, how to mend it.
//!
//! A page is made of its check's own value, and of what holds for all checks of its kind. Checks
//! that publish in one field are one page: they differ only in the text.

use std::fmt::Write as _;

use super::check::{Check, Run};
use super::checks::checks;
use super::payload::PAYLOADS;

/// Where the pages are.
const FOLDER: &str = "https://github.com/ssekit/ssekit/blob/main/docs/checks";

/// Why a rule is there, in the words of the standard where it has some.
const WHY: [(&str, &str); 37] = [
    (
        "con.status",
        "> If the status is 200 and the type is right, announce the connection; for any other, fail it. (HTML, 9.2.3, in short)\n\nAn `EventSource` that gets another status never comes back.",
    ),
    (
        "con.type",
        "> … if res's `Content-Type` is not `text/event-stream`, then fail the connection. (HTML, 9.2.3)\n\nAn `EventSource` that gets another type never comes back, and a page has no way to read what it got.",
    ),
    (
        "con.cors",
        "An answer that allows any origin with credentials lets every page that a visitor opens read the stream as that visitor.",
    ),
    (
        "con.rebinding",
        "A page can point its own name at 127.0.0.1, and then read what listens there, unless it looks at `Host` and `Origin`.",
    ),
    (
        "con.grip",
        "`Grip-…` headers are an origin's orders to its proxy, with the names of channels and signed links in them. A client that gets them has asked an origin that takes it for a proxy, or by way of a proxy that passes them on.",
    ),
    (
        "con.folded",
        "> A sender MUST NOT generate a message that includes line folding … unless the message is intended for packaging within the `message/http` media type. (RFC 9112, 5.2)\n\nBrowsers take the fold for a space; Node's and Go's parsers refuse the answer, or read something else.",
    ),
    (
        "con.header-twice",
        "> … a sender MUST NOT generate multiple field lines with the same name in a message … unless that field's definition allows multiple field line values to be recombined as a comma-separated list. (RFC 9110, 5.3)\n\nIt happens where an application and a proxy in front of it both set a header. With two `Access-Control-Allow-Origin` no page of another origin can read the stream.",
    ),
    (
        "con.incremental",
        "RFC 10036: `Incremental: ?1` asks each proxy on the way to pass on the parts of a message as they come, or to refuse it with an error. It is young, and few proxies know it yet.",
    ),
    (
        "con.",
        "The head of the answer decides whether clients, proxies and caches treat the stream as one.",
    ),
    (
        "fmt.utf8",
        "> Streams must be decoded using the UTF-8 decode algorithm. (HTML, 9.2.6)\n\nBytes that are not UTF-8 become U+FFFD: text is lost.",
    ),
    (
        "fmt.no-data",
        "> If the data buffer is an empty string, set the data buffer and the event type buffer to the empty string and return. (HTML, 9.2.6)\n\nA block without `data` is no event.",
    ),
    (
        "fmt.end",
        "> Once the end of the file is reached, any pending data must be discarded. (HTML, 9.2.6)",
    ),
    (
        "fmt.retry",
        "> If the field value consists of only ASCII digits, then interpret the field value as an integer in base ten. Otherwise, ignore the field. (HTML, 9.2.6)",
    ),
    (
        "fmt.id-nul",
        "> If the field value does not contain U+0000 NULL, then set the last event ID buffer to the field value. Otherwise, ignore the field. (HTML, 9.2.6)",
    ),
    (
        "fmt.id",
        "A client sends the last event ID in a header when it comes back: what does not fit a header, or is not unique, does not resume.",
    ),
    (
        "fmt.silence",
        "> Legacy proxy servers are known to, in certain cases, drop HTTP connections after a short timeout. To protect against such proxy servers, authors can include a comment line … every 15 seconds or so. (HTML, 9.2.7)",
    ),
    (
        "fmt.",
        "Clients read fields by their exact names, and drop without a word what they do not know.",
    ),
    (
        "tim.compressed",
        "An encoder keeps what it is given until a block is full, unless it is told to flush after each event. Some flush, but one event late.",
    ),
    (
        "tim.",
        "> Authors are also cautioned that HTTP chunking can have unexpected negative effects on the reliability of this protocol, in particular if the chunking is done by a different layer unaware of the timing requirements. (HTML, 9.2.7)\n\nA buffer between the application and the client turns live events into bursts.",
    ),
    (
        "res.busy",
        "With one reader and one publisher there is no race. With many, an id that is given before the event is visible, or a subscription that begins after a replay has ended, loses or repeats events.",
    ),
    (
        "res.hole",
        "An event that nobody gets is seen by comparing with no other reader. What was published and accepted must come to a reader that is there all the time. Without a way to publish, ids that count by one and leave one out are a sign: a fault only if the server has an event for the hole when it is asked again, for ids may count other channels too; otherwise a warning.",
    ),
    (
        "res.unknown",
        "A server that has lost its log, or that is another one of several, gets ids that it has never given. A client that is then sent only what is new, without a word, believes that it has missed nothing.",
    ),
    (
        "res.other-user",
        "An id is only a position. What a user may read is to be decided anew on each request.",
    ),
    (
        "res.control-id",
        "RFC 9110, 5.5: a recipient of CR, LF or NUL within a field value must reject the message or replace each of them. What passes them on splits headers or logs.",
    ),
    (
        "res.expired",
        "A client that resumes from an id that the server has forgotten believes that it has missed nothing, unless it is told. It is a fault where events are left out that were sent before; where a log may simply begin later, it is not judged.",
    ),
    (
        "res.",
        "> If the EventSource object's last event ID string is not the empty string, then set (`Last-Event-ID`, lastEventIDValue) in request's header list. (HTML, 9.2.3)\n\nThe server goes on after that event: everything after it, nothing twice, in the same order.",
    ),
    (
        "inj.",
        "A line end in a field begins a line of its own: whoever may publish a text can then end the event and write another one, with any type and id, to all readers. CR alone is a line end, too. It is what CVE-2026-33128, CVE-2026-29085 and CVE-2026-22735 are about.",
    ),
    (
        "rob.slow-reader",
        "A buffer without a bound for a client that does not read lets one client use up the server's memory (CVE-2026-25224).",
    ),
    (
        "rob.framing",
        "RFC 9112, 6.1: a message with `Transfer-Encoding` and `Content-Length` ought to be handled as an error. Two parsers that disagree on it can be made to see different requests.",
    ),
    (
        "rob.h2",
        "A client may take back requests as fast as it makes them: what they cost must end with them (CVE-2023-44487).",
    ),
    (
        "rob.terminate",
        "A stream that ends in the middle of an event loses it; one that ends at a blank line loses nothing.",
    ),
    (
        "rob.",
        "Streams stay open for hours. What one connection costs, and leaves behind, is multiplied by thousands.",
    ),
    ("adv.", "Good practice that no standard asks for."),
    ("bas.", "Good practice that no standard asks for."),
    ("sec.", "What attackers could use to harm others."),
    ("h2.", "The same stream, over one of many streams of a connection."),
    ("", "See the reference."),
];

/// How to see it, and how to mend it: by the beginnings of ids, the first that fits.
const MENDING: [(&str, &str, &str); 14] = [
    ("con.method", "curl -is --max-time 2 -X BREW \"$URL\" | head -c 600", REQUESTS),
    ("con.head", "curl -is --max-time 2 -I \"$URL\"", REQUESTS),
    ("con.options", "curl -is --max-time 2 -X OPTIONS \"$URL\"", REQUESTS),
    (
        "con.cors",
        "curl -isN --max-time 2 -H 'Origin: https://evil.example' \"$URL\" | head -c 600",
        REQUESTS,
    ),
    (
        "con.preflight",
        "curl -is --max-time 2 -X OPTIONS -H 'Origin: https://evil.example' -H 'Access-Control-Request-Headers: last-event-id' -H 'Access-Control-Request-Method: GET' \"$URL\"",
        REQUESTS,
    ),
    (
        "con.rebinding",
        "curl -isN --max-time 2 -H 'Host: evil.example' \"$URL\" | head -c 600",
        REQUESTS,
    ),
    (
        "con.compressed",
        "curl -isN --max-time 2 -H 'Accept-Encoding: gzip' --compressed \"$URL\" | head -c 600",
        FLUSHING,
    ),
    ("con.grip", "curl -isN --max-time 2 \"$URL\" | head -c 600", PROXIES),
    ("con.", "curl -isN --max-time 2 \"$URL\" | head -c 600", HEAD),
    (
        "tim.",
        "curl -sN --max-time 3 \"$URL\" | while read -r line; do echo \"$(date +%T) $line\"; done",
        FLUSHING,
    ),
    ("res.", "curl -isN --max-time 2 -H 'Last-Event-ID: 1' \"$URL\" | head -c 600", RESUMING),
    (
        "inj.",
        "curl -sN --max-time 3 \"$URL\" | od -c | head -40   # meanwhile publish a text with a line end in it",
        WRITING,
    ),
    ("rob.", "curl -isN --max-time 2 --limit-rate 1 \"$URL\" | head -c 300", BOUNDS),
    ("", "curl -sN --max-time 3 \"$URL\" | od -c | head -40", WRITING),
];

const HEAD: &str = include_str!("pages/head.md");
const PROXIES: &str = include_str!("pages/proxies.md");
const REQUESTS: &str = include_str!("pages/requests.md");
const FLUSHING: &str = include_str!("pages/flushing.md");
const WRITING: &str = include_str!("pages/writing.md");
const RESUMING: &str = include_str!("pages/resuming.md");
const BOUNDS: &str = include_str!("pages/bounds.md");

/// A page of the documentation, in Markdown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The file's name, such as `con.status.md`.
    pub file: String,
    /// The whole text.
    pub text: String,
    /// The command that shows what the check sees; `$URL` stands for the stream's URL.
    pub command: &'static str,
}

/// The name of a check's page, without its end: the id, or what ids of one field begin with.
fn name(id: &str) -> &str {
    let payload = id.strip_prefix("inj.").and_then(|rest| rest.split_once('-'));
    match payload {
        Some((field, payload)) if PAYLOADS.iter().any(|known| known.name == payload) => {
            &id[.."inj.".len() + field.len()]
        }
        _ => id,
    }
}

/// Where a check's page is.
pub(super) fn link(id: &str) -> String {
    format!("{FOLDER}/{}.md", name(id))
}

/// All pages: each check has one.
///
/// # Panics
///
/// Never: the tables end with what fits every id.
pub fn pages() -> Vec<Page> {
    let mut pages: Vec<Page> = Vec::new();
    for check in checks() {
        let file = format!("{}.md", name(check.id()));
        if pages.last().is_none_or(|page| page.file != file) {
            pages.push(page(&check, file));
        }
    }
    pages
}

fn page(check: &Check, file: String) -> Page {
    let id = name(check.id());
    let fits = |start: &str| check.id().starts_with(start);
    let (_, why) = WHY.iter().find(|(start, _)| fits(start)).expect("the last fits all");
    let mending = MENDING.iter().find(|(start, ..)| fits(start));
    let (_, command, mending) = mending.expect("the last fits all");
    let title = match check.run {
        Run::Publish(field, _) => format!("What is published in {field} changes nothing else"),
        _ => check.title().to_owned(),
    };
    let aggressive = if check.is_aggressive() { ", with `--aggressive` only" } else { "" };
    let mut text = format!(
        "# `{id}`\n\n**{title}.**\n\n| | |\n|---|---|\n| a violation is | {} |\n| needs | {}{aggressive} |\n| \
         written in | {} |\n\n## Why\n\n{why}\n\n",
        severity(check),
        check.needs().word(),
        reference(check.reference()),
    );
    if matches!(check.run, Run::Publish(..)) {
        let payloads = PAYLOADS.iter().map(|payload| {
            format!("| `{id}-{}` | {} |\n", payload.name, payload.about.replace('|', "\\|"))
        });
        let _ =
            write!(text, "| check | publishes |\n|---|---|\n{}\n", payloads.collect::<String>());
    }
    let _ = write!(
        text,
        "## See it\n\nWith the URL of a stream in `$URL`:\n\n<!-- not run: `cargo test -p ssekit-fuzz --test pages` runs it \
         -->\n```sh\n{command}\n```\n\n`sse-fuzz probe \"$URL\" {id}` judges what comes{}. Its report has the exact request.\n\n## \
         Mend it\n\n{}\n\n[All checks](../probe.md#checks)\n",
        if id.contains('.') && matches!(check.run, Run::Publish(..)) {
            ", for all texts"
        } else {
            ""
        },
        mending.trim()
    );
    Page { file, text, command }
}

fn severity(check: &Check) -> &'static str {
    match check.severity().word() {
        "error" => "an error: it breaks the standard, or an `EventSource`",
        "security" => "a fault of security: attackers can use it to harm others",
        "warning" => "a warning: some clients, proxies or servers will stumble",
        _ => "a note: worth knowing",
    }
}

/// A reference as a link to what it names.
fn reference(text: &str) -> String {
    if text.starts_with("9.2") {
        let page = "https://html.spec.whatwg.org/multipage/server-sent-events.html";
        return format!("[WHATWG HTML, {text}]({page})");
    }
    if let Some(number) = text.strip_prefix("RFC ").and_then(|rest| rest.split(',').next()) {
        return format!("[{text}](https://www.rfc-editor.org/rfc/rfc{number})");
    }
    if text.starts_with("CVE-") && !text.contains(' ') {
        return format!("[{text}](https://www.cve.org/CVERecord?id={text})");
    }
    if text == "advice" {
        "no standard: advice of this project".to_owned()
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::{name, pages};
    use crate::probe::checks::checks;

    #[test]
    fn each_check_has_its_page_and_no_two_have_one_file() {
        let pages = pages();
        for check in checks() {
            let file = format!("{}.md", name(check.id()));
            let found = pages.iter().filter(|page| page.file == file).count();
            assert_eq!(found, 1, "{}", check.id());
        }
        for page in &pages {
            assert!(!page.text.contains("See the reference."), "{}: say why", page.file);
            // An origin's orders to its proxy are mended in these two, not by a framework's
            // setting.
            let places: &[&str] = if page.file == "con.grip.md" {
                &["The origin", "The proxy"]
            } else {
                &["Express", "FastAPI", "Django", "Spring", "Go"]
            };
            for framework in places {
                assert!(page.text.contains(framework), "{}: {framework}", page.file);
            }
        }
    }

    #[test]
    fn checks_that_differ_in_the_text_only_share_a_page() {
        assert_eq!(name("inj.data-lf"), "inj.data");
        assert_eq!(name("inj.data-comment-line"), "inj.data");
        assert_eq!(name("inj.user-agent"), "inj.user-agent");
        assert_eq!(name("con.cache-control"), "con.cache-control");
    }
}
