//! What `docs/deploy.md` and `packaging/` say, against the server and the programs that they are
//! for.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use port::Port;
use serde_json::Value;
use server::{Server, TOKEN, binary, until, within};
use testkit::{port, server};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(workspace().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The blocks of this language in `docs/deploy.md`.
fn blocks(language: &str) -> Vec<String> {
    let text = read("docs/deploy.md");
    let mark = format!("```{language}\n");
    let blocks = text.split(&mark).skip(1).map(|rest| rest.split("```").next().expect("an end"));
    blocks.map(str::to_owned).collect()
}

/// The values of a key of the unit.
fn of_unit(key: &str) -> Vec<String> {
    let unit = read("packaging/sse-server.service");
    let lines = unit.lines().filter_map(|line| line.strip_prefix(&format!("{key}=")));
    lines.map(str::to_owned).collect()
}

fn is_there(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}

#[test]
fn the_unit_the_settings_and_the_guide_agree_on_their_paths() {
    let settings = read("packaging/sse-server.toml");
    let shown = &blocks("toml")[0];
    assert!(settings.ends_with(shown), "deploy.md shows the settings that packages bring");
    let name = of_unit("ConfigurationDirectory");
    let config = format!("/etc/{}/sse-server.toml", name[0]);
    assert_eq!(
        of_unit("ExecStart"),
        ["/usr/bin/sse-server --config ${CONFIGURATION_DIRECTORY}/sse-server.toml"]
    );
    assert_eq!(of_unit("ExecReload"), ["/bin/kill -HUP $MAINPID"], "the settings are read again");
    assert_eq!(read("packaging/debian/conffiles").trim(), config);
    let state = format!("/var/lib/{}", of_unit("StateDirectory")[0]);
    assert_eq!(of_unit("WorkingDirectory"), [&*state]);
    assert!(settings.contains(&format!("storage = \"sqlite:{state}/events.db\"")), "{settings}");
    // The token: made where the unit takes it from, and named as the unit hands it over.
    let credentials = of_unit("LoadCredential");
    let (credential, source) = credentials[0].split_once(':').expect("a name and a path");
    assert_eq!(of_unit("Environment"), [format!("SSE_SERVER_PUBLISH_TOKEN_FILE=%d/{credential}")]);
    let guide = read("docs/deploy.md");
    for path in [&config, source, &state] {
        assert!(guide.contains(path.trim_end_matches('/')), "deploy.md does not name {path}");
    }
    assert!(read("packaging/debian/postinst").contains(&format!("token={source}\n")));
    assert!(!settings.contains("token ="), "no secret is in a file that everybody may read");
}

#[tokio::test]
async fn the_settings_of_packages_work_with_the_variables_of_the_unit() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let port = Port::reserve();
    let settings = read("packaging/sse-server.toml")
        .replace("/var/lib/sse-server", &folder.path().display().to_string())
        .replace("127.0.0.1:8080", &port.to_string());
    fs::write(path("sse-server.toml"), settings).expect("writable");
    let check =
        binary().args(["check-config", &path("sse-server.toml")]).stdout(Stdio::piped()).output();
    let check = within("the check", check).await.expect("it can be started");
    let text = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(check.status.success() && text.contains("news, status-*           everyone"), "{text}");
    assert!(
        text.contains("X-Forwarded-For of 127.0.0.1/32, ::1/128") && !text.contains("Warnings"),
        "{text}"
    );
    // As systemd hands them over: a copy of the token, a folder for the database, no flag but
    // --config.
    fs::write(path("publish-token"), "a-token-of-the-package\n").expect("writable");
    let mut server = binary();
    server.args(["--config", &path("sse-server.toml")]);
    server.env("SSE_SERVER_PUBLISH_TOKEN_FILE", path("publish-token"));
    let mut server = server.stderr(Stdio::null()).spawn().expect("it can be started");
    let url = format!("http://{port}");
    until("publishing works", async || {
        let args = ["publish", "news", "x", "--url", &url, "--token", "a-token-of-the-package"];
        let done = binary().args(args).stderr(Stdio::null()).status().await;
        done.expect("it can be started").success()
    })
    .await;
    assert!(Path::new(&path("events.db")).exists());
    server.start_kill().expect("it runs");
}

