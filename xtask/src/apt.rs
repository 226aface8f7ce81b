//! apt, on Debian and its descendants: installing what is missing, and unpacking packages into a
//! folder of ours without installing them.
//!
//! Package lists may be as old as the machine's image. Nothing is chosen from them before they have
//! been refreshed: the system's lists once in a run, and those for unpacking are made anew each
//! time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::files;
use crate::process::{Run, output};

/// Waits for another apt that is at work.
const LOCK: &str = "DPkg::Lock::Timeout=300";

/// Whether this is Debian or a descendant, and we are root.
pub(crate) fn may_install() -> bool {
    Path::new("/etc/debian_version").exists() && is_root()
}

pub(crate) fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|id| id.stdout.trim_ascii() == b"0")
}

/// Installs packages, if that needs no question. `packages` may begin with options.
pub(crate) fn install(run: Run<'_>, packages: &[&str]) -> bool {
    static REFRESHED: AtomicBool = AtomicBool::new(false);
    may_install() && install_with(run, packages, REFRESHED.swap(true, Ordering::Relaxed))
}

fn install_with(run: Run<'_>, packages: &[&str], refreshed: bool) -> bool {
    if !refreshed {
        // An archive that does not answer may not be the one that we need.
        run(apt_get(&["update", "-o", LOCK]));
    }
    run(apt_get(&[&["install", "-y", "-o", LOCK], packages].concat()))
}

/// Finishes an installation that was cut short, by Ctrl-C or a power cut: apt installs nothing else
/// before, and what has been unpacked looks as if it could be used.
pub(crate) fn finish_what_was_begun(run: Run<'_>) {
    let audit = || Command::new("dpkg").arg("--audit").output();
    if may_install() && audit().is_ok_and(|audit| !audit.stdout.trim_ascii().is_empty()) {
        let mut configure = non_interactive("dpkg");
        configure.args(["--configure", "-a"]);
        run(configure);
        run(apt_get(&["install", "-y", "-f", "-o", LOCK]));
    }
}

fn apt_get(args: &[&str]) -> Command {
    let mut command = non_interactive("apt-get");
    command.args(args);
    command
}

fn non_interactive(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    command
}

/// What the archive has at this moment, in lists of our own. They need no root, and leave the
/// system's as they are.
#[derive(Debug)]
pub(crate) struct Archive {
    lists: PathBuf,
}

impl Archive {
    /// Fetches the lists into this folder. What is there is deleted.
    pub(crate) fn look(lists: &Path, run: Run<'_>) -> Result<Self, String> {
        let this = Self { lists: lists.to_owned() };
        let _ = fs::remove_dir_all(lists);
        let partial = lists.join("partial");
        files::create(&partial)?;
        let mut update = this.command("apt-get");
        update.arg("update");
        // The same as in `install_with`.
        run(update);
        let files = fs::read_dir(lists).into_iter().flatten().flatten();
        let mut names = files.map(|file| file.file_name().to_string_lossy().into_owned());
        if names.any(|name| name.contains("_Packages")) {
            return Ok(this);
        }
        Err("the package archive does not answer".to_owned())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = non_interactive(program);
        command.arg("-o").arg(format!("Dir::State::Lists={}/", self.lists.display()));
        // No cache, which would be the system's.
        command.args(["-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache="]);
        // We only ask what packages depend on.
        command.args(["-o", "Acquire::Languages=none"]);
        command.args(["-o", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false"]);
        if is_root() {
            // apt fetches as another user, who may not enter our folder.
            command.args(["-o", "APT::Sandbox::User=root"]);
        }
        command
    }

    /// The newest version of a package, or the newest that begins like this.
    pub(crate) fn package(&self, name: &str, version: Option<&str>) -> Result<Package, String> {
        let mut show = self.command("apt-cache");
        let output = output(show.args(["show", name]))?;
        let text = String::from_utf8_lossy(&output.stdout);
        // apt lists the version first that it would choose.
        let mut all = text.split("\n\n").filter_map(|stanza| Package::read(name, stanza));
        let fits =
            |package: &Package| version.is_none_or(|begin| package.version.starts_with(begin));
        all.find(fits).ok_or_else(|| match version {
            Some(version) => format!("the package archive has no {name} {version}"),
            None => format!("the package archive has no {name}"),
        })
    }

    /// Fetches packages, each as `name=version`, and unpacks them into a folder. Of a package whose
    /// name has one of the words in `partly`, only the paths beside it are taken.
    pub(crate) fn unpack(
        &self,
        packages: &[String],
        partly: &[(&str, &[&str])],
        into: &Path,
        run: Run<'_>,
    ) -> Result<(), String> {
        let archives = into.join("archives");
        files::create(&archives)?;
        let mut download = self.command("apt-get");
        download.arg("download").args(packages).current_dir(&archives);
        if !run(download) {
            return Err(format!("cannot download {}", packages.join(", ")));
        }
        for file in files::entries(&archives)? {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let paths = partly.iter().find(|(word, _)| name.contains(word));
            let mut sh = Command::new("sh");
            sh.args(["-ec", UNPACK, "sh"]).arg(&file).arg(into).stdin(Stdio::null());
            if let Some((_, paths)) = paths {
                sh.arg("--wildcards").args(*paths);
            }
            if !run(sh) {
                return Err(format!("cannot unpack {}", file.display()));
            }
        }
        let _ = fs::remove_dir_all(&archives);
        Ok(())
    }
}

/// A package that is cut short must not pass for a whole one, as it would at the end of a pipe.
const UNPACK: &str = r#"
deb=$1 folder=$2; shift 2
dpkg-deb --fsys-tarfile "$deb" > "$deb.tar"
tar -x -f "$deb.tar" -C "$folder" "$@"
rm "$deb" "$deb.tar"
"#;

/// What a package says of itself.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    depends: String,
}

impl Package {
    fn read(name: &str, stanza: &str) -> Option<Self> {
        let field = |key: &str| stanza.lines().find_map(|line| line.strip_prefix(key));
        Some(Self {
            name: name.to_owned(),
            version: field("Version: ")?.to_owned(),
            depends: field("Depends: ").unwrap_or_default().to_owned(),
        })
    }

