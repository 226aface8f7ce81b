//! Failures that are final, and failures that pass.

mod server;

use std::time::Duration;

use server::{Server, data, end, nobody, run};
use sse_client::{Closed, EventSource, Failure, Item, State};

async fn closed_by(answer: &str) -> (Closed, String) {
    let mut server = Server::start().await;
    let mut source = server.source();
    let _connection = server.answer(&mut source, answer).await;
    let closed = end(&mut source).await;
    assert_eq!(closed.url().as_str(), server.url("/events"));
    assert_eq!(source.state(), State::Closed(closed.reason().clone()));
    (closed.reason().clone(), closed.body().to_owned())
}

#[test]
fn status_204_ends_it() {
    run(async {
        let (reason, body) = closed_by("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!((reason, body.as_str()), (Closed::NoContent, ""));
    });
}

#[test]
fn status_404_ends_it_and_the_body_says_why() {
    run(async {
        let answer = "HTTP/1.1 404 Not Found\r\nContent-Length: 10\r\n\r\nno such é";
        let (reason, body) = closed_by(&answer.replace("9\r", "10\r")).await;
        assert_eq!((reason, body.as_str()), (Closed::Status(404), "no such é"));
    });
}

#[test]
fn a_wrong_type_ends_it_and_the_body_says_why() {
    run(async {
        let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 3\r\n\r\n<p>";
        let (reason, body) = closed_by(answer).await;
        let reason_expected = Closed::ContentType(Some("text/html".to_owned()));
        assert_eq!((reason, body.as_str()), (reason_expected, "<p>"));
    });
}

#[test]
fn a_refusal_without_end_is_cut() {
    run(async {
        let pages = "x".repeat(100_000);
        let answer = format!("HTTP/1.1 403 Forbidden\r\nContent-Length: 9999999\r\n\r\n{pages}");
        let (reason, body) = closed_by(&answer).await;
        assert_eq!((reason, body.len()), (Closed::Status(403), 4096));
    });
}

#[test]
fn a_refusal_that_stalls_is_told_with_what_has_come() {
    run(async {
        let answer = "HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\nbecause";
        let (reason, body) = closed_by(answer).await;
        assert_eq!((reason, body.as_str()), (Closed::Status(403), "because"));
    });
}

#[test]
fn status_503_is_tried_again_when_the_server_says() {
    run(async {
        let mut server = Server::start().await;
        let mut source = server.source();
        let answer = "HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nConnection: close\r\n\r\nbusy";
        drop(server.answer(&mut source, answer).await);
        let Some(Ok(Item::Waiting { until, failure, why })) = source.next().await else {
            panic!("it tells why nothing comes")
        };
        assert_eq!((failure, &*why), (Failure::Status(503), source.last_failure().expect("one")));
        assert_eq!(source.next_try(), Some(until));
        let State::Waiting { until, failure } = source.state() else { panic!("it waits") };
        assert_eq!(failure, Failure::Status(503));
        assert!(until >= Duration::from_secs(1), "as the server asked");
        assert_eq!(source.last_failure(), Some("the server answered with status 503: \"busy\""));
        let _connection = server.open(&mut source, "data: a\n\n").await;
        assert_eq!(data(&mut source).await, "a");
        assert_eq!(source.next_try(), None);
    });
}

#[test]
fn a_head_that_never_comes_is_not_waited_for() {
    run(async {
        let mut server = Server::start().await;
        let builder =
            server.builder().session(|config| config.connect_timeout(Duration::from_secs(1)));
        let mut source = builder.build().expect("a valid set-up");
        let mut mute = server.answer(&mut source, "").await;
        let _connection = server.open(&mut source, "data: a\n\n").await;
        assert_eq!(source.last_failure(), Some(&*Failure::ConnectTimeout.to_string()));
        mute.gone().await;
    });
}

#[test]
fn a_refused_connection_is_named_with_its_cause() {
    run(async {
        let (_nobody, port) = nobody();
        let url = format!("http://u:secret@127.0.0.1:{port}/events?t=secret");
        let mut source = EventSource::builder(url)
            .session(|config| config.max_failures(Some(2)))
            .build()
            .expect("a valid set-up");
        let closed = end(&mut source).await;
        assert_eq!(*closed.reason(), Closed::GaveUp(Failure::Network));
        assert!(std::error::Error::source(&*closed).is_some());
        let failure = source.last_failure().expect("a failure");
        assert!(failure.contains("refused"), "{failure}");
        assert!(!format!("{failure}{closed}{source:?}").contains("secret"));
        assert!(!closed.url().as_str().contains("secret@"));
    });
}

#[test]
fn a_broken_chunked_body_is_a_failure_that_passes() {
    run(async {
        let mut server = Server::start().await;
        let mut source = server.source();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                    Transfer-Encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\nzz";
        drop(server.answer(&mut source, head).await);
        assert_eq!(data(&mut source).await, "a");
        let _connection = server.open(&mut source, "").await;
        let failure = source.last_failure().expect("a failure");
        assert!(failure.starts_with("the connection failed: "), "{failure}");
    });
}

#[test]
fn every_connection_says_that_it_is_open() {
    run(async {
        let mut server = Server::start().await;
        let mut source = server.source();
        for _ in 0..3 {
            drop(server.open(&mut source, "").await);
        }
        let (next, _connection) = tokio::join!(server::item(&mut source), async {
            let mut connection = server.accept().await;
            connection.send(server::OPEN).await;
            connection
        });
        assert_eq!(next, Item::Open);
    });
}
