//! Debian packages of what lies in `dist`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::platform::c_library;
use super::{VERSION, copy, remove, size, stripped, succeed};
use crate::files;
use crate::process::output;

/// A package of one program.
pub(super) struct Debian {
    pub(super) name: &'static str,
    /// The folder with `control`, and scripts of dpkg's.
    control: &'static str,
    /// What it installs beside its program and its manual: from where, and as what.
    files: &'static [(&'static str, &'static str)],
}

pub(super) const SERVER: Debian = Debian {
    name: "sse-server",
    control: "packaging/debian",
    files: &[
        ("packaging/sse-server.toml", "etc/sse-server/sse-server.toml"),
        ("packaging/sse-server.service", "usr/lib/systemd/system/sse-server.service"),
        (
            "packaging/prometheus/sse-server.rules.yml",
            "usr/share/doc/sse-server/examples/sse-server.rules.yml",
        ),
        ("packaging/grafana/sse-server.json", "usr/share/doc/sse-server/examples/grafana.json"),
    ],
};

pub(super) const FUZZ: Debian =
    Debian { name: super::FUZZ, control: "packaging/sse-fuzz/debian", files: &[] };

impl Debian {
    /// Makes the package in a folder. `manual` has man pages and completions, if there are any.
    pub(super) fn make(
        &self,
        program: &Path,
        manual: &Path,
        into: &Path,
    ) -> Result<PathBuf, String> {
        let name = self.name;
        let root = into.join("debian");
        remove(&root)?;
        let documents = root.join("usr/share/doc").join(name);
        stripped(program, &root.join("usr/bin").join(name))?;
        copy(Path::new("packaging/debian/copyright"), &documents.join("copyright"))?;
        for (from, place) in self.files {
            copy(Path::new(from), &root.join(place))?;
        }
        if manual.is_dir() {
            self.add_manual(manual, &root)?;
        }
        let changes = documents.join("changelog");
        copy(Path::new("CHANGELOG.md"), &changes)?;
        succeed(Command::new("gzip").arg("-9n").arg(&changes))?;

        let architecture = output(Command::new("dpkg").arg("--print-architecture"))?.stdout;
        let architecture = String::from_utf8_lossy(&architecture).trim().to_owned();
        let library = c_library(program)?
            .ok_or_else(|| format!("{} asks for no GNU C library", program.display()))?;
        let values = [
            ("@VERSION@", VERSION.to_owned()),
            ("@ARCHITECTURE@", architecture.clone()),
            ("@SIZE@", (size(&root)? / 1024).to_string()),
            ("@DEPENDS@", format!("libc6 (>= 2.{library}), libgcc-s1")),
        ];
        let mut control = files::read(&Path::new(self.control).join("control"))?;
        for (name, value) in values {
            control = control.replace(name, &value);
        }
        files::create(&root.join("DEBIAN"))?;
        files::write(&root.join("DEBIAN/control"), control)?;
        for script in ["conffiles", "postinst", "postrm", "prerm"] {
            let from = Path::new(self.control).join(script);
            if from.is_file() {
                copy(&from, &root.join("DEBIAN").join(script))?;
            }
        }
        let package = into.join(format!("{name}_{VERSION}_{architecture}.deb"));
        let mut modes = Command::new("chmod");
        succeed(modes.args(["-R", "u=rwX,go=rX"]).arg(&root))?;
        let mut build = Command::new("dpkg-deb");
        build.args(["--root-owner-group", "--build"]).arg(&root).arg(&package);
        succeed(build.stdout(Stdio::null()))?;
        remove(&root)?;
        Ok(package)
    }

    fn add_manual(&self, manual: &Path, root: &Path) -> Result<(), String> {
        let name = self.name;
        for (source, place) in [
            (format!("{name}.bash"), format!("bash-completion/completions/{name}")),
            (format!("_{name}"), format!("zsh/vendor-completions/_{name}")),
            (format!("{name}.fish"), format!("fish/vendor_completions.d/{name}.fish")),
        ] {
            copy(&manual.join(source), &root.join("usr/share").join(place))?;
        }
        let pages = files::entries(manual)?;
        for page in pages.iter().filter(|page| page.extension().is_some_and(|it| it == "1")) {
            let place = root.join("usr/share/man/man1").join(page.file_name().unwrap_or_default());
            copy(page, &place)?;
            succeed(Command::new("gzip").arg("-9n").arg(&place))?;
        }
        Ok(())
    }
}
