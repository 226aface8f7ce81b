//! Bun, Deno and workerd, which the npm package is tested in. They are large, so only the tests get
//! them, and where they do not run, these tests are left out.

use std::path::Path;

use super::{CRATE, Package, base, install};
use crate::process::{Run, say};

/// The programs.
const PROGRAMS: [&str; 3] = ["bun", "deno", "workerd"];

impl Package {
    /// Gets the other runtimes, if they run here.
    pub(crate) fn get_runtimes(&mut self, run: Run<'_>) {
        let own = Path::new(CRATE).join("tools/runtimes");
        let folder = base().map(|base| base.join("runtimes"));
        let got = folder.and_then(|folder| install(&own, &folder, &PROGRAMS, &self.node, run));
        match got {
            Ok(folder) => self.runtimes = Some(folder),
            Err(why) => say(&format!("the tests in Bun, Deno and workerd are left out: {why}")),
        }
    }
}
