//! The types of the package, as TypeScript sees them in a project: for bundlers, and for Node, with
//! the browser's types and without them.

#[allow(dead_code, reason = "each test file uses its part")]
mod npm;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::{Value, json};
use tokio::process::Command;

/// Compiles a file of `types/` in a project that has installed the package, with these options, and
/// with those types of other packages that the options name.
async fn compile(file: &str, options: Value) {
    let (Some(package), Some(tools)) = (npm::package(), npm::tools()) else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    npm::install(&package, folder.path()).await;
    symlink(tools.join("node_modules/@types"), folder.path().join("node_modules/@types"))
        .expect("linked");
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/types").join(file);
    fs::copy(own, folder.path().join("index.mts")).expect("copied");
    let mut settings = json!({
        "target": "es2022", "strict": true, "noEmit": true,
        // The package's own are looked at, too.
        "skipLibCheck": false,
    });
    let all = settings.as_object_mut().expect("an object");
    all.extend(options.as_object().expect("an object").clone());
    let settings = json!({ "compilerOptions": settings });
    fs::write(folder.path().join("tsconfig.json"), settings.to_string()).expect("written");
    let tsc = Command::new(tools.join("node_modules/.bin/tsc"));
    npm::run(tsc, folder.path()).await;
}

#[tokio::test]
async fn types_are_those_of_the_platform_for_bundlers() {
    let options = json!({
        "lib": ["es2022", "dom", "dom.iterable"], "types": [],
        "module": "esnext", "moduleResolution": "bundler",
    });
    compile("index.ts", options).await;
}

#[tokio::test]
async fn types_are_those_of_the_platform_for_node() {
    let options = json!({
        "lib": ["es2022", "dom", "dom.iterable"], "types": [],
        "module": "nodenext", "moduleResolution": "nodenext",
    });
    compile("index.ts", options).await;
}

#[tokio::test]
async fn types_need_none_of_a_browser() {
    let options = json!({
        "lib": ["es2022"], "types": ["node"],
        "module": "nodenext", "moduleResolution": "nodenext",
    });
    compile("node.ts", options).await;
}
