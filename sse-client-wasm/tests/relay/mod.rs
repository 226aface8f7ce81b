//! Between commands and pages: each connection hands over a task, as a line of JSON, and gets the
//! lines that its page says.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use testkit::browser::Browser;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc};
use url::Url;

/// One is for `https`, where all cases share a connection: one at a time.
pub(crate) const BROWSERS: usize = 4;

/// How many cases the others take at once: one connection of the six is for those that are ending.
const CASES: usize = 5;

pub(crate) const JOBS: usize = (BROWSERS - 1) * CASES;

/// How often pages are asked what they have to say.
const TICK: Duration = Duration::from_millis(20);

pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
}

/// What a page is told.
enum Order {
    Begin(usize, Url, Value, OwnedWriteHalf),
    End(usize),
}

/// A browser with one page.
struct Place {
    orders: mpsc::UnboundedSender<Order>,
    /// The cases that run there.
    running: Arc<AtomicUsize>,
}

/// What a page says: the case, and a line of it, or the end.
#[derive(Deserialize)]
struct Said(usize, Option<String>);

impl Relay {
    /// Waits for tasks. `client` is the script that makes a page a client.
    pub(crate) async fn start(client: String, browsers: Vec<Browser>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let client: Arc<str> = client.into();
        let places = browsers.into_iter().map(|browser| Place::new(browser, Arc::clone(&client)));
        let places: Arc<[Place]> = places.collect();
        let secure = Arc::new(Mutex::new(()));
        tokio::spawn(async move {
            let mut number = 0;
            while let Ok((socket, _)) = listener.accept().await {
                number += 1;
                tokio::spawn(serve(socket, number, Arc::clone(&places), Arc::clone(&secure)));
            }
        });
        Self { address }
    }
}

async fn serve(socket: TcpStream, number: usize, places: Arc<[Place]>, secure: Arc<Mutex<()>>) {
    let (read, write) = socket.into_split();
    let mut read = BufReader::new(read);
    let mut task = String::new();
    if read.read_line(&mut task).await.is_err() {
        return;
    }
    let task: Value = serde_json::from_str(&task).expect("a task is JSON");
    let url: Url = task["url"].as_str().and_then(|url| url.parse().ok()).expect("a URL");
    let is_secure = url.scheme() == "https";
    let _turn = if is_secure { Some(secure.lock().await) } else { None };
    let (secured, plain) = places.split_last().expect("there are browsers");
    let least = plain.iter().min_by_key(|place| place.running.load(Ordering::Relaxed));
    let place = if is_secure { secured } else { least.expect("there are others") };
    place.running.fetch_add(1, Ordering::Relaxed);
    drop(place.orders.send(Order::Begin(number, url, task, write)));
    // Nothing comes but the end: the command has been ended.
    let mut nothing = [0];
    let _ = read.read(&mut nothing).await;
    drop(place.orders.send(Order::End(number)));
    place.running.fetch_sub(1, Ordering::Relaxed);
}

impl Place {
    fn new(browser: Browser, client: Arc<str>) -> Self {
        let (orders, incoming) = mpsc::unbounded_channel();
        tokio::spawn(tend(browser, client, incoming));
        Self { orders, running: Arc::default() }
    }
}

/// Hands orders to the page, and what it says to the commands.
async fn tend(browser: Browser, client: Arc<str>, mut orders: mpsc::UnboundedReceiver<Order>) {
    let mut commands: HashMap<usize, OwnedWriteHalf> = HashMap::new();
    let mut is_ready = false;
    loop {
        // Until there is a case, there is nothing to say.
        if commands.is_empty() {
            let Some(order) = orders.recv().await else { return };
            obey(&browser, &client, &mut is_ready, &mut commands, order).await;
        }
        while let Ok(order) = orders.try_recv() {
            obey(&browser, &client, &mut is_ready, &mut commands, order).await;
        }
        if is_ready {
            let said = browser.run("return hostile.said.splice(0)").await;
            let said: Vec<Said> = serde_json::from_value(said).expect("what was said");
            for Said(number, line) in said {
                let Some(command) = commands.get_mut(&number) else { continue };
                match line {
                    Some(line) => drop(command.write_all(line.as_bytes()).await),
                    None => drop(command.shutdown().await),
                }
            }
        }
        tokio::time::sleep(TICK).await;
    }
}

async fn obey(
    browser: &Browser,
    client: &str,
    is_ready: &mut bool,
    commands: &mut HashMap<usize, OwnedWriteHalf>,
    order: Order,
) {
    match order {
        Order::Begin(number, url, task, command) => {
            if !std::mem::replace(is_ready, true) {
                // The list of cases, by the origin of all of them.
                browser.open(&url.origin().ascii_serialization()).await;
                browser.run(client).await;
            }
            commands.insert(number, command);
            browser.run(&format!("hostile.begin({number}, {})", json!(task))).await;
        }
        Order::End(number) => {
            commands.remove(&number);
            browser.run(&format!("hostile.end({number})")).await;
        }
    }
}
