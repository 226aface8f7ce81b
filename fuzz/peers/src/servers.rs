//! The servers: how each is started, and how to publish to it.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::daemons::{Daemons, End, Ready, free_port};
use testkit::programs::{NCHAN, find};

/// Names the Python that has Django, django-eventstream and daphne.
const DJANGO: &str = "SSE_TEST_DJANGO";

#[derive(Debug)]
pub struct Server {
    pub name: &'static str,
    /// Takes the folder of what cargo has built, and a folder for this server alone.
    pub start: fn(&Daemons, &Path, &Path) -> io::Result<Probing>,
}

/// A server that has been started.
#[derive(Debug)]
pub struct Probing {
    /// With versions.
    pub name: String,
    pub url: String,
    /// The process that has the connections, if it is a single one.
    pub pid: Option<u32>,
    /// Arguments for `sse-fuzz probe`.
    pub args: Vec<String>,
}

pub const SERVERS: [Server; 5] = [
    Server { name: "ours", start: ours },
    Server { name: "django", start: django },
    Server { name: "nchan", start: nchan },
    Server { name: "pushpin", start: pushpin },
    Server { name: "axum", start: axum },
];

/// Publishing by JSON over HTTP.
fn publish_url(port: u16) -> [String; 4] {
    let url = format!("http://127.0.0.1:{port}/publish/");
    ["--publish-url".into(), url, "--publish-channel".into(), "test".into()]
}

fn stream(port: u16) -> String {
    format!("http://127.0.0.1:{port}/events/?channel=test")
}

fn ours(daemons: &Daemons, built: &Path, folder: &Path) -> io::Result<Probing> {
    const TOKEN: &str = "of-a-server-that-lives-for-a-minute";
    let port = free_port()?;
    let mut command = Command::new(built.join("sse-server"));
    command.args(["--listen", &format!("127.0.0.1:{port}"), "--publish-token", TOKEN]);
    command.args(["--storage", &format!("sqlite:{}", folder.join("events.db").display())]);
    let pid = daemons.add("sse-server", command, folder, Ready::Accepts(port), End::KillGroup)?;
    let mut args = vec!["--profile".to_owned(), "django".to_owned()];
    args.extend(publish_url(port));
    args.extend(["--publish-token".to_owned(), TOKEN.to_owned()]);
    let name = format!("sse-server {}", env!("CARGO_PKG_VERSION"));
    Ok(Probing { name, url: stream(port), pid: Some(pid), args })
}

fn axum(daemons: &Daemons, built: &Path, folder: &Path) -> io::Result<Probing> {
    let port = free_port()?;
    let mut command = Command::new(built.join("examples/axum_sse"));
    command.arg(format!("127.0.0.1:{port}"));
    let pid = daemons.add("axum", command, folder, Ready::Accepts(port), End::KillGroup)?;
    let version = locked("axum").unwrap_or_default();
    let args = publish_url(port).to_vec();
    Ok(Probing { name: format!("axum {version}"), url: stream(port), pid: Some(pid), args })
}

/// The version of a crate in `Cargo.lock`.
fn locked(name: &str) -> Option<String> {
    let lock = fs::read_to_string("Cargo.lock").ok()?;
    let (_, rest) = lock.split_once(&format!("\nname = \"{name}\"\nversion = \""))?;
    Some(rest.split('"').next()?.to_owned())
}

fn django(daemons: &Daemons, _: &Path, folder: &Path) -> io::Result<Probing> {
    let (port, pid) = django_at(daemons, folder)?;
    let mut args = vec!["--profile".to_owned(), "django".to_owned()];
    args.extend(publish_url(port));
    let name = python_versions(&python()?);
    Ok(Probing { name, url: stream(port), pid: Some(pid), args })
}

fn python() -> io::Result<PathBuf> {
    let python = env::var_os(DJANGO).map(PathBuf::from);
    python.ok_or_else(|| io::Error::other(format!("{DJANGO} names no Python")))
}

/// A site with django-eventstream under daphne: its port and its process. [`Daemons::wait`] waits
/// for it.
///
/// # Errors
///
/// If the environment does not name a Python that has them, or it does not start.
pub fn django_at(daemons: &Daemons, folder: &Path) -> io::Result<(u16, u32)> {
    let port = free_port()?;
    fs::write(folder.join("django_site.py"), include_str!("../files/django_site.py"))?;
    let mut command = Command::new(python()?.with_file_name("daphne"));
    command.args(["-b", "127.0.0.1", "-p", &port.to_string(), "django_site:application"]);
    command.env("PYTHONPATH", folder).env("SITE_FOLDER", folder);
    let pid = daemons.add("daphne", command, folder, Ready::Accepts(port), End::KillGroup)?;
    Ok((port, pid))
}

/// What answers readers, with versions.
fn python_versions(python: &Path) -> String {
    let mut ask = Command::new(python);
    ask.arg("-c").arg(
        "from importlib.metadata import version\n\
         names = ['django-eventstream', 'daphne', 'Django']\n\
         print(', '.join(name + ' ' + version(name) for name in names))",
    );
    let said = ask.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&said).trim().to_owned()
}

