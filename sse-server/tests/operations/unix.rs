//! A unix socket to listen on, and sockets that the service manager hands over.

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixDatagram, UnixStream};
use tokio::process::{Child, Command};

use crate::server::{TOKEN, binary, program, until, within};

/// A server that may listen anywhere, killed when dropped.
struct Process {
    child: Child,
    /// What it has logged up to the line that says where it listens.
    log: String,
}

impl Process {
    async fn start(mut command: Command) -> Self {
        let mut child = command.spawn().expect("it can be started");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let mut log = String::new();
        within("the server to listen", async {
            while let Some(line) = lines.next_line().await.expect("readable") {
                log += &line;
                log.push('\n');
                if line.contains("listening on ") {
                    return;
                }
            }
            panic!("it has ended: {log}");
        })
        .await;
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { child, log }
    }

    /// At this path, with storage in memory.
    async fn at(path: &Path, flags: &[&str]) -> Self {
        Self::start(at(path, flags)).await
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().expect("it is running").to_string();
        let sent = std::process::Command::new("kill").args([signal, &id]).status();
        assert!(sent.expect("kill is there").success());
    }

    async fn ends_well(&mut self) {
        let status = within("the server to exit", self.child.wait()).await.expect("waited for");
        assert!(status.success(), "{status}");
    }
}

fn at(path: &Path, flags: &[&str]) -> Command {
    let mut command = binary();
    command.args(["--listen", &format!("unix:{}", path.display()), "--storage", "memory"]);
    command.args(["--publish-token", TOKEN]).args(flags);
    command
}

