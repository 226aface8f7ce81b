//! Asks a server whether it is ready.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long one question may take. A server on the same machine needs a thousandth of it.
const TIMEOUT: Duration = Duration::from_millis(500);

/// Whether `GET /health/ready` is answered with 200.
pub(crate) fn is_ready(address: SocketAddr) -> bool {
    status(address).is_ok_and(|status| status == "200")
}

fn status(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    // In one piece, so that it needs no patience to be read.
    let request =
        format!("GET /health/ready HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut start = [0; "HTTP/1.1 200".len()];
    stream.read_exact(&mut start)?;
    let start = String::from_utf8_lossy(&start);
    let status = start.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..));
    Ok(status.unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    fn answered(answer: &'static str) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("one connection");
            let mut request = [0; 1024];
            let len = stream.read(&mut request).expect("a request");
            assert!(request[..len].starts_with(b"GET /health/ready HTTP/1.1\r\nHost: 127.0.0.1:"));
            stream.write_all(answer.as_bytes()).expect("read");
        });
        let ready = is_ready(address);
        server.join().expect("no panic");
        ready
    }

    #[test]
    fn only_200_is_ready() {
        assert!(answered("HTTP/1.1 200 OK\r\n\r\n"));
        assert!(answered("HTTP/1.0 200 OK\r\n\r\n"));
        assert!(!answered("HTTP/1.1 503 Service Unavailable\r\n\r\n"));
        assert!(!answered("SSH-2.0-OpenSSH_9.2\r\n"));
        assert!(!answered(""));
    }
}
