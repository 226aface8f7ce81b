//! The package as npm hands it out: packed, installed in an empty folder, and used by Node.

#[allow(dead_code, reason = "each test file uses its part")]
mod faults;
#[allow(dead_code, reason = "each test file uses its part")]
mod npm;

use std::fs;

use faults::Faults;
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
