//! Requests that are appended once: checks.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use super::super::{Batch, NewEvent, Outcome, RequestKey, Storage};
use super::{Subject, append, channel, event, head, read};

async fn once(storage: &dyn Storage, key: &RequestKey, events: &[NewEvent]) -> Outcome {
    let mut outcomes =
        storage.append_once(&[Batch { events, key: Some(key) }]).await.expect("it appends");
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

/// A request with a known key gets the ids of the first time, from every process; one with another
/// content is told so; and neither is appended. Others beside it are not concerned.
pub async fn a_request_with_a_known_key_is_not_appended_again(subject: &dyn Subject) {
    let storage = subject.open().await;
    let [a, b] = ["once a", "once b"].map(channel);
    let key =
        |name: &str, content: &str| RequestKey::new("p", format!("{a} {name}"), content.as_bytes());
    let both = [event(&a, "1"), event(&b, "2"), event(&a, "3")];
    assert_eq!(once(&*storage, &key("k", "x"), &both).await, Outcome::Appended(vec![1, 1, 2]));
    append(&*storage, &both[..1]).await;
    let other = subject.open().await;
    for storage in [&*storage, &*other] {
        let again = once(storage, &key("k", "x"), &both).await;
        assert_eq!(again, Outcome::Known(vec![1, 1, 2]));
        assert_eq!(once(storage, &key("k", "y"), &both).await, Outcome::Reused);
        assert_eq!((head(storage, &a).await, head(storage, &b).await), (3, 1));
    }
    // Another publisher's names are others.
    let others = RequestKey::new("q", format!("{a} k"), b"y");
    assert_eq!(once(&*storage, &others, &[]).await, Outcome::Appended(Vec::new()));
    assert_eq!(once(&*other, &others, &[]).await, Outcome::Known(Vec::new()));
    let (known, reused, new) = (key("k", "x"), key("k", "y"), key("new", "x"));
    for (first, beside) in [(&known, Outcome::Known(vec![1, 1, 2])), (&reused, Outcome::Reused)] {
        let before = head(&*storage, &a).await;
        let batches = [
            Batch { events: &both, key: Some(first) },
            Batch { events: &both[..1], key: None },
            Batch { events: &both[2..], key: Some(&new) },
            Batch { events: &[], key: None },
        ];
        let outcomes = storage.append_once(&batches).await.expect("it appends");
        let last = if before == 3 { Outcome::Appended(vec![5]) } else { Outcome::Known(vec![5]) };
        let expected =
            [beside, Outcome::Appended(vec![before + 1]), last, Outcome::Appended(vec![])];
        assert_eq!(outcomes, expected);
    }
    let data: Vec<_> = read(&*storage, &a, 3, 9).await.into_iter().map(|(_, data)| data).collect();
    assert_eq!(data, ["1", "3", "1"]);
    let nothing = key("nothing", "");
    assert_eq!(once(&*storage, &nothing, &[]).await, Outcome::Appended(vec![]));
    assert_eq!(once(&*storage, &nothing, &both).await, Outcome::Known(vec![]));
}

/// Several processes send the same requests at the same time, each in another order: each is
/// appended once, and all get its ids.
pub async fn concurrent_requests_with_one_key_are_appended_once(subject: &dyn Subject) {
    const PROCESSES: usize = 6;
    const REQUESTS: usize = 20;
    let [a, b] = ["race a", "race b"].map(channel);
    let mut sending = Vec::new();
    for process in 0..PROCESSES {
        let storage = subject.open().await;
        let (a, b) = (a.clone(), b.clone());
        sending.push(tokio::spawn(async move {
            let mut answers = vec![(false, Vec::new()); REQUESTS];
            for n in 0..REQUESTS / 2 {
                // Two of them together, which others have in the other order.
                let pair = [(n + process) % REQUESTS, REQUESTS - 1 - (n + process) % REQUESTS];
                let keys = pair.map(|n| RequestKey::new("p", format!("{a} {n}"), b""));
                let events = pair.map(|n| {
                    let (first, second) = if n % 2 == 0 { (&a, &b) } else { (&b, &a) };
                    [event(first, &n.to_string()), event(second, &n.to_string())]
                });
                let batch = |n: usize| Batch { events: &events[n], key: Some(&keys[n]) };
                let outcomes = storage.append_once(&[batch(0), batch(1)]).await;
                for (n, outcome) in pair.into_iter().zip(outcomes.expect("it appends")) {
                    // Some are sent twice by the same.
                    let is_new = answers[n].0 || matches!(outcome, Outcome::Appended(_));
                    let (Outcome::Appended(ids) | Outcome::Known(ids)) = outcome else {
                        panic!("it is the same request");
                    };
                    answers[n] = (is_new, ids);
                }
            }
            storage.close().await;
            answers
        }));
    }
    let mut all = Vec::new();
    for sending in sending {
        all.push(sending.await.expect("sent"));
    }
    for n in 0..REQUESTS {
        let asked = || all.iter().map(|answers| &answers[n]).filter(|(_, ids)| !ids.is_empty());
        let distinct: HashSet<_> = asked().map(|(_, ids)| ids).collect();
        assert_eq!(distinct.len(), 1, "everyone who sent request {n} got the same ids");
        assert_eq!(asked().filter(|(is_new, _)| *is_new).count(), 1, "one has appended it");
    }
    let storage = subject.open().await;
    for name in [&a, &b] {
        assert_eq!(head(&*storage, name).await, REQUESTS as u64, "each event is there once");
    }
}

/// A key is forgotten when it is as old as an event that is trimmed, in bounded steps, and not
/// before.
pub async fn keys_expire_as_events_do(subject: &dyn Subject) {
    if !subject.trims() {
        return;
    }
    let storage = subject.open().await;
    let name = channel("expired key");
    let key = |n: u8| RequestKey::new("p", format!("{name} {n}"), b"");
    let one = [event(&name, "1")];
    subject.expire(&*storage, &name, 0).await;
    once(&*storage, &key(1), &one).await;
    once(&*storage, &key(2), &[]).await;
    storage.trim(SystemTime::now() - Duration::from_hours(1), 1000).await.expect("it trims");
    assert_eq!(once(&*storage, &key(1), &one).await, Outcome::Known(vec![1]), "it is not old");
    let later = SystemTime::now() + Duration::from_hours(1);
    let mut steps = 0;
    while storage.trim(later, 1).await.expect("it trims") > 0 {
        steps += 1;
    }
    assert_eq!(steps, 3, "an event and two keys, one at a time");
    assert_eq!(once(&*storage, &key(1), &one).await, Outcome::Appended(vec![2]));
}
