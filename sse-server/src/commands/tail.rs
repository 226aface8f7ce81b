//! `sse-server tail`: prints what comes, and goes on where it was when the connection was lost.

use std::time::Instant;

use clap::Args;
use serde_json::json;
use sse_client::{Error, EventSource, Handle, Item, Status};
use sse_server::config::{ServerUrl, Token};

use super::visible::Visible;
use super::{EXIT_CODES, Failure, complain, say};

/// Prints the events of channels as they come
///
/// One line for each: its id, type and data, with tabs between them; further lines of the data are
/// indented. Control characters are shown as escapes such as `\u{1b}`; --json has everything as it
/// is. What there is to say otherwise goes to standard error. When the connection is lost it goes
/// on where it was.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Tail {
    /// The channels; without one, those that the server chooses by the token
    channels: Vec<String>,

    /// Begin after this id, such as `news:0` for all that is stored
    #[arg(long, value_name = "ID")]
    from: Option<String>,

    /// End after this many events
    #[arg(long, value_name = "COUNT")]
    count: Option<u64>,

    /// Print events as JSON, one a line
    #[arg(long)]
    json: bool,

    /// The server
    #[arg(long, env = "SSE_SERVER_URL", default_value = "http://127.0.0.1:8080")]
    url: ServerUrl,

    /// A token that says who reads
    #[arg(long, env = "SSE_SERVER_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<Token>,
}

impl Tail {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let url = self.url.join("/events/");
        let mut builder = EventSource::channels(url, &self.channels);
        if let Some(token) = &self.token {
            builder = builder.bearer_token(token.expose());
        }
        if let Some(from) = &self.from {
            builder = builder.last_event_id(from.clone());
        }
        let mut source = builder.build().map_err(Failure::refused)?;
        let watched = tokio::spawn(tell(source.handle()));
        let done = self.print(&mut source).await;
        watched.abort();
        done
    }

    async fn print(&self, source: &mut EventSource) -> Result<(), Failure> {
        let mut left = self.count;
        while left != Some(0) {
            match source.next().await {
                None => break,
                Some(Ok(Item::Event(event))) => {
                    left = left.map(|left| left - 1);
                    let (id, kind, data) =
                        (event.last_event_id(), event.event_type(), event.data());
                    if self.json {
                        say(json!({"id": id, "event": kind, "data": data}))?;
                    } else {
                        let (id, kind) = (Visible::field(id), Visible::field(kind));
                        let lines = data.split('\n').map(|line| Visible::text(line).to_string());
                        let data = lines.collect::<Vec<_>>().join("\n\t\t");
                        say(format_args!("{id}\t{kind}\t{data}"))?;
                    }
                }
                Some(Ok(Item::Reset { channels })) => {
                    let channels = channels.join(", ");
                    complain(format_args!("events are missing of {}", Visible::text(&channels)));
                }
                Some(Ok(_)) => {}
                Some(Err(Error::Closed(closed))) => return Err(Failure::refused(closed)),
                Some(Err(error)) => {
                    let error = error.to_string();
                    complain(format_args!("{}; trying again", Visible::text(&error)));
                }
            }
        }
        Ok(())
    }
}

/// Says why nothing comes, as often as another try is needed, and when it is over.
async fn tell(mut handle: Handle) {
    let mut was_lost = false;
    while let Some(status) = handle.changed().await {
        match status {
            Status::Waiting { until, why, .. } => {
                was_lost = true;
                let wait = until.saturating_duration_since(Instant::now()).as_secs_f32();
                eprintln!("{why}; trying again in {wait:.1}s");
            }
            Status::Open if was_lost => {
                was_lost = false;
                eprintln!("connected again");
            }
            _ => {}
        }
    }
}
