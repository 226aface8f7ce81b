//! A file that cannot be written for a while.

use std::path::PathBuf;
use std::process::Stdio;

use sse_server::storage::{NewEvent, SqliteStorage, Storage};
use tokio::process::Command;

use crate::server::{Server, TOKEN, until};

/// Large enough to fill a small disk soon.
fn event() -> String {
    format!(r#"{{"channel":"a","text":"{}"}}"#, "x".repeat(20_000))
}

/// Publishes under this key.
async fn publish_with(server: &Server, key: &str) -> (u16, String) {
    let headers = format!("Authorization: Bearer {TOKEN}\r\nIdempotency-Key: {key}\r\n");
    let mut answer = server.post(&event(), &headers).await;
    (answer.status, answer.body().await)
}

/// Publishes until that fails, and returns how often it did not.
async fn fill(server: &Server) -> usize {
    for published in 0..1000 {
        let (status, _) = server.try_publish(&event()).await;
        if status != 200 {
            assert_eq!(status, 503);
            return published;
        }
    }
    panic!("there is no end to the disk");
}

async fn is_ready(server: &Server) -> bool {
    let mut answer = server.get("/health/ready", "").await;
    if answer.status == 200 {
        return true;
    }
    let body = answer.body().await;
    assert!(body.contains("nothing can be published: cannot "), "{body}");
    false
}

/// The server goes on with the next id, says that it does, and has lost nothing.
async fn goes_on(server: &mut Server, published: usize) {
    until("room to be used", async || server.try_publish(&event()).await.0 == 200).await;
    until("readiness to say so", async || is_ready(server).await).await;
    assert_eq!(server.publish(&event()).await["id"], format!("a:{}", published + 2));
    server.kill().await;
    server.restart().await;
    assert_eq!(server.publish(&event()).await["id"], format!("a:{}", published + 3));
}

/// A disk of 2 MB that only the server sees, with a file on it that takes a part of it.
const SMALL_DISK: &str = r#"
    for argument; do
        case $argument in sqlite:*) folder=${argument#sqlite:}; folder=${folder%/*};; esac
    done
    mount -t tmpfs -o size=2m tmpfs "$folder" && head -c 500000 /dev/zero > "$folder/other" && exec "$@"
"#;

/// If this machine lets a process have mounts of its own.
async fn on_small_disk() -> Option<Server> {
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount"]);
        command
    };
    let can = unshare().arg("true").stdout(Stdio::null()).stderr(Stdio::null()).status().await;
    if !can.is_ok_and(|status| status.success()) {
        eprintln!("left out, it needs mounts of its own");
        return None;
    }
    let mut wrapper = unshare();
    wrapper.args(["sh", "-c", SMALL_DISK, "sh"]);
    Some(Server::start_under(wrapper, &[]).await)
}

/// As the server sees it.
fn other_file(server: &Server) -> PathBuf {
    let folder = server.database().parent().expect("a folder").to_owned();
    let inside = format!("/proc/{}/root{}", server.id(), folder.display());
    PathBuf::from(inside).join("other")
}

#[tokio::test]
async fn a_disk_that_was_full_ends_no_publishing_once_there_is_room_again() {
    let Some(server) = on_small_disk().await else { return };
    let published = fill(&server).await;
    until("readiness to say that it is full", async || !is_ready(&server).await).await;
    let live = server.get("/health/live", "").await;
    assert_eq!(live.status, 200, "a new process would find the same disk");
    std::fs::remove_file(other_file(&server)).expect("it is there");
    until("room to be used", async || server.try_publish(&event()).await.0 == 200).await;
    until("readiness to say so", async || is_ready(&server).await).await;
    assert_eq!(server.publish(&event()).await["id"], format!("a:{}", published + 2));
}

/// The key is not taken by a request of which nothing could be stored.
#[tokio::test]
async fn a_request_with_a_key_that_met_a_full_disk_is_published_once_when_it_is_sent_again() {
    let Some(server) = on_small_disk().await else { return };
    let published = fill(&server).await;
    let key = "again";
    assert_eq!(publish_with(&server, key).await.0, 503);
    std::fs::remove_file(other_file(&server)).expect("it is there");
    until("room to be used", async || publish_with(&server, key).await.0 == 200).await;
    let (_, answer) = publish_with(&server, key).await;
    assert!(answer.contains(&format!("\"a:{}\"", published + 1)), "{answer}");
}

/// An error of the disk that is not "full": files may not grow beyond a size, as with a quota.
#[tokio::test]
async fn a_file_that_may_not_grow_for_a_while_ends_no_publishing() {
    let mut wrapper = Command::new("sh");
    wrapper.args(["-c", r#"trap "" XFSZ; exec "$@""#, "sh"]);
    let mut server = Server::start_under(wrapper, &[]).await;
    let limit = async |bytes: &str| {
        let mut prlimit = Command::new("prlimit");
        prlimit.args(["--pid", &server.id().to_string(), &format!("--fsize={bytes}:")]);
        assert!(prlimit.status().await.expect("util-linux is there").success());
    };
    limit("300000").await;
    let published = fill(&server).await;
    until("readiness to say so", async || !is_ready(&server).await).await;
    limit("unlimited").await;
    goes_on(&mut server, published).await;
}

/// A task that is cut short in the middle of a transaction, wherever it has come to.
#[tokio::test]
async fn an_append_that_is_cut_short_is_whole_or_nothing_and_the_next_one_works() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let storage = SqliteStorage::open(folder.path().join("events.db")).await.expect("it opens");
    let events = ["1", "2", "3"].map(|data| NewEvent::new("a", "t", data));
    for polls in 1..40 {
        let before = storage.head("a").await.expect("it answers");
        let mut append = Box::pin(storage.append(&events));
        for _ in 0..polls {
            // Not ready yet, or it has come to its end.
            let polled = std::future::poll_fn(|cx| {
                std::task::Poll::Ready(append.as_mut().poll(cx).is_ready())
            });
            if polled.await {
                break;
            }
            tokio::task::yield_now().await;
            std::thread::yield_now();
        }
        drop(append);
        let next = storage.append(&events).await.expect("appended");
        let gap = next[0] - before;
        assert!(gap == 1 || gap == 4, "{next:?} after {before}");
        assert_eq!(storage.read("a", before, 9).await.expect("it reads").len() as u64, gap + 2);
    }
}
