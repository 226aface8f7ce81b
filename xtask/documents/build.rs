//! Makes doc tests of the blocks in Rust: for each a module, named after its document and line.

#[allow(dead_code, unreachable_pub)]
#[path = "src/markdown.rs"]
mod markdown;

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use markdown::{Block, Mark, blocks, documents};

fn main() -> Result<(), Box<dyn Error>> {
    let root =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo runs this")?).join("../..");
    let mut out = String::new();
    for document in documents(&root)? {
        let path = root.join(&document);
        println!("cargo::rerun-if-changed={}", path.display());
        for block in blocks(&fs::read_to_string(path)?) {
            let is_run = !block.marks.iter().any(|mark| matches!(mark, Mark::NotRun(_)));
            if block.language == "rust" && is_run {
                let name = document.display().to_string().to_lowercase();
                let name =
                    name.trim_end_matches(".md").replace(|c: char| !c.is_alphanumeric(), "_");
                writeln!(out, "#[doc = {:?}] mod {name}_{} {{}}", doc_test(&block), block.line)?;
            }
        }
    }
    // New documents are noticed by these: one in docs, one of a new package.
    for place in ["docs", "Cargo.toml"] {
        println!("cargo::rerun-if-changed={}", root.join(place).display());
    }
    println!("cargo::rerun-if-changed=src/markdown.rs");
    let folder = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo runs this")?);
    Ok(fs::write(folder.join("blocks.rs"), out)?)
}

/// A block is compiled, and not run, unless it says `run`. One without a `main` is the inside of a
/// function that may wait and fail.
fn doc_test(block: &Block) -> String {
    let mut attributes = block.attributes.clone();
    let run = attributes.iter().position(|word| word == "run");
    match run {
        Some(at) => drop(attributes.remove(at)),
        None => attributes.push("no_run".to_owned()),
    }
    let given = block.marks.iter().find_map(|mark| match mark {
        Mark::Given(code) => Some(code.as_str()),
        _ => None,
    });
    let code = format!("{}\n{}", given.unwrap_or_default(), block.text);
    let attributes = attributes.join(",");
    if code.contains("fn main()") {
        return format!("```{attributes}\n{code}```");
    }
    format!(
        "```{attributes}\nasync fn block() -> Result<(), Box<dyn std::error::Error>> {{\n{code}\n\
         #[allow(unreachable_code)] Ok(())\n}}\n```"
    )
}
