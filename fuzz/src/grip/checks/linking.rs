//! Next links: where the proxy asks how a connection goes on, and who else could.

use std::sync::Arc;

use tokio::sync::OnceCell;

use crate::grip::answer::Answer;
use crate::grip::check::{Check, Needs, ask};
use crate::grip::origin::{Held, Origin, long_parts};
use crate::probe::Severity::{Error, Note, Security, Warning};
use crate::probe::ask::Ask;
use crate::probe::finding::{Finding, Judged};
use crate::wire::target::Target;

const LINK: &str = "GRIP, Grip-Link";
const MERGED: &str = "Pushpin, fastly/pushpin#47692";

/// What a link may say at least, and how long connections may go without a look at permissions.
const TIMEOUTS: std::ops::RangeInclusive<u64> = 10..=300;

pub(super) const CHECKS: [Check; 10] = [
    Check::new(
        "lnk.there",
        Error,
        LINK,
        "A hold with ids has a next link; without one the proxy closes the connection",
        ask!(there),
    ),
    Check::new("lnk.place", Warning, LINK, "It leads to the origin that was asked", ask!(place)),
    Check::new(
        "lnk.timeout",
        Note,
        LINK,
        "It says how often the proxy asks: every 10 to 300 s",
        ask!(timeout),
    ),
    Check::new(
        "lnk.again",
        Error,
        LINK,
        "Where nothing is new, the answer holds the connection on the same channels, at the same place",
        ask!(again),
    ),
    Check::new(
        "lnk.quiet",
        Error,
        LINK,
        "Where nothing is new, the answer has no event",
        ask!(quiet),
    ),
    Check::new("lnk.on", Error, LINK, "The answer has the next link again", ask!(on)),
    Check::new(
        "lnk.query",
        Security,
        MERGED,
        "The answer does not depend on the link's query: the proxy merges requests that differ there",
        ask!(query),
    ),
    Check::new(
        "lnk.merge",
        Security,
        MERGED,
        "Two users whose streams differ have links that differ in their paths",
        ask!(merge),
    )
    .with(Needs::SecondUser),
    Check::new(
        "lnk.unsigned",
        Security,
        LINK,
        "Without a signature, the answer has no header of GRIP",
        ask!(unsigned),
    ),
    Check::new(
        "lnk.forged",
        Security,
        LINK,
        "A link whose token was changed does not open the same stream",
        ask!(forged),
    ),
];

async fn there(origin: &Origin) -> Judged {
    let answer = origin.first().await?;
    let is_missing = !answer.hold.places().is_empty() && answer.hold.link.is_none();
    let text = "the hold has prev-ids and no Grip-Link with rel=next: the proxy closes the \
                connection";
    let finding = match answer.hold.link {
        None if !is_missing => Finding::pass_with("no channel has a prev-id, and none is needed"),
        _ => Finding::of(is_missing.then(|| text.to_owned())),
    };
    Ok(origin.show(finding, answer))
}

async fn place(origin: &Origin) -> Judged {
    let answer = origin.first().await?;
    let held = origin.held(answer)?;
    let is_other = held.link.authority() != origin.target.authority()
        || held.link.is_https() != origin.target.is_https();
    let text = format!("it leads to {}, with the signature; is that so?", held.link.authority());
    Ok(origin.show(Finding::of(is_other.then_some(text)), answer))
}

async fn timeout(origin: &Origin) -> Judged {
    let answer = origin.first().await?;
    let Some(link) = &answer.hold.link else {
        return Err(Finding::skip("the hold has no next link"));
    };
    let fault = match link.timeout.map(|timeout| timeout.as_secs()) {
        None => {
            Some("it has no timeout: the proxy asks about each connection every 120 s".to_owned())
        }
        Some(seconds) if TIMEOUTS.contains(&seconds) => None,
        Some(seconds) => Some(format!("the proxy asks about each connection every {seconds} s")),
    };
    Ok(origin.show(Finding::of(fault), answer))
}

/// The answer at the next link of a connection that has just been held.
struct Calm {
    before: Held,
    answer: Answer,
}

async fn calm(origin: &Origin) -> Result<Arc<OnceCell<Calm>>, Finding> {
    let shared = origin.shared::<Calm>();
    let ask = async || {
        let before = origin.hold().await?;
        let mut held = before.clone();
        let answer = origin.follow(&mut held).await?;
        Ok::<_, Finding>(Calm { before, answer })
    };
    shared.get_or_try_init(ask).await?;
    Ok(shared)
}

/// What has come at a next link where nothing is new, and what came before.
macro_rules! calm {
    ($origin:ident, $before:ident, $answer:ident) => {
        let shared = calm($origin).await?;
        let Calm { before: $before, answer: $answer } = shared.get().expect("it was made");
    };
}

async fn again(origin: &Origin) -> Judged {
    calm!(origin, before, answer);
    let channels = origin.first().await?.hold.names();
    let places = answer.hold.places();
    let fault = if !answer.hold.is_held() {
        Some("the answer has no Grip-Hold: the client's stream ends".to_owned())
    } else if answer.hold.names() != channels {
        Some(format!("it was held on {channels:?}, and now on {:?}", answer.hold.names()))
    } else if places != before.last {
        Some(format!("it was at {:?}, and now is at {places:?}", before.last))
    } else {
        None
    };
    Ok(origin.show(Finding::of(fault), answer))
}

