//! Runs an implementation of Server-Sent Events through the cases of `vectors`. Copy it into your
//! tests; it needs `serde_json`.

use std::{fs, panic, path::Path};

use serde_json::Value;

/// Type, data, and the last event ID in force.
pub type Event = (String, String, String);

/// All cases of a folder: `decoding`, `encoding` or `resuming`.
pub fn cases(folder: &Path) -> Vec<Value> {
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "json"));
    files.sort();
    let read = |file: &std::path::PathBuf| -> Value {
        serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
    };
    files.iter().flat_map(|file| read(file)["cases"].as_array().unwrap().clone()).collect()
}

/// Bytes, which stand in the files as U+0000 to U+00FF.
pub fn bytes(text: &Value) -> Vec<u8> {
    text.as_str().unwrap().chars().map(|char| u8::try_from(char).unwrap()).collect()
}

/// The events of a list; what is no event is left out.
pub fn events<'a>(items: impl IntoIterator<Item = &'a Value>) -> Vec<Event> {
    let text = |item: &Value, key: &str| item[key].as_str().unwrap().to_owned();
    let items = items.into_iter().filter(|item| item.get("event").is_some());
    items.map(|item| (text(item, "event"), text(item, "data"), text(item, "id"))).collect()
}

/// What differs: a line for each case. `decode` gets chunks and the last event ID from before.
pub fn decoding(folder: &Path, decode: impl Fn(&[&[u8]], &str) -> Vec<Event>) -> Vec<String> {
    let mut differs = Vec::new();
    for case in cases(folder) {
        if case.get("limits").is_some() || case.get("comments").is_some() {
            continue;
        }
        let seed = case["last_event_id"].as_str().unwrap_or_default();
        let steps = case["steps"].as_array().unwrap();
        let stream: Vec<u8> = steps.iter().flat_map(|step| bytes(&step["bytes"])).collect();
        let expected = events(steps.iter().flat_map(|step| step["expect"].as_array().unwrap()));
        let mut chunkings = vec![vec![&*stream], stream.chunks(1).collect()];
        chunkings.extend((1..stream.len()).map(|at| vec![&stream[..at], &stream[at..]]));
        let found = |chunks: &Vec<&[u8]>| {
            panic::catch_unwind(panic::AssertUnwindSafe(|| decode(chunks, seed))).ok()
        };
        if let Some(chunks) =
            chunkings.iter().find(|chunks| found(chunks).as_ref() != Some(&expected))
        {
            differs.push(format!("{}: {chunks:?} is not {expected:?}", case["name"]));
        }
    }
    differs
}

/// The same for an encoder, which gets type, id and data, and may refuse. `decode` must be right.
pub fn encoding(
    folder: &Path,
    encode: impl Fn(Option<&str>, Option<&str>, &str) -> Option<Vec<u8>>,
    decode: impl Fn(&[u8]) -> Vec<Event>,
) -> Vec<String> {
    let mut differs = Vec::new();
    for case in cases(folder) {
        let field = |name: &str| case["fields"][name].as_str();
        let encoded = encode(field("event"), field("id"), field("data").unwrap());
        let outcomes = case["outcomes"].as_array().unwrap();
        let fits = encoded.as_ref().map_or(case["may_refuse"] == true, |stream| {
            outcomes.iter().any(|outcome| events(outcome.as_array().unwrap()) == decode(stream))
        });
        if !fits {
            differs.push(format!("{}: {encoded:?}", case["name"]));
        }
    }
    differs
}
