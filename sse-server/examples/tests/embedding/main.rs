//! The examples of applications with streams of their own, as their first lines say.

mod conversation;
mod lasting;
mod probed;
mod program;

use program::Example;
use testkit::services::Own;

#[tokio::test]
async fn a_chat_shows_who_comes_who_says_what_and_who_goes() {
    let chat = Example::start(env!("CARGO_BIN_EXE_chat"), &[]).await;
    let mut ann = chat.get("/events/chat/?name=ann", "").await;
    ann.opening().await;
    ann.until("event: joined\nid: chat:1\ndata: {\"name\":\"ann\"}\n\n").await;
    let mut bob = chat.get("/events/chat/?name=bob", "").await;
    bob.opening().await;
    ann.until("event: joined\nid: chat:2\ndata: {\"name\":\"bob\"}\n\n").await;
    assert_eq!(chat.post("/say?name=bob", "good morning").await, 204);
    ann.until("data: {\"name\":\"bob\",\"text\":\"good morning\"}\n\n").await;
    drop(bob);
    ann.until("event: left\nid: chat:4\ndata: {\"name\":\"bob\"}\n\n").await;
}

#[tokio::test]
async fn a_jobs_progress_is_whole_for_those_who_come_late_and_those_who_come_back() {
    let jobs = Example::start(env!("CARGO_BIN_EXE_progress"), &[]).await;
    assert_eq!(jobs.post("/jobs/7", "").await, 202);
    let from_start = "/jobs/7/events/?lastEventId=job-7:0";
    let mut first = jobs.get(from_start, "").await;
    first.until("event: done\nid: job-7:6\ndata: {\"result\":42}\n\n").await;
    let mut late = jobs.get(from_start, "").await;
    late.opening().await;
    let whole = late.until("event: done\nid: job-7:6\ndata: {\"result\":42}\n\n").await;
    assert_eq!(whole.matches("event: progress\n").count(), 5);
    let mut back = jobs.get("/jobs/7/events/", "Last-Event-ID: job-7:4\r\n").await;
    back.opening().await;
    let rest = back.until("event: done\n").await;
    assert_eq!(rest.matches("event: progress\n").count(), 1);
}

#[tokio::test]
async fn a_dashboards_numbers_come_without_end() {
    let dashboard = Example::start(env!("CARGO_BIN_EXE_dashboard"), &[]).await;
    let mut page = dashboard.get("/", "").await;
    assert!(page.body().await.contains("new EventSource('numbers')"));
    let mut numbers = dashboard.get("/numbers", "").await;
    for _ in 0..3 {
        numbers.until("event: numbers\ndata: {\"readers so far\":1,\"uptime\":").await;
    }
}

#[tokio::test]
async fn a_notification_reaches_its_user_and_nobody_else() {
    let site = Example::start(env!("CARGO_BIN_EXE_notifications"), &[]).await;
    assert_eq!(site.get("/notifications/", "").await.status, 401);
    let mut ann = site.get("/notifications/", "Cookie: session=of-ann\r\n").await;
    // What she names is not what she gets.
    let eve = "Cookie: a=b; session=of-eve\r\n";
    let mut eve = site.get("/notifications/?channel=user-ann", eve).await;
    ann.opening().await;
    eve.opening().await;
    assert_eq!(site.post("/notify/ann", "a parcel").await, 204);
    assert_eq!(site.post("/notify/eve", "a letter").await, 204);
    ann.until("event: notification\nid: user-ann:1\ndata: a parcel\n\n").await;
    let seen = eve.until("data: a letter\n\n").await;
    assert!(!seen.contains("parcel"), "{seen}");
}

#[tokio::test]
async fn a_models_tokens_are_relayed_in_order_to_their_end() {
    let model = Example::start(env!("CARGO_BIN_EXE_tokens"), &[]).await;
    let url = format!("http://{}/v1/chat/completions", model.port);
    let relay = Example::start(env!("CARGO_BIN_EXE_tokens"), &[&url]).await;
    let body = relay.get("/answer?question=why", "").await.body().await;
    let words = ["Because", " it", " is", " so", "."];
    let tokens = words.map(|word| format!("event: token\ndata: {word}\n\n")).concat();
    assert_eq!(body, format!(":\n\n{tokens}event: end\ndata: \n\n"));
}

#[tokio::test]
async fn prices_of_a_queue_arrive_and_those_of_a_stream_can_be_read_again() {
    let Some(redis) = Own::redis().await else { return };
    let queue = Example::start(env!("CARGO_BIN_EXE_queue"), &[&redis.url()]).await;
    assert_eq!(queue.get("/now/lead", "").await.status, 404);
    let mut now = queue.get("/now/gold", "").await;
    now.until("id: ").await;
    let client = redis::Client::open(redis.url()).expect("a URL");
    let mut redis = client.get_multiplexed_async_connection().await.expect("it runs");
    let mut run = async |words: &[&str]| {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]).exec_async(&mut redis).await.expect("done");
    };
    run(&["PUBLISH", "prices.gold", "17"]).await;
    run(&["XADD", "prices.gold", "1-0", "event", "price", "data", "18"]).await;
    now.until("event: price\nid: ").await;
    now.until("data: 17\n\n").await;
    let mut all = queue.get("/all/gold?lastEventId=0-0", "").await;
    all.until("event: price\nid: 1-0\ndata: 18\n\n").await;
}
