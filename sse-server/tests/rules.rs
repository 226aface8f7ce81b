//! What the file says about readers and publishers: checked when it is read, and kept to by the
//! server.

use access::{Answer, SECRET, answer, bearer, configured, keys, refused};
use serde_json::{Value, json};
use server::{Server, TOKEN, binary, within};
use sse_server::access::AccessSettings;
use testkit::{access, server};

#[tokio::test]
async fn the_first_rule_that_matches_decides_and_none_is_no() {
    let (server, _folder) = configured(
        "[[access.rules]]\nchannel = [\"news-secret\", \"news-*-draft\"]\nallow = \"nobody\"\n\
         [[access.rules]]\nchannel = \"news-*\"\nallow = \"public\"\n",
    )
    .await;
    for (channel, is_open) in [
        ("news-1", true),
        ("news-", true),
        ("news-secret", false),
        ("news-1-draft", false),
        ("news", false),
        ("other", false),
    ] {
        let found = answer(server.get(&format!("/events/?channel={channel}"), "").await).await;
        let expected = if is_open { Answer::Opened } else { refused(channel) };
        assert_eq!(found, expected, "{channel}");
    }
    let found = answer(server.get("/events/?channel=news-1&channel=other", "").await).await;
    assert_eq!(found, refused("other"), "all or nothing");
    let found = answer(server.get("/events/news-secret/", "").await).await;
    assert_eq!(found, refused("news-secret"));
}

#[tokio::test]
async fn without_rules_everyone_reads_everything() {
    let (server, _folder) = configured("[access]\n").await;
    let found = answer(server.get("/events/?channel=any", &bearer("whatever")).await).await;
    assert_eq!(found, Answer::Opened);
}

#[test]
fn settings_that_cannot_be_used_are_named() {
    let rule = "[[rules]]\nchannel = \"a\"\nallow = \"authenticated\"\n";
    let public = rule.replace("authenticated", "public");
    let backend = "[[rules]]\nchannel = \"a\"\nallow = \"backend\"\n[forward-auth]\n";
    let jwt = |rest: &str| format!("{rule}[jwt]\n{rest}");
    let pem = |pem: &str| jwt(&format!("public-key = '''\n{pem}'''"));
    for (toml, expected) in [
        ("[jwt]\nsecret = \"x\"".to_owned(), "access.rules: there is no rule"),
        (rule.to_owned(), "access.rules[0].allow: no reader could be"),
        (rule.replace("authenticated", "token"), "access.rules[0].allow: there is neither"),
        (
            rule.replace("authenticated", "backend"),
            "access.rules[0].allow: there is no access.forw",
        ),
        (
            rule.replace("authenticated", "Public"),
            "access.rules[0].allow: \"Public\" is not one of",
        ),
        (public.replace("\"a\"", "\"\""), "access.rules[0].channel: the pattern is empty"),
        (public.replace("\"a\"", "[]"), "access.rules[0].channel"),
        (
            format!("{rule}{}[jwt]\nsecret = \"x\"", rule.replace("\"a\"", "\"a{b\"")),
            "access.rules[1].channel: \"a{b\" has a brace",
        ),
        (jwt(""), "access.jwt: give exactly one of secret,"),
        (
            jwt(&format!("secret = {SECRET:?}\npublic-key = \"x\"")),
            "access.jwt.public-key: this is no public key",
        ),
        (
            jwt(&format!("secret = {SECRET:?}\nsecret-file = \"/dev/null\"")),
            "access.jwt.secret-file: the secret is",
        ),
        (jwt("secret = \"\""), "access.jwt.secret: the secret is empty"),
        (
            jwt("secret-file = \"/nonexistent\""),
            "access.jwt.secret-file: cannot read /nonexistent: ",
        ),
        (jwt("jwks-file = \"/dev/null\""), "access.jwt.jwks-file: this is no JWK set"),
        (jwt(&format!("secret = {SECRET:?}\nleeway = \"soon\"")), "access.jwt.leeway: \"soon\": "),
        (
            jwt(&format!("secret = {SECRET:?}\nleeway = \"1h\"")),
            "access.jwt.leeway: clocks do not differ",
        ),
        (
            jwt(&format!("secret = {SECRET:?}\ncookie = \"\"")),
            "access.jwt.cookie: the name is empty",
        ),
        (
            jwt(&format!("secret = '''{}'''", keys::eddsa().public_pem)),
            "access.jwt.secret: this is a key in the form PEM",
        ),
        (pem(&keys::rs256().private_pem), "access.jwt.public-key: this is a private key"),
        (pem(&keys::es384().public_pem), "access.jwt.public-key: of elliptic curves only P-256"),
        (format!("{rule}[es-meta]\n"), "access.es-meta: give either secret or secret-file"),
        (format!("{backend}url = \"backend\""), "access.forward-auth.url: this is no URL"),
        (format!("{backend}url = \"ftp://x/\""), "access.forward-auth.url: this is no URL"),
        (
            format!("{backend}url = \"http://x/\"\nheaders = [\"Connection\"]"),
            "access.forward-auth.headers: connection is about the connection",
        ),
        (
            format!("{backend}url = \"http://x/\"\nheaders = [\"a b\"]"),
            "access.forward-auth.headers: \"a b\" is no header's name",
        ),
        (
            format!("{backend}url = \"http://x/\"\nrecheck = \"0s\""),
            "access.forward-auth.recheck: must",
        ),
        (
            format!("{backend}url = \"http://x/\"\ncache-size = 0"),
            "access.forward-auth.cache-size: ",
        ),
        (format!("{rule}[forward-auth]\nurl = \"http://x/\""), "access.forward-auth: no rule says"),
    ] {
        let settings: AccessSettings = toml::from_str(&toml).expect(&toml);
        let error = settings.rules().expect_err(&toml).to_string();
        assert!(error.starts_with(expected), "{toml}\n{error}");
    }
    for unknown in ["rule = 1", "[jwt]\nalgorithm = \"none\"", "[[rules]]\nchannel = \"a\""] {
        toml::from_str::<AccessSettings>(unknown).expect_err(unknown);
    }
    let settings: AccessSettings = toml::from_str("[jwt]\nsecret = \"s3cret\"").expect("TOML");
    assert!(!format!("{settings:?}").contains("s3cret"));
}

