//! `con`: the request, and the head of its answer.

use std::time::Duration;

use super::http2;
use crate::probe::check::Needs::Http2;
use crate::probe::check::Severity::{Error, Note, Security, Warning};
use crate::probe::check::{Basis, Check, Run, ask};
use crate::probe::context::{Probe, after};
use crate::probe::finding::{Finding, Judged};
use crate::probe::settings::Profile;
use crate::wire::tape::Tape;

mod cors;
mod head;

/// What the head of the witness's stream tells.
macro_rules! head {
    ($function:path) => {
        Run::Look(|probe| head::judge(probe, $function))
    };
}

pub(super) const CHECKS: &[Check] = &[
    Check::new("con.status", Error, "9.2.3", "A GET is answered with 200", head!(head::status))
        .on(Basis::Answer),
    Check::new(
        "con.type",
        Error,
        "9.2.3",
        "The media type is text/event-stream",
        head!(head::media_type),
    )
    .on(Basis::Answer),
    Check::new(
        "con.charset",
        Warning,
        "9.2.7 (IANA)",
        "The charset is absent or utf-8",
        head!(head::charset),
    ),
    Check::new(
        "con.type-twice",
        Warning,
        "RFC 9110, 8.3",
        "There is one Content-Type",
        head!(head::type_twice),
    ),
    Check::new(
        "con.header-twice",
        Warning,
        "RFC 9110, 5.3",
        "No header that has one value is there twice",
        ask!(head::single),
    ),
    Check::new(
        "con.folded",
        Error,
        "RFC 9112, 5.2",
        "No header goes on in a second line",
        head!(head::folded),
    ),
    Check::new(
        "con.no-accept",
        Warning,
        "RFC 9110, 12.5.1",
        "Without Accept there is a stream or 406",
        ask!(no_accept),
    ),
    Check::new(
        "con.accept-json",
        Note,
        "RFC 9110, 12.5.1",
        "A client that accepts only JSON gets no stream",
        ask!(accept_json),
    ),
    Check::new(
        "con.cache-control",
        Warning,
        "RFC 9111, 5.2.2",
        "Caches are told to keep nothing",
        head!(head::cache_control),
    ),
    Check::new(
        "con.length",
        Error,
        "RFC 9112, 6",
        "An open stream has no Content-Length",
        head!(head::length),
    ),
    Check::new(
        "con.conditional",
        Warning,
        "9.2.3",
        "If-None-Match and Range do not change the answer",
        ask!(conditional),
    ),
    Check::new(
        "con.live",
        Error,
        "RFC 9111, 4",
        "Two GETs are two live streams, none from a cache",
        ask!(live),
    ),
    Check::new(
        "con.compressed",
        Error,
        "9.2.7",
        "With gzip on offer, events come and can be read",
        ask!(compressed),
    ),
    Check::new("con.vary", Note, "RFC 9110, 12.5.5", "What is negotiated is in Vary", ask!(vary)),
    Check::new(
        "con.buffering",
        Note,
        "advice",
        "X-Accel-Buffering: no keeps nginx from holding events",
        head!(head::buffering),
    ),
    Check::new(
        "con.no-transform",
        Note,
        "RFC 9111, 5.2.2.6",
        "Cache-Control: no-transform keeps proxies from compressing",
        head!(head::no_transform),
    ),
    Check::new(
        "con.incremental",
        Note,
        "RFC 10036, 3",
        "Incremental: ?1 asks proxies to pass on each part as it comes",
        head!(head::incremental),
    ),
    Check::new(
        "con.h2-headers",
        Error,
        "RFC 9113, 8.2.2",
        "No Connection or Transfer-Encoding on HTTP/2",
        ask!(http2::headers),
    )
    .with(Http2),
    Check::new(
        "con.head",
        Warning,
        "RFC 9110, 9.3.2",
        "HEAD has the same headers, and no body",
        ask!(head_method),
    ),
    Check::new("con.options", Note, "RFC 9110, 9.3.7", "The answer to OPTIONS ends", ask!(options)),
    Check::new(
        "con.method",
        Warning,
        "RFC 9110, 15.5.6",
        "An unknown method is refused, 405 with Allow",
        ask!(unknown_method),
    ),
    Check::new(
        "con.cors",
        Warning,
        "Fetch, 3.3",
        "Not every site may read with a visitor's credentials",
        ask!(cors::open_to_all),
    ),
    Check::new(
        "con.preflight",
        Warning,
        "Fetch, 3.3.6",
        "A preflight allows Last-Event-ID where an id needs it",
        ask!(cors::preflight),
    ),
    Check::new(
        "con.rebinding",
        Security,
        "MCP 2025-11-25",
        "Foreign Host and Origin are refused on loopback",
        ask!(cors::rebinding),
    ),
    Check::new(
        "con.http10",
        Error,
        "RFC 9112, 7",
        "An answer to HTTP/1.0 is not chunked",
        ask!(http10),
    ),
    Check::new(
        "con.h2",
        Warning,
        "RFC 9113",
        "HTTP/2 has the same events as HTTP/1.1",
        ask!(http2::events),
    )
    .with(Http2),
    Check::new(
        "con.redirect",
        Error,
        "9.2.3",
        "Redirects have a Location, end, and keep https",
        head!(head::redirect),
    )
    .on(Basis::Answer),
    Check::new("con.errors", Note, "RFC 9110, 15.5", "The answer to an error ends", ask!(errors)),
    Check::new(
        "con.credentials",
        Warning,
        "RFC 9110, 15.5.2",
        "Without the credentials there is no stream",
        ask!(credentials),
    ),
    Check::new(
        "con.token-in-url",
        Note,
        "RFC 9110, 17.9",
        "There is no secret in the URL",
        head!(head::token_in_url),
    ),
    Check::new(
        "con.grip",
        Security,
        "GRIP, Grip-Sig",
        "No header for a GRIP proxy reaches the client",
        head!(head::grip),
    ),
];

