//! The origin, and what a proxy keeps of a connection. What all checks of a run have at hand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::answer::{Answer, Event};
use super::settings::Settings;
use crate::probe::ask::Ask;
use crate::probe::finding::Finding;
use crate::probe::publish::{Fields, Published};
use crate::wire::connection::Connection;
use crate::wire::target::Target;

/// How long an answer may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// What a proxy says that it can do; these are the words of Pushpin 1.36.
const FEATURES: &str = "status, session, link:next, filter:skip-self, filter:skip-users, \
                        filter:require-sub, filter:build-id, filter:var-subst";

/// How many pages a history may have.
const MOST_PAGES: usize = 200;

/// How many answers are kept for the checks that look at all of them.
const MOST_ANSWERS: usize = 500;

/// From how many characters on a part of a link is taken for a secret.
pub(super) const TOKEN_LEN: usize = 24;

#[derive(Debug)]
pub(super) struct Origin {
    pub(super) target: Target,
    pub(super) settings: Settings,
    /// The answer to the first signed request.
    first: OnceCell<Answer>,
    answers: Mutex<Vec<Arc<Answer>>>,
    /// Secrets that have turned up in links.
    tokens: Mutex<Vec<String>>,
    /// What one check makes and several look at, by type.
    shared: Mutex<http::Extensions>,
    nonce: u64,
    counter: Mutex<u64>,
}

/// What a proxy keeps of a connection.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) link: Target,
    /// Where it is, as `Grip-Last` says it. While it gets the pages of a history, this is where it
    /// was before the first.
    pub(super) last: BTreeMap<String, String>,
    pub(super) is_filtered: bool,
}

/// What has come by next links until the connection was held again, or was over.
#[derive(Clone, Debug, Default)]
pub(super) struct Recovered {
    pub(super) events: Vec<Event>,
    pub(super) answers: Vec<Answer>,
}

