//! What settings mean, in words: `sse-server check-config` prints this.
//!
//! No secret may enter.

use std::fmt::{Display, Write};
use std::time::Duration;

use humantime::format_duration;

use super::{Config, ConfigError, LogFormat, Settings};
use crate::http::{Endpoints, Limits, Operations};

impl Settings {
    /// What they come to, in several lines for people: where streams are, who may read and publish,
    /// the limits and the times, with the defaults of whatever is not set. There are no secrets in
    /// it.
    ///
    /// ```
    /// use sse_server::config::Settings;
    ///
    /// let settings = Settings::of_text("storage = 'memory'\nkeep-alive = '5s'").expect("TOML");
    /// let meaning = settings.meaning()?;
    /// assert!(meaning.contains("after 5s of silence"));
    /// # Ok::<(), sse_server::config::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`resolve`](Self::resolve), and if the storage is a file whose folder is not there, or
    /// cannot be written to.
    pub fn meaning(&self) -> Result<String, ConfigError> {
        let config = self.clone().resolve()?;
        config.storage.check().map_err(|problem| ConfigError::new("--storage", problem))?;
        let mut out = Words::default();
        self.places(&config, &mut out);
        out.title("Where streams are");
        streams(&config.base_path, &config.endpoints, &mut out);
        out.title("Who may read, the first that matches");
        self.readers(&mut out);
        out.title("Who may publish");
        self.publishers(&config, &mut out);
        if let Some(grip) = &config.grip {
            out.title("Proxies that hold streams (GRIP)");
            for proxy in grip.proxies() {
                out.row(proxy.control(), "takes what is published; its signed requests are held");
            }
            let time = format_duration(grip.hold_time());
            out.row("link-timeout", format_args!("every {time}, a question about each connection"));
        }
        out.title("Pages of other origins that may read streams");
        self.other_origins(&config, &mut out);
        out.title("Limits");
        self.limits(&config, &mut out);
        out.title("Times");
        times(&config, &mut out);
        out.title("Operations");
        self.operations(&config, &mut out);
        if !config.warnings.is_empty() {
            out.title("Warnings");
        }
        for warning in &config.warnings {
            out.line(format_args!("  {warning}"));
        }
        Ok(out.0)
    }

    fn places(&self, config: &Config, out: &mut Words) {
        out.top("listen", &config.listen);
        out.top("storage", &config.storage);
        out.top("relay", &config.relay);
        let age = format_duration(config.retention.age);
        match config.retention.events {
            Some(events) => {
                out.top("retention", format_args!("{age}, {events} events of each channel"));
            }
            None => out.top("retention", age),
        }
        if !self.unreliable.texts().is_empty() {
            out.top("not stored", self.unreliable.texts().join(", "));
        }
    }

    fn readers(&self, out: &mut Words) {
        let Some(access) = self.access.as_ref().filter(|access| !access.rules.is_empty()) else {
            out.row("*", "everyone who can reach the server, for there are no rules");
            return;
        };
        for rule in &access.rules {
            let who = match (&*rule.allow, &access.forward_auth) {
                ("public", _) => "everyone".to_owned(),
                ("authenticated", _) => "readers with valid credentials".to_owned(),
                ("token", _) => "readers whose token lists the channel".to_owned(),
                ("backend", Some(backend)) => format!("readers that {} lets in", backend.url),
                _ => "nobody".to_owned(),
            };
            out.row(&rule.channel.texts().join(", "), who);
        }
        out.row("any other", "nobody");
    }

    fn publishers(&self, config: &Config, out: &mut Words) {
        out.row(
            "*",
            if config.publish_token.is_some() {
                "publishers with publish-token"
            } else {
                "publishers with the token that is printed at the start"
            },
        );
        for (index, token) in self.publish_tokens.iter().enumerate() {
            let more = if token.may_change_permissions {
                ", which may change permissions too"
            } else {
                ""
            };
            let who = format_args!("publishers with the token of publish-tokens[{index}]{more}");
            out.row(&token.channel.texts().join(", "), who);
        }
    }

    fn other_origins(&self, config: &Config, out: &mut Words) {
        let Some((settings, cors)) = self.cors.as_ref().zip(config.cors.as_ref()) else {
            out.row("none", "browsers keep streams from them");
            return;
        };
        for origin in settings.origins.texts() {
            out.row(origin, if origin == "*" { "every page there is" } else { "may read" });
        }
        out.row("cookies", if cors.credentials { "they may send them" } else { "not sent" });
        out.row("headers", format_args!("they may send {}", cors.headers));
        out.row("publishing", if cors.publish { "with a token, they may" } else { "they may not" });
        out.row(
            "max-age",
            format_args!("browsers remember it for {}", format_duration(cors.max_age)),
        );
    }