/// How long something may take that has no reason to take time.
const PROMPT: Duration = Duration::from_secs(3);

async fn no_accept(probe: &Probe) -> Judged {
    let connection = probe.head(&probe.ask().without("Accept")).await?;
    let head = probe.head_of(&connection)?;
    let fault = match head.status {
        200 if head.is_event_stream() => None,
        406 => None,
        200 => Some(format!("without Accept the answer is {}", head.essence())),
        status => Some(format!("without Accept the status is {status}")),
    };
    Ok(probe.show(Finding::of(fault), &connection.tape))
}

async fn accept_json(probe: &Probe) -> Judged {
    let connection = probe.head(&probe.ask().with("Accept", "application/json")).await?;
    let head = probe.head_of(&connection)?;
    let fault = match head.status {
        200 if head.is_event_stream() => Some("it was sent a stream".to_owned()),
        500.. => Some(format!("the status is {}", head.status)),
        _ => None,
    };
    Ok(probe.show(Finding::of(fault), &connection.tape))
}

async fn conditional(probe: &Probe) -> Judged {
    let ask = probe.ask().with("If-None-Match", "*").with("Range", "bytes=0-9");
    let connection = probe.head(&ask).await?;
    let head = probe.head_of(&connection)?;
    let fault = (!head.is_event_stream())
        .then(|| format!("with If-None-Match and Range the status is {}", head.status));
    Ok(probe.show(Finding::of(fault), &connection.tape))
}

async fn live(probe: &Probe) -> Judged {
    let mut second = probe.head(&probe.ask()).await?;
    let head = probe.head_of(&second)?;
    let from_cache = head.header("age").map(|age| format!("it has been {age} s in a cache (Age)"));
    let hit = head.header("x-cache").filter(|value| value.to_ascii_lowercase().contains("hit"));
    let fault = from_cache.or(hit.map(|value| format!("it comes from a cache: {value}")));
    if fault.is_some() || !head.is_event_stream() {
        let fault = fault.or(Some("the second GET got no stream".to_owned()));
        return Ok(probe.show(Finding::of(fault), &second.tape));
    }
    let seen = probe.witness.tape().events.len();
    let deadline = after(probe.settings.wait);
    if !probe.witness.until(deadline, |tape| tape.events.len() > seen).await {
        let text = "both streams are open, but too quiet to see whether both are live";
        return Ok(probe.show(Finding::inconclusive(text), &second.tape));
    }
    let is_live = second.until(after(PROMPT), |tape| !tape.events.is_empty()).await;
    let fault = (!is_live).then(|| "the first stream goes on, the second does not".to_owned());
    Ok(probe.show(Finding::of(fault).of_time(), &second.tape))
}

