//! `http`: statuses and redirects. The first answer is mostly a stream with a short reconnection
//! time, so that a client that would come back does so while it is watched.

use std::time::Duration;

use crate::hostile::case::{ADVICE, Case, Check, Script};

const PROCESSING: &str = "9.2.3";
const M: &str = "message";

/// Redirects in a row that are still called a bound. Fetch has 20, curl 50.
const BOUND: usize = 100;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        is_final("http.204", "204 No Content", "The server wants no more requests."),
        is_final("http.400", "400 Bad Request", "Trying again will not mend it."),
        is_final("http.401", "401 Unauthorized", "Trying again will not mend it."),
        is_final("http.403", "403 Forbidden", "Trying again will not mend it."),
        is_final("http.404", "404 Not Found", "Trying again will not mend it."),
        is_final("http.410", "410 Gone", "Trying again will not mend it."),
        Case::new(
            "http.html-200",
            "200 and a page in HTML, as captive portals have it",
            PROCESSING,
            "Delivers nothing of it, and stops.",
        )
        .on(first())
        .on(html())
        .events(&[(M, "a", "1")])
        .reach(2)
        .check(Check::AtMost(2))
        .rests_on(&["con.type-wrong", "http.400"])
        .watch(5),
    ];
    for (word, status) in [
        ("408", "408 Request Timeout"),
        ("425", "425 Too Early"),
        ("429", "429 Too Many Requests"),
        ("500", "500 Internal Server Error"),
        ("503", "503 Service Unavailable"),
    ] {
        cases.push(
            Case::new(
                &format!("http.{word}"),
                &format!("{status}, once"),
                ADVICE,
                "Comes back with the last event ID, or stops; a browser stops.",
            )
            .on(first())
            .on(Script::status(status, ""))
            .on(Script::stream("id: 2\ndata: b\n\n").alive())
            .reach(2)
            .check(Check::LastEventId(3, Some(b"1".to_vec())))
            .check(Check::AtMost(3))
            .watch(5),
        );
    }
    cases.push(
        Case::new(
            "http.storm-5xx",
            "500, 502, 503, 504 and so on for ever",
            ADVICE,
            "Stops, or comes back less and less often, never in a tight loop.",
        )
        .on(first())
        .on(Script::status("500 Internal Server Error", ""))
        .on(Script::status("502 Bad Gateway", ""))
        .on(Script::status("503 Service Unavailable", ""))
        .on(Script::status("504 Gateway Timeout", ""))
        .reach(2)
        .check(Check::NoLoop)
        .watch(5),
    );
    for (id, title, lines) in [
        ("http.retry-after", "503 with Retry-After: 3", "Retry-After: 3\r\n"),
        (
            "http.retry-after-date",
            "503 with Retry-After as a date in four seconds",
            "Retry-After: {soon}\r\n",
        ),
    ] {
        cases.push(
            Case::new(
                id,
                title,
                "RFC 9110, 10.2.3",
                "Stays away as long as it is asked to, or stops.",
            )
            .on(first())
            .on(Script::status("503 Service Unavailable", lines))
            .on(Script::stream("id: 2\ndata: b\n\n").alive())
            .reach(2)
            .advise(Check::Pause(3, Duration::from_millis(2900)))
            .rests_on(&["time.empty-streams", "http.storm-5xx"])
            .watch(5),
        );
    }
    cases.push(
        Case::new(
            "http.retry-after-huge",
            "503 with Retry-After: 10^30",
            "RFC 9110, 10.2.3",
            "Stays away for as long as it thinks fit, and does not break.",
        )
        .on(first())
        .on(Script::status(
            "503 Service Unavailable",
            "Retry-After: 1000000000000000000000000000000\r\n",
        ))
        .reach(2)
        .advise(Check::NoLoop)
        .rests_on(&["http.storm-5xx"])
        .watch(4),
    );
    cases.push(
        Case::new(
            "http.garbage",
            "An answer that is not HTTP",
            PROCESSING,
            "Does not break, and does not hammer the server.",
        )
        .on(Script::head("220 mail.example ESMTP\r\n\r\n\0\u{1}data: a\n\n"))
        .events(&[])
        .advise(Check::NoLoop)
        .watch(4),
    );
    cases.extend(redirects());
    cases.extend(secrets());
    cases
}

