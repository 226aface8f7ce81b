//! Finds out whether the compiler can do what `src/scan/` needs: functions for AVX-512 and safe
//! functions for vectors. Rust has both since 1.89. The crate itself needs 1.85.

use std::env;
use std::process::Command;

/// The minor version of the first Rust that will do.
const NEEDED: u32 = 89;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(line_ends_by_vectors)");
    let has_std = env::var_os("CARGO_FEATURE_STD").is_some();
    let is_x86_64 = env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|name| name == "x86_64");
    // A compiler that does not say its version does without.
    if has_std && is_x86_64 && minor_version().is_some_and(|minor| minor >= NEEDED) {
        println!("cargo::rustc-cfg=line_ends_by_vectors");
    }
}

/// 95, where the compiler calls itself `rustc 1.95.0 (59807616e 2026-04-14)`.
fn minor_version() -> Option<u32> {
    let output = Command::new(env::var_os("RUSTC")?).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let version = text.strip_prefix("rustc 1.")?;
    version.split('.').next()?.parse().ok()
}