impl Origin {
    pub(super) fn new(target: Target, settings: Settings) -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let nonce = now.map_or(0, |time| u64::from(time.subsec_nanos()) ^ time.as_secs());
        Self {
            target,
            settings,
            first: OnceCell::new(),
            answers: Mutex::default(),
            tokens: Mutex::default(),
            shared: Mutex::default(),
            nonce,
            counter: Mutex::default(),
        }
    }

    /// The client's request, as it would come without a proxy.
    pub(super) fn ask(&self) -> Ask {
        let mut ask = Ask::get(&self.target, "text/event-stream");
        for (name, value) in &self.settings.headers {
            ask = ask.with(name, value);
        }
        ask
    }

    /// The second user's.
    pub(super) fn ask_of_second(&self) -> Ask {
        let headers = &self.settings.second_headers;
        headers.iter().fold(self.ask(), |ask, (name, value)| ask.with(name, value))
    }

    /// The same, passed on by a proxy.
    pub(super) fn signed(&self, ask: Ask) -> Ask {
        ask.with("Grip-Feature", FEATURES).with("Grip-Sig", self.settings.signer.sign())
    }

    /// A proxy's own request at a next link: with nothing of the client's.
    pub(super) fn ask_next(&self, held: &Held) -> Ask {
        let ask = self.signed(Ask::get(&held.link, "*/*"));
        let entries = held.last.iter().map(|(name, id)| format!("{name}; last-id={id}"));
        entries.fold(ask, |ask, entry| ask.add("Grip-Last", entry))
    }

    async fn open(&self, target: &Target, ask: &Ask) -> Result<Connection, Finding> {
        Connection::open(target, ask.bytes())
            .await
            .map_err(|error| Finding::inconclusive(format!("no connection could be made: {error}")))
    }

    /// Sends a request of a proxy, and reads the whole answer.
    pub(super) async fn get(
        &self,
        target: &Target,
        ask: Ask,
        was_filtered: bool,
    ) -> Result<Answer, Finding> {
        let mut connection = self.open(target, &ask).await?;
        connection.read_message(Instant::now() + PATIENCE).await;
        let answer = Answer::of(connection.close(), was_filtered);
        self.note(&answer);
        if answer.status().is_none() {
            let text = "there was no answer to a request of the proxy within 5 s";
            let finding = Finding::fault(text).of_time_if(answer.tape.is_unanswered());
            return Err(self.show(finding, &answer));
        }
        Ok(answer)
    }

    /// Sends a request, and reads the head of the answer only, which may go on for ever.
    pub(super) async fn glance(&self, target: &Target, ask: Ask) -> Result<Answer, Finding> {
        let mut connection = self.open(target, &ask).await?;
        connection.read_head(Instant::now() + PATIENCE).await;
        Ok(Answer::of(connection.close(), false))
    }

    /// The same, and reads on for a while.
    pub(super) async fn watch(&self, ask: Ask, time: Duration) -> Result<Answer, Finding> {
        let mut connection = self.open(&self.target, &ask).await?;
        connection.read_head(Instant::now() + PATIENCE).await;
        connection.read_message(Instant::now() + time).await;
        Ok(Answer::of(connection.close(), false))
    }

    /// The answer to the first signed request, whatever it is.
    pub(super) async fn first_answer(&self) -> Result<&Answer, Finding> {
        self.first.get_or_try_init(|| self.fresh()).await
    }

    /// The same, if it holds the connection.
    pub(super) async fn first(&self) -> Result<&Answer, Finding> {
        let answer = self.first_answer().await.map_err(|_| no_hold())?;
        if answer.hold.is_held() { Ok(answer) } else { Err(no_hold()) }
    }

    /// The answer to a new signed request.
    pub(super) async fn fresh(&self) -> Result<Answer, Finding> {
        self.get(&self.target, self.signed(self.ask()), false).await
    }

    /// A new connection that is held, in channels with ids.
    pub(super) async fn hold(&self) -> Result<Held, Finding> {
        self.first().await?;
        self.held(&self.fresh().await?)
    }

    /// What the proxy keeps after this answer to a client's request.
    pub(super) fn held(&self, answer: &Answer) -> Result<Held, Finding> {
        let skip = |text: &str| Err(Finding::skip(text));
        let Some(link) = &answer.hold.link else { return skip("the hold has no next link") };
        let Some(link) = self.target.join(&link.uri) else {
            return Err(self.show(Finding::fault("the next link is no URL"), answer));
        };
        let last = answer.hold.places();
        if last.is_empty() {
            return skip("no channel of the hold has a prev-id: nothing can be recovered");
        }
        Ok(Held { link, last, is_filtered: answer.is_filtered })
    }

    /// What the proxy keeps after the first page of a history: no place yet, which Pushpin 1.36
    /// takes from holds only.
    pub(super) fn page_of(&self, answer: &Answer) -> Result<Held, Finding> {
        let link = answer.hold.link.as_ref().and_then(|link| self.target.join(&link.uri));
        let link = link.ok_or_else(|| Finding::skip("the answer has no next link"))?;
        Ok(Held { link, last: BTreeMap::new(), is_filtered: answer.is_filtered })
    }

    /// Follows the next link once, and takes over what the answer says.
    pub(super) async fn follow(&self, held: &mut Held) -> Result<Answer, Finding> {
        let answer = self.get(&held.link, self.ask_next(held), held.is_filtered).await?;
        if !answer.is_success() {
            let status = answer.status().unwrap_or_default();
            let text = format!(
                "the answer at the next link has status {status}: the proxy asks five times more, \
                 and then closes the connection"
            );
            return Err(self.show(Finding::fault(text), &answer));
        }
        if let Some(link) = answer.hold.link.as_ref().and_then(|link| self.target.join(&link.uri)) {
            held.link = link;
        }
        if answer.hold.is_held() {
            held.last = answer.hold.places();
            held.is_filtered = answer.is_filtered;
        }
        Ok(answer)
    }

    /// Follows next links as long as there is more.
    pub(super) async fn recover(&self, held: &mut Held) -> Result<Recovered, Finding> {
        let mut recovered = Recovered::default();
        loop {
            let answer = self.follow(held).await?;
            recovered.events.extend(answer.events());
            let is_over = answer.hold.is_held() || answer.hold.link.is_none();
            recovered.answers.push(answer);
            if is_over {
                return Ok(recovered);
            }
            if recovered.answers.len() > MOST_PAGES {
                let text = format!("after {MOST_PAGES} pages of a history there is still no hold");
                let finding = Finding::fault(text);
                return Err(recovered.answers[..2]
                    .iter()
                    .fold(finding, |it, answer| self.show(it, answer)));
            }
        }
    }

    /// A new word: letters and digits only. None is a part of another.
    pub(super) fn word(&self) -> String {
        let mut counter = lock(&self.counter);
        *counter += 1;
        format!("z{:x}q{counter}z", self.nonce & 0xffff_ffff)
    }

    /// Publishes events with words of their own, one after the other.
    pub(super) async fn publish(
        &self,
        count: usize,
        filling: &str,
    ) -> Result<Vec<String>, Finding> {
        let mut words = Vec::new();
        for _ in 0..count {
            let word = self.word();
            self.publish_word(&word, filling).await?;
            words.push(word);
        }
        Ok(words)
    }

    /// Publishes this. Percent signs are what filters of proxies read.
    pub(super) async fn publish_word(&self, word: &str, filling: &str) -> Result<(), Finding> {
        let cannot = |why: String| {
            Finding::inconclusive(format!(
                "nothing can be published: {why}; see --publish, --publish-url, --publish-token"
            ))
        };
        let hook = self.settings.publish.as_ref();
        let hook = hook.ok_or_else(|| cannot("there is no way to publish".to_owned()))?;
        let text = format!("{word} 50% of it{filling}");
        let fields = Fields::default().with("data", text).with("event", "message").with("id", word);
        match hook.publish(&fields).await {
            Ok(Published::Accepted) => Ok(()),
            Ok(Published::Refused(why)) => Err(cannot(why)),
            Ok(Published::Unsayable(why)) => Err(cannot(why.to_owned())),
            Err(error) => Err(cannot(error.to_string())),
        }
    }

    /// The place for something that one check makes and several look at. Each type has one.
    pub(super) fn shared<T: Send + Sync + 'static>(&self) -> Arc<OnceCell<T>> {
        let mut shared = lock(&self.shared);
        Arc::clone(shared.get_or_insert_with(|| Arc::new(OnceCell::new())))
    }

    /// Keeps an answer, and what in it is secret.
    fn note(&self, answer: &Answer) {
        if let Some(link) = &answer.hold.link {
            lock(&self.tokens).extend(long_parts(&link.uri).map(str::to_owned));
        }
        let mut answers = lock(&self.answers);
        if answers.len() < MOST_ANSWERS {
            answers.push(Arc::new(answer.clone()));
        }
    }

    pub(super) fn answers(&self) -> Vec<Arc<Answer>> {
        lock(&self.answers).clone()
    }

    pub(super) fn tokens(&self) -> Vec<String> {
        lock(&self.tokens).clone()
    }

    /// Adds what was seen to a finding.
    pub(super) fn show(&self, finding: Finding, answer: &Answer) -> Finding {
        finding.saw(&self.target, &answer.tape)
    }
}

/// Parts of a link that are long enough for a token.
pub(super) fn long_parts(uri: &str) -> impl Iterator<Item = &str> {
    uri.split(['/', '?', '&', '=']).filter(|part| part.len() >= TOKEN_LEN)
}

fn no_hold() -> Finding {
    Finding::inconclusive("a signed request is not answered with a hold; see sig.held")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no check panics while it holds this")
}
