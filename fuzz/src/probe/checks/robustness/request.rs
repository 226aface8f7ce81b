//! Requests as no client makes them.

use std::time::Duration;

use crate::probe::context::{Probe, after};
use crate::probe::finding::{Finding, Judged};
use crate::wire::tape::Tape;

/// How long a request may stay unfinished.
const SLOW: Duration = Duration::from_secs(35);

pub(super) async fn pipelined(probe: &Probe) -> Judged {
    let word = probe.word();
    let second = probe.ask().path(&format!("/{word}"));
    let bytes = [probe.ask().bytes(), second.bytes()].concat();
    let mut connection = probe.send(bytes).await?;
    connection.until(after(Duration::from_secs(2)), |tape| tape.end.is_some()).await;
    let text = connection.tape.text();
    let is_mixed = text.contains("HTTP/1.1 ") || text.contains(&word);
    let finding = if connection.tape.head.is_none() {
        Finding::pass_with("it refuses a pipelined request")
    } else {
        Finding::of(is_mixed.then(|| "the second answer stands in the stream".to_owned()))
    };
    Ok(probe.show(finding, &connection.tape))
}

pub(super) async fn body(probe: &Probe) -> Judged {
    let ask = probe.ask().method("GET").body("hello").with("Expect", "100-continue");
    let connection = probe.head(&ask).await?;
    let fault = match connection.tape.status() {
        Some(status) if status >= 500 => Some(format!("it is answered with {status}")),
        Some(_) => None,
        None => Some("it is not answered".to_owned()),
    };
    Ok(of_answer(probe, fault, &connection.tape))
}

pub(super) async fn headers(probe: &Probe) -> Judged {
    let mut ask = probe.ask();
    for number in 0..1000 {
        ask = ask.add(&format!("X-Probe-{number}"), "x".repeat(1000));
    }
    // A server that hangs up while it is written to has refused.
    let Ok(connection) = probe.head(&ask).await else { return Ok(Finding::pass()) };
    let fault = match connection.tape.status() {
        Some(200) => Some("a request with 1 MiB of headers is served".to_owned()),
        Some(status) if status >= 500 => Some(format!("it is answered with {status}")),
        None if connection.tape.end.is_none() => Some("it is not answered".to_owned()),
        _ => None,
    };
    Ok(of_answer(probe, fault, &connection.tape))
}

pub(super) async fn slowloris(probe: &Probe) -> Judged {
    let mut bytes = probe.ask().bytes();
    // All but the blank line.
    bytes.truncate(bytes.len() - 2);
    let mut connection = probe.send(bytes).await?;
    let has_ended = connection.read_message(after(SLOW)).await || connection.tape.head.is_some();
    let fault =
        (!has_ended).then(|| format!("a request stays unfinished for {} s", SLOW.as_secs()));
    Ok(probe.show(Finding::of(fault).of_time(), &connection.tape))
}

pub(super) async fn framing(probe: &Probe) -> Judged {
    let ask = probe.ask();
    let asks = [
        ("two lengths", ask.clone().add("Content-Length", "0").add("Content-Length", "5")),
        ("a length of `+0`", ask.clone().add("Content-Length", "+0")),
        ("a space before a colon", ask.clone().add("Content-Length ", "0")),
        ("an unknown transfer coding", ask.add("Transfer-Encoding", "xchunked")),
    ];
    for (name, ask) in asks {
        let connection = probe.head(&ask).await?;
        if connection.tape.status().is_some_and(|status| status < 400) {
            let text =
                format!("{name} in a request: served, where proxies may see another request");
            return Ok(probe.show(Finding::fault(text), &connection.tape));
        }
    }
    Ok(Finding::pass())
}

pub(super) async fn paths(probe: &Probe) -> Judged {
    let stream = probe.target.path();
    let plain = stream.split('?').next().unwrap_or_default().to_owned();
    let mut odd: Vec<String> = ["/%00", "/%ff%fe", "/..%2f..%2fetc/passwd", "//", "/%", "/%zz"]
        .iter()
        .map(ToString::to_string)
        .collect();
    for query in [
        "%",
        "%00=%00",
        "channel=%ff",
        "channel=",
        "channel=%00",
        "lastEventId=%zz",
        "&&=&",
        "a[]=1&a=2",
    ] {
        odd.push(format!("{plain}?{query}"));
    }
    odd.push(format!("{plain}?channel={}", "x".repeat(4000)));
    for path in odd {
        let connection = probe.head(&probe.ask().path(&path)).await?;
        let fault = match connection.tape.status() {
            Some(status) if status >= 500 => format!("{path:.60} is answered with {status}"),
            Some(_) => continue,
            None if connection.tape.end.is_some() => continue,
            None => format!("{path:.60} is not answered within 4 s"),
        };
        return Ok(of_answer(probe, Some(fault), &connection.tape));
    }
    Ok(Finding::pass())
}

pub(super) async fn upgrade(probe: &Probe) -> Judged {
    let ask = probe.ask().with("Connection", "Upgrade").with("Upgrade", "no-such-protocol/9");
    let connection = probe.head(&ask).await?;
    let fault = match connection.tape.status() {
        Some(101) => Some("it switches to a protocol that does not exist".to_owned()),
        Some(status) if status >= 500 => Some(format!("it is answered with {status}")),
        Some(_) => None,
        None => Some("it is not answered".to_owned()),
    };
    Ok(of_answer(probe, fault, &connection.tape))
}

/// What is wrong with an answer, or with there being none in time.
fn of_answer(probe: &Probe, fault: Option<String>, tape: &Tape) -> Finding {
    probe.show(Finding::of(fault).of_time_if(tape.is_unanswered()), tape)
}