#[test]
fn systemd_understands_the_unit() {
    if !is_there("systemd-analyze") {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    // It looks whether the program is there.
    let unit = read("packaging/sse-server.service")
        .replace("/usr/bin/sse-server", env!("CARGO_BIN_EXE_sse-server"));
    let verified = |unit: &str| {
        let path = folder.path().join("sse-server.service");
        fs::write(&path, unit).expect("writable");
        let mut verify = Command::new("systemd-analyze");
        let output = verify.args(["verify", "--man=no"]).arg(path).output().expect("it is there");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        // It speaks of the machine's own units, too.
        let lines = said.lines().filter(|line| line.contains("sse-server.service"));
        (output.status.success(), lines.collect::<Vec<_>>().join("\n"))
    };
    let (is_well, said) = verified(&unit);
    assert!(is_well && said.is_empty(), "{said}");
    let (_, said) = verified(&unit.replace("ExecReload=", "ExecReloat="));
    assert!(said.contains("ExecReloat"), "a mistake would be seen: {said}");
}

/// nginx as `docs/deploy.md` has it, on another port and before another server.
struct Nginx {
    child: std::process::Child,
    port: Port,
    folder: tempfile::TempDir,
}

impl Nginx {
    fn configured(server: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a key");
        fs::write(path("cert.pem"), key.cert.pem()).expect("writable");
        fs::write(path("key.pem"), key.signing_key.serialize_pem()).expect("writable");
        let port = Port::reserve();
        let site = blocks("nginx")[0]
            .replace("127.0.0.1:8080", server)
            .replace("listen 443", &format!("listen {port}"))
            .replace("/etc/ssl/events.example.com.pem", &path("cert.pem"))
            .replace("/etc/ssl/private/events.example.com.key", &path("key.pem"));
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {};", path(name)));
        let config = format!(
            "daemon off; pid {}; error_log stderr warn; events {{}}\nhttp {{ access_log off; {}\n{site}\n}}",
            path("pid"),
            temporary.join(" "),
        );
        fs::write(path("nginx.conf"), config).expect("writable");
        let child = Self::command(folder.path()).stderr(Stdio::null()).spawn();
        Self { child: child.expect("nginx is there"), port, folder }
    }

    fn command(folder: &Path) -> Command {
        let mut command = Command::new("nginx");
        command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf"));
        command.arg("-e").arg("stderr");
        command
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.port)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its workers end with it at SIGTERM, which they would not if it were killed.
        let pid = self.child.id().to_string();
        let ended = Command::new("kill").args(["-TERM", &pid]).status();
        if !ended.is_ok_and(|status| status.success()) {
            drop(self.child.kill());
        }
        drop(self.child.wait());
    }
}