    /// What apt calls exactly this version.
    pub(crate) fn exactly(&self) -> String {
        format!("{}={}", self.name, self.version)
    }

    /// The package that it depends on whose name begins with this.
    pub(crate) fn depends_on(&self, prefix: &str) -> Result<String, String> {
        let names = self.depends.split([',', '|']).map(str::trim);
        let mut names = names.map(|name| name.split([' ', ':']).next().unwrap_or(name));
        let found = names.find(|name| name.starts_with(prefix) && *name != self.name);
        found.map(str::to_owned).ok_or_else(|| {
            format!("the package {} {} does not depend on {prefix}", self.name, self.version)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The commands that an installation runs, if they end so.
    fn asked(results: &[bool], refreshed: bool) -> (bool, Vec<String>) {
        let mut results = results.iter();
        let mut asked = Vec::new();
        let mut run = |command: Command| {
            let words = [command.get_program()].into_iter().chain(command.get_args());
            let words = words.map(|word| word.to_string_lossy().into_owned());
            asked.push(words.collect::<Vec<_>>().join(" "));
            *results.next().expect("no more commands")
        };
        (install_with(&mut run, &["gcc"], refreshed), asked)
    }

    const UPDATE: &str = "apt-get update -o DPkg::Lock::Timeout=300";
    const INSTALL: &str = "apt-get install -y -o DPkg::Lock::Timeout=300 gcc";

    #[test]
    fn package_lists_are_refreshed_before_something_is_chosen_from_them() {
        assert_eq!(asked(&[true, true], false).1, [UPDATE, INSTALL]);
        assert_eq!(asked(&[false, true], false), (true, vec![UPDATE.into(), INSTALL.into()]));
        assert_eq!(asked(&[true], true), (true, vec![INSTALL.into()]), "once in a run");
    }

    #[test]
    fn a_package_tells_what_it_depends_on() {
        let stanza = "Package: rustc-web\nVersion: 1.96.0+dfsg1-1~deb12u2\n\
                      Depends: libc6 (>= 2.34), libstd-rust-web-dev (= 1.96.0+dfsg1-1~deb12u2), gcc:native | cc";
        let package = Package::read("rustc-web", stanza).expect("a stanza");
        assert_eq!(package.exactly(), "rustc-web=1.96.0+dfsg1-1~deb12u2");
        assert_eq!(package.depends_on("libstd-rust-web").as_deref(), Ok("libstd-rust-web-dev"));
        assert_eq!(package.depends_on("gcc").as_deref(), Ok("gcc"));
        assert!(
            package.depends_on("lld").expect_err("not there").contains("does not depend on lld")
        );
    }
}
