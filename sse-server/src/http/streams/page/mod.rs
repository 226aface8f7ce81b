//! The live page, for people who come with a browser, and the script with which it reads if this
//! build has one.
//!
//! The page is written in several files and sent as one.

use std::sync::{Arc, LazyLock};

use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

use crate::http::error::Refusal;
use crate::hub::Types;

/// The script: the npm package of sse-client-wasm in one file, if `build.rs` has found it.
const CLIENT: Option<&str> = {
    #[cfg(page_client)]
    let client = Some(include_str!(concat!(env!("OUT_DIR"), "/page-client.js")));
    #[cfg(not(page_client))]
    let client = None;
    client
};

/// Whether this build has the script.
pub(in crate::http) const HAS_CLIENT: bool = CLIENT.is_some();

/// The files of the page: where the first one names them, and what stands there in their place.
const PARTS: [(&str, [&str; 3]); 3] = [
    (
        "<link rel=\"stylesheet\" href=\"page.css\">",
        ["<style>\n", include_str!("page.css"), "</style>"],
    ),
    (
        "<script src=\"connection.js\"></script>",
        ["<script>\n", include_str!("connection.js"), "</script>"],
    ),
    ("<script src=\"page.js\"></script>", ["<script>\n", include_str!("page.js"), "</script>"]),
];

static PAGE: LazyLock<String> = LazyLock::new(|| {
    let page = include_str!("page.html").to_owned();
    PARTS.iter().fold(page, |page, (name, text)| page.replacen(name, &text.concat(), 1))
});

/// Where the page is told what its address is, which channels are there, and which types of events.
const PLACE: &str = "<meta name=\"stream\">";

/// Only what is in the page itself runs, and it talks only to this server.
macro_rules! policy {
    ($scripts:literal) => {
        concat!(
            "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'",
            $scripts,
            "; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
    };
}

/// What the page begins with if a proxy holds its stream.
const HELD: &str = "<p class=\"bar\" id=\"held\">A GRIP proxy holds the connection of this page; the \
                    server only decides what it gets.</p>";

/// What stands after that.
const HEADER: &str = "<header hidden>";

/// The page for the stream at this path, with these channels, and types if the endpoint has fixed
/// ones. `is_held`: by a proxy.
pub(super) fn answer(
    path: &str,
    channels: &[Arc<str>],
    types: Option<&Types>,
    is_held: bool,
) -> Response {
    // The page does not ask for a script that is not there: the browser would complain of it.
    let (policy, client) = match CLIENT {
        Some(_) => (policy!(" 'self' 'wasm-unsafe-eval'"), " data-client"),
        None => (policy!(""), ""),
    };
    let headers = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::CACHE_CONTROL, "no-cache"),
        (header::VARY, "Accept"),
    ];
    let list = |names: &[&str]| escaped(&serde_json::to_string(names).expect("strings are JSON"));
    let channels = list(&channels.iter().map(|name| &**name).collect::<Vec<_>>());
    let types = types.map(|types| format!(" data-types=\"{}\"", list(&types.names())));
    let (path, types) = (escaped(path), types.unwrap_or_default());
    let meta = format!(
        "<meta name=\"stream\" data-path=\"{path}\" data-channels=\"{channels}\"{types}{client}>"
    );
    let mut page = PAGE.replacen(PLACE, &meta, 1);
    if is_held {
        page = page.replacen(HEADER, &[HELD, HEADER].concat(), 1);
    }
    (headers, Html(page)).into_response()
}

/// `GET /page/client.js`
pub(in crate::http) async fn client() -> Response {
    let Some(client) = CLIENT else {
        let text = "this build of the server has no sse-client-wasm in it; the live page reads by the \
                    browser's EventSource";
        return Refusal::new(StatusCode::NOT_FOUND, "not-found", text).into_response();
    };
    let content_type = (header::CONTENT_TYPE, "text/javascript; charset=utf-8");
    ([content_type, (header::CACHE_CONTROL, "no-cache")], client).into_response()
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
    fn the_page_has_one_place_for_its_stream_and_all_of_its_parts() {
        assert_eq!((PAGE.matches(PLACE).count(), PAGE.matches(HEADER).count()), (1, 1));
        for (name, [_, text, _]) in PARTS {
            assert!(PAGE.contains(text) && !PAGE.contains(name), "{name}");
        }
    }

    #[test]
    fn nothing_in_a_name_ends_the_attribute() {
        assert_eq!(escaped("\"><script>'&amp;"), "&quot;&gt;&lt;script&gt;&#39;&amp;amp;");
    }
}
