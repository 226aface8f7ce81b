//! The types of the package, as TypeScript sees them in a project: for bundlers, and for Node.

#[allow(dead_code, reason = "each test file uses its part")]
mod npm;

use std::fs;
use std::path::Path;

use serde_json::json;
use tokio::process::Command;

/// Compiles `types/index.ts` in a project that has installed the package.
async fn compile(module: &str, resolution: &str) {
    let (Some(package), Some(tools)) = (npm::package(), npm::tools()) else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    npm::install(&package, folder.path()).await;
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/types/index.ts");
    fs::copy(own, folder.path().join("index.mts")).expect("copied");
    let settings = json!({
        "compilerOptions": {
            "target": "es2022", "lib": ["es2022", "dom", "dom.iterable"], "module": module,
            "moduleResolution": resolution, "strict": true, "noEmit": true, "types": [],
            // The package's own are looked at, too.
            "skipLibCheck": false,
        },
    });
    fs::write(folder.path().join("tsconfig.json"), settings.to_string()).expect("written");
    let tsc = Command::new(tools.join("node_modules/.bin/tsc"));
    npm::run(tsc, folder.path()).await;
}

#[tokio::test]
async fn types_are_those_of_the_platform_for_bundlers() {
    compile("esnext", "bundler").await;
}

#[tokio::test]
async fn types_are_those_of_the_platform_for_node() {
    compile("nodenext", "nodenext").await;
}
