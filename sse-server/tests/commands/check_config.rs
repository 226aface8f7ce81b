//! `sse-server check-config`: what the settings mean, or the first mistake in them.

use testkit::access::SECRET;

use crate::{command, run};

#[tokio::test]
async fn check_config_says_what_the_rules_mean_or_where_the_first_mistake_is() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("settings.toml");
    let name = path.display().to_string();
    let check = async |text: &str| {
        std::fs::write(&path, text).expect("writable");
        run(command(&["check-config", &name]), "").await
    };
    let good = format!(
        "listen = \"0.0.0.0:80\"\nstorage = \"postgres://me:s3cret@db/x\"\nunreliable = \"typing-*\"\n\
         [[access.rules]]\nchannel = [\"news\", \"status-*\"]\nallow = \"public\"\n\
         [[access.rules]]\nchannel = \"user-{{sub}}\"\nallow = \"authenticated\"\n\
         [access.jwt]\nsecret = {SECRET:?}\n\
         [[publish-tokens]]\ntoken = \"of-the-shop\"\nchannel = \"invoice-*\"\n"
    );
    let (code, out, error) = check(&good).await;
    assert_eq!((code, &*error), (0, ""));
    for part in [
        "all is well\n",
        "listen       0.0.0.0:80\n",
        "storage      postgres://me:…@db/x\n",
        "not stored   typing-*\n",
        "  news, status-*           everyone\n",
        "  user-{sub}               readers with valid credentials\n",
        "  any other                nobody\n",
        "  invoice-*                publishers with the token of publish-tokens[0]\n",
    ] {
        assert!(out.contains(part), "{part:?} in\n{out}");
    }
    assert!(![SECRET, "s3cret", "of-the-shop"].iter().any(|secret| out.contains(secret)), "{out}");
    let (_, out, _) = check("").await;
    assert!(out.contains("everyone who can reach the server, for there are no rules"), "{out}");
    for (text, line, message) in [
        ("\nlisten = true\n", 2, "listen: true or false is there where a text"),
        ("storage = \"memory\"\n\nlisten-on = 1\n", 3, "unknown field `listen-on`"),
        ("x = \n", 1, ""),
        ("relay = \"none\"\nstorage = \"floppy\"\n", 2, "storage: there is no storage floppy"),
        ("\n\n\nretention = \"soon\"", 4, "retention: \"soon\""),
        (
            "[[access.rules]]\nchannel = \"a\"\nallow = \"public\"\n\n[[access.rules]]\n\
             channel = \"b\"\nallow = \"publik\"\n",
            7,
            "access.rules[1].allow: \"publik\" is not one of public",
        ),
        (
            "[[access.rules]]\nchannel = \"a\"\nallow = \"public\"\n[access.jwt]\nleeway = \"1s\"\n",
            4,
            "access.jwt: give exactly one of secret",
        ),
        (
            "[[publish-tokens]]\ntoken = \"a\"\nchannel = \"a\"\n[[publish-tokens]]\nchannel = \"a\"",
            4,
            "publish-tokens[1]: give either token or token-file",
        ),
    ] {
        let (code, out, error) = check(text).await;
        assert_eq!((code, &*out), (1, ""), "{text}");
        assert!(error.starts_with(&format!("error: {name}:{line}: ")), "{text}: {error}");
        assert!(error.contains(message), "{text}: {error}");
    }
    let (code, _, error) = run(command(&["check-config", "/nonexistent.toml"]), "").await;
    assert!(code == 1 && error.starts_with("error: /nonexistent.toml: No such file"), "{error}");
}

