//! Who may read the demo's channel `private`: everyone, until someone says no.
//!
//! What the server asks about permission (`access.forward-auth`) is usually a site's own backend. Here it
//! is a thread that answers with what it was last told, by `POST /revoke` and `POST /grant`.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::process::say;

/// The channel that it keeps.
pub(super) const CHANNEL: &str = "private";

/// How long it waits for anyone.
const PATIENCE: Duration = Duration::from_secs(5);

/// Answers for as long as the program runs, and returns where. The server at `server` is told of each
/// change, as a site's backend would tell it.
pub(super) fn start(server: SocketAddr, token: &str) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let token: Arc<str> = token.into();
    let is_allowed = Arc::new(AtomicBool::new(true));
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let (token, is_allowed) = (Arc::clone(&token), Arc::clone(&is_allowed));
            // While one is answered, the server asks. Whoever has gone needs no answer.
            thread::spawn(move || answer(connection, &is_allowed, server, &token));
        }
    });
    Ok(address)
}

/// Writes the server's settings: who asks whom.
pub(super) fn settings(path: &Path, address: SocketAddr) -> io::Result<()> {
    let toml = format!(
        "# Written by `cargo xtask demo`.\n\
         [[access.rules]]\nchannel = \"{CHANNEL}\"\nallow = \"backend\"\n\n\
         [[access.rules]]\nchannel = \"*\"\nallow = \"public\"\n\n\
         [access.forward-auth]\nurl = \"http://{address}/\"\ncache = \"1s\"\n"
    );
    std::fs::write(path, toml)
}

fn answer(
    mut connection: TcpStream,
    is_allowed: &AtomicBool,
    server: SocketAddr,
    token: &str,
) -> io::Result<()> {
    connection.set_read_timeout(Some(PATIENCE))?;
    let mut head = BufReader::new(connection.try_clone()?).lines();
    let first = head.next().transpose()?.unwrap_or_default();
    while head.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let (status, text) = match &*first.split(' ').take(2).collect::<Vec<_>>() {
        ["POST", "/revoke"] => {
            is_allowed.store(false, Ordering::SeqCst);
            ("200 OK", changed(server, token))
        }
        ["POST", "/grant"] => {
            is_allowed.store(true, Ordering::SeqCst);
            ("200 OK", changed(server, token))
        }
        ["GET", path] if path.starts_with("/?") => (
            if is_allowed.load(Ordering::SeqCst) { "200 OK" } else { "403 Forbidden" },
            String::new(),
        ),
        _ => ("404 Not Found", "there is POST /revoke and POST /grant\n".to_owned()),
    };
    write!(
        connection,
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    )
}

/// Tells the server that permissions have changed, and the caller how that went.
fn changed(server: SocketAddr, token: &str) -> String {
    let body = format!(r#"{{"user":null,"channel":"{CHANNEL}"}}"#);
    let request = format!(
        "POST /permissions/changed HTTP/1.1\r\nHost: {server}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let told = || {
        let mut connection = TcpStream::connect_timeout(&server, PATIENCE)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        connection.write_all(request.as_bytes())?;
        BufReader::new(connection).lines().next().transpose()
    };
    match told() {
        Ok(Some(status)) => {
            say(&format!("Permission for {CHANNEL} has changed; the server says {status}"));
            "done\n".to_owned()
        }
        Ok(None) => "the server said nothing\n".to_owned(),
        Err(error) => format!("the server was not told: {error}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn ask(address: SocketAddr, request: &str) -> String {
        let mut connection = TcpStream::connect(address).expect("it listens");
        write!(connection, "{request} HTTP/1.1\r\nHost: x\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        connection.read_to_string(&mut answer).expect("it answers");
        answer
    }

    #[test]
    fn it_says_no_from_when_it_is_told_until_it_is_told_otherwise() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = start(server.local_addr().expect("bound"), "secret").expect("it starts");
        let server = thread::spawn(move || {
            let requests = server.incoming().take(2).map(|connection| {
                let mut connection = connection.expect("it connects");
                let mut first = [0; 26];
                connection.read_exact(&mut first).expect("it asks");
                // A server asks before it answers.
                let allowed = ask(address, "GET /?channel=private");
                assert!(
                    allowed.starts_with("HTTP/1.1 200 ") || allowed.starts_with("HTTP/1.1 403 ")
                );
                connection.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").expect("it waits");
                String::from_utf8_lossy(&first).into_owned()
            });
            requests.collect::<Vec<_>>()
        });
        assert!(ask(address, "GET /?channel=private").starts_with("HTTP/1.1 200 "));
        assert!(ask(address, "POST /revoke").ends_with("done\n"));
        assert!(ask(address, "GET /?channel=private").starts_with("HTTP/1.1 403 "));
        assert!(ask(address, "POST /grant").ends_with("done\n"));
        assert!(ask(address, "GET /?channel=private").starts_with("HTTP/1.1 200 "));
        assert!(ask(address, "GET /favicon.ico").starts_with("HTTP/1.1 404 "));
        let told = server.join().expect("it is told");
        assert_eq!(told, ["POST /permissions/changed "; 2]);
    }
}
