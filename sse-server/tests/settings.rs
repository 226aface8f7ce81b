//! Settings as people mistype them, and as platforms hand them over: what the program says, and
//! does.

use std::fs;
use std::process::Stdio;

use port::Port;
use server::{Server, TOKEN, binary, until, within};
use testkit::{port, server, services};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// The program with these arguments and variables.
fn program(args: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = binary();
    command.args(args).envs(variables.iter().copied());
    command
}

/// The exit code, and what was written to standard error.
async fn end(mut command: Command) -> (i32, String) {
    let output = command.stdout(Stdio::piped()).output();
    let output = within("the program to end", output).await.expect("it can be started");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().expect("no signal"), text)
}

/// What a server logs up to the line with this text. It is killed then.
async fn log_until(mut command: Command, last: &str) -> String {
    let mut child = command.spawn().expect("it can be started");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let mut log = String::new();
    within(last, async {
        while let Some(line) = lines.next_line().await.expect("readable") {
            log.push_str(&line);
            log.push('\n');
            if line.contains(last) {
                return;
            }
        }
        panic!("it ended before {last:?}: {log}");
    })
    .await;
    log
}

#[tokio::test]
async fn a_wrong_value_on_the_command_line_ends_with_2_and_an_example() {
    for (flag, value, problem) in [
        ("--listen", "nonsense", "\"nonsense\" is no address and port: the port is missing; write"),
        ("--listen", "127.0.0.1:http", "the port is no number up to 65535"),
        ("--metrics-listen", "::1:9100", "an IPv6 address is in brackets"),
        ("--storage", "floppy", "there is no storage floppy; use none, memory, sqlite:PATH"),
        ("--relay", "pigeon", "there is no relay pigeon; use none, redis://HOST:PORT"),
        ("--retention", "soon", "write for example 30s, 15m, 24h or 7d"),
        ("--keep-alive", "0s", "\"0s\": must be longer than nothing"),
        ("--drain-time", "10", "time unit needed"),
        ("--max-connections", "0", "with 0 nothing could pass; write 1 or more"),
        ("--max-event-size", "1MB", "\"1MB\" is no whole number"),
        ("--trusted-proxies", "10.0.0.0/99", "write for example 10.0.0.0/8"),
        ("--compression", "brotli", "\"brotli\" is neither gzip nor zstd"),
        ("--log-format", "xml", "\"xml\" is neither text nor json"),
        ("--log", "trce", "\"trce\" is no level; did you mean trace?"),
        ("--log", "", "there is nothing in it; write for example info"),
        ("--log", "a=b=c", "\"a=b=c\" is no log filter"),
        ("--cors-origin", "localhost:5173", "\"localhost:5173\" is no origin; write"),
        ("--publish-token", "a b", "the token has a space; only ASCII letters"),
        ("--publish-token", "abc\n", "the token has a line end"),
        ("--publish-token", "", "the token is empty, so everyone could publish"),
        ("--open-access", "perhaps", "perhaps"),
    ] {
        let (code, text) = end(program(&[&format!("{flag}={value}")], &[])).await;
        assert_eq!(code, 2, "{flag} {value}: {text}");
        assert!(text.starts_with("error: ") && text.contains(problem), "{flag} {value}: {text}");
        assert!(text.contains(flag), "{text}");
        let variable = format!("SSE_SERVER_{}", flag[2..].to_uppercase().replace('-', "_"));
        if !value.is_empty() && !value.ends_with('\n') {
            let (code, text) = end(program(&[], &[(&variable, value)])).await;
            assert_eq!(code, 2, "{variable}: {text}");
            assert!(text.contains(problem), "{variable}: {text}");
        }
    }
    let (code, text) = end(program(&[], &[("SSE_SERVER_LISTEN", "nonsense")])).await;
    assert!(code == 2 && text.starts_with("error: SSE_SERVER_LISTEN: "), "the variable: {text}");
    for args in [&["publish", "a", "b", "--token", "x"][..], &["tail", "a"]] {
        for url in ["localhost:8080", "ftp://me:s3cr3t@host", "http://"] {
            let (code, text) = end(program(&[args, &["--url", url]].concat(), &[])).await;
            assert!(
                code == 2 && text.starts_with("error: --url: this is no URL of a server"),
                "{text}"
            );
        }
    }
    let (code, text) = end(program(&["publish", "a", "b", "--token", "x\ty"], &[])).await;
    assert!(code == 2 && text.contains("the token has a tab") && !text.contains("x\ty"), "{text}");
}

