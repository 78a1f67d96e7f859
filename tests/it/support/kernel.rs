//! Kernels that lack things: `tests/old_kernel.c`, a filter of system calls around hermes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::{made, require, which};

/// What of a host's can be taken away, and in which combinations.
pub const HOSTS: [&str; 4] = ["", "4.18", "no-overlay", "4.18 no-overlay"];

/// Whether such kernels can be had; compiles the program, once.
pub fn available() -> bool {
    require("old-kernel", launcher().as_ref().map(drop).map_err(Clone::clone))
}

/// The words before a command line that put it on `host`.
pub fn words(host: &str) -> Vec<String> {
    let program = launcher().as_ref().unwrap_or_else(|reason| panic!("{reason}")).display().to_string();
    let host = host.split(' ').map(str::to_owned);
    std::iter::once(program).chain(host).chain(["--".to_owned()]).collect()
}

fn launcher() -> &'static Result<PathBuf, String> {
    static LAUNCHER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    LAUNCHER.get_or_init(|| {
        if !cfg!(target_arch = "x86_64") {
            return Err("tests/old_kernel.c is for x86-64".to_owned());
        }
        which("cc")?;
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/old_kernel.c");
        let text = std::fs::read(&source).map_err(|error| error.to_string())?;
        let directory = made::once("old-kernel", &text, |directory| {
            let mut cc = Command::new("cc");
            cc.args(["-O1", "-static", "-o"]).args([&directory.join("old_kernel"), &source]);
            let output = cc.output().map_err(|error| error.to_string())?;
            output.status.success().then_some(()).ok_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned())
        })?;
        Ok(directory.join("old_kernel"))
    })
}
