//! The live page, for people who come with a browser, and the script with which it reads if there is one.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

use crate::http::App;
use crate::http::error::Refusal;

const PAGE: &str = include_str!("page.html");

/// Where the page is told what its address is and which channels are there.
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

/// What a browser gets in place of a stream.
#[derive(Clone, Debug, Default)]
pub(in crate::http) struct Page {
    client: Option<Arc<str>>,
}

impl Page {
    /// A page that reads with this script, a module with WebAssembly in it.
    pub(in crate::http) fn with_client(script: impl Into<String>) -> Self {
        Self { client: Some(script.into().into()) }
    }

    /// The page for the stream at this path, with these channels.
    pub(super) fn answer(&self, path: &str, channels: &[Arc<str>]) -> Response {
        // The page does not ask for a script that may not be there: the browser would complain of it.
        let (policy, client) = match self.client {
            Some(_) => (policy!(" 'self' 'wasm-unsafe-eval'"), " data-client"),
            None => (policy!(""), ""),
        };
        let headers = [
            (header::CONTENT_SECURITY_POLICY, policy),
            (header::CACHE_CONTROL, "no-cache"),
            (header::VARY, "Accept"),
        ];
        let channels: Vec<&str> = channels.iter().map(|name| &**name).collect();
        let channels = serde_json::to_string(&channels).expect("strings are JSON");
        let (path, channels) = (escaped(path), escaped(&channels));
        let meta = format!(
            "<meta name=\"stream\" data-path=\"{path}\" data-channels=\"{channels}\"{client}>"
        );
        (headers, Html(PAGE.replacen(PLACE, &meta, 1))).into_response()
    }
}

/// `GET /page/client.js`
pub(in crate::http) async fn client(State(app): State<Arc<App>>) -> Response {
    let Some(client) = &app.config.page.client else {
        let text = "the live page has a reader of its own here; --page-client gives it another";
        return Refusal::new(StatusCode::NOT_FOUND, "not-found", text).into_response();
    };
    let content_type = (header::CONTENT_TYPE, "text/javascript; charset=utf-8");
    ([content_type, (header::CACHE_CONTROL, "no-cache")], client.to_string()).into_response()
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
