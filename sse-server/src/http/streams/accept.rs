//! What a client wants to get at the URL of a stream: the stream, or the page for people (RFC 9110,
//! section 12.5.1).

use axum::http::{HeaderMap, header};

use crate::http::headers::weighed;

/// What to answer with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// `text/event-stream`.
    Stream,
    /// `text/html`.
    Page,
    /// Neither of them will do.
    Neither,
}

impl Wanted {
    /// By the `Accept` of a request. Who likes both the same, or says nothing, gets the stream:
    /// that is what the URL is for, and programs mostly say nothing. A browser that navigates lists
    /// `text/html`.
    pub(super) fn by(headers: &HeaderMap) -> Self {
        let ranges: Vec<_> = weighed(headers, &header::ACCEPT).filter_map(range).collect();
        if ranges.is_empty() {
            return Self::Stream;
        }
        let (stream, page) = (quality(&ranges, "event-stream"), quality(&ranges, "html"));
        if page > stream {
            Self::Page
        } else if stream > 0.0 {
            Self::Stream
        } else {
            Self::Neither
        }
    }
}

/// Whether JSON is asked for by name, and not less than a stream or the page. Who likes everything
/// the same gets the stream.
pub(super) fn is_json_wanted(headers: &HeaderMap) -> bool {
    let ranges: Vec<_> = weighed(headers, &header::ACCEPT).filter_map(range).collect();
    let named = |name: &str| {
        let weights = ranges.iter().filter(|(range, _)| range.eq_ignore_ascii_case(name));
        weights.map(|&(_, weight)| weight).fold(0.0, f32::max)
    };
    let json = named("application/json");
    json > named("text/event-stream") && json >= named("text/html") && json > 0.0
}

/// A media range and its weight; none if it is no media range.
fn range((essence, weight): (&str, Option<f32>)) -> Option<(&str, f32)> {
    // Written by old Java programs.
    let essence = if essence == "*" { "*/*" } else { essence };
    // A weight that is not a number does not count: the range was named, so it is wanted.
    essence.contains('/').then(|| (essence, weight.unwrap_or(1.0)))
}

/// The weight of a subtype of `text`: what the most specific range says, 0 if none matches.
fn quality(ranges: &[(&str, f32)], subtype: &str) -> f32 {
    let specificity = |range: &str| match range.split_once('/') {
        Some(("*", "*")) => Some(1),
        Some((kind, "*")) if kind.eq_ignore_ascii_case("text") => Some(2),
        Some((kind, found)) => {
            let is_it = kind.eq_ignore_ascii_case("text") && found.eq_ignore_ascii_case(subtype);
            is_it.then_some(3)
        }
        None => None,
    };
    let matching = ranges.iter().filter_map(|&(range, weight)| Some((specificity(range)?, weight)));
    let best = matching.max_by(|(a, x), (b, y)| a.cmp(b).then(x.total_cmp(y)));
    best.map_or(0.0, |(_, weight)| weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_range_decides_and_its_weight_counts() {
        for (accept, wanted) in [
            ("", Wanted::Stream),
            (",", Wanted::Stream),
            ("nonsense", Wanted::Stream),
            ("*/*", Wanted::Stream),
            ("*; q=.2", Wanted::Stream),
            ("text/*", Wanted::Stream),
            ("text/event-stream", Wanted::Stream),
            ("Text/Event-Stream; charset=utf-8", Wanted::Stream),
            ("text/html", Wanted::Page),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Wanted::Page),
            ("text/html, text/event-stream", Wanted::Stream),
            ("text/html, text/event-stream;q=0.9", Wanted::Page),
            ("text/html;q=0.5, text/event-stream;q=0.6", Wanted::Stream),
            ("text/html;q=0.5, */*", Wanted::Stream),
            ("text/html;Q=0.5,text/*;q=0.4", Wanted::Page),
            ("text/event-stream;q=0, */*", Wanted::Page),
            ("text/event-stream ; q = 0.000, text/*", Wanted::Page),
            ("text/html;q=0, */*;q=0.1", Wanted::Stream),
            ("text/event-stream;q=0", Wanted::Neither),
            ("text/html;q=0", Wanted::Neither),
            ("*/*;q=0", Wanted::Neither),
            ("*/*;q=0, text/event-stream", Wanted::Stream),
            ("text/event-stream, text/*;q=0", Wanted::Stream),
            ("application/json", Wanted::Neither),
            ("application/*, image/png", Wanted::Neither),
            ("text/event-stream;q=x", Wanted::Stream),
            ("text/html;q=nan", Wanted::Page),
            ("text/event-stream;q=7, text/html;q=1", Wanted::Stream),
        ] {
            let headers =
                [(header::ACCEPT, accept.parse().expect("a value"))].into_iter().collect();
            assert_eq!(Wanted::by(&headers), wanted, "{accept}");
        }
        assert_eq!(Wanted::by(&HeaderMap::new()), Wanted::Stream);
    }

    #[test]
    fn json_is_for_those_who_name_it() {
        for (accept, is_wanted) in [
            ("application/json", true),
            ("Application/JSON, text/html;q=0.9, */*", true),
            ("application/json, text/event-stream;q=0.5", true),
            ("text/event-stream, application/json", false),
            ("text/html, application/json;q=0.9", false),
            ("application/json;q=0", false),
            ("application/*", false),
            ("*/*", false),
            ("", false),
        ] {
            let headers =
                [(header::ACCEPT, accept.parse().expect("a value"))].into_iter().collect();
            assert_eq!(is_json_wanted(&headers), is_wanted, "{accept}");
        }
    }

    #[test]
    fn several_lines_are_one_list() {
        let mut headers = HeaderMap::new();
        headers.append(header::ACCEPT, "application/json".parse().expect("a value"));
        headers.append(header::ACCEPT, "text/html".parse().expect("a value"));
        assert_eq!(Wanted::by(&headers), Wanted::Page);
    }
}