#[tokio::test]
async fn variables_that_are_empty_count_as_not_set_and_line_ends_do_not_count() {
    let port = Port::reserve();
    let listen = format!("{port}\n");
    let variables = [
        ("SSE_SERVER_LISTEN", &*listen),
        ("SSE_SERVER_STORAGE", "memory\r\n"),
        ("SSE_SERVER_RELAY", ""),
        ("SSE_SERVER_RETENTION", ""),
        ("SSE_SERVER_LOG", ""),
        ("SSE_SERVER_MAX_CONNECTIONS", ""),
        ("SSE_SERVER_OPEN_ACCESS", ""),
        ("SSE_SERVER_TLS_CERT", ""),
        ("SSE_SERVER_CONFIG", ""),
        ("SSE_SERVER_CORS_ORIGIN", " "),
        ("PORT", ""),
    ];
    let log = log_until(program(&[], &variables), "listening on").await;
    assert!(log.contains(&format!("http://{port}/events/ with storage memory")), "{log}");
}

#[tokio::test]
async fn a_switch_can_be_written_as_people_do() {
    for value in ["1", "yes", "on", "TRUE", "True", "y"] {
        let variables = [("SSE_SERVER_OPEN_ACCESS", value)];
        let args = ["--listen", ":0", "--storage", "memory"];
        log_until(program(&args, &variables), "listening on").await;
    }
    for value in ["0", "no", "off", "FALSE"] {
        let (code, text) =
            end(program(&["--listen", ":0"], &[("SSE_SERVER_OPEN_ACCESS", value)])).await;
        assert!(code == 1 && text.contains("add --open-access"), "{value}: {text}");
    }
}

#[tokio::test]
async fn a_port_alone_is_for_this_machine_and_that_of_a_platform_for_all() {
    let port = Port::reserve();
    let number = port.to_string().rsplit_once(':').expect("a port").1.to_owned();
    let alone = program(&["--listen", &number, "--storage", "memory"], &[("PORT", "1")]);
    let log = log_until(alone, "listening on").await;
    assert!(log.contains(&format!("http://127.0.0.1:{number}/")), "{log}");
    let platform = [("PORT", &*number), ("SSE_SERVER_OPEN_ACCESS", "1")];
    let log = log_until(program(&["--storage", "memory"], &platform), "listening on").await;
    let all = [format!("http://[::]:{number}/"), format!("http://0.0.0.0:{number}/")];
    assert!(all.iter().any(|address| log.contains(address)), "{log}");
    // Not by accident: nobody has said that everyone may read.
    let (code, text) = end(program(&[], &[("PORT", "8080")])).await;
    assert!(code == 1 && text.contains(":8080 is not a loopback address"), "{text}");
    let (code, text) = end(program(&[], &[("PORT", "http")])).await;
    assert!(code == 2 && text.starts_with("error: PORT: \"http\" is no port"), "{text}");
    // Other commands have nothing to do with it.
    assert_eq!(end(program(&["token", "--publish"], &[("PORT", "http")])).await.0, 0);
}

#[tokio::test]
async fn the_random_publish_token_is_told_whatever_is_logged() {
    let text = "publish with the token ";
    let args = ["--listen", "127.0.0.1:0", "--storage", "memory"];
    for more in [
        &["--log", "warn"][..],
        &["--log", "off"],
        &["--log", "error,hyper=off"],
        &["--log", "sse_server=error"],
        &["--log", "off", "--log-format", "json"],
        &[],
    ] {
        let log = log_until(program(&[&args, more].concat(), &[]), text).await;
        let (_, token) = log.split_once(text).expect("seen");
        let token: String = token.chars().take_while(char::is_ascii_hexdigit).collect();
        assert_eq!(token.len(), 32, "{more:?}: {log}");
        if more.contains(&"json") {
            serde_json::from_str::<serde_json::Value>(log.trim()).expect("JSON");
        }
    }
    // A token that was given is not shown.
    let given = "given-in-the-settings";
    let log =
        log_until(program(&[&args[..], &["--publish-token", given]].concat(), &[]), "listening on")
            .await;
    assert!(!log.contains(text) && !log.contains(given), "{log}");
}