/// The files that it names are not there, which is how far the check has to come.
#[tokio::test]
async fn the_examples_of_the_documentation_are_settings() {
    let text = include_str!("../../docs/auth.md");
    let examples: Vec<_> = text.split("```toml\n").skip(1).collect();
    assert_eq!(examples.len(), 7);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("settings.toml");
    for example in examples {
        let (example, _) = example.split_once("```").expect("an end");
        std::fs::write(&path, example).expect("writable");
        let mut command = binary();
        command.args(["--listen", "192.0.2.1:9", "--storage", "memory", "--open-access"]);
        let output = within("an end", command.arg("--config").arg(&path).output()).await;
        let stderr = String::from_utf8_lossy(&output.expect("it starts").stderr).into_owned();
        let is_understood = stderr.contains("cannot read /etc/sse-server/")
            || stderr.contains("cannot listen on 192.0.2.1:9");
        assert!(is_understood, "{example}\n{stderr}");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_used_ends_the_start_with_one_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("settings.toml");
    let rule = "[[access.rules]]\nchannel = \"a\"\nallow = \"public\"\n";
    let publish = "[[publish-tokens]]\nchannel = \"a\"\n";
    for (toml, line) in [
        ("[access.jwt]\nsecret = \"x\"\n".to_owned(), "error: access.rules: there is no rule"),
        (format!("{rule}[access.jwt]\n"), "error: access.jwt: give exactly one of"),
        (publish.to_owned(), "error: publish-tokens[0]: give either token or token-file"),
        (
            format!("{publish}token = \"a b\"\n"),
            "error: publish-tokens[0].token: the token has a space",
        ),
        (format!("{publish}token = \" \"\n"), "error: publish-tokens[0].token: it is empty"),
        (format!("{publish}token = \"{TOKEN}\"\n"), "error: publish-tokens[0].token: another one"),
        (
            "[[publish-tokens]]\nchannel = []\ntoken = \"x\"\n".to_owned(),
            "error: publish-tokens[0].channel: name a channel",
        ),
    ] {
        std::fs::write(&path, &toml).expect("writable");
        let mut command = binary();
        command.args(["--listen", "127.0.0.1:0", "--storage", "memory", "--publish-token", TOKEN]);
        let output = within("an end", command.arg("--config").arg(&path).output()).await;
        let output = output.expect("it starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{toml}: {stderr}");
        assert!(stderr.starts_with(line) && stderr.trim_end().lines().count() == 1, "{stderr}");
    }
}

#[tokio::test]
async fn rules_make_a_public_address_possible() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("settings.toml");
    std::fs::write(&path, "[[access.rules]]\nchannel = \"a\"\nallow = \"public\"\n").expect("ok");
    let mut command = binary();
    // An address that this machine does not have: it is not listened on, but it is not refused
    // either.
    command.args(["--listen", "192.0.2.1:9", "--storage", "memory", "--config"]).arg(&path);
    let output = within("an end", command.output()).await.expect("it starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("cannot listen on 192.0.2.1:9"), "{stderr}");
}

/// What a token gets for a body at a path: the status and the answer.
async fn post(server: &Server, path: &str, token: &str, body: &str) -> (u16, Value) {
    let (len, auth) = (body.len(), bearer(token));
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len}\r\n{auth}\r\n{body}"
    );
    let mut response = server.send(request.as_bytes()).await;
    let body = response.body().await;
    (response.status, serde_json::from_str(&body).expect("JSON"))
}

