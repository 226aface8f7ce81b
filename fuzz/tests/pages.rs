//! The pages of the checks are what the checks say, and their commands run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs};

use sse_fuzz::probe::pages;
use sse_server::http::{self, HttpConfig};
use sse_server::hub::Hub;
use sse_server::storage::{MemoryStorage, NewEvent};
use tokio::net::TcpListener;
use tokio::process::Command;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/checks")
}

#[test]
fn each_check_has_its_page_and_there_are_no_others() {
    let folder = folder();
    let is_blessed = env::var_os("BLESS").is_some();
    if is_blessed {
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).expect("a folder");
    }
    let mut files = BTreeSet::new();
    for page in pages() {
        let path = folder.join(&page.file);
        if is_blessed {
            fs::write(&path, &page.text).expect("it can be written");
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == page.text,
            "{}: run this test with BLESS=1 and look at the difference",
            page.file
        );
        files.insert(page.file);
    }
    let there = fs::read_dir(&folder).expect("it is there").flatten();
    let there: BTreeSet<_> =
        there.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(there, files);
}

#[tokio::test]
async fn the_commands_run_and_show_an_answer() {
    let hub = Hub::new(Arc::new(MemoryStorage::new()));
    let event = NewEvent::new("test", "message", "hello");
    hub.publish(vec![event]).await.expect("memory takes it");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/events/?channel=test", listener.local_addr().expect("an address"));
    let router = http::router(hub.clone(), HttpConfig::new("token"));
    tokio::spawn(async move { http::serve(listener, router, &hub, std::future::pending()).await });
    let commands: BTreeSet<_> = pages().into_iter().map(|page| page.command).collect();
    let outputs = commands.iter().map(|command| {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).env("URL", &url).kill_on_drop(true);
        shell.output()
    });
    for (command, output) in commands.iter().zip(futures_util::future::join_all(outputs).await) {
        let output = output.expect("there is a shell");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{command}: {output:?}");
        let shows = ["HTTP/1.1", "e v e n t", "event"].iter().any(|part| said.contains(part));
        assert!(shows || said.contains("0000000"), "{command}: {said}");
    }
}