#[tokio::test]
async fn nginx_as_the_guide_has_it_passes_streams_and_clients_addresses_on() {
    if !is_there("nginx") {
        return;
    }
    let server = Server::start(&["--trusted-proxies", "127.0.0.1", "--max-per-address", "2"]).await;
    let nginx = Nginx::configured(&server.address.to_string());
    let tested = Nginx::command(nginx.folder.path()).arg("-t").output().expect("nginx is there");
    let said = String::from_utf8_lossy(&tested.stderr).into_owned();
    assert!(tested.status.success(), "{said}");
    let warnings = said.lines().filter(|line| line.contains("[warn]"));
    // From 1.25.1 on it warns of `listen … http2`, which the guide says.
    let warnings: Vec<_> = warnings.filter(|line| !line.contains("\"http2\"")).collect();
    assert!(warnings.is_empty(), "{warnings:?}");

    // Clients that are not at the address of the proxy.
    let at = |address: [u8; 4]| {
        let client = reqwest::Client::builder().danger_accept_invalid_certs(true);
        client.local_address(std::net::IpAddr::from(address)).build().expect("a client")
    };
    let client = at([127, 0, 0, 2]);
    let get = async |path: &str| client.get(nginx.url(path)).send().await;
    until("nginx listens", async || get("/health/live").await.is_ok()).await;
    let stream = get("/events/?channel=a").await.expect("an answer");
    assert_eq!(stream.status(), 200);
    assert_eq!(stream.version(), reqwest::Version::HTTP_2);
    let event = serde_json::json!({"channel": "a", "data": 1}).to_string();
    let publish = client.post(nginx.url("/publish/")).bearer_auth(TOKEN).body(event);
    assert_eq!(publish.send().await.expect("an answer").status(), 200);
    let mut stream = stream;
    let mut seen = String::new();
    within("the event", async {
        while !seen.contains("data: 1\n\n") {
            let chunk = stream.chunk().await.expect("readable").expect("more");
            seen += &String::from_utf8_lossy(&chunk);
        }
    })
    .await;
    // The long id of a stream of many channels, and the script of the page.
    let long = "x".repeat(12_000);
    assert_eq!(get(&format!("/health/live?{long}")).await.expect("an answer").status(), 200);
    // Not every build has one; then the server's own refusal arrives.
    let own = reqwest::get(server.url("/page/client.js")).await.expect("an answer");
    let passed_on = get("/page/client.js").await.expect("an answer");
    assert_eq!(passed_on.status(), own.status());
    let (own, passed_on) = (own.text().await, passed_on.text().await);
    assert_eq!(passed_on.expect("text"), own.expect("text"));
    for hidden in ["/metrics", "/channels/", "/permissions/changed"] {
        assert_eq!(get(hidden).await.expect("an answer").status(), 404, "{hidden}");
    }
    // Streams count for the client whom nginx names: two are let in.
    let second = get("/events/?channel=a").await.expect("an answer");
    assert_eq!(second.status(), 200);
    let third = get("/events/?channel=a").await.expect("an answer");
    assert_eq!(third.status(), 503, "the address that counts is the client's");
    // What a client claims of itself is not believed.
    let claim = client.get(nginx.url("/events/?channel=a")).header("X-Forwarded-For", "192.0.2.1");
    assert_eq!(claim.send().await.expect("an answer").status(), 503);
    let other = at([127, 0, 0, 3]).get(nginx.url("/events/?channel=a")).send().await;
    assert_eq!(other.expect("an answer").status(), 200, "another client is let in");
}

/// The names of metrics that a text has.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let words =
        words.filter(|word| word.starts_with("sse_server_") || word.starts_with("process_"));
    words.map(str::to_owned).collect()
}

#[tokio::test]
async fn rules_and_dashboard_name_numbers_that_the_server_tells() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("settings.toml");
    fs::write(&config, "[[access.rules]]\nchannel = 'a'\nallow = 'public'\n").expect("writable");
    let server = Server::start(&["--config", &config.display().to_string()]).await;
    server.fill("a", 1).await;
    let mut stream = server.get("/events/?channel=a&lastEventId=a:0", "").await;
    stream.until("data: 1\n\n").await;
    assert_eq!(server.post("{}", "").await.status, 401);
    server.get("/events/?channel=b", "").await.until("forbidden").await;
    let told = names(&server.get("/metrics", "").await.body().await);
    let rules = read("packaging/prometheus/sse-server.rules.yml");
    let dashboard = read("packaging/grafana/sse-server.json");
    let parsed: Value = serde_json::from_str(&dashboard).expect("JSON");
    assert!(parsed["panels"].as_array().is_some_and(|panels| panels.len() > 10));
    for (file, text) in [("rules", rules), ("dashboard", dashboard)] {
        let named = names(&text);
        assert!(named.len() > 5, "{file}: {named:?}");
        let unknown: Vec<_> = named.difference(&told).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?} are not in {told:?}");
    }
    if is_there("promtool") {
        let rules = workspace().join("packaging/prometheus/sse-server.rules.yml");
        let checked = Command::new("promtool").args(["check", "rules"]).arg(rules).output();
        let checked = checked.expect("promtool is there");
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    }
}
