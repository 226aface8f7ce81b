//! One document: its blocks in their order, in a throw-away folder.

use std::env;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use documents::{Block, Mark, blocks};

use crate::session::{self, Session};
use crate::{Outcome, Report, cargo, files, http, is_compiled, root};

/// Where documents say that the server is.
const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// How long something may take to become true.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// How often it is looked at.
pub(crate) const TICK: Duration = Duration::from_millis(20);

/// Is set where the network is nobody else's.
pub(crate) const ALONE: &str = "DOCUMENTS_ALONE";

pub(crate) fn run(document: &Path) -> ExitCode {
    match Document::open(document) {
        Ok((mut document, blocks)) => {
            for block in blocks.iter().filter(|block| !is_compiled(block)) {
                let outcome = match document.run(block) {
                    Ok(outcome) => outcome,
                    Err(why) => Outcome::Failed(why),
                };
                let language = block.language.clone();
                let report = Report { line: block.line, language, outcome };
                println!("{}", serde_json::json!(report));
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}: {error}", document.display());
            ExitCode::FAILURE
        }
    }
}

struct Document {
    /// Last, because what runs in it has to end before it is removed.
    session: Session,
    http: http::Last,
    /// A program without which the blocks for a shell are left out: they build upon each other.
    missing: Option<String>,
    folder: tempfile::TempDir,
}

impl Document {
    fn open(document: &Path) -> io::Result<(Self, Vec<Block>)> {
        if env::var_os(ALONE).is_none() && TcpStream::connect(SERVER).is_ok() {
            return Err(io::Error::other(format!("{SERVER} is taken, and the document needs it")));
        }
        let text = fs::read_to_string(root().join(document))?;
        let folder = tempfile::tempdir()?;
        furnish(folder.path())?;
        let blocks = blocks(&text);
        for block in &blocks {
            for mark in &block.marks {
                if let Mark::File(name) = mark {
                    fs::write(folder.path().join(name), &block.text)?;
                }
            }
        }
        let session = Session::start(folder.path())?;
        let this = Self { session, http: http::Last::default(), missing: None, folder };
        Ok((this, blocks))
    }

    fn run(&mut self, block: &Block) -> Result<Outcome, String> {
        if block.indented {
            return Err(
                "it is indented by four spaces; give it a fence and its language".to_owned()
            );
        }
        if let Some(why) = self.left_out(block)? {
            return Ok(Outcome::Ignored(why));
        }
        let folder = self.folder.path().to_owned();
        match block.language.as_str() {
            "sh" | "console" => self.shell(block)?,
            "text" | "json" if block.marks.contains(&Mark::Printed) => {
                self.session.has_printed(&block.text)?;
            }
            "http" => {
                self.serve()?;
                self.http.block(block, SERVER)?;
            }
            // Nothing to run: what people see.
            "text" => {}
            "json" => files::json(&block.text)?,
            "ndjson" => block.text.lines().try_for_each(files::json)?,
            "yaml" => files::yaml(&block.text)?,
            "toml" => files::toml(&block.text, &folder)?,
            "event-stream" => files::event_stream(&block.text)?,
            "nginx" => return files::nginx(&block.text, &folder),
            "ini" => files::ini(&block.text)?,
            "python" => return files::python(&block.text, &folder),
            "" => return Err("it has no language; what is only to be read is `text`".to_owned()),
            other => {
                return Err(format!(
                    "nobody knows how to run {other:?}; say `<!-- not run: WHY -->` above it, or teach \
                     xtask/documents/tests/documents/inside.rs"
                ));
            }
        }
        Ok(Outcome::Ok)
    }

    /// Why a block is not run, if it is not.
    fn left_out(&mut self, block: &Block) -> Result<Option<String>, String> {
        for mark in &block.marks {
            match mark {
                Mark::NotRun(why) if why.is_empty() => {
                    return Err("it is not run; say why".to_owned());
                }
                Mark::NotRun(why) => {
                    if is_shell(block) {
                        cargo::check_lines(&block.text)?;
                    }
                    return Ok(Some(why.clone()));
                }
                Mark::Needs(programs) => {
                    let missing = programs.iter().find(|name| match name.as_str() {
                        "network" => env::var_os(ALONE).is_none(),
                        program => !session::is_on_path(program),
                    });
                    self.missing = missing.cloned().or(self.missing.take());
                }
                _ => {}
            }
        }
        let follows = is_shell(block) || block.marks.contains(&Mark::Printed);
        let missing = self.missing.as_ref().filter(|_| follows);
        Ok(missing.map(|name| format!("{name} is missing")))
    }

    fn shell(&mut self, block: &Block) -> Result<(), String> {
        let mut stays = None;
        for mark in &block.marks {
            match mark {
                Mark::First(script) => {
                    self.serve_for(script)?;
                    self.session.run(script)?;
                }
                Mark::Stays(url) => stays = Some(url),
                _ => {}
            }
        }
        if let Some(url) = stays {
            return self.session.stay(&block.text, url);
        }
        self.serve_for(&block.text)?;
        if block.language == "console" {
            return session::console(&block.text, self.folder.path());
        }
        self.session.run(&block.text)
    }

    fn serve_for(&mut self, script: &str) -> Result<(), String> {
        if script.contains(&SERVER.to_string()) { self.serve() } else { Ok(()) }
    }

    /// Starts the server that a block takes for granted, if there is none yet.
    fn serve(&mut self) -> Result<(), String> {
        if TcpStream::connect(SERVER).is_ok() {
            return Ok(());
        }
        let url = format!("http://{SERVER}/health/ready");
        self.session.stay("sse-server --storage memory --log warn", &url)
    }
}

fn is_shell(block: &Block) -> bool {
    matches!(block.language.as_str(), "sh" | "console")
}

/// The folder is like a clone of the project with everything built. Variables are those of somebody
/// who has none of ours, but for the token, which documents call TOKEN.
fn furnish(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(root())? {
        let name = entry?.file_name();
        if name != "target" && name != ".git" {
            symlink(root().join(&name), folder.join(&name))?;
        }
    }
    let bin = folder.join("target/documents");
    fs::create_dir_all(&bin)?;
    for profile in ["debug", "release"] {
        symlink(built(), folder.join("target").join(profile))?;
    }
    symlink(env::current_exe()?, bin.join("cargo"))?;
    Ok(())
}

/// The folder of the built programs; this one is in `deps` below it.
pub(crate) fn built() -> PathBuf {
    let this = env::current_exe().unwrap_or_default();
    this.ancestors().nth(2).map_or_else(PathBuf::new, PathBuf::from)
}

/// Waits for a condition.
pub(crate) fn until(
    what: &str,
    mut is_so: impl FnMut() -> Result<bool, String>,
) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    while !is_so()? {
        if Instant::now() > deadline {
            return Err(format!("{what}: it was waited for {} s", PATIENCE.as_secs()));
        }
        std::thread::sleep(TICK);
    }
    Ok(())
}
