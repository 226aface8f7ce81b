//! A program without std that uses sse-proto: it decodes, encodes, and drives a session a little.
//!
//! It exits with 0 if every result is right, with the number of the first wrong one otherwise. That
//! it builds at all is the greater part of the check: it brings a panic handler of its own, so if
//! sse-proto or one of its dependencies pulled in std, there would be two, which is an error.

#![no_std]
#![no_main]

mod allocator;

use core::ffi::{c_char, c_int};
use core::panic::PanicInfo;
use core::time::Duration;

use sse_proto::{
    Closed, Cursor, Decoder, Event, Failure, Frame, Item, Reader, ResponseHead, SessionConfig,
    State, Step,
};

// Without std nothing asks the linker for the C library, whose start-up code calls `main`.
#[link(name = "c")]
unsafe extern "C" {
    fn abort() -> !;
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    // SAFETY: `abort` takes nothing, may be called at any time, and does not return.
    unsafe { abort() }
}

// `alloc` comes compiled for programs that unwind and names these two. Nothing unwinds here, so
// nothing calls them.

// SAFETY: with std, the only other definition, this program does not link anyway.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

// SAFETY: as above.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() {}

// SAFETY: the C library looks for a function with this name and signature; there is no other.
#[unsafe(no_mangle)]
extern "C" fn main(_: c_int, _: *const *const c_char) -> c_int {
    let checks = [decodes, encodes, reads_cursors, resumes, obeys_stream_error];
    let wrong = checks.iter().zip(1..).find(|(check, _)| !check());
    wrong.map_or(0, |(_, number)| number)
}

fn decodes() -> bool {
    let stream =
        "\u{feff}: hi\r\nretry: 1500\nid: 7\rdata: gr\u{fc}n\r\ndata: x\n\nevent: e\ndata\n\n";
    [1, 2, 7, stream.len()].into_iter().all(|chunk_len| {
        let mut decoder = Decoder::new();
        let mut found = 0;
        for chunk in stream.as_bytes().chunks(chunk_len) {
            let mut frames = decoder.decode(chunk);
            while let Some(frame) = frames.next_frame() {
                let right = match (found, frame) {
                    (0, Ok(Frame::Retry(time))) => time == Duration::from_millis(1500),
                    (1, Ok(Frame::Event(event))) => {
                        event.data() == "gr\u{fc}n\nx" && event.event_type() == "message"
                    }
                    (2, Ok(Frame::Event(event))) => {
                        event.data().is_empty() && event.event_type() == "e"
                    }
                    _ => false,
                };
                if !right {
                    return false;
                }
                found += 1;
            }
        }
        found == 3 && decoder.last_event_id() == Some("7")
    })
}

fn encodes() -> bool {
    let mut out = [0; 64];
    let mut rest = &mut out[..];
    let Ok(event) = Event::builder("a\nb").event_type("e").id("7").build() else {
        return false;
    };
    event.encode_into(&mut rest);
    let written = 64 - rest.len();
    &out[..written] == b"event: e\nid: 7\ndata: a\ndata: b\n\n"
        && Event::builder("x").id("1\n2").build().is_err()
}

fn reads_cursors() -> bool {
    Cursor::parse("test:3,b%20c:0")
        .is_ok_and(|cursor| cursor.position("test") == Some(3) && cursor.position("b c") == Some(0))
        && Cursor::parse("test").is_err()
}

const OK: ResponseHead<'_> =
    ResponseHead { status: 200, content_type: Some(b"text/event-stream"), retry_after: None };

fn resumes() -> bool {
    let mut reader = Reader::new(SessionConfig::default(), 1);
    let Step::Connect(request) = reader.session_mut().poll(0) else {
        return false;
    };
    if request.sends_id {
        return false;
    }
    reader.session_mut().handle_response(0, &OK);
    let mut items = reader.handle_bytes(0, b"id: test:1\ndata: a\n\n");
    if !matches!(items.next_item(), Some(Ok(Item::Event(event))) if event.data() == "a")
        || items.next_item().is_some()
    {
        return false;
    }
    reader.session_mut().handle_end(0);
    let State::Waiting { until, failure } = reader.session().state() else {
        return false;
    };
    failure == Failure::Ended
        && matches!(reader.session_mut().poll(until), Step::Connect(request) if request.sends_id)
        && reader.last_event_id() == Some("test:1")
}

fn obeys_stream_error() -> bool {
    let mut reader = Reader::new(SessionConfig::default(), 1);
    if !matches!(reader.session_mut().poll(0), Step::Connect(_)) {
        return false;
    }
    reader.session_mut().handle_response(0, &OK);
    let error = b"event: stream-error\nid: error\ndata: {\"condition\": \"forbidden\", \"text\": \"no\"}\n\n";
    let ended = reader.handle_bytes(0, error).next_item().is_none();
    ended
        && reader.session_mut().poll(0) == Step::Stop(Closed::StreamError)
        && reader.stream_error().is_some_and(|error| error.condition == "forbidden")
}
