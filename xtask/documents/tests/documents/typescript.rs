//! Blocks for browsers: HTML, JavaScript, TypeScript. All are compiled at once, with the types of
//! the npm package and of the packages that it is compared with.
//!
//! The variables are those that the package's own tests have; without them these blocks are left
//! out.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use documents::{Block, Mark};

use crate::{Outcome, Report};

const PACKAGE: &str = "SSE_WASM_PACKAGE";
const TOOLS: &str = "SSE_WASM_TOOLS";

pub(crate) fn is_script(block: &Block) -> bool {
    matches!(block.language.as_str(), "html" | "js" | "ts")
}

type Reports = Vec<(PathBuf, Vec<Report>)>;

/// What has become of all blocks of all documents.
pub(crate) fn check(documents: &[(PathBuf, Vec<Block>)]) -> Result<Reports, String> {
    let all: Vec<_> = documents
        .iter()
        .map(|(path, blocks)| (path, blocks.iter().filter(|block| is_script(block)).collect()))
        .filter(|(_, blocks): &(_, Vec<&Block>)| !blocks.is_empty())
        .collect();
    let messages = match (env::var_os(PACKAGE), env::var_os(TOOLS)) {
        (Some(package), Some(tools)) if !all.is_empty() => Some(
            compile(&all, Path::new(&package), Path::new(&tools))
                .map_err(|error| format!("tsc: {error}"))?,
        ),
        _ => None,
    };
    let reports = all.into_iter().map(|(path, blocks)| {
        let reports = blocks.into_iter().map(|block| {
            let outcome = match (not_run(block), &messages) {
                (Some(why), _) => Outcome::Ignored(why.to_owned()),
                (_, None) => Outcome::Ignored(format!("without {PACKAGE} and {TOOLS}")),
                (_, Some(messages)) => {
                    let file = file_name(path, block);
                    let own: Vec<_> =
                        messages.lines().filter(|line| line.contains(&file)).collect();
                    if own.is_empty() { Outcome::Ok } else { Outcome::Failed(own.join("\n")) }
                }
            };
            Report { line: block.line, language: block.language.clone(), outcome }
        });
        (path.clone(), reports.collect())
    });
    Ok(reports.collect())
}

fn not_run(block: &Block) -> Option<&str> {
    block.marks.iter().find_map(|mark| match mark {
        Mark::NotRun(why) => Some(why.as_str()),
        _ => None,
    })
}

fn file_name(document: &Path, block: &Block) -> String {
    format!("{}-{}.ts", document.display().to_string().replace('/', "-"), block.line)
}

/// What the compiler says.
fn compile(
    documents: &[(&PathBuf, Vec<&Block>)],
    package: &Path,
    tools: &Path,
) -> io::Result<String> {
    let folder = tempfile::tempdir()?;
    let modules = folder.path().join("node_modules");
    fs::create_dir(&modules)?;
    for entry in fs::read_dir(tools.join("node_modules"))? {
        let entry = entry?;
        symlink(entry.path(), modules.join(entry.file_name()))?;
    }
    symlink(package, modules.join("sse-client-wasm"))?;
    let options = r#"{"compilerOptions": {"noEmit": true, "target": "es2022", "module": "esnext",
        "moduleResolution": "bundler", "lib": ["es2022", "dom", "dom.iterable"], "strict": true,
        "noImplicitAny": false, "skipLibCheck": true, "moduleDetection": "force", "types": []}}"#;
    fs::write(folder.path().join("tsconfig.json"), options)?;
    for (document, blocks) in documents {
        for block in blocks.iter().filter(|block| not_run(block).is_none()) {
            fs::write(folder.path().join(file_name(document, block)), source(block))?;
        }
    }
    let mut tsc = Command::new(tools.join("node_modules/.bin/tsc"));
    tsc.arg("-p").arg(folder.path()).args(["--pretty", "false"]).current_dir(folder.path());
    let output = tsc.output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // A compiler that does not start has said nothing of any block.
    if !output.status.success() && !text.contains("error TS") {
        return Err(io::Error::other(format!("{text}{}", String::from_utf8_lossy(&output.stderr))));
    }
    Ok(text)
}

/// The block as TypeScript: of a page its scripts, with the classes that scripts of ours make.
fn source(block: &Block) -> String {
    let given = block.marks.iter().find_map(|mark| match mark {
        Mark::Given(code) => Some(code.as_str()),
        _ => None,
    });
    let given = given.unwrap_or_default();
    if block.language != "html" {
        return format!("{given}\n{}", block.text);
    }
    let mut source = format!(
        "{given}\ndeclare const ReconnectingEventSource: typeof import('sse-client-wasm').ReconnectingEventSource;\n"
    );
    for script in block.text.split("<script").skip(1) {
        let code = script.split_once('>').map(|(_, code)| code).unwrap_or_default();
        source.push_str(code.split("</script>").next().unwrap_or_default());
    }
    source
}
