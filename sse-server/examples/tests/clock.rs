//! The clock behind a real Pushpin: readers get every tick once, in order, also when they come
//! back.

use std::process::Stdio;

use sse_client::{EventSource, Item};
use testkit::port::Port;
use testkit::pushpin::Pushpin;
use testkit::wait::{until, within};
use tokio::net::TcpStream;
use tokio::process::Command;

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_ticks_behind_the_proxy() {
    let port = Port::reserve();
    let Some(mut pushpin) = Pushpin::start(port.number()).await else { return };
    let mut clock = Command::new(env!("CARGO_BIN_EXE_grip-clock"));
    clock.args([port.to_string(), pushpin.grip_url()]).stdin(Stdio::null()).kill_on_drop(true);
    let _clock = clock.spawn().expect("it starts");
    let listens = async || TcpStream::connect(("127.0.0.1", port.number())).await.is_ok();
    until("the clock to listen", listens).await;
    let source = EventSource::builder(pushpin.url("/clock")).last_event_id("0");
    let mut source = source.build().expect("a client");
    let mut next = 1;
    for cut in [false, true, false] {
        if cut {
            pushpin.kill();
            pushpin.again().await;
        }
        let end = next + 3;
        while next < end {
            let item = within("a tick", source.next()).await.expect("it goes on");
            if let Ok(Item::Event(event)) = item {
                assert_eq!(event.data(), format!("tick {next}"));
                next += 1;
            }
        }
    }
}
