//! What a program runs on, in the words of pip and of npm.

use std::env::consts;
use std::fs;
use std::path::Path;

use crate::files::told;

/// The systems and processors that there are packages for: how Rust, npm and pip call them. npm's
/// package names all of them, so that it can be published from any.
pub(super) const PLATFORMS: [Platform; 5] = [
    Platform { os: "linux", arch: "x86_64", npm: ("linux", "x64"), pip: "x86_64" },
    Platform { os: "linux", arch: "aarch64", npm: ("linux", "arm64"), pip: "aarch64" },
    Platform { os: "macos", arch: "x86_64", npm: ("darwin", "x64"), pip: "macosx_10_12_x86_64" },
    Platform { os: "macos", arch: "aarch64", npm: ("darwin", "arm64"), pip: "macosx_11_0_arm64" },
    Platform { os: "windows", arch: "x86_64", npm: ("win32", "x64"), pip: "win_amd64" },
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Platform {
    os: &'static str,
    arch: &'static str,
    /// `process.platform` and `process.arch`.
    pub(super) npm: (&'static str, &'static str),
    /// The tag of wheels; for Linux its end.
    pip: &'static str,
}

impl Platform {
    /// That of a target of rustc's, such as `x86_64-pc-windows-msvc`; by default this one.
    pub(super) fn of(target: Option<&str>) -> Result<Self, String> {
        let target =
            target.map_or_else(|| format!("{}-{}", consts::ARCH, consts::OS), String::from);
        let target = target.replace("darwin", "macos");
        let is_it =
            |platform: &&Self| target.starts_with(platform.arch) && target.contains(platform.os);
        PLATFORMS.iter().find(is_it).copied().ok_or_else(|| {
            let known = PLATFORMS.map(|platform| format!("{}-{}", platform.arch, platform.os));
            format!("there are no packages for {target}; there are for {}", known.join(", "))
        })
    }

    /// The name of a program's file.
    pub(super) fn file(self, program: &str) -> String {
        if self.os == "windows" { format!("{program}.exe") } else { program.to_owned() }
    }

    /// The tags of a wheel with a program that needs this of the GNU C library, or is static.
    pub(super) fn wheel_tags(self, c_library: Option<u32>) -> Vec<String> {
        let tags = match (self.os, c_library) {
            ("linux", Some(minor)) => vec![format!("manylinux_2_{minor}_{}", self.pip)],
            ("linux", None) => ["manylinux_2_17", "musllinux_1_1"]
                .map(|system| format!("{system}_{}", self.pip))
                .to_vec(),
            _ => vec![self.pip.to_owned()],
        };
        tags.into_iter().map(|tag| format!("py3-none-{tag}")).collect()
    }

    /// Whether npm must look for the GNU C library before it takes the package.
    pub(super) fn wants_gnu(self, c_library: Option<u32>) -> bool {
        self.os == "linux" && c_library.is_some()
    }
}

/// The oldest GNU C library that a program runs with, `2.N`: the newest whose symbols it asks for.
/// One that asks for none is static, or for another system.
pub(super) fn c_library(program: &Path) -> Result<Option<u32>, String> {
    Ok(newest_symbols(&told("read", program, fs::read(program))?))
}

fn newest_symbols(program: &[u8]) -> Option<u32> {
    let mark = b"GLIBC_2.";
    let minors = program.windows(mark.len()).enumerate().filter(|(_, window)| window == mark);
    let minors = minors.filter_map(|(at, _)| {
        let digits = program[at + mark.len()..].iter().take_while(|byte| byte.is_ascii_digit());
        String::from_utf8(digits.copied().collect()).ok()?.parse().ok()
    });
    minors.max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_symbols_decide_on_the_c_library() {
        let program = b"..GLIBC_2.2.5\0GLIBC_2.34\0x\0GLIBC_2.9\0GLIBC_PRIVATE\0GLIBC_2.";
        assert_eq!(newest_symbols(program), Some(34));
        assert_eq!(newest_symbols(b"GLIBC_"), None);
    }

    #[test]
    fn each_system_has_its_words_in_pip_and_npm() {
        let tags = |target: &str, library| {
            Platform::of(Some(target)).expect("a platform").wheel_tags(library).join(" ")
        };
        assert_eq!(tags("x86_64-unknown-linux-gnu", Some(34)), "py3-none-manylinux_2_34_x86_64");
        assert_eq!(
            tags("aarch64-unknown-linux-musl", None),
            "py3-none-manylinux_2_17_aarch64 py3-none-musllinux_1_1_aarch64"
        );
        assert_eq!(tags("aarch64-apple-darwin", None), "py3-none-macosx_11_0_arm64");
        assert_eq!(tags("x86_64-pc-windows-msvc", None), "py3-none-win_amd64");
        let windows = Platform::of(Some("x86_64-pc-windows-msvc")).expect("a platform");
        assert_eq!((windows.npm, &*windows.file("a")), (("win32", "x64"), "a.exe"));
        let other = Platform::of(Some("riscv64gc-unknown-linux-gnu")).expect_err("none");
        assert!(other.contains("x86_64-linux"), "{other}");
    }
}
