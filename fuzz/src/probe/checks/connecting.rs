//! `con`: one request each, and what its answer's head says.

use std::time::Duration;

use super::Judged;
use crate::probe::catalogue::Check;
use crate::probe::context::{Probe, after};
use crate::probe::finding::Finding;
use crate::probe::settings::Profile;
use crate::probe::tape::{End, Head, Tape};
use crate::probe::wire::Connection;

mod cors;
mod head;

/// How long something may take that has no reason to take time.
const PROMPT: Duration = Duration::from_secs(3);

pub(super) async fn judge(probe: &Probe, check: &Check) -> Judged {
    match check.id() {
        "con.status" | "con.type" | "con.charset" | "con.type-twice" | "con.cache-control"
        | "con.length" | "con.buffering" | "con.redirect" | "con.token-in-url" => {
            Ok(head::judge(probe, check))
        }
        "con.vary" => vary(probe, check).await,
        "con.no-accept" => no_accept(probe, check).await,
        "con.accept-json" => accept_json(probe, check).await,
        "con.conditional" => conditional(probe, check).await,
        "con.live" => live(probe, check).await,
        "con.compressed" => compressed(probe, check).await,
        "con.head" => head_method(probe, check).await,
        "con.options" => options(probe, check).await,
        "con.method" => unknown_method(probe, check).await,
        "con.cors" => cors::open_to_all(probe, check).await,
        "con.preflight" => cors::preflight(probe, check).await,
        "con.rebinding" => cors::rebinding(probe, check).await,
        "con.http10" => http10(probe, check).await,
        "con.errors" => errors(probe, check).await,
        "con.credentials" => credentials(probe, check).await,
        id => Ok(Finding::skip(format!("{id} is not done yet"))),
    }
}

/// Why there is nothing to probe.
pub(in crate::probe) fn no_stream(tape: &Tape) -> String {
    match &tape.head {
        Some(head) if head.status != 200 => format!("the answer's status is {}", head.status),
        Some(head) => format!("the answer's media type is {:?}", head.essence()),
        None => "there was no answer".to_owned(),
    }
}

/// The head, or the finding that there was none.
pub(super) fn headed<'a>(
    probe: &Probe,
    check: &Check,
    connection: &'a Connection,
) -> Result<&'a Head, Finding> {
    connection.tape.head.as_ref().ok_or_else(|| {
        let how = match &connection.tape.end {
            Some((_, End::Malformed(what))) => format!("the answer is not HTTP: {what}"),
            Some(_) => "the connection was closed unanswered".to_owned(),
            None => "there was no answer within 4 s".to_owned(),
        };
        probe.show(Finding::fault(check, how), &connection.tape)
    })
}

async fn no_accept(probe: &Probe, check: &Check) -> Judged {
    let connection = probe.head(&probe.ask().without("Accept")).await?;
    let head = headed(probe, check, &connection)?;
    let fault = match head.status {
        200 if head.is_event_stream() => None,
        406 => None,
        200 => Some(format!("without Accept the answer is {}", head.essence())),
        status => Some(format!("without Accept the status is {status}")),
    };
    Ok(probe.show(Finding::of(check, fault), &connection.tape))
}

async fn accept_json(probe: &Probe, check: &Check) -> Judged {
    let connection = probe.head(&probe.ask().with("Accept", "application/json")).await?;
    let head = headed(probe, check, &connection)?;
    let fault = match head.status {
        200 if head.is_event_stream() => Some("it was sent a stream".to_owned()),
        500.. => Some(format!("the status is {}", head.status)),
        _ => None,
    };
    Ok(probe.show(Finding::of(check, fault), &connection.tape))
}

async fn conditional(probe: &Probe, check: &Check) -> Judged {
    let ask = probe.ask().with("If-None-Match", "*").with("Range", "bytes=0-9");
    let connection = probe.head(&ask).await?;
    let head = headed(probe, check, &connection)?;
    let fault = (!head.is_event_stream())
        .then(|| format!("with If-None-Match and Range the status is {}", head.status));
    Ok(probe.show(Finding::of(check, fault), &connection.tape))
}

async fn live(probe: &Probe, check: &Check) -> Judged {
    let mut second = probe.head(&probe.ask()).await?;
    let head = headed(probe, check, &second)?;
    let from_cache = head.header("age").map(|age| format!("it has been {age} s in a cache (Age)"));
    let hit = head.header("x-cache").filter(|value| value.to_ascii_lowercase().contains("hit"));
    let fault = from_cache.or(hit.map(|value| format!("it comes from a cache: {value}")));
    if fault.is_some() || !head.is_event_stream() {
        let fault = fault.or(Some("the second GET got no stream".to_owned()));
        return Ok(probe.show(Finding::of(check, fault), &second.tape));
    }
    let seen = probe.witness.tape().events.len();
    let deadline = after(probe.settings.wait);
    if !probe.witness.until(deadline, |tape| tape.events.len() > seen).await {
        let text = "both streams are open, but too quiet to see whether both are live";
        return Ok(probe.show(Finding::inconclusive(text), &second.tape));
    }
    let is_live = second.until(after(PROMPT), |tape| !tape.events.is_empty()).await;
    let fault = (!is_live).then(|| "the first stream goes on, the second does not".to_owned());
    Ok(probe.show(Finding::of(check, fault), &second.tape))
}

