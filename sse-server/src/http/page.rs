//! The live page, for people who come with a browser.

use std::sync::Arc;

use axum::http::header;
use axum::response::{Html, IntoResponse, Response};

const PAGE: &str = include_str!("page.html");

/// Where the page is told what its address is and which channels are there.
const PLACE: &str = "<meta name=\"stream\">";

/// Only what is in the page itself runs, and it talks only to this server.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; \
    script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// The page for the stream at this path, with these channels.
pub(super) fn answer(path: &str, channels: &[Arc<str>]) -> Response {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-cache"),
        (header::VARY, "Accept"),
    ];
    let channels: Vec<&str> = channels.iter().map(|name| &**name).collect();
    let channels = serde_json::to_string(&channels).expect("strings are JSON");
    let (path, channels) = (escaped(path), escaped(&channels));
    let meta = format!("<meta name=\"stream\" data-path=\"{path}\" data-channels=\"{channels}\">");
    (headers, Html(PAGE.replacen(PLACE, &meta, 1))).into_response()
}

/// A text as the value of an attribute in double quotes.
fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_one_place_for_its_stream() {
        assert_eq!(PAGE.matches(PLACE).count(), 1);
    }

    #[test]
    fn nothing_in_a_name_ends_the_attribute() {
        assert_eq!(escaped("\"><script>'&amp;"), "&quot;&gt;&lt;script&gt;&#39;&amp;amp;");
    }
}
