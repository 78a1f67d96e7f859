//! Progress bars and messages on standard error.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::args::Global;
use crate::cli::env_vars;
use crate::progress::{Reporter, TaskId};
use crate::visible::visible;

/// A reporter that writes to standard error: bars if it is a terminal, lines always.
pub(super) struct Terminal {
    quiet: bool,
    verbose: bool,
    bars: MultiProgress,
    running: Mutex<(usize, HashMap<TaskId, ProgressBar>)>,
}

impl Terminal {
    /// A reporter as the options, the terminal and the environment require. It starts no thread: the caller that advances a
    /// bar draws it.
    pub(super) fn new(global: &Global) -> Self {
        let drawn = std::io::stderr().is_terminal()
            && !global.quiet
            && !global.no_progress
            && std::env::var_os(env_vars::CI).is_none();
        let target = if drawn { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() };
        Self {
            quiet: global.quiet,
            verbose: global.verbose,
            bars: MultiProgress::with_draw_target(target),
            running: Mutex::default(),
        }
    }

    fn line(&self, line: &str) {
        self.bars.suspend(|| super::printer::line_to_stderr(line));
    }
}

impl Reporter for Terminal {
    fn start(&self, label: &str, total: u64) -> TaskId {
        let bar = self.bars.add(if total > 0 { ProgressBar::new(total) } else { ProgressBar::no_length() });
        // Fits 80 columns; the bar takes what is left of a wider terminal.
        let template = if total > 0 {
            "{msg:18} [{wide_bar}] {bytes:>10} of {total_bytes:10} {bytes_per_sec:>12}"
        } else {
            "{msg:18} {bytes:>10}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(visible(label));
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.0 += 1;
        let task = TaskId(running.0);
        running.1.insert(task, bar);
        task
    }

    fn advance(&self, task: TaskId, bytes: u64) {
        if let Some(bar) = self.running.lock().unwrap_or_else(PoisonError::into_inner).1.get(&task) {
            bar.inc(bytes);
        }
    }

    fn finish(&self, task: TaskId) {
        if let Some(bar) = self.running.lock().unwrap_or_else(PoisonError::into_inner).1.remove(&task) {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
    }

    fn warn(&self, line: &str) {
        if !self.quiet {
            self.line(line);
        }
    }

    fn verbose(&self, line: &str) {
        if self.verbose {
            self.line(line);
        }
    }
}
