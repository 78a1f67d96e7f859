//! Fixtures and helpers of several test modules.

pub mod archive;
pub mod context;
pub mod elf;
pub mod fake_registry;
pub mod fsck;
pub mod image;
pub mod kernel;
pub mod made;
pub mod process;
pub mod proxy;
pub mod pty;
pub mod real_registry;
pub mod skip;
pub mod wheel;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

pub use hermes::testing::hint::error_chain as chain;
use hermes::testing::progress::{Reporter, TaskId};

pub use skip::require;

/// Where `program` is in `PATH`.
pub fn which(program: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
        .ok_or_else(|| format!("{program} is not installed"))
}

/// Runs a program to success and gives its standard output.
pub fn run(program: &str, arguments: &[&str], dir: &Path) -> String {
    let output = Command::new(program).args(arguments).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs `future` as hermes does: on a runtime of this thread.
pub fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A reporter that keeps its lines, and knows whether every task that was started has ended.
#[derive(Default)]
pub struct Recorder {
    pub lines: Mutex<Vec<String>>,
    tasks: Mutex<Vec<(String, u64, bool)>>,
}

impl Recorder {
    pub fn said(&self, part: &str) -> bool {
        self.lines.lock().unwrap().iter().any(|line| line.contains(part))
    }

    /// Label and bytes of each task; panics if one has not ended.
    pub fn tasks(&self) -> Vec<(String, u64)> {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks
            .iter()
            .map(|(label, bytes, ended)| {
                assert!(ended, "{label} has not ended");
                (label.clone(), *bytes)
            })
            .collect()
    }
}

impl Reporter for Recorder {
    fn start(&self, label: &str, _total: u64) -> TaskId {
        let mut tasks = self.tasks.lock().unwrap();
        tasks.push((label.to_owned(), 0, false));
        TaskId(tasks.len() - 1)
    }
    fn advance(&self, task: TaskId, bytes: u64) {
        self.tasks.lock().unwrap()[task.0].1 += bytes;
    }
    fn finish(&self, task: TaskId) {
        self.tasks.lock().unwrap()[task.0].2 = true;
    }
    fn warn(&self, line: &str) {
        self.lines.lock().unwrap().push(line.to_owned());
    }
    fn verbose(&self, line: &str) {
        self.warn(line);
    }
}