fn nginx() -> PathBuf {
    find("nginx").unwrap_or_else(|| "nginx".into())
}

/// nginx with nchan at this port, for so many connections. Its settings are in the folder.
///
/// # Errors
///
/// If the settings cannot be written.
pub fn nchan_command(folder: &Path, port: u16, connections: usize) -> io::Result<Command> {
    let places = [
        ("{port}", port.to_string()),
        ("{connections}", connections.to_string()),
        ("{module}", NCHAN.to_owned()),
    ];
    let config = fill(include_str!("../files/nginx.conf"), folder, &places);
    fs::write(folder.join("nginx.conf"), config)?;
    let mut command = Command::new(nginx());
    command.arg("-p").arg(folder).args(["-e", "stderr", "-c", "nginx.conf"]);
    Ok(command)
}

fn nchan(daemons: &Daemons, _: &Path, folder: &Path) -> io::Result<Probing> {
    let port = free_port()?;
    let command = nchan_command(folder, port, 4096)?;
    let version = version(&nginx(), "-v", '/');
    let pid = daemons.add("nginx", command, folder, Ready::Accepts(port), End::KillGroup)?;
    // Its publisher takes the data as it is; a type would be a header, which cannot have line ends.
    let hook = format!(
        "curl -fsS -H 'Content-Type: text/plain' --data-binary @- \
         'http://127.0.0.1:{port}/publish/?channel=test'"
    );
    let name = format!("nchan {}, nginx {version}", package_version("libnginx-mod-nchan"));
    let args = vec!["--publish".to_owned(), hook];
    Ok(Probing { name, url: stream(port), pid: Some(pid), args })
}

fn pushpin(daemons: &Daemons, _: &Path, folder: &Path) -> io::Result<Probing> {
    let (port, _) = pushpin_at(daemons, folder, 4096)?;
    let version = version(&pushpin_program(), "--version", ' ');
    let name = format!("Pushpin {version}, an origin");
    Ok(Probing { name, url: stream(port), pid: None, args: publish_url(port).to_vec() })
}

fn pushpin_program() -> PathBuf {
    find("pushpin").unwrap_or_else(|| "pushpin".into())
}

/// Pushpin for so many connections, with an origin: its port, and the process that runs its others.
/// [`Daemons::wait`] waits for it.
///
/// # Errors
///
/// If its settings cannot be written, or it does not start.
pub fn pushpin_at(daemons: &Daemons, folder: &Path, connections: usize) -> io::Result<(u16, u32)> {
    let [port, control, origin_port] = [free_port()?, free_port()?, free_port()?];
    let origin_folder = folder.join("origin");
    for name in ["run", "logs", "origin"] {
        fs::create_dir(folder.join(name))?;
    }
    let file = origin_folder.join("grip_origin.py");
    fs::write(&file, include_str!("../files/grip_origin.py"))?;
    let mut origin = Command::new("python3");
    origin.arg(file).args([origin_port.to_string(), control.to_string()]);
    let ready = Ready::Says("listening");
    daemons.add("the origin", origin, &origin_folder, ready, End::KillGroup)?;
    let places = [
        ("{port}", port.to_string()),
        ("{control}", control.to_string()),
        ("{connections}", connections.to_string()),
    ];
    let config = fill(include_str!("../files/pushpin.conf"), folder, &places);
    fs::write(folder.join("pushpin.conf"), config)?;
    fs::write(folder.join("routes"), format!("* 127.0.0.1:{origin_port}\n"))?;
    let mut command = Command::new(pushpin_program());
    command.args(["--config", "pushpin.conf"]);
    // It says so a moment before its port is there, and is several processes.
    let pid = daemons.add("Pushpin", command, folder, Ready::Accepts(port), End::Terminate)?;
    Ok((port, pid))
}

fn fill(text: &str, folder: &Path, places: &[(&str, String)]) -> String {
    let text = text.replace("{folder}", &folder.display().to_string());
    places.iter().fold(text, |text, (place, value)| text.replace(place, value))
}

/// What a program says of its version, after the last of a sign on the first line.
fn version(program: &Path, flag: &str, sign: char) -> String {
    let output = Command::new(program).arg(flag).output();
    let said = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    let said = String::from_utf8_lossy(&said).into_owned();
    let line = said.lines().next().unwrap_or_default();
    line.rsplit(sign).next().unwrap_or_default().to_owned()
}

/// The version of Debian's package, without what is Debian's own.
fn package_version(package: &str) -> String {
    let mut query = Command::new("dpkg-query");
    query.args(["-W", "-f", "${Version}", package]);
    let said = query.output().map(|output| output.stdout).unwrap_or_default();
    let said = String::from_utf8_lossy(&said).into_owned();
    let version = said.split_once(':').map_or(said.as_str(), |(_, rest)| rest);
    version.split(['+', '-']).next().unwrap_or_default().to_owned()
}