#[tokio::test]
async fn a_publish_token_is_the_same_from_flag_variable_key_and_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let token = "a-token-of-some-length";
    fs::write(path("token"), format!("{token}\r\n")).expect("writable");
    fs::write(path("config"), format!("publish-token = {token:?}\n")).expect("writable");
    let by_file = format!("publish-token-file = {:?}\n", path("token"));
    fs::write(path("config-of-file"), by_file).expect("writable");
    let with_line_end = format!("{token}\n");
    for (args, variables) in [
        (&["--publish-token", token][..], &[][..]),
        (&[], &[("SSE_SERVER_PUBLISH_TOKEN", &*with_line_end)]),
        (&["--publish-token-file", &path("token")], &[]),
        (&[], &[("SSE_SERVER_PUBLISH_TOKEN_FILE", &*path("token"))]),
        (&["--config", &path("config")], &[]),
        (&["--config", &path("config-of-file")], &[]),
        // What is said nearer to the program beats what is said of the other kind farther away.
        (&["--config", &path("config"), "--publish-token-file", &path("token")], &[]),
    ] {
        let port = Port::reserve();
        let address = port.to_string();
        let serve = ["--listen", &*address, "--storage", "memory"];
        let mut server = program(&[&serve, args].concat(), variables).spawn().expect("started");
        let mut lines = BufReader::new(server.stderr.take().expect("piped")).lines();
        let first = within("a line", lines.next_line()).await.expect("readable").expect("a line");
        assert!(first.contains("listening on"), "{args:?} {variables:?}: {first}");
        let url = format!("http://{address}");
        let publish = ["publish", "a", "b", "--url", &url, "--token", token];
        assert_eq!(end(program(&publish, &[])).await, (0, String::new()), "{args:?} {variables:?}");
        let by_file = ["publish", "a", "b", "--url", &url, "--token-file", &path("token")];
        assert_eq!(end(program(&by_file, &[])).await, (0, String::new()));
    }
    for (name, text, problem) in [
        ("space", "a b", "the token has a space"),
        ("lines", "a\nb\n", "the token has a line end"),
        ("empty", "\n", "the token is empty"),
    ] {
        fs::write(path(name), text).expect("writable");
        let (code, text) = end(program(&["--publish-token-file", &path(name)], &[])).await;
        assert!(code == 1 && text.contains(problem), "{name}: {text}");
        assert!(text.contains(&path(name)), "{text}");
        let more = format!("[[publish-tokens]]\ntoken-file = {:?}\nchannel = 'a'\n", path(name));
        fs::write(path("more"), more).expect("writable");
        let (code, text) = end(program(&["--config", &path("more")], &[])).await;
        assert!(code == 1 && text.contains("publish-tokens[0]"), "{name}: {text}");
    }
    let both = ["--publish-token", token, "--publish-token-file", &path("token")];
    assert_eq!(end(program(&both, &[])).await.0, 2);
}

#[tokio::test]
async fn what_can_be_guessed_is_warned_of_or_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("config").display().to_string();
    let rules = "[[access.rules]]\nchannel = '*'\nallow = 'token'\n";
    let key_file = folder.path().join("key").display().to_string();
    fs::write(&key_file, "{\"keys\": [{\"kty\": \"RSA\", \"n\": \"AQAB\", \"e\": \"AQAB\"}]}\n")
        .expect("writable");
    for (toml, problem) in [
        (
            "[access.jwt]\nsecret = 'short'".to_owned(),
            "access.jwt.secret: the secret has 5 bytes, and HS256 needs 32",
        ),
        (
            format!("[access.jwt]\nsecret-file = {key_file:?}"),
            "access.jwt.secret-file: this is a key in the form JWK set, not a secret",
        ),
        (
            "[access.jwt]\nsecret = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIq8b'".to_owned(),
            "in the form OpenSSH",
        ),
        (
            "[access.es-meta]\nsecret = '{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}'"
                .to_owned(),
            "access.es-meta.secret: this is a key in the form JWK",
        ),
    ] {
        fs::write(&config, format!("{rules}{toml}")).expect("writable");
        let (code, text) = end(program(&["--config", &config], &[])).await;
        assert!(code == 1 && text.contains(problem), "{toml}: {text}");
        assert!(!text.contains("AQAB") && !text.contains("AAAA"), "{text}");
    }
    let weak = format!(
        "publish-token = 'guessed'\n{rules}[access.es-meta]\nsecret = 'short'\n\
         [[publish-tokens]]\ntoken = 'a'\nchannel = 'a'\n"
    );
    let warnings = [
        "publish-token: the token is short, and could be guessed",
        "publish-tokens[0]: the token is short",
        "access.es-meta: the secret has less than 32 bytes",
    ];
    fs::write(&config, weak).expect("writable");
    let args = ["--config", &config, "--listen", "127.0.0.1:0", "--storage", "memory"];
    let log = log_until(program(&args, &[]), warnings[2]).await;
    let checked =
        program(&["check-config", &config], &[]).output().await.expect("it can be started");
    let checked = String::from_utf8_lossy(&checked.stdout).into_owned();
    for warning in warnings {
        assert!(log.contains(warning), "{log}");
        assert!(checked.contains(warning), "{checked}");
    }
    assert!(!log.contains("guessed'") && !checked.contains("short'"), "{log}{checked}");
}

