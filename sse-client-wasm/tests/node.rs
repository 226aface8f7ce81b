//! The package as npm hands it out: packed, installed in an empty folder, and used by Node.

#[allow(dead_code, reason = "each test file uses its part")]
mod faults;
#[allow(dead_code, reason = "each test file uses its part")]
mod npm;

use std::fs;

use faults::Faults;
use serde_json::json;
use tokio::process::Command;

#[tokio::test]
async fn the_package_is_installed_in_an_empty_folder_and_works_in_node() {
    let Some(package) = npm::package() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    npm::install(&package, folder.path()).await;

    let faults = Faults::start(Vec::new()).await;
    let script = format!(
        "import {{ EventSource, ReconnectingEventSource, events }} from 'sse-client-wasm';
         import {{ EventSource as External }} from 'sse-client-wasm/external';
         if (External !== EventSource) throw new Error('in Node they are one');
         const origin = 'http://{}';
         const script = [
             {{ head: '200 OK\\r\\nContent-Type: text/event-stream', body: ['id: 1\\ndata: a\\n\\n'] }},
             {{ head: '200 OK\\r\\nContent-Type: text/event-stream', body: ['id: 2\\ndata: b\\n\\n'], end: 'hang' }},
         ];
         await fetch(`${{origin}}/script/node`, {{ method: 'POST', body: JSON.stringify(script) }});
         const source = new ReconnectingEventSource(`${{origin}}/s/node`, {{ max_retry_time: 1 }});
         const found = [];
         await new Promise((resolve) => {{
             source.onmessage = ({{ data }}) => found.push(data) === 2 && resolve();
         }});
         source.close();
         const stream = new Blob(['data: c\\n\\n']).stream();
         const still = External.fromReadableStream(stream);
         await new Promise((resolve) => {{ still.onmessage = ({{ data }}) => resolve(found.push(data)); }});
         for await (const {{ data }} of events(`${{origin}}/s/node`)) {{ found.push(data); break; }}
         const log = await (await fetch(`${{origin}}/log/node`)).json();
         console.log(found.join(' '), log[1].headers['last-event-id']);",
        faults.address
    );
    fs::write(folder.path().join("script.mjs"), script).expect("written");
    let mut node = Command::new("node");
    node.arg("script.mjs");
    // It ends by itself only if nothing is left open.
    assert_eq!(npm::run(node, folder.path()).await.trim(), "a b c b 1");
}

/// The package, installed in a folder with the scripts in `node/`.
async fn with_scripts() -> Option<tempfile::TempDir> {
    let package = npm::package()?;
    let folder = tempfile::tempdir().expect("a temporary folder");
    npm::install(&package, folder.path()).await;
    npm::copy_scripts(folder.path());
    Some(folder)
}

#[tokio::test]
async fn redirects_connections_and_bodies_in_node() {
    let Some(folder) = with_scripts().await else { return };
    let mut node = Command::new("node");
    node.arg("behaviour.mjs");
    npm::run(node, folder.path()).await;
}

#[tokio::test]
async fn redirects_connections_and_bodies_in_node_that_looks_like_a_page() {
    let Some(folder) = with_scripts().await else { return };
    let mut node = Command::new("node");
    // As tests under jsdom have it.
    let page = "Object.assign(globalThis, { origin: 'http://localhost', window: globalThis })";
    node.arg("--import").arg(format!("data:text/javascript,{page}")).arg("behaviour.mjs");
    npm::run(node, folder.path()).await;
}

#[tokio::test]
async fn nothing_keeps_node_from_ending_after_a_source_was_closed() {
    let Some(folder) = with_scripts().await else { return };
    let faults = Faults::start(Vec::new()).await;
    let stream = "200 OK\r\nContent-Type: text/event-stream";
    let refusal = "503 Busy\r\nContent-Length: 100";
    for (way, head, end) in [
        ("open", stream, "hang"),
        ("waiting", stream, "close"),
        ("refused", refusal, "hang"),
        ("left", stream, "hang"),
    ] {
        faults.set(way, &json!([{"head": head, "body": ["data: a\n\n"], "end": end}]));
        let mut node = Command::new("node");
        node.arg("exit.mjs").arg(format!("http://{}/s/{way}", faults.address)).arg(way);
        assert_eq!(npm::run(node, folder.path()).await.trim(), "left:", "{way}");
    }
}