#[tokio::test]
async fn each_publish_token_is_for_its_channels() {
    let (server, _folder) = configured(
        "[[publish-tokens]]\ntoken = \"of-billing\"\nchannel = [\"invoice-*\", \"news\"]\n\
         [[publish-tokens]]\ntoken = \"of-users\"\nchannel = \"user-*\"\nmay-change-permissions = true\n",
    )
    .await;
    let event = |channel: &str| json!({"channel": channel, "data": 1}).to_string();
    for (token, channel, status) in [
        (TOKEN, "anything", 200),
        ("of-billing", "invoice-7", 200),
        ("of-billing", "news", 200),
        ("of-billing", "news2", 403),
        ("of-billing", "user-1", 403),
        ("of-users", "user-1", 200),
        ("of-users", "news", 403),
        ("of-nobody", "news", 401),
        ("of-billin", "news", 401),
        ("of-billing2", "news", 401),
        ("*", "news", 401),
    ] {
        let (found, body) = post(&server, "/publish/", token, &event(channel)).await;
        assert_eq!(found, status, "{token} {channel}: {body}");
        if status == 403 {
            let text = format!("this token may not publish to the channel \"{channel}\"");
            assert_eq!((&body["error"], &body["message"]), (&"forbidden".into(), &text.into()));
        }
    }
    let batch = format!("[{},{}]", event("news"), event("user-1"));
    let (status, body) = post(&server, "/publish/", "of-billing", &batch).await;
    assert_eq!(status, 403);
    assert_eq!(body["message"], "event 2: this token may not publish to the channel \"user-1\"");
    let (_, body) = post(&server, "/publish/", "of-billing", &event("news")).await;
    assert_eq!(body["id"], "news:2", "nothing of the batch was published");

    let change = r#"{"user":null,"channel":"user-1"}"#;
    for (token, channel, status) in [
        (TOKEN, "user-1", 200),
        ("of-users", "user-1", 200),
        ("of-users", "news", 403),
        ("of-billing", "news", 403),
        ("of-nobody", "user-1", 401),
    ] {
        let body = change.replace("user-1", channel);
        let (found, body) = post(&server, "/permissions/changed", token, &body).await;
        assert_eq!(found, status, "{token} {channel}: {body}");
        if status == 403 {
            assert!(body["message"].as_str().is_some_and(|text| text.contains(channel)), "{body}");
        }
    }
}

#[tokio::test]
async fn an_unreliable_channel_has_no_ids_and_the_others_keep_theirs() {
    let (server, _folder) = configured("unreliable = [\"typing-*\"]\n").await;
    let mut both = server.get("/events/?channel=a&channel=typing-1", "").await;
    both.opening().await;
    assert_eq!(both.until("\n\n").await, "id: a:0\n\n");
    let mut alone = server.get("/events/?channel=typing-1&lastEventId=typing-1:0", "").await;
    alone.opening().await;
    let batch =
        r#"[{"channel":"a","data":1},{"channel":"typing-1","data":2},{"channel":"a","data":3}]"#;
    let answer = server.publish(batch).await;
    assert_eq!(answer, json!([{"id": "a:1"}, {"id": null}, {"id": "a:2"}]));
    server.publish(r#"{"channel":"typing-1","data":4}"#).await;
    assert_eq!(
        alone.until("data: 4\n\n").await,
        "event: message\ndata: 2\n\nevent: message\ndata: 4\n\n"
    );
    let seen = both.until("data: 4\n\n").await;
    assert!(seen.ends_with("event: message\nid: a:2\ndata: 4\n\n"), "{seen}");
    let resumed = "/events/?channel=a&channel=typing-1&lastEventId=a:0,typing-1:0";
    let mut late = server.get(resumed, "").await;
    late.opening().await;
    assert_eq!(
        late.until("data: 3\n\n").await,
        "event: message\nid: a:1\ndata: 1\n\nevent: message\nid: a:2\ndata: 3\n\n"
    );
}
