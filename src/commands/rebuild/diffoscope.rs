//! What diffoscope says of the first product that differs, where this host has it. Nothing depends on it.

use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::commands::Context;
use crate::compare::{Comparison, Verdict};

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// So much of what it says is shown, in bytes.
const MAX_SAID: usize = 32 << 10;

/// The output of diffoscope for the first product that both trees have and that differs; `None` if there is no such
/// product, or no diffoscope.
pub(super) fn report(context: &Context, trees: &[PathBuf; 2], comparison: &Comparison) -> Option<String> {
    let differing = comparison.files.iter().filter(|finding| finding.verdict == Verdict::Differs);
    let mut pairs =
        differing.map(|finding| (finding.path.as_str(), trees.each_ref().map(|tree| tree.join(&finding.path))));
    // What it would follow or wait for is not given to it.
    let is_file = |path: &PathBuf| path.symlink_metadata().is_ok_and(|meta| meta.is_file());
    let (path, [first, second]) = pairs.find(|(_, pair)| pair.iter().all(is_file))?;
    let program = context.search.iter().map(|place| place.join("diffoscope")).find(|program| program.is_file())?;
    context.reporter.warn(&format!("running diffoscope on {path}"));
    let started = Command::new(&program)
        .args(["--no-progress", "--max-diff-block-lines", "50", "--"])
        .args([first, second])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn();
    match started {
        Ok(child) => Some(said(child)),
        Err(error) => {
            context.reporter.warn(&format!("cannot start {}: {error}", program.display()));
            None
        }
    }
}

/// What it says, as far as that is shown; then it ends, with all that it has started.
fn said(mut child: Child) -> String {
    let mut said = Vec::new();
    let end = Instant::now() + PATIENCE;
    if let Some(mut out) = child.stdout.take() {
        let mut piece = [0; 4096];
        while said.len() < MAX_SAID {
            let left = end.saturating_duration_since(Instant::now());
            let wait = Timespec::try_from(left).ok();
            let ready = poll(&mut [PollFd::from_borrowed_fd(out.as_fd(), PollFlags::IN)], wait.as_ref());
            match ready.ok().filter(|ready| *ready > 0).and_then(|_| out.read(&mut piece).ok()) {
                Some(read) if read > 0 => said.extend_from_slice(&piece[..read]),
                _ => break,
            }
        }
    }
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It has not been waited for, so the number is its own.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
    let is_cut = said.len() >= MAX_SAID;
    said.truncate(MAX_SAID);
    let mut text = String::from_utf8_lossy(&said).into_owned();
    if is_cut {
        text.push_str("\n…\n");
    }
    text
}
