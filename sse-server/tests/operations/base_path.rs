//! Everything below a path, for proxies that pass on whole paths, and for those that do not.

use std::fs;

use crate::server::{Server, TOKEN, binary, send, within};

const PAGE: &str = "Accept: text/html\r\n";

async fn post(server: &Server, path: &str, body: &str) -> (u16, String) {
    let len = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Length: {len}\r\n\r\n{body}"
    );
    let mut answer = send(server.address, request.as_bytes()).await;
    (answer.status, answer.body().await)
}

#[tokio::test]
async fn streams_publishing_and_all_else_are_below_the_path_and_nowhere_else() {
    for (flag, base) in [("/sse", "/sse"), ("/sse/", "/sse"), ("/a/b-c", "/a/b-c")] {
        let server = Server::start(&["--base-path", flag]).await;
        let event = r#"{"channel":"a","data":1}"#;
        assert_eq!(post(&server, &format!("{base}/publish/"), event).await.0, 200);
        let change = r#"{"user":"u1","channel":"a"}"#;
        assert_eq!(post(&server, &format!("{base}/permissions/changed"), change).await.0, 200);
        for path in ["/events/a/?lastEventId=a:0", "/events/?channel=a&lastEventId=a:0"] {
            let mut stream = server.get(&format!("{base}{path}"), "").await;
            stream.until("id: a:1\n").await;
        }
        let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
        for path in ["/metrics", "/channels/", "/health/live", "/health/ready"] {
            assert_eq!(server.get(&format!("{base}{path}"), &bearer).await.status, 200, "{path}");
        }
        // Probes need not know of it.
        assert_eq!(server.get("/health/ready", "").await.status, 200);
        for path in ["/", "/events/a/", "/metrics", "/channels/", "/ssee/events/a/"] {
            let mut answer = server.get(path, &bearer).await;
            assert_eq!(answer.status, 404, "{path}");
            let text = answer.body().await;
            let places = format!("streams are at {base}/events/?channel=NAME, ");
            assert!(text.contains(&places) && text.contains(&format!("{path};")), "{text}");
        }
        assert_eq!(post(&server, "/publish/", event).await.0, 404);
        let mut nothing = server.get(&format!("{base}/nothing"), "").await;
        let text = nothing.body().await;
        assert!(nothing.status == 404 && text.contains(&format!("at {base}/nothing;")), "{text}");
        // Refusals are counted there and elsewhere.
        let metrics = server.get(&format!("{base}/metrics"), "").await.body().await;
        assert!(
            metrics.contains("refusals_total{status=\"404\",error=\"not-found\"} 7"),
            "{metrics}"
        );
    }
}

/// Where a browser goes from here: the standard's way to read a relative reference.
async fn target(server: &Server, path: &str, seen_as: &str, headers: &str) -> String {
    let answer = server.get(path, headers).await;
    assert!(matches!(answer.status, 307 | 308), "{path}: {}", answer.status);
    let here = url::Url::parse(&format!("http://site.example{seen_as}")).expect("a URL");
    let there = here.join(answer.header("location").expect("a place")).expect("a reference");
    there.as_str().trim_start_matches("http://site.example").to_owned()
}

#[tokio::test]
async fn redirects_and_the_page_stay_below_the_path_that_clients_see() {
    let whole = Server::start(&["--base-path", "/sse"]).await;
    let stripped = Server::start(&[]).await;
    for (seen_as, expected) in [
        ("/sse/", "/sse/events/"),
        ("/sse/events?channel=a", "/sse/events/?channel=a"),
        ("/sse/events/a", "/sse/events/a/"),
        ("/sse/channels", "/sse/channels/"),
        ("/sse/publish", "/sse/publish/"),
    ] {
        assert_eq!(target(&whole, seen_as, seen_as, "").await, expected);
        // A proxy that leaves out the first part needs no setting.
        let path = seen_as.strip_prefix("/sse").expect("it begins so");
        assert_eq!(target(&stripped, path, seen_as, "").await, expected);
    }
    assert_eq!(target(&whole, "/sse", "/sse", "").await, "/sse/");
    // The page cuts its own path off what the browser shows, and the rest is where all else is.
    for (server, path) in [(&whole, "/sse/events/a/"), (&stripped, "/events/a/")] {
        let page = server.get(path, PAGE).await.body().await;
        assert!(page.contains("data-path=\"/events/a/\""), "{path}");
    }
}

#[tokio::test]
async fn a_path_that_cannot_be_is_refused_and_one_that_can_is_shown() {
    for path in ["sse", "//sse", "/a//b", "/a/../b", "/{a}", "/a b", "/é", "/a?b"] {
        let output = binary().args(["--base-path", path]).output();
        let output = within("an end", output).await.expect("it can be started");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains("--base-path: ") && stderr.contains("write for example /sse"));
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("settings.toml");
    fs::write(&file, "base-path = \"/live/\"\nstorage = \"memory\"\n").expect("writable");
    let mut check = binary();
    check.arg("check-config").arg(&file).stdout(std::process::Stdio::piped());
    let output = within("an end", check.output()).await.expect("it can be started");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("\n  /live/events/{channel}/ "), "{text}");
}
