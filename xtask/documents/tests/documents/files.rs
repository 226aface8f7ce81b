//! Blocks that are files, or parts of one.

use std::fs;
use std::path::Path;
use std::process::Command;

use saphyr::LoadableYamlNode as _;
use sse_proto::{Decoder, Frame};

use crate::Outcome;
use crate::session::{bash, is_on_path};

pub(crate) fn json(text: &str) -> Result<(), String> {
    serde_json::from_str::<serde_json::Value>(text)
        .map(drop)
        .map_err(|error| format!("{text}: {error}"))
}

pub(crate) fn yaml(text: &str) -> Result<(), String> {
    let documents = saphyr::Yaml::load_from_str(text).map_err(|error| error.to_string())?;
    if documents.is_empty() { Err("there is nothing in it".to_owned()) } else { Ok(()) }
}

/// Sections with keys, as systemd has them.
pub(crate) fn ini(text: &str) -> Result<(), String> {
    let is_well =
        |line: &str| line.is_empty() || line.starts_with(['#', ';', '[']) || line.contains('=');
    match text.lines().find(|line| !is_well(line.trim())) {
        Some(line) => Err(format!("neither a section nor a key: {line}")),
        None => Ok(()),
    }
}

/// Settings of the server, unless it is a manifest of cargo's.
pub(crate) fn toml(text: &str, folder: &Path) -> Result<(), String> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
    if table.keys().any(|key| key == "dependencies" || key == "patch") {
        return Ok(());
    }
    let text = furnish(text, folder)?;
    let file = folder.join("target/documents/settings.toml");
    fs::write(&file, text).map_err(|error| error.to_string())?;
    let mut check = bash(folder);
    check.args(["-c", "sse-server check-config \"$1\" 2>&1", "bash"]).arg(&file);
    succeeds(check)
}

/// Folders of the system's that examples name. They are in the throw-away folder here.
const PLACES: [&str; 6] =
    ["/etc/sse-server/", "/etc/ssl/", "/etc/nginx/", "/var/lib/sse-server/", "/run/", "/srv/"];

/// Makes the files that a file of settings names, and names them as they are here.
fn furnish(text: &str, folder: &Path) -> Result<String, String> {
    let mut text = text.to_owned();
    for place in PLACES {
        let here = format!("{}/target/documents{place}", folder.display());
        fs::create_dir_all(&here).map_err(|error| error.to_string())?;
        let names: Vec<_> = text
            .split(place)
            .skip(1)
            .filter_map(|rest| rest.split(['"', '\'', ';', ' ', '\n', ',']).next())
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect();
        for name in names {
            let path = Path::new(&here).join(&name);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(|error| error.to_string())?;
            }
            fs::write(path, content(&name)?).map_err(|error| error.to_string())?;
        }
        text = text.replace(place, &here);
    }
    Ok(text)
}

/// What is in a file of this name.
fn content(name: &str) -> Result<String, String> {
    let certificate = || -> Result<_, rcgen::Error> {
        let key = rcgen::KeyPair::generate()?;
        let certificate = rcgen::CertificateParams::new(vec!["example.com".to_owned()])?;
        Ok((certificate.self_signed(&key)?.pem(), key))
    };
    let (certificate, key) = certificate().map_err(|error| error.to_string())?;
    Ok(if name.ends_with(".pub.pem") {
        key.public_key_pem()
    } else if [".pem", ".key", ".crt"].iter().any(|end| name.ends_with(end)) {
        format!("{certificate}{}", key.serialize_pem())
    } else if name.contains("jwk") {
        r#"{"keys":[]}"#.to_owned()
    } else {
        // A token, or any other secret.
        "0123456789abcdef0123456789abcdef".to_owned()
    })
}

pub(crate) fn nginx(text: &str, folder: &Path) -> Result<Outcome, String> {
    let Some(nginx) = ["nginx", "/usr/sbin/nginx"]
        .iter()
        .find(|name| is_on_path(name) || Path::new(name).is_file() && name.starts_with('/'))
    else {
        return Ok(Outcome::Ignored("nginx is missing".to_owned()));
    };
    let own = folder.join("target/documents/nginx");
    fs::create_dir_all(&own).map_err(|error| error.to_string())?;
    let text = furnish(text, folder)?;
    for (certificate, key) in pairs(&text) {
        fs::copy(key, certificate).map_err(|error| error.to_string())?;
    }
    let whole = if text.contains("http {") {
        text
    } else {
        // All that it would write lies in the folder, and belongs to the user who runs this.
        let places = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {}/{name};\n", own.display()))
            .concat();
        format!(
            "user root;\nevents {{}}\npid {}/pid;\nhttp {{\naccess_log off;\n{places}{text}\n}}\n",
            own.display()
        )
    };
    let file = own.join("nginx.conf");
    fs::write(&file, whole).map_err(|error| error.to_string())?;
    let mut check = Command::new(nginx);
    check.arg("-t").arg("-p").arg(&own).arg("-e").arg(own.join("log")).arg("-c").arg(&file);
    succeeds(check).map(|()| Outcome::Ok)
}

/// The certificates that nginx is to use, each with its key. They have to fit, so both are one
/// file.
fn pairs(text: &str) -> Vec<(&str, &str)> {
    let values = |name: &'static str| {
        let lines = text.lines().filter_map(move |line| line.trim().strip_prefix(name));
        lines.filter_map(|rest| rest.trim().split(';').next())
    };
    values("ssl_certificate ").zip(values("ssl_certificate_key ")).collect()
}

/// It compiles.
pub(crate) fn python(text: &str, folder: &Path) -> Result<Outcome, String> {
    if !is_on_path("python3") {
        return Ok(Outcome::Ignored("python3 is missing".to_owned()));
    }
    let file = folder.join("block.py");
    fs::write(&file, text).map_err(|error| error.to_string())?;
    let mut compile = bash(folder);
    compile.args(["-c", "python3 -m py_compile \"$1\" 2>&1", "bash"]).arg(&file);
    succeeds(compile).map(|()| Outcome::Ok)
}

/// Every line is one of an event stream, and there are events, or at least a block that the
/// standard knows.
pub(crate) fn event_stream(text: &str) -> Result<(), String> {
    // The sign for a line end, and what stands for many spaces.
    let stream = text.replace('⏎', "").replace("<2048 spaces>", " ");
    let is_known = |line: &str| {
        let name = line.split(':').next().unwrap_or_default();
        name.is_empty() || ["event", "data", "id", "retry"].contains(&name)
    };
    if let Some(line) = stream.lines().find(|line| !is_known(line)) {
        return Err(format!("no line of an event stream: {line}"));
    }
    let stream = format!("{stream}\n\n");
    let mut decoder = Decoder::new();
    let mut frames = decoder.decode(stream.as_bytes());
    while let Some(frame) = frames.next_frame() {
        if let Frame::Event(event) = frame.map_err(|error| error.to_string())?
            && event.data().starts_with('{')
        {
            json(event.data())?;
        }
    }
    Ok(())
}

fn succeeds(mut command: Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    Err(format!("{out}{err}"))
}
