//! Embeds what the live page reads its stream with: the file `inline.js` of sse-client-wasm's npm
//! package, where the variable `SSE_SERVER_PAGE_CLIENT` names it. `cargo xtask` builds the package
//! and sets the variable. Without it the page reads by the browser's `EventSource`.

use std::path::{Path, PathBuf};
use std::{env, fs};

const VARIABLE: &str = "SSE_SERVER_PAGE_CLIENT";

fn main() {
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    println!("cargo::rustc-check-cfg=cfg(page_client)");
    let Some(script) = env::var_os(VARIABLE).filter(|path| !path.is_empty()) else { return };
    let script = PathBuf::from(script);
    println!("cargo::rerun-if-changed={}", script.display());
    let out = env::var_os("OUT_DIR").expect("cargo sets it");
    if let Err(error) = fs::copy(&script, Path::new(&out).join("page-client.js")) {
        panic!("cannot read {}, which {VARIABLE} names: {error}", script.display());
    }
    println!("cargo::rustc-cfg=page_client");
}