async fn compressed(probe: &Probe, check: &Check) -> Judged {
    let mut connection = probe.head(&probe.ask().with("Accept-Encoding", "gzip")).await?;
    let head = headed(probe, check, &connection)?;
    if !head.is_event_stream() {
        let fault = format!("with gzip on offer the status is {}", head.status);
        return Ok(probe.show(Finding::fault(check, fault), &connection.tape));
    }
    let encoding = head.header("content-encoding").unwrap_or_default().to_ascii_lowercase();
    match encoding.as_str() {
        "" | "identity" => return Ok(Finding::pass_with("it does not compress")),
        "gzip" => {}
        other => {
            let fault = format!("it compresses with {other}, which was not on offer");
            return Ok(probe.show(Finding::fault(check, fault), &connection.tape));
        }
    }
    let seen = probe.witness.tape().events.len();
    let deadline = after(probe.settings.wait);
    let is_lively = probe.witness.until(deadline, |tape| tape.events.len() > seen + 2).await;
    let reads =
        |tape: &Tape| !matches!(super::tim::unzipped(tape), Ok(seen) if seen.events.is_empty());
    connection.until(after(PROMPT), reads).await;
    let finding = match super::tim::unzipped(&connection.tape) {
        Err(error) => Finding::fault(check, format!("what is said to be gzip is not: {error}")),
        Ok(seen) if !seen.events.is_empty() => Finding::pass(),
        Ok(_) if is_lively => Finding::fault(check, "compressed, no event comes"),
        Ok(_) => Finding::inconclusive("the stream is too quiet to see whether events come"),
    };
    Ok(probe.show(finding, &connection.tape))
}

async fn vary(probe: &Probe, check: &Check) -> Judged {
    let connection = probe.head(&probe.ask().with("Accept-Encoding", "gzip")).await?;
    let head = headed(probe, check, &connection)?;
    let is_encoded = head.header("content-encoding").is_some();
    let is_said = head.lists("vary", "accept-encoding") || head.lists("vary", "*");
    let fault = (is_encoded && !is_said)
        .then(|| "compression depends on Accept-Encoding, which is not in Vary".to_owned());
    Ok(probe.show(Finding::of(check, fault), &connection.tape))
}

async fn head_method(probe: &Probe, check: &Check) -> Judged {
    let mut connection = probe.head(&probe.ask().method("HEAD")).await?;
    let surplus = connection.surplus(after(Duration::from_millis(500))).await;
    let head = headed(probe, check, &connection)?;
    let fault = if surplus > 0 {
        Some(format!("HEAD has a body, {surplus} bytes of it at least"))
    } else if !head.is_event_stream() {
        Some(format!("HEAD is answered with {} {:?}", head.status, head.essence()))
    } else {
        None
    };
    Ok(probe.show(Finding::of(check, fault), &connection.tape))
}

async fn options(probe: &Probe, check: &Check) -> Judged {
    let mut connection = probe.head(&probe.ask().method("OPTIONS")).await?;
    let has_ended = connection.read_message(after(PROMPT)).await;
    let status = headed(probe, check, &connection)?.status;
    let fault = if !has_ended {
        Some("the answer to OPTIONS does not end".to_owned())
    } else if status >= 500 && status != 501 {
        Some(format!("OPTIONS is answered with {status}"))
    } else {
        None
    };
    Ok(probe.show(Finding::of(check, fault), &connection.tape))
}

async fn unknown_method(probe: &Probe, check: &Check) -> Judged {
    let connection = probe.head(&probe.ask().method("PROBE")).await?;
    let head = headed(probe, check, &connection)?;
    let fault = match head.status {
        405 if head.header("allow").is_none() => Some("405 without Allow".to_owned()),
        400..=499 | 501 => None,
        status => Some(format!("an unknown method is answered with {status}")),
    };
    Ok(probe.show(Finding::of(check, fault), &connection.tape))
}

async fn http10(probe: &Probe, check: &Check) -> Judged {
    let connection = probe.head(&probe.ask().http10()).await?;
    let head = headed(probe, check, &connection)?;
    let finding = if head.header("transfer-encoding").is_some() {
        Finding::fault(check, "an answer to HTTP/1.0 is chunked")
    } else if head.is_event_stream() {
        Finding::pass()
    } else {
        Finding::info(format!("HTTP/1.0 is answered with {}", head.status))
    };
    Ok(probe.show(finding, &connection.tape))
}

async fn errors(probe: &Probe, check: &Check) -> Judged {
    let path = format!("/{}/", probe.word());
    let mut connection = probe.head(&probe.ask().path(&path)).await?;
    let has_ended = connection.read_message(after(PROMPT)).await;
    let head = headed(probe, check, &connection)?;
    let is_busy = matches!(head.status, 429 | 503);
    let finding = if head.is_event_stream() {
        Finding::pass_with("there is a stream at every path")
    } else if !has_ended {
        Finding::fault(check, format!("the answer with {} does not end", head.status))
    } else if is_busy && head.header("retry-after").is_none() {
        Finding::fault(check, format!("{} without Retry-After", head.status))
    } else {
        Finding::pass()
    };
    Ok(probe.show(finding, &connection.tape))
}

async fn credentials(probe: &Probe, check: &Check) -> Judged {
    let is_secret = |name: &str| {
        matches!(name.to_ascii_lowercase().as_str(), "authorization" | "cookie" | "x-api-key")
    };
    let given = probe.settings.headers.iter().filter(|(name, _)| is_secret(name));
    let given: Vec<&str> = given.map(|(name, _)| name.as_str()).collect();
    if given.is_empty() {
        return Ok(Finding::skip("no credentials were given (--header)"));
    }
    let ask = given.iter().fold(probe.ask(), |ask, name| ask.without(name));
    let connection = probe.head(&ask).await?;
    let head = headed(probe, check, &connection)?;
    let is_open = head.is_event_stream() && !probe.is(Profile::Django);
    let fault = is_open.then(|| format!("without {} there is a stream, too", given.join(", ")));
    Ok(probe.show(Finding::of(check, fault), &connection.tape))
}