#[tokio::test]
async fn a_password_is_never_shown_however_the_url_is_wrong() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("config").display().to_string();
    for url in [
        "postgres://me:s3cr3t#x@127.0.0.1:1/db",
        "postgres://me:#s3cr3t@127.0.0.1:1/db",
        "postgres://me:x?s3cr3t@127.0.0.1:1/db",
        "postgres://me:x@127.0.0.1:1/db?password=s3cr3t&sslmode=nonsense",
        "redis://:s3cr3t#et@127.0.0.1:1",
        "redis://s3cr3t@127.0.0.1:port",
        "amqp://me:s3cr3t@127.0.0.1:1/#/vhost",
        "mysql://me:s3cr3t@127.0.0.1/db",
        "host=127.0.0.1 user=me password=s3cr3t",
        "postgres:me:s3cr3t@127.0.0.1",
        "s3cr3t",
    ] {
        for setting in ["storage", "relay"] {
            let flag = format!("--{setting}={url}");
            let variable = format!("SSE_SERVER_{}", setting.to_uppercase());
            fs::write(&config, format!("{setting} = {url:?}\n")).expect("writable");
            for command in [
                program(&["--listen=127.0.0.1:0", &flag], &[]),
                program(&["--listen=127.0.0.1:0"], &[(&variable, url)]),
                program(&["--listen=127.0.0.1:0", "--config", &config], &[]),
                program(&["check-config", &config], &[]),
                program(&["--help"], &[(&variable, url)]),
            ] {
                let shown = shown(command).await;
                assert!(!shown.contains("s3cr3t"), "{setting} {url}: {shown}");
            }
        }
    }
}

/// All that a program writes until it ends, or until it listens.
async fn shown(mut command: Command) -> String {
    let mut child = command.stdout(Stdio::piped()).spawn().expect("it can be started");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let mut text = String::new();
    within("the program to end, or to listen", async {
        while let Some(line) = lines.next_line().await.expect("readable") {
            text.push_str(&line);
            text.push('\n');
            if line.contains("listening on") {
                child.start_kill().expect("it runs");
            }
        }
        let output = child.wait_with_output().await.expect("it ends");
        text += &String::from_utf8_lossy(&output.stdout);
    })
    .await;
    text
}

#[tokio::test]
async fn a_folder_for_sqlite_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("file"), "").expect("writable");
    for (storage, problem) in [
        (
            format!("sqlite:{}", path("missing/events.db")),
            format!("the folder {} does not exist; create it", path("missing")),
        ),
        (format!("sqlite:{}", path("file/events.db")), format!("{} is no folder", path("file"))),
        // Nobody can, not even root.
        ("sqlite:/proc/events.db".to_owned(), "/proc".to_owned()),
    ] {
        fs::write(path("config"), format!("log = 'info'\nstorage = {storage:?}\n"))
            .expect("writable");
        let (code, text) =
            end(program(&["--listen=127.0.0.1:0", "--storage", &storage], &[])).await;
        assert!(code == 1 && text.contains(&problem), "{storage}: {text}");
        if !storage.contains("/proc") {
            let (code, text) = end(program(&["check-config", &path("config")], &[])).await;
            assert!(code == 1 && text.contains(&format!("config:2: storage: {problem}")), "{text}");
        }
    }
}

#[tokio::test]
async fn a_page_of_a_development_server_can_be_let_in_by_a_flag() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("config").display().to_string();
    fs::write(&config, "[cors]\norigins = 'https://example.com'\ncredentials = true\n")
        .expect("writable");
    let flags = ["--cors-origin", "http://localhost:5173", "--cors-origin", "http://127.0.0.1:*"];
    for args in
        [&flags[..], &["--config", &config], &[&["--config", &*config], &flags[..]].concat()]
    {
        let has_flags = args.len() > 2;
        let has_file = args[0] == "--config";
        let server = Server::start(args).await;
        for (origin, is_allowed) in [
            ("http://localhost:5173", has_flags),
            ("http://127.0.0.1:3000", has_flags),
            ("https://example.com", !has_flags),
            ("http://localhost:5174", false),
        ] {
            let answer = server.get("/events/?channel=a", &format!("Origin: {origin}\r\n")).await;
            let allowed = answer.header("access-control-allow-origin");
            assert_eq!(allowed, is_allowed.then_some(origin), "{args:?}");
            let credentials = answer.header("access-control-allow-credentials");
            assert_eq!(credentials.is_some(), is_allowed && has_file, "{args:?}: {origin}");
        }
    }
    let by_variable = [("SSE_SERVER_CORS_ORIGIN", "http://localhost:5173,nonsense")];
    let (code, text) = end(program(&[], &by_variable)).await;
    assert!(
        code == 2 && text.contains("SSE_SERVER_CORS_ORIGIN: \"nonsense\" is no origin"),
        "{text}"
    );
}

