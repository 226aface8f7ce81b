//! A pooler before PostgreSQL, as it comes.

use std::process::Stdio;

use sse_server::relay::{Message, PostgresRelay, Relay};
use sse_server::storage::{NewEvent, PostgresStorage, Storage};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use crate::port::Port;
use crate::server::{until, within};
use crate::services;

/// What `PgBouncer` takes without being told to ignore it.
const KNOWN: [&str; 7] = [
    "user",
    "database",
    "application_name",
    "client_encoding",
    "datestyle",
    "timezone",
    "standard_conforming_strings",
];

/// The names of the parameters that a connection begins with.
async fn begins_with(listener: &TcpListener) -> Vec<String> {
    let (mut client, _) = within("a connection", listener.accept()).await.expect("accepted");
    loop {
        let len = within("a message", client.read_u32()).await.expect("a length");
        let mut message = vec![0; len as usize - 4];
        client.read_exact(&mut message).await.expect("a message");
        let (version, parameters) = message.split_at(4);
        if version == [0x04, 0xd2, 0x16, 0x2f] {
            // It asks for TLS first, which there is not.
            client.writable().await.expect("writable");
            client.try_write(b"N").expect("written");
            continue;
        }
        let texts: Vec<&str> =
            str::from_utf8(parameters).expect("UTF-8").split_terminator('\0').collect();
        return texts
            .chunks(2)
            .map(|pair| pair[0].to_lowercase())
            .filter(|n| !n.is_empty())
            .collect();
    }
}

#[tokio::test]
async fn connections_begin_with_parameters_that_poolers_know() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let url = format!("postgres://me@{address}/db");
    let (parameters, storage) = tokio::join!(begins_with(&listener), PostgresStorage::open(&url));
    storage.expect_err("it is closed");
    let (others, relay) = tokio::join!(begins_with(&listener), PostgresRelay::open(&url));
    assert!(relay.is_err(), "it is closed");
    for name in parameters.iter().chain(&others) {
        assert!(KNOWN.contains(&&**name), "{name} is not known to PgBouncer");
    }
}

/// With a real one, if there is one.
#[tokio::test]
async fn a_storage_and_a_relay_work_through_pgbouncer_as_it_comes() {
    let Some(url) = services::postgres().await else { return };
    let Some(program) = services::variable("SSE_TEST_PGBOUNCER") else { return };
    let (server, database) = url.rsplit_once('/').expect("a database");
    let (_, port) = server.rsplit_once(':').expect("a port");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let listen = Port::reserve();
    let settings = format!(
        "[databases]\n{database} = host=127.0.0.1 port={port} user=postgres\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\nauth_type = any\n\
         unix_socket_dir =\n",
        listen.number()
    );
    let file = folder.path().join("pgbouncer.ini");
    std::fs::write(&file, settings).expect("written");
    let mut pooler = Command::new("setpriv");
    pooler.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups", "--", &program]);
    pooler.arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).expect("ours");
    let _pooler = pooler.spawn().expect("it starts");
    until("it to listen", async || TcpStream::connect(listen.to_string()).await.is_ok()).await;

    let url = format!("postgres://postgres@{listen}/{database}");
    let storage = PostgresStorage::open(&url).await.expect("it opens");
    let others = PostgresStorage::open(&url).await.expect("it opens");
    for id in 1..=30 {
        let storage = if id % 2 == 0 { &storage } else { &others };
        assert_eq!(storage.append(&[NewEvent::new("a", "t", "x")]).await.expect("appended"), [id]);
    }
    assert_eq!(storage.read("a", 0, 99).await.expect("it reads").len(), 30);
    let relay = PostgresRelay::open(&url).await.expect("it opens");
    let hint = [Message::new("a", Some(1))];
    within("an answer", relay.send(&hint)).await.expect("sent");
}