    fn limits(&self, config: &Config, out: &mut Words) {
        let Operations { max_connections, max_per_address, .. } = &config.operations;
        let why = if self.operations.max_connections.is_some() {
            ""
        } else {
            ", by the open files that are allowed here"
        };
        out.row("max-connections", format_args!("{max_connections}, and as many streams{why}"));
        match max_per_address {
            Some(most) => out.row("max-per-address", format_args!("{most}, and as many streams")),
            None => out.row("max-per-address", "as many as from all addresses"),
        }
        let bytes = config.max_event_size;
        out.row("max-event-size", format_args!("{bytes} bytes, type and data together"));
        let Limits { url, header_size, headers, channels } = config.limits;
        out.row("URL", format_args!("{url} bytes"));
        out.row("headers", format_args!("{headers}, of {header_size} bytes together"));
        out.row("channels of a stream", channels);
    }

    fn operations(&self, config: &Config, out: &mut Words) {
        let settings = &self.operations;
        match &config.metrics_listen {
            Some(place) => {
                out.row("metrics", format_args!("on {place}, for everyone who can reach it"));
            }
            None => {
                out.row("metrics", "for this machine, and with a publish token for all channels");
            }
        }
        match settings.tls_cert.as_ref().zip(settings.tls_key.as_ref()) {
            Some((certificate, key)) => {
                let (certificate, key) = (certificate.display(), key.display());
                out.row("TLS", format_args!("with {certificate}, and its key {key}"));
            }
            None => out.row("TLS", "none: plain HTTP"),
        }
        let codings = config.operations.codings();
        if codings.is_empty() {
            out.row("compression", "none");
        } else {
            out.row("compression", format_args!("{}, if a client wants it", listed(codings)));
        }
        let proxies = &config.operations.trusted_proxies;
        if proxies.is_empty() {
            out.row("trusted-proxies", "none: X-Forwarded-For is not believed");
        } else {
            out.row("trusted-proxies", format_args!("X-Forwarded-For of {}", listed(proxies)));
        }
        let hosts = &config.operations.hosts;
        if hosts.is_empty() {
            out.row("hosts", "from this machine its own names, while everyone may read");
        } else {
            out.row("hosts", format_args!("{}, while everyone may read", listed(hosts)));
        }
        let form = match config.log_format {
            LogFormat::Text => "text",
            LogFormat::Json => "JSON",
        };
        out.row("log", format_args!("{}, as {form}", config.log));
    }
}

fn streams(base: &str, endpoints: &Endpoints, out: &mut Words) {
    for (endpoint, _) in endpoints.iter() {
        let path = format!("{base}{}", endpoint.path());
        let channels = endpoint.channels_in_words();
        match endpoint.types() {
            Some(types) => {
                let types = types.names().join(", ");
                out.row(&path, format_args!("{channels}; only events of {types}"));
            }
            None => out.row(&path, channels),
        }
    }
}

fn times(config: &Config, out: &mut Words) {
    let Operations {
        head_timeout,
        write_timeout,
        drain_delay,
        drain_time,
        reconnect_spread,
        max_stream_age,
        ..
    } = config.operations;
    let mut time = |name, before: &str, time: Duration, after: &str| {
        out.row(name, format_args!("{before}{}{after}", format_duration(time)));
    };
    time("keep-alive", "after ", config.keep_alive, " of silence");
    time("refresh", "every ", config.refresh, ", a look at what other instances have published");
    time("head-timeout", "", head_timeout, " for the head of a request, or without any");
    time("write-timeout", "", write_timeout, " until who takes nothing is closed");
    time("drain-delay", "", drain_delay, " after SIGTERM, during which only /health/ready says so");
    time("drain-time", "", drain_time, " for requests under way at SIGTERM");
    time("reconnect-spread", "within ", reconnect_spread, " after it, readers come back");
    match max_stream_age {
        Some(age) => time("max-stream-age", "", age, ", give or take a tenth, for each stream"),
        None => out.row("max-stream-age", "none: a stream lasts as long as its reader wants"),
    }
}

fn listed<T: Display>(all: &[T]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Lines in columns.
#[derive(Default)]
struct Words(String);

impl Words {
    fn top(&mut self, name: &str, value: impl Display) {
        self.line(format_args!("{name:<12} {value}"));
    }

    fn title(&mut self, title: &str) {
        self.line(format_args!("\n{title}:"));
    }

    fn row(&mut self, name: &str, value: impl Display) {
        self.line(format_args!("  {name:<24} {value}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.0, "{line}").expect("writing to a String cannot fail");
    }
}