#[tokio::test]
async fn check_config_says_where_streams_are_for_which_pages_and_within_which_limits() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("settings.toml");
    let name = path.display().to_string();
    let check = async |text: &str| {
        std::fs::write(&path, text).expect("writable");
        let (code, out, error) = run(command(&["check-config", &name]), "").await;
        assert_eq!((code, &*error), (0, ""));
        out
    };
    let set = check(
        "max-connections = 50\nmax-per-address = 7\nmax-event-size = 9000\nkeep-alive = \"7s\"\n\
         refresh = \"8s\"\nhead-timeout = \"9s\"\nwrite-timeout = \"10s\"\ndrain-time = \"11s\"\n\
         reconnect-spread = \"12s\"\ntrusted-proxies = \"10.0.0.0/8, ::1\"\n\
         metrics-listen = \"127.0.0.1:9100\"\ncompression = \"zstd,gzip\"\nlog = \"warn\"\n\
         log-format = \"json\"\ndefault-endpoints = false\n\
         [[endpoint]]\npath = \"/rooms/{room}/\"\nformat-channels = [\"room-{room}\", \"{{all}}\"]\n\
         [[endpoint]]\npath = \"/feed/{channel}/\"\nchannels = [\"news\", \"status\"]\n\
         messages-types = [\"update\", \"message\"]\n\
         [[endpoint]]\npath = \"/all/{room}/\"\n\
         [[endpoint]]\npath = \"/one/{channel}/\"\n\
         [cors]\norigins = [\"https://*.example.com\", \"http://localhost:*\"]\ncredentials = true\n\
         headers = \"X-Own\"\nmax-age = \"90m\"\npublish = true\n\
         [request-limits]\nurl = 300\nheader-size = 2000\nheaders = 20\nchannels = 3\n",
    )
    .await;
    let default = check("").await;
    let forwarded = "  trusted-proxies          X-Forwarded-For of 10.0.0.0/8, ::1/128\n";
    for (out, parts) in [
        (
            &set,
            &[
                "\nWhere streams are:\n",
                "  /rooms/{room}/           room-{room}, {{all}}\n",
                "  /feed/{channel}/         news, status; only events of message, update\n",
                "  /all/{room}/             the channels of the query, channel=NAME\n",
                "  /one/{channel}/          the channel in the path\n",
                "\nPages of other origins that may read streams:\n  https://*.example.com ",
                "  http://localhost:* ",
                "  cookies                  they may send them\n",
                "Content-Type, x-own\n",
                "  publishing               with a token, they may\n",
                "  max-age                  browsers remember it for 1h 30m\n",
                "  max-connections          50, and as many streams\n",
                "  max-per-address          7, and as many streams\n",
                "  max-event-size           9000 bytes",
                "  URL                      300 bytes\n",
                "  headers                  20, of 2000 bytes together\n",
                "  channels of a stream     3\n",
                "  keep-alive               after 7s of silence\n",
                "  refresh                  every 8s, ",
                "  head-timeout             9s ",
                "  write-timeout            10s ",
                "  drain-time               11s ",
                "  reconnect-spread         within 12s ",
                "  metrics                  on 127.0.0.1:9100, ",
                "  TLS                      none: plain HTTP\n",
                "  compression              zstd, gzip, if a client wants it\n",
                forwarded,
                "  log                      warn, as JSON\n",
            ][..],
        ),
        (
            &default,
            &[
                "  /events/                 the channels of the query, channel=NAME\n",
                "  /events/{channel}/       the channel in the path\n",
                "that may read streams:\n  none ",
                ", and as many streams, by the open files that are allowed here\n",
                "  max-per-address          as many as from all addresses\n",
                "  max-event-size           1048576 bytes",
                "  channels of a stream     10\n",
                "  keep-alive               after 20s of silence\n",
                "  drain-time               10s ",
                "  metrics                  for this machine, and with a publish token",
                "  compression              none\n",
                "  trusted-proxies          none: X-Forwarded-For is not believed\n",
                "  log                      info, as text\n",
            ],
        ),
    ] {
        for part in parts {
            assert!(out.contains(part), "{part:?} in\n{out}");
        }
    }
    assert!(!set.contains("/events/"), "{set}");
}