/// What `check-config` says of these settings.
async fn checked(toml: &str) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("settings.toml");
    fs::write(&path, toml).expect("writable");
    let mut command = binary();
    command.arg("check-config").arg(&path).stdout(Stdio::piped());
    let output = within("the check", command.output()).await.expect("it can be started");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[tokio::test]
async fn an_id_that_can_outgrow_the_limit_on_headers_is_warned_of() {
    let long = |count: usize| -> Vec<String> { (0..count).map(|n| format!("{n:0100}")).collect() };
    let limits = "[request-limits]\nchannels = 1000\nheader-size = 65000\n";
    for (toml, warning) in [
        (
            format!(
                "default-endpoints = false\n[[endpoint]]\npath = \"/all/\"\nchannels = {:?}\n{limits}",
                long(1000)
            ),
            "/all/: the id of a stream of 1000 channels can have 122000 bytes",
        ),
        (limits.to_owned(), "/events/: the id of a stream of 1000 channels can have 277000 bytes"),
        (
            format!(
                "[[endpoint]]\npath = \"/two/\"\nchannels = [{:?}, \"b\"]\n\
                 [request-limits]\nheader-size = 1024\n",
                "é".repeat(200)
            ),
            "/two/: the id of a stream of 2 channels can have 1245 bytes",
        ),
    ] {
        let text = checked(&toml).await;
        assert!(text.contains(warning), "{text}");
    }
    for toml in [
        "",
        "[request-limits]\nchannels = 100\n",
        "[[endpoint]]\npath = \"/two/\"\nchannels = [\"a\", \"b\"]\n",
    ] {
        let text = checked(&format!("storage = \"memory\"\n{toml}")).await;
        assert!(!text.contains("the id of a stream"), "{text}");
    }
}

#[tokio::test]
async fn the_secret_of_instances_can_be_in_a_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = |name: &str| folder.path().join(name).display().to_string();
    let secret = "of-all-instances-1234";
    fs::write(file("secret"), format!("{secret}\n")).expect("writable");
    fs::write(file("short"), "short\n").expect("writable");
    fs::write(file("two"), "relay-secret = \"a\"\nrelay-secret-file = \"b\"\n").expect("writable");
    for (args, code, problem) in [
        (["--relay-secret-file", &file("none")], 1, "--relay-secret-file: "),
        (["--relay-secret-file", &file("short")], 1, "fewer than 16 characters"),
        (["--config", &file("two")], 1, "give either relay-secret or relay-secret-file"),
    ] {
        let (found, text) = end(program(&args, &[])).await;
        assert!(found == code && text.contains(problem), "{text}");
    }
    let both = ["--relay-secret", secret, "--relay-secret-file", &file("secret")];
    assert_eq!(end(program(&both, &[])).await.0, 2);
    let Some(redis) = services::redis() else { return };
    // One has it from the file, the other from the flag, and the third has none: only the two
    // believe each other.
    let name = folder.path().file_name().expect("a name").to_string_lossy().into_owned();
    let prefix = format!("{name}:");
    // Without rules nothing has to be told.
    let rules = file("rules");
    let text = "[[access.rules]]\nchannel = \"*\"\nallow = \"public\"\n";
    fs::write(&rules, text).expect("writable");
    let file = file("secret");
    let relay = ["--relay", &*redis, "--redis-prefix", &*prefix, "--config", &*rules];
    let start = async |more: &[&str]| Server::start(&[&relay[..], more].concat()).await;
    let here = start(&["--relay-secret-file", &file]).await;
    let _there = start(&["--relay-secret", secret]).await;
    let _stranger = start(&[]).await;
    let change = r#"{"user":"u1","channel":"a"}"#;
    let len = change.len();
    let request = format!(
        "POST /permissions/changed HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len}\r\n\
         Authorization: Bearer {TOKEN}\r\n\r\n{change}"
    );
    until("both know each other", async || {
        let mut answer = here.send(request.as_bytes()).await;
        answer.body().await.contains("\"instances\":1}")
    })
    .await;
}