/// What a command that cannot work says.
async fn refused(mut command: Command) -> String {
    let child = command.spawn().expect("it can be started");
    let output =
        within("the server to give up", child.wait_with_output()).await.expect("waited for");
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn folder() -> TempDir {
    // Short, because the path of a socket has a hundred bytes at most.
    tempfile::tempdir_in("/tmp").expect("a temporary folder")
}

/// A request over a unix socket, whose connection is to close, and the answer to its end.
async fn ask(path: &Path, request: &str, headers: &str, body: &str) -> String {
    let mut socket = UnixStream::connect(path).await.expect("it listens");
    let len = body.len();
    let request = format!(
        "{request} HTTP/1.1\r\nConnection: close\r\nContent-Length: {len}\r\n{headers}\r\n{body}"
    );
    socket.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    within("an answer", socket.read_to_string(&mut answer)).await.expect("it writes");
    answer
}

/// Publishes one event.
async fn publish(path: &Path, channel: &str) {
    let headers = format!("Host: localhost\r\nAuthorization: Bearer {TOKEN}\r\n");
    let event = format!(r#"{{"channel":"{channel}","data":1}}"#);
    let answer = ask(path, "POST /publish/", &headers, &event).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

/// Opens a stream, and reads until this is there.
async fn stream_until(path: &Path, request: &str, last: &str) -> UnixStream {
    let mut socket = UnixStream::connect(path).await.expect("it listens");
    let request = format!("GET {request} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    socket.write_all(request.as_bytes()).await.expect("it reads");
    let mut seen = Vec::new();
    within(last, async {
        while !String::from_utf8_lossy(&seen).contains(last) {
            let read = socket.read_buf(&mut seen).await.expect("readable");
            assert!(read > 0, "{}", String::from_utf8_lossy(&seen));
        }
    })
    .await;
    socket
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[tokio::test]
async fn streams_and_publishing_work_over_a_unix_socket_that_is_gone_afterwards() {
    let folder = folder();
    let (path, numbers) = (folder.path().join("sse.sock"), folder.path().join("numbers.sock"));
    let metrics = format!("unix:{}", numbers.display());
    for (flags, permissions) in [
        (&["--metrics-listen", &*metrics][..], 0o660),
        (&["--metrics-listen", &metrics, "--socket-mode", "600"], 0o600),
        (&["--metrics-listen", &metrics, "--socket-mode", "0666"], 0o666),
    ] {
        let mut server = Process::at(&path, flags).await;
        assert!(server.log.contains(&format!("listening on unix:{}", path.display())));
        assert_eq!((mode(&path), mode(&numbers)), (permissions, permissions));
        publish(&path, "a").await;
        let _open = stream_until(&path, "/events/a/?lastEventId=a:0", "id: a:1").await;
        let answer = ask(&numbers, "GET /metrics", "Host: localhost\r\n", "").await;
        assert!(answer.contains("sse_server_streams 1\n"), "{answer}");
        server.signal("-TERM");
        server.ends_well().await;
        assert!(!path.exists() && !numbers.exists(), "the files of sockets are removed");
    }
}

#[tokio::test]
async fn the_socket_of_a_dead_server_is_replaced_and_nothing_else_is() {
    let folder = folder();
    let path = folder.path().join("sse.sock");
    let mut dead = Process::at(&path, &[]).await;
    // A live one is an error, for that one it stays.
    let text = refused(at(&path, &[])).await;
    assert!(text.contains("a server listens there"), "{text}");
    publish(&path, "a").await;
    dead.child.start_kill().expect("it runs");
    dead.child.wait().await.expect("it can be waited for");
    assert!(path.exists(), "SIGKILL leaves the file");
    let server = Process::at(&path, &[]).await;
    publish(&path, "a").await;
    drop(server);
    // What is there by another hand stays: a file, a folder, a link to nowhere.
    fs::remove_file(&path).expect("it is left");
    fs::write(&path, "mine").expect("writable");
    let text = refused(at(&path, &[])).await;
    assert!(text.contains("no socket; it is left alone"), "{text}");
    assert_eq!(fs::read_to_string(&path).expect("readable"), "mine");
    fs::remove_file(&path).expect("it is there");
    fs::create_dir(&path).expect("writable");
    assert!(refused(at(&path, &[])).await.contains("it is left alone"));
    let nowhere = folder.path().join("no/such/folder.sock");
    assert!(refused(at(&nowhere, &[])).await.contains("No such file"));
}

#[tokio::test]
async fn a_socket_that_another_server_has_made_is_not_removed() {
    let folder = folder();
    let path = folder.path().join("sse.sock");
    let mut first = Process::at(&path, &[]).await;
    fs::remove_file(&path).expect("somebody can");
    let _second = Process::at(&path, &[]).await;
    first.signal("-TERM");
    first.ends_well().await;
    assert!(fs::symlink_metadata(&path).expect("it stays").file_type().is_socket());
    publish(&path, "a").await;
}

#[tokio::test]
async fn who_comes_by_a_unix_socket_is_local_and_believed_like_a_proxy() {
    let folder = folder();
    let path = folder.path().join("sse.sock");
    let _server = Process::at(&path, &["--max-per-address", "1"]).await;
    // As from 127.0.0.1: the name counts while everyone may read, and numbers need no token.
    for host in ["evil.example", "localhost.evil.example", "10.0.0.5"] {
        let host = format!("Host: {host}\r\n");
        for request in ["GET /events/a/", "GET /metrics"] {
            let answer = ask(&path, request, &host, "").await;
            assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
        }
    }
    assert!(ask(&path, "GET /metrics", "Host: localhost\r\n", "").await.contains("sse_server_"));
    // A limit for each address is one for each client that the proxy speaks for.
    let mut streams = Vec::new();
    for client in ["192.0.2.1", "192.0.2.2", "2001:db8::1"] {
        let for_client = format!("Host: localhost\r\nX-Forwarded-For: {client}\r\n");
        let mut socket = UnixStream::connect(&path).await.expect("it listens");
        let request = format!("GET /events/a/ HTTP/1.1\r\n{for_client}\r\n");
        socket.write_all(request.as_bytes()).await.expect("it reads");
        let mut head = [0; 15];
        within("an answer", socket.read_exact(&mut head)).await.expect("it writes");
        assert_eq!(&head, b"HTTP/1.1 200 OK", "{client}");
        let second = ask(&path, "GET /events/a/", &for_client, "").await;
        assert!(second.contains("too-many-streams"), "{second}");
        streams.push(socket);
    }
}

/// The server as the service manager starts it: with these sockets from descriptor 3 on.
fn activated(sockets: [OwnedFd; 2], count: usize, names: &str, args: &[&str]) -> Command {
    let mut shell = Command::new("sh");
    let script = "exec 3<&0 4<&1 </dev/null >/dev/null; LISTEN_PID=$$ exec \"$@\"";
    shell.args(["-c", script, "sh"]).arg(program()).args(args);
    shell.args(["--storage", "memory", "--publish-token", TOKEN]);
    let [first, second] = sockets;
    shell.env_remove("PORT").env("LISTEN_FDS", count.to_string()).env("LISTEN_FDNAMES", names);
    shell.stdin(first).stdout(second).stderr(Stdio::piped()).kill_on_drop(true);
    shell
}

#[tokio::test]
async fn sockets_that_are_handed_over_are_listened_on_by_their_names() {
    let folder = folder();
    let path = folder.path().join("sse.sock");
    let sockets = || {
        fs::remove_file(&path).ok();
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = tcp.local_addr().expect("bound").to_string();
        let unix = UnixListener::bind(&path).expect("a free path");
        ([OwnedFd::from(unix), OwnedFd::from(tcp)], address)
    };
    let listen = ["--listen", "systemd:web", "--metrics-listen", "systemd:numbers"];
    let (handed, address) = sockets();
    let mut server = Process::start(activated(handed, 2, "web:numbers", &listen)).await;
    assert!(server.log.contains(&format!("unix:{}", path.display())), "{}", server.log);
    publish(&path, "a").await;
    let numbers = reqwest::get(format!("http://{address}/metrics")).await.expect("an answer");
    assert!(numbers.text().await.expect("text").contains("sse_server_published_events_total 1"));
    server.signal("-TERM");
    server.ends_well().await;
    assert!(path.exists(), "it belongs to the service manager");
    // Without a name: the only one, also if nothing says where to listen.
    for args in [&["--listen", "systemd"][..], &[]] {
        let (handed, _) = sockets();
        let _server = Process::start(activated(handed, 1, "", args)).await;
        publish(&path, "a").await;
    }
    for (count, names, args, problem) in [
        (2, "a:b", &["--listen", "systemd"][..], "several sockets were handed over: a, b"),
        (1, "a", &["--listen", "systemd:b"], "no socket \"b\" was handed over"),
        (0, "", &["--listen", "systemd"], "no socket was handed over"),
    ] {
        let text = refused(activated(sockets().0, count, names, args)).await;
        assert!(text.starts_with("error: --listen: ") && text.contains(problem), "{text}");
    }
    // One at a public address wants rules, as one of our own does.
    let public = TcpListener::bind("0.0.0.0:0").expect("a free port");
    let handed =
        [OwnedFd::from(public), OwnedFd::from(TcpListener::bind("127.0.0.1:0").expect("free"))];
    let text = refused(activated(handed, 1, "", &[])).await;
    assert!(text.contains("add --open-access"), "{text}");
}

#[tokio::test]
async fn what_was_handed_to_another_process_is_not_taken() {
    let folder = folder();
    let path = folder.path().join("sse.sock");
    for id in ["1", "", "no number"] {
        let mut command = at(&path, &[]);
        command.env("LISTEN_FDS", "1").env("LISTEN_PID", id);
        let server = Process::start(command).await;
        publish(&path, "a").await;
        drop(server);
    }
}

#[tokio::test]
async fn the_service_manager_is_told_of_the_start_reloads_and_the_end() {
    let folder = folder();
    let (path, notify) = (folder.path().join("sse.sock"), folder.path().join("notify.sock"));
    let manager = UnixDatagram::bind(&notify).expect("a free path");
    let told = async || {
        let mut bytes = [0; 512];
        let len = within("a word", manager.recv(&mut bytes)).await.expect("readable");
        String::from_utf8_lossy(&bytes[..len]).into_owned()
    };
    let mut command = at(&path, &[]);
    command.env("NOTIFY_SOCKET", &notify);
    let mut server = Process::start(command).await;
    assert_eq!(told().await, "READY=1\n");
    publish(&path, "a").await;
    for _ in 0..2 {
        server.signal("-HUP");
        let reloading = told().await;
        let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
        assert!(time.is_some_and(|time| time.trim_end().parse::<u64>().is_ok()), "{reloading}");
        assert_eq!(told().await, "READY=1\n");
    }
    server.signal("-TERM");
    assert_eq!(told().await, "STOPPING=1\n");
    server.ends_well().await;
    // A manager that does not hear is none.
    drop(manager);
    let mut command = at(&path, &[]);
    command.env("NOTIFY_SOCKET", &notify);
    let _server = Process::start(command).await;
    until("it serves", async || UnixStream::connect(&path).await.is_ok()).await;
    publish(&path, "a").await;
}
