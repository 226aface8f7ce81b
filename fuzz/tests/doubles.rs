//! Doubles of services, as this project's client and a plain socket see them.

use std::time::Duration;

use serde_json::Value;
use sse_client::EventSource;
use sse_fuzz::hostile::{Server, TROUBLES};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Bounds what does not end of itself.
const PATIENCE: Duration = Duration::from_secs(20);

/// The text of `OpenAI`'s answer, and whether it has come to its mark.
async fn openai(server: &Server, trouble: &str) -> Result<String, String> {
    let address = server.address();
    let url = format!("http://{address}/openai.{trouble}/v1/chat/completions");
    let source = EventSource::post(url).must_end_with("[DONE]");
    let mut events = source.events().map_err(|error| error.to_string())?;
    let mut text = String::new();
    while let Some(event) = events.next().await {
        let event = event.map_err(|error| error.to_string())?;
        let chunk: Value = serde_json::from_str(event.data()).map_err(|error| error.to_string())?;
        if let Some(error) = chunk.get("error") {
            return Err(format!("in the stream: {error}"));
        }
        text += chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default();
    }
    Ok(text)
}

#[tokio::test]
async fn a_client_gets_the_whole_answer_or_an_error() {
    let server = Server::start().await.expect("a port");
    for trouble in ["well", "bytes", "slow", "odd", "gzip"] {
        assert_eq!(openai(&server, trouble).await.as_deref(), Ok("Hello, wörld"), "{trouble}");
    }
    for trouble in ["cut", "reset", "short", "error", "html"] {
        assert!(openai(&server, trouble).await.is_err(), "{trouble}");
    }
}

/// The answer as bytes, as far as it comes.
async fn raw(server: &Server, path: &str, body: &str) -> String {
    let address = server.address();
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut bytes = Vec::new();
    drop(timeout(PATIENCE, stream.read_to_end(&mut bytes)).await);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn each_service_answers_in_its_own_format() {
    let server = Server::start().await.expect("a port");
    let call = r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#;
    for (path, parts) in [
        ("/openai.well/v1/chat/completions", &["chat.completion.chunk", "data: [DONE]"][..]),
        ("/anthropic.well/v1/messages", &["event: message_start", "event: message_stop"]),
        ("/gemini.well/v1beta/models/m:streamGenerateContent", &["\"STOP\"", "}\r\n\r\n"]),
        ("/mcp.well/mcp", &["id: e1\nretry: 500", "\"id\":7", "greet"]),
        ("/mercure.well/.well-known/mercure", &["Mercure-Last-Event-ID", "id: urn:uuid:3"]),
        ("/anthropic.error/v1/messages", &["event: error", "overloaded_error"]),
        ("/mcp.error/mcp", &["\"id\":7", "-32603"]),
    ] {
        let answer = raw(&server, path, call).await;
        for part in parts {
            assert!(answer.contains(part), "{path} has no {part:?}:\n{answer}");
        }
    }
}

#[tokio::test]
async fn messages_of_mcp_that_want_no_answer_get_none() {
    let server = Server::start().await.expect("a port");
    for message in [
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}"#,
    ] {
        for trouble in ["well", "cut", "html"] {
            let answer = raw(&server, &format!("/mcp.{trouble}/mcp"), message).await;
            assert!(
                answer.starts_with("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n"),
                "{answer}"
            );
            assert!(answer.ends_with("\r\n\r\n"), "{answer}");
        }
    }
}

#[tokio::test]
async fn refusals_are_counted_by_name() {
    let server = Server::start().await.expect("a port");
    for word in ["", ".one", ".two"] {
        let path = format!("/openai.limited{word}/v1/chat/completions");
        let first = raw(&server, &path, "{}").await;
        assert!(first.starts_with("HTTP/1.1 429") && first.contains("Retry-After: 1"), "{first}");
        assert!(raw(&server, &path, "{}").await.contains("[DONE]"), "{path}");
    }
    assert_eq!(server.requests("openai.limited.one", "").len(), 2);
}

#[tokio::test]
async fn all_troubles_of_all_services_are_served_and_differ() {
    let server = Server::start().await.expect("a port");
    for name in ["openai", "anthropic", "gemini", "mcp", "mercure"] {
        let mut seen = Vec::new();
        for (trouble, _) in TROUBLES.iter().filter(|(trouble, _)| *trouble != "stall") {
            let path = format!("/{name}.{trouble}/v1");
            let answer = raw(&server, &path, "{}").await;
            assert!(!answer.contains("404 Not Found"), "{path}");
            // A reset may take back what came before; `slow` differs in time only.
            if !["reset", "slow"].contains(trouble) {
                assert!(!seen.contains(&answer), "{path} is like another one:\n{answer}");
                seen.push(answer);
            }
        }
    }
    let nothing = raw(&server, "/openai.nothing/v1", "{}").await;
    assert!(nothing.contains("404 Not Found"), "{nothing}");
}