async fn compressed(probe: &Probe) -> Judged {
    let mut connection = probe.head(&probe.ask().with("Accept-Encoding", "gzip")).await?;
    let head = probe.head_of(&connection)?;
    if !head.is_event_stream() {
        let fault = format!("with gzip on offer the status is {}", head.status);
        return Ok(probe.show(Finding::fault(fault), &connection.tape));
    }
    let encoding = head.header("content-encoding").unwrap_or_default().to_ascii_lowercase();
    match encoding.as_str() {
        "" | "identity" => return Ok(Finding::pass_with("it does not compress")),
        "gzip" => {}
        other => {
            let fault = format!("it compresses with {other}, which was not on offer");
            return Ok(probe.show(Finding::fault(fault), &connection.tape));
        }
    }
    let seen = probe.witness.tape().events.len();
    let deadline = after(probe.settings.wait);
    let is_lively = probe.witness.until(deadline, |tape| tape.events.len() > seen + 2).await;
    let reads = |tape: &Tape| !matches!(tape.unzipped(), Ok(seen) if seen.events.is_empty());
    connection.until(after(PROMPT), reads).await;
    let finding = match connection.tape.unzipped() {
        Err(error) => Finding::fault(format!("what is said to be gzip is not: {error}")),
        Ok(seen) if !seen.events.is_empty() => Finding::pass(),
        Ok(_) if is_lively => Finding::fault("compressed, no event comes").of_time(),
        Ok(_) => Finding::inconclusive("the stream is too quiet to see whether events come"),
    };
    Ok(probe.show(finding, &connection.tape))
}

async fn vary(probe: &Probe) -> Judged {
    let connection = probe.head(&probe.ask().with("Accept-Encoding", "gzip")).await?;
    let head = probe.head_of(&connection)?;
    let is_encoded = head.header("content-encoding").is_some();
    let is_said = head.lists("vary", "accept-encoding") || head.lists("vary", "*");
    let fault = (is_encoded && !is_said)
        .then(|| "compression depends on Accept-Encoding, which is not in Vary".to_owned());
    Ok(probe.show(Finding::of(fault), &connection.tape))
}

async fn head_method(probe: &Probe) -> Judged {
    let mut connection = probe.head(&probe.ask().method("HEAD")).await?;
    let surplus = connection.surplus(after(Duration::from_millis(500))).await;
    let head = probe.head_of(&connection)?;
    let fault = if surplus > 0 {
        Some(format!("HEAD has a body, {surplus} bytes of it at least"))
    } else if !head.is_event_stream() {
        Some(format!("HEAD is answered with {} {:?}", head.status, head.essence()))
    } else {
        None
    };
    Ok(probe.show(Finding::of(fault), &connection.tape))
}

async fn options(probe: &Probe) -> Judged {
    let mut connection = probe.head(&probe.ask().method("OPTIONS")).await?;
    let has_ended = connection.read_message(after(PROMPT)).await;
    let status = probe.head_of(&connection)?.status;
    let fault = if !has_ended {
        Some("the answer to OPTIONS does not end".to_owned())
    } else if status >= 500 && status != 501 {
        Some(format!("OPTIONS is answered with {status}"))
    } else {
        None
    };
    Ok(probe.show(Finding::of(fault).of_time_if(!has_ended), &connection.tape))
}

async fn unknown_method(probe: &Probe) -> Judged {
    let connection = probe.head(&probe.ask().method("PROBE")).await?;
    let head = probe.head_of(&connection)?;
    let fault = match head.status {
        405 if head.header("allow").is_none() => Some("405 without Allow".to_owned()),
        400..=499 | 501 => None,
        status => Some(format!("an unknown method is answered with {status}")),
    };
    Ok(probe.show(Finding::of(fault), &connection.tape))
}

async fn http10(probe: &Probe) -> Judged {
    let connection = probe.head(&probe.ask().http10()).await?;
    let head = probe.head_of(&connection)?;
    let finding = if head.header("transfer-encoding").is_some() {
        Finding::fault("an answer to HTTP/1.0 is chunked")
    } else if head.is_event_stream() {
        Finding::pass()
    } else {
        Finding::info(format!("HTTP/1.0 is answered with {}", head.status))
    };
    Ok(probe.show(finding, &connection.tape))
}

async fn errors(probe: &Probe) -> Judged {
    let path = format!("/{}/", probe.word());
    let mut connection = probe.head(&probe.ask().path(&path)).await?;
    let has_ended = connection.read_message(after(PROMPT)).await;
    let head = probe.head_of(&connection)?;
    let is_busy = matches!(head.status, 429 | 503);
    let finding = if head.is_event_stream() {
        Finding::pass_with("there is a stream at every path")
    } else if !has_ended {
        Finding::fault(format!("the answer with {} does not end", head.status)).of_time()
    } else if is_busy && head.header("retry-after").is_none() {
        Finding::fault(format!("{} without Retry-After", head.status))
    } else {
        Finding::pass()
    };
    Ok(probe.show(finding, &connection.tape))
}

async fn credentials(probe: &Probe) -> Judged {
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
    let head = probe.head_of(&connection)?;
    let is_open = head.is_event_stream() && !probe.is(Profile::Django);
    let fault = is_open.then(|| format!("without {} there is a stream, too", given.join(", ")));
    Ok(probe.show(Finding::of(fault), &connection.tape))
}
