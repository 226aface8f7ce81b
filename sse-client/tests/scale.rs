//! Many streams in one process, and one stream for very long.
#![cfg(target_os = "linux")]

mod server;

use std::fs;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use server::{OPEN, run};
use sse_client::reqwest::Client;
use sse_client::{Backoff, EventSource, Item};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::sleep;

const STREAMS: usize = 1000;
const RECONNECTS: usize = 10_000;

/// Of the reconnects, before which memory may still grow: pools and buffers find their size.
const WARM_UP: usize = 2000;

/// What all reconnects after that may add, in bytes: less than a kilobyte for four of them.
const MAX_GROWTH: usize = 2 << 20;

/// One test at a time: they look at what the whole process holds.
static ALONE: Mutex<()> = Mutex::new(());

/// What this process holds.
#[derive(Debug)]
struct Held {
    files: usize,
    tasks: usize,
    memory: usize,
}

impl Held {
    fn now() -> Self {
        let statm = fs::read_to_string("/proc/self/statm").expect("Linux tells");
        let pages: usize =
            statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
        Self {
            files: fs::read_dir("/proc/self/fd").expect("Linux tells").count(),
            tasks: Handle::current().metrics().num_alive_tasks(),
            memory: pages * 4096,
        }
    }
}

/// Reads requests, and hands over each connection with what it has asked.
async fn serve() -> (SocketAddr, mpsc::UnboundedReceiver<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let sender = sender.clone();
            // Nobody waits for others, who may look at a new port and say nothing.
            tokio::spawn(async move {
                let head = read_request(&mut stream).await;
                if head.is_some_and(|head| head.contains("GET /events ")) {
                    drop(sender.send(stream));
                }
            });
        }
    });
    (address, receiver)
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut bytes = [0; 1024];
        match stream.read(&mut bytes).await {
            Ok(len @ 1..) => head.extend_from_slice(&bytes[..len]),
            _ => return None,
        }
    }
    String::from_utf8(head).ok()
}

async fn event(source: &mut EventSource) -> String {
    loop {
        match source.next().await.expect("the stream goes on").expect("good news") {
            Item::Event(event) => return event.data().to_owned(),
            Item::Open => {}
            other => panic!("unexpected {other:?}"),
        }
    }
}

#[test]
fn a_thousand_streams_run_in_one_process_and_go_at_once_when_dropped() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    run(async {
        let (address, mut connections) = serve().await;
        let client = Client::new();
        let before = Held::now();
        let sources = (0..STREAMS).map(|_| {
            let builder = EventSource::builder(format!("http://{address}/events"));
            builder.client(client.clone()).build().expect("a valid set-up")
        });
        let mut sources: Vec<_> = sources.collect();

        let accept = async {
            let mut accepted = Vec::new();
            while accepted.len() < STREAMS {
                let mut stream: TcpStream = connections.recv().await.expect("served");
                let number = accepted.len();
                stream
                    .write_all(format!("{OPEN}data: {number}\n\n").as_bytes())
                    .await
                    .expect("sent");
                accepted.push(stream);
            }
            accepted
        };
        let first = join_all(sources.iter_mut().map(event));
        let (mut accepted, mut first) = tokio::join!(accept, first);
        first.sort_by_key(|data| data.parse::<usize>().expect("a number"));
        assert!(first.iter().enumerate().all(|(number, data)| *data == number.to_string()));

        for stream in &mut accepted {
            stream.write_all(b"data: all\n\n").await.expect("sent");
        }
        let second = join_all(sources.iter_mut().map(event)).await;
        assert!(second.iter().all(|data| data == "all"));

        drop(sources);
        for stream in &mut accepted {
            assert!(!matches!(stream.read(&mut [0]).await, Ok(1..)), "nobody is there");
        }
        drop(accepted);
        while Held::now().files > before.files || Held::now().tasks > before.tasks {
            sleep(Duration::from_millis(10)).await;
        }
    });
}

#[test]
fn ten_thousand_reconnects_leave_nothing_behind() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    run(async {
        let (address, mut connections) = serve().await;
        tokio::spawn(async move {
            while let Some(mut stream) = connections.recv().await {
                // Every other connection is used twice: a stream that has ended leaves it as it
                // was.
                let body = "retry: 0\nid: 7\ndata: x\n\n";
                let chunked = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                     Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
                    body.len()
                );
                for answer in [chunked, format!("{OPEN}{body}: cut")] {
                    drop(stream.write_all(answer.as_bytes()).await);
                    if answer.ends_with("cut") || read_request(&mut stream).await.is_none() {
                        break;
                    }
                }
            }
        });
        let backoff = Backoff::default().min(Duration::ZERO).initial(Duration::ZERO);
        let builder = EventSource::builder(format!("http://{address}/events"));
        let builder = builder.session(|config| config.backoff(backoff));
        let mut source = builder.build().expect("a valid set-up");
        let mut warm = None;
        for round in 0..RECONNECTS {
            assert_eq!(event(&mut source).await, "x");
            if round == WARM_UP {
                warm = Some(Held::now());
            }
        }
        let (warm, last) = (warm.expect("passed"), Held::now());
        let is_level = last.files <= warm.files + 4
            && last.tasks <= warm.tasks + 4
            && last.memory <= warm.memory + MAX_GROWTH;
        assert!(is_level, "{warm:?} became {last:?}");
    });
}