fn redirects() -> Vec<Case> {
    let mut cases = Vec::new();
    for status in [
        "301 Moved Permanently",
        "302 Found",
        "303 See Other",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        cases.push(
            Case::new(
                &format!("http.redirect-{}", &status[..3]),
                &format!("{status} to the same origin"),
                PROCESSING,
                "Follows with GET and reads the stream.",
            )
            .on(Script::status(status, "Location: {next}\r\n"))
            .on(Script::stream("data: a\n\n").hold())
            .events(&[(M, "a", "")])
            .check(Check::ComesBack(2))
            .check(Check::Method(2, "GET"))
            .check(Check::Header(2, "Accept", "text/event-stream"))
            .rests_on(if status.starts_with("301") {
                &[]
            } else {
                &["http.redirect-301"]
            }),
        );
    }
    cases.push(
        Case::new(
            "http.redirect-resume",
            "A resumed request is redirected",
            "9.2.4",
            "Sends the last event ID to where it is redirected, too.",
        )
        .on(first())
        .on(Script::status("307 Temporary Redirect", "Location: {next}\r\n"))
        .on(Script::stream("id: 2\ndata: b\n\n").hold())
        .events(&[(M, "a", "1"), (M, "b", "2")])
        .check(Check::LastEventId(2, Some(b"1".to_vec())))
        .resumes(3, Some("1"))
        .rests_on(&["con.reconnect", "http.redirect-307"]),
    );
    for (id, title, target) in [
        ("http.redirect-loop", "A redirect to itself, for ever", "Location: {self}\r\n"),
        ("http.redirect-nowhere", "A redirect without Location", ""),
        ("http.redirect-nonsense", "A redirect to what is no URL", "Location: http://[::1\r\n"),
        (
            "http.redirect-scheme",
            "A redirect to a data: URL",
            "Location: data:text/event-stream,data:a%0A%0A\r\n",
        ),
    ] {
        cases.push(
            Case::new(id, title, ADVICE, "Gives up after a bounded number of requests.")
                .on(Script::status("302 Found", target))
                .events(&[])
                .check(Check::Bounded(BOUND))
                .watch(4),
        );
    }
    cases
}

/// Which secrets a client must not take to another origin. Authorization is Fetch's (4.4) and
/// RFC 9110's (15.4), a cookie belongs to its host (RFC 6265, 5.4); of other headers no standard
/// knows that they are secret.
fn secrets() -> Vec<Case> {
    let away = |id: &str, title: &str, name: &'static str| {
        let reference = match name {
            "X-Api-Key" => ADVICE,
            _ => "RFC 9110, 15.4; CVE-2022-1650",
        };
        Case::new(id, title, reference, "Follows, if it likes, without the secret; or stops.")
            .on(Script::status("307 Temporary Redirect", "Location: {other}\r\n"))
            .on(Script::stream("data: a\n\n").alive())
            .reach(1)
            .check(Check::Secret(name))
            .watch(3)
    };
    let downgrade = |word: &str, with: &str, name: &'static str, value, basic| {
        let title = format!("A redirect from https to http, with {with}");
        let case = away(&format!("http.redirect-downgrade{word}"), &title, name);
        case.secret(name, value).tls().rests_on(basic)
    };
    let authorization = &["http.redirect-credentials"];
    let mut userinfo = away(
        "http.redirect-userinfo",
        "A redirect to another origin, with a password in the URL",
        "Authorization",
    )
    .rests_on(authorization);
    userinfo.needs.userinfo = true;
    vec![
        away(
            "http.redirect-credentials",
            "A redirect to another origin, with Authorization",
            "Authorization",
        )
        .secret("Authorization", "Bearer hostile-secret"),
        away("http.redirect-cookie", "A redirect to another host, with a cookie", "Cookie")
            .secret("Cookie", "session=hostile-secret"),
        away(
            "http.redirect-header",
            "A redirect to another origin, with a key in a header",
            "X-Api-Key",
        )
        .secret("X-Api-Key", "hostile-secret"),
        userinfo,
        downgrade("", "Authorization", "Authorization", "Bearer hostile-secret", authorization),
        downgrade(
            "-cookie",
            "a cookie",
            "Cookie",
            "session=hostile-secret",
            &["http.redirect-cookie"],
        ),
        downgrade(
            "-header",
            "a key in a header",
            "X-Api-Key",
            "hostile-secret",
            &["http.redirect-header"],
        ),
    ]
}

fn first() -> Script {
    Script::stream("retry: 200\nid: 1\ndata: a\n\n")
}

fn html() -> Script {
    Script::head("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n")
        .send("<html>\n\ndata: b\n\n</html>")
}

fn is_final(id: &str, status: &str, correct: &str) -> Case {
    let title = format!("{status} to a client that resumes");
    Case::new(id, &title, PROCESSING, &format!("Stops. {correct}"))
        .on(first())
        .on(Script::status(status, ""))
        .events(&[(M, "a", "1")])
        .reach(2)
        .check(Check::AtMost(2))
        .rests_on(match id {
            "http.204" | "http.400" => &[],
            _ => &["http.400"],
        })
        .watch(5)
}
