//! Progress reporting. Stages take a [`Reporter`]; only `cli` knows how progress is shown.

/// One running piece of work, such as the download of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TaskId(pub usize);

/// Receives progress. Calls come from any thread.
pub trait Reporter: Send + Sync {
    /// A piece of work begins; `total` is its length in bytes, 0 where unknown.
    fn start(&self, label: &str, total: u64) -> TaskId;
    /// `bytes` more are done.
    fn advance(&self, task: TaskId, bytes: u64);
    /// The work has ended, well or not.
    fn finish(&self, task: TaskId);
    /// A line for the user, shown unless `--quiet`.
    fn warn(&self, line: &str);
    /// A line shown only with `--verbose`.
    fn verbose(&self, line: &str);
}

/// A reporter that shows nothing.
pub struct Silent;

impl Reporter for Silent {
    fn start(&self, _label: &str, _total: u64) -> TaskId {
        TaskId(0)
    }
    fn advance(&self, _task: TaskId, _bytes: u64) {}
    fn finish(&self, _task: TaskId) {}
    fn warn(&self, _line: &str) {}
    fn verbose(&self, _line: &str) {}
}
