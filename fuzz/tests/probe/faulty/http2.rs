//! The server by HTTP/2, raw as the rest: a library would forbid the faults. Any request gets the
//! stream.

use std::sync::atomic::Ordering::SeqCst;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::State;
use super::bytes::event;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames (RFC 9113, section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;

/// Set in an answer to settings or a ping, and where headers end.
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// How many streams may be reset before a fragile server gives up.
const FRAGILE: usize = 100;

/// Whether a client begins with HTTP/2, and is to be answered so.
pub(super) async fn is_spoken(state: &State, socket: &TcpStream) -> bool {
    let mut begin = [0; 3];
    state.fault.contains("h2") && socket.peek(&mut begin).await.is_ok() && &begin == b"PRI"
}

fn has_given_up(state: &State) -> bool {
    state.is("rob.h2") && state.resets.load(SeqCst) > FRAGILE
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

pub(super) async fn serve(state: &State, socket: TcpStream) {
    if has_given_up(state) {
        return;
    }
    let (mut reader, mut writer) = socket.into_split();
    let (sender, mut frames) = mpsc::channel(16);
    let reading = async {
        let mut preface = [0; PREFACE.len()];
        reader.read_exact(&mut preface).await?;
        loop {
            let mut head = [0; 9];
            reader.read_exact(&mut head).await?;
            let len = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; len as usize];
            reader.read_exact(&mut payload).await?;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let frame = Frame { kind: head[3], flags: head[4], stream, payload };
            if sender.send(frame).await.is_err() {
                return Ok(());
            }
        }
    };
    let writing = async {
        writer.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
        let mut head = state.head.subscribe();
        let mut streams: Vec<(u32, usize)> = Vec::new();
        loop {
            tokio::select! {
                Some(read) = frames.recv() => match (read.kind, read.flags & ACK) {
                    (SETTINGS, 0) => writer.write_all(&frame(SETTINGS, ACK, 0, &[])).await?,
                    (PING, 0) => writer.write_all(&frame(PING, ACK, 0, &read.payload)).await?,
                    (HEADERS, _) => {
                        writer.write_all(&frame(HEADERS, END_HEADERS, read.stream, &block(state))).await?;
                        streams.push((read.stream, *state.head.borrow()));
                    }
                    (RESET, _) => {
                        streams.retain(|(stream, _)| *stream != read.stream);
                        state.resets.fetch_add(1, SeqCst);
                        if has_given_up(state) {
                            return Ok(());
                        }
                    }
                    _ => {}
                },
                _ = head.changed() => {
                    let newest = *head.borrow_and_update();
                    for (stream, at) in &mut streams {
                        while *at < newest {
                            let entry = state.log.lock().expect("no panic")[*at].clone();
                            *at += 1;
                            if state.is("con.h2") && at.is_multiple_of(3) {
                                continue;
                            }
                            let bytes = event(state, *at, &entry, false);
                            writer.write_all(&frame(DATA, 0, *stream, &bytes)).await?;
                        }
                    }
                }
            }
        }
    };
    let _: std::io::Result<()> = tokio::select! {
        read = reading => read,
        written = writing => written,
    };
}

/// An answer's headers: status 200 of the table that both have, the rest in full (RFC 7541, section
/// 6.2.2).
fn block(state: &State) -> Vec<u8> {
    let mut block = vec![0x88];
    let mut headers = vec![("content-type", "text/event-stream"), ("cache-control", "no-cache")];
    if state.is("con.h2-headers") {
        headers.push(("connection", "keep-alive"));
    }
    for (name, value) in headers {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).expect("it is short"));
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("it is short").to_be_bytes();
    let mut bytes = len[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}
