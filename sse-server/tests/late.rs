//! Services that are down when the server starts, and those that can never be used.

use std::process::Stdio;
use std::time::Duration;

use server::{Server, TOKEN, binary, until, within};
use services::Own;
use sqlx::{ConnectOptions, Connection, postgres::PgConnectOptions};
use testkit::{server, services};

/// A server on a storage that is down serves nothing and says why, and goes on when it is there.
async fn waits_for(mut service: Own) {
    service.stop();
    let server = Server::start_on(&service.url(), &[]).await;
    assert_eq!(server.get("/health/live", "").await.status, 200);
    let stream = "/events/?channel=a&lastEventId=a:0";
    let event = r#"{"channel":"a","data":1}"#;
    let auth = format!("Authorization: Bearer {TOKEN}\r\n");
    for _ in 0..2 {
        let mut ready = server.get("/health/ready", "").await;
        let reason = ready.body().await;
        assert_eq!(ready.status, 503);
        assert!(reason.contains("cannot open the storage: "), "{reason}");
        for mut refused in [server.get(stream, "").await, server.post(event, &auth).await] {
            let text = refused.body().await;
            assert_eq!(refused.status, 503, "{text}");
            assert!(refused.header("retry-after").is_some());
        }
    }
    service.start().await;
    until("it is ready", async || server.get("/health/ready", "").await.status == 200).await;
    assert_eq!(server.publish(event).await["id"], "a:1");
    server.get(stream, "").await.until("id: a:1\ndata: 1\n\n").await;
    server.until_logged("answers now").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_comes_later_is_waited_for() {
    let Some(postgres) = Own::postgres().await else { return };
    waits_for(postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_comes_later_is_waited_for() {
    let Some(redis) = Own::redis().await else { return };
    waits_for(redis).await;
}

/// Two servers whose relay is down work, each for itself, and hear from each other when it is
/// there.
async fn relay_is_waited_for(mut relay: Own) {
    relay.stop();
    let flags = ["--relay", &relay.url(), "--refresh", "1h"];
    let here = Server::start(&flags).await;
    let storage = format!("sqlite:{}", here.database().display());
    let there = Server::start_on(&storage, &flags).await;
    for server in [&here, &there] {
        assert_eq!(server.get("/health/ready", "").await.status, 200);
    }
    let mut reader = there.get("/events/?channel=a", "").await;
    reader.opening().await;
    here.publish(r#"{"channel":"a","data":1}"#).await;
    relay.start().await;
    // What was missed is made up for when it is connected, and then hints arrive.
    reader.until("id: a:1\ndata: 1\n\n").await;
    here.until_logged("answers now").await;
    let published = async {
        loop {
            here.publish(r#"{"channel":"a","data":2}"#).await;
            let next =
                tokio::time::timeout(Duration::from_millis(100), reader.until("data: 2\n\n"));
            if next.await.is_ok() {
                return;
            }
        }
    };
    within("a hint", published).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_over_redis_that_comes_later_is_waited_for() {
    let Some(redis) = Own::redis().await else { return };
    relay_is_waited_for(redis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_over_postgres_that_comes_later_is_waited_for() {
    let Some(postgres) = Own::postgres().await else { return };
    relay_is_waited_for(postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_over_rabbitmq_that_comes_later_is_waited_for() {
    let Some(rabbitmq) = Own::rabbitmq().await else { return };
    relay_is_waited_for(rabbitmq).await;
}

/// What a server says that ends because of this storage or relay.
async fn ends(flag: &str, url: &str) -> String {
    let mut command = binary();
    command.args(["--listen", "127.0.0.1:0", flag, url]).stdout(Stdio::null());
    if flag != "--storage" {
        command.args(["--storage", "memory"]);
    }
    let output = within("an end", command.output()).await.expect("it can be started");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let error = text.lines().last().unwrap_or_default();
    assert!(error.starts_with(&format!("error: {flag} ")), "{text}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_work_ends_the_start() {
    if let Some(postgres) = services::postgres().await {
        let (server, _) = postgres.rsplit_once('/').expect("a database");
        let text = ends("--storage", &format!("{server}/there_is_none")).await;
        assert!(text.contains("does not exist"), "{text}");
        let options: PgConnectOptions = postgres.parse().expect("a URL");
        let mut database = options.connect().await.expect("it answers");
        sqlx::raw_sql(
            "CREATE TABLE sse_server_schema (version integer NOT NULL);
             INSERT INTO sse_server_schema VALUES (99)",
        )
        .execute(&mut database)
        .await
        .expect("it can be written");
        database.close().await.expect("it answers");
        let text = ends("--storage", &postgres).await;
        assert!(text.contains("version 99, made by a later sse-server"), "{text}");
    }
    if let Some(redis) = services::redis() {
        let place = redis.strip_prefix("redis://").expect("a URL");
        for flag in ["--storage", "--relay"] {
            let text = ends(flag, &format!("redis://nobody:wrong@{place}")).await;
            assert!(!text.contains("wrong@") && !text.contains("will try again"), "{text}");
        }
    }
    if let Some(amqp) = services::amqp() {
        let place = amqp.split_once("://").expect("a URL").1;
        let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
        let text = ends("--relay", &format!("amqp://nobody:wrong@{place}")).await;
        assert!(text.contains("ACCESS_REFUSED") || text.contains("ACCESS-REFUSED"), "{text}");
    }
}

#[tokio::test]
async fn several_hosts_are_refused_and_not_waited_for() {
    for (flag, url) in [
        ("--storage", "postgres://me:s3cret@one,two/db?target_session_attrs=read-write"),
        ("--storage", "redis://one:6379,two:6379/0"),
        ("--relay", "amqp://one,two"),
    ] {
        let output = binary().args([flag, url]).output();
        let output = within("an end", output).await.expect("it can be started");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(
            text.contains("several hosts are not possible") && !text.contains("s3cret"),
            "{text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_turns_out_to_be_wrong_later_ends_the_server() {
    let Some(mut postgres) = Own::postgres().await else { return };
    postgres.stop();
    let url = postgres.url();
    let (place, _) = url.rsplit_once('/').expect("a database");
    let mut server = Server::start_on(&format!("{place}/there_is_none"), &[]).await;
    assert_eq!(server.get("/health/ready", "").await.status, 503);
    postgres.start().await;
    assert_eq!(server.wait().await.code(), Some(1));
    server.until_logged("error: --storage ").await;
}