async fn quiet(origin: &Origin) -> Judged {
    calm!(origin, before, answer);
    let events = answer.events();
    let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
    let text = format!("with {:?} in Grip-Last the answer has events: {kinds:?}", before.last);
    Ok(origin.show(Finding::of((!events.is_empty()).then_some(text)), answer))
}

async fn on(origin: &Origin) -> Judged {
    calm!(origin, _before, answer);
    let text = "the answer has no Grip-Link: the next event that is missed stays away";
    let is_missing = answer.hold.is_held() && answer.hold.link.is_none();
    Ok(origin.show(Finding::of(is_missing.then(|| text.to_owned())), answer))
}

/// What a client can tell of an answer.
fn seen(answer: &Answer) -> (Option<u16>, Vec<String>, Option<String>) {
    let names = answer.hold.names().into_iter().map(str::to_owned).collect();
    (answer.status(), names, answer.hold.meta.get("user").cloned())
}

async fn query(origin: &Origin) -> Judged {
    calm!(origin, before, answer);
    let path = before.link.path();
    let Some((bare, _)) = path.split_once('?') else {
        return Ok(Finding::pass_with("it has no query"));
    };
    let link = before.link.join(bare).ok_or_else(|| Finding::inconclusive("it has no path"))?;
    let other = Held { link, ..before.clone() };
    let asked = origin.get(&other.link, origin.ask_next(&other), answer.is_filtered).await?;
    let text = "without its query the answer is another one; a proxy merges requests whose links \
                differ in their queries only, and gives one answer to all: put into the path what \
                it depends on";
    let finding = Finding::of((seen(&asked) != seen(answer)).then(|| text.to_owned()));
    Ok(origin.show(origin.show(finding, answer), &asked))
}

async fn merge(origin: &Origin) -> Judged {
    let first = origin.first().await?;
    let ask = origin.signed(origin.ask_of_second());
    let second = origin.get(&origin.target, ask, false).await?;
    let path = |answer: &Answer| {
        let link = answer.hold.link.as_ref().and_then(|link| origin.target.join(&link.uri))?;
        link.path().split('?').next().map(str::to_owned)
    };
    let (of_first, of_second) = match (path(first), path(&second)) {
        (Some(of_first), Some(of_second)) => (of_first, of_second),
        (None, None) => return Ok(Finding::pass_with("nobody has a next link")),
        _ => return Err(Finding::inconclusive("one of the two users has no next link")),
    };
    let is_same = of_first == of_second;
    let fault = is_same && seen(first) != seen(&second);
    let text = "both have links with one path, and the streams differ; at the same moment one of \
                them gets what the other one may read";
    let finding = match (is_same, fault) {
        (true, false) => Finding::pass_with("they have one stream"),
        _ => Finding::of(fault.then(|| text.to_owned())),
    };
    Ok(origin.show(origin.show(finding, first), &second))
}

async fn unsigned(origin: &Origin) -> Judged {
    calm!(origin, before, _answer);
    let ask = origin.ask_next(before).without("Grip-Sig");
    let answer = origin.glance(&before.link, ask).await?;
    let names = answer.for_proxies();
    let text = format!("an unsigned request at a next link gets {}", names.join(", "));
    Ok(origin.show(Finding::of((!names.is_empty()).then_some(text)), &answer))
}

/// The same link with another character in one of its long parts.
fn changed(link: &Target) -> Vec<Target> {
    let path = link.path();
    let mut links = Vec::new();
    for part in long_parts(&path) {
        for at in [part.len() / 3, part.len() / 2] {
            let Some(char) = part.as_bytes().get(at).filter(|byte| byte.is_ascii_alphanumeric())
            else {
                continue;
            };
            let mut other = part.to_owned();
            other.replace_range(at..=at, if *char == b'A' { "B" } else { "A" });
            links.extend(link.join(&path.replace(part, &other)));
        }
    }
    links
}

async fn forged(origin: &Origin) -> Judged {
    calm!(origin, before, answer);
    let links = changed(&before.link);
    if links.is_empty() {
        // Whoever asks, gets the same.
        let plain = origin.signed(Ask::get(&origin.target, "text/event-stream"));
        let plain = origin.get(&origin.target, plain, false).await?;
        return if seen(&plain) == seen(origin.first().await?) {
            Ok(Finding::pass_with("it has no token; the stream is for everyone"))
        } else {
            let text = "it has no token, though the client has sent who it is: who asks is not \
                        known there";
            Ok(origin.show(Finding::fault(text), answer))
        };
    }
    for link in links {
        let other = Held { link, ..before.clone() };
        let asked = origin.glance(&other.link, origin.ask_next(&other)).await?;
        if asked.hold.is_held() && seen(&asked) == seen(answer) {
            let text = "a link with another character in its token opens the same stream";
            return Ok(origin.show(Finding::fault(text), &asked));
        }
    }
    Ok(Finding::pass())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_long_part_is_changed_and_nothing_else() {
        let link = Target::new("http://h/next/abcdefghijklmnopqrstuvwxyz?x=1").expect("a URL");
        let paths: Vec<_> = changed(&link).iter().map(Target::path).collect();
        let expected =
            ["/next/abcdefghAjklmnopqrstuvwxyz?x=1", "/next/abcdefghijklmAopqrstuvwxyz?x=1"];
        assert_eq!(paths, expected);
        assert!(changed(&Target::new("http://h/next/a?channel=b").expect("a URL")).is_empty());
    }
}
