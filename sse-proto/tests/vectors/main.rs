//! The codec and the session run through the published cases with the runner that is published
//! beside them.

#[path = "../../vectors/runners/run.rs"]
#[allow(clippy::unwrap_used, clippy::type_complexity, unreachable_pub)]
mod run;

use std::path::{Path, PathBuf};

use serde_json::Value;
use sse_proto::{Decoder, Event, Frame, Item, Reader, ResponseHead, SessionConfig, Step};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(name)
}

fn decode(chunks: &[&[u8]], last_event_id: &str) -> Vec<run::Event> {
    let mut decoder = Decoder::new();
    decoder.set_last_event_id(Some(last_event_id.to_owned()));
    let mut events = Vec::new();
    for chunk in chunks {
        let mut frames = decoder.decode(chunk);
        while let Some(frame) = frames.next_frame() {
            if let Frame::Event(event) = frame.expect("within the limits") {
                let text = [event.event_type(), event.data(), event.last_event_id()];
                let [event_type, data, id] = text.map(str::to_owned);
                events.push((event_type, data, id));
            }
        }
    }
    events
}

#[test]
fn the_decoder_reads_every_case() {
    assert_eq!(run::decoding(&folder(""), decode), [""; 0]);
}

#[test]
fn a_decoder_that_is_wrong_is_told_the_case() {
    let differs = run::decoding(&folder(""), |chunks, id| {
        let mut events = decode(chunks, id);
        events.retain(|(_, data, _)| !data.is_empty());
        events
    });
    assert!(differs.iter().any(|one| one.contains("data-with-colon-alone-dispatches")));
    assert!(!differs.iter().any(|one| one.contains("\"one-line-of-data\"")), "{differs:?}");
}

#[test]
fn the_encoder_does_what_every_case_allows() {
    let encode = |event: Option<&str>, id: Option<&str>, data: &str| {
        let mut builder = Event::builder(data);
        if let Some(event) = event {
            builder = builder.event_type(event);
        }
        if let Some(id) = id {
            builder = builder.id(id);
        }
        let mut out = Vec::new();
        builder.build().ok()?.encode_into(&mut out);
        Some(out)
    };
    let differs = run::encoding(&folder("encoding"), encode, |stream| decode(&[stream], ""));
    assert_eq!(differs, [""; 0]);
}

#[test]
fn an_encoder_that_lets_a_cr_through_is_told() {
    let encode = |_: Option<&str>, _: Option<&str>, data: &str| {
        Some(format!("data: {}\n\n", data.replace('\n', "\ndata: ")).into_bytes())
    };
    let differs = run::encoding(&folder("encoding"), encode, |stream| decode(&[stream], ""));
    assert!(differs.iter().any(|one| one.contains("data-with-cr-and-field")), "{differs:?}");
    assert!(!differs.iter().any(|one| one.contains("\"data-with-lf\"")), "{differs:?}");
}

/// The id that a request sends, or how the session has stopped.
fn request(reader: &mut Reader, now: &mut u64) -> Result<Option<String>, Step> {
    loop {
        match reader.session_mut().poll(*now) {
            Step::Connect(request) => {
                return Ok(reader.last_event_id().filter(|_| request.sends_id).map(str::to_owned));
            }
            Step::Sleep => *now = reader.session().until(),
            stop => return Err(stop),
        }
    }
}

#[test]
fn the_session_resumes_as_every_case_says() {
    for case in run::cases(&folder("resuming")) {
        let name = &case["name"];
        let mut reader = Reader::new(SessionConfig::default(), 1);
        let (mut now, mut delivered) = (1, Vec::new());
        for connection in case["connections"].as_array().expect("a list") {
            let sent = request(&mut reader, &mut now).expect("it connects");
            assert_eq!(sent.as_deref(), connection["last_event_id"].as_str(), "{name}");
            let is_bare = connection["content_type"] == Value::Null
                && connection.get("content_type").is_some();
            let content_type = connection["content_type"].as_str().unwrap_or("text/event-stream");
            let status = connection["status"].as_u64().and_then(|status| status.try_into().ok());
            let head = ResponseHead {
                status: status.expect("a status"),
                content_type: (!is_bare).then_some(content_type.as_bytes()),
                retry_after: None,
            };
            reader.session_mut().handle_response(now, &head);
            if !reader.session().is_open() {
                continue;
            }
            let bytes = run::bytes(&connection["bytes"]);
            let mut items = reader.handle_bytes(now, &bytes);
            while let Some(item) = items.next_item() {
                if let Item::Event(event) = item.expect("within the limits") {
                    let text = [event.event_type(), event.data(), event.last_event_id()];
                    let [event_type, data, id] = text.map(str::to_owned);
                    delivered.push((event_type, data, id));
                }
            }
            reader.session_mut().handle_end(now);
        }
        assert_eq!(delivered, run::events(case["events"].as_array().expect("a list")), "{name}");
        let then = request(&mut reader, &mut now);
        if case["then"] == "stops" {
            assert!(matches!(then, Err(Step::Stop(_))), "{name}: {then:?}");
        } else {
            let sent = then.expect("it comes back");
            assert_eq!(sent.as_deref(), case["next_last_event_id"].as_str(), "{name}");
        }
    }
}
