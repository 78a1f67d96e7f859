//! What two builds came to, and where their own words go.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::os::fd::OwnedFd;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::stdio::{dup2_stdin, dup2_stdout, stderr, stdin, stdout};

use crate::cli::printer::{Print, line_to_stderr, table};
use crate::commands::Error;
use crate::commands::rebuild::Rebuilt;
use crate::compare::Verdict;

/// Does `work`, whose commands read nothing, since both are to read the same, and print to standard error, since
/// standard output has the table alone.
pub(super) fn with_output_aside<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let _aside = Aside::put().map_err(|source| Error::Streams { source })?;
    work()
}

/// The standard streams as they were, which come back when this is dropped.
struct Aside {
    input: OwnedFd,
    output: OwnedFd,
}

impl Aside {
    fn put() -> std::io::Result<Self> {
        let (input, output) = (fcntl_dupfd_cloexec(stdin(), 3)?, fcntl_dupfd_cloexec(stdout(), 3)?);
        let aside = Self { input, output };
        dup2_stdin(File::open("/dev/null")?)?;
        dup2_stdout(stderr())?;
        Ok(aside)
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // Neither can fail: all four are open.
        let _ = dup2_stdin(&self.input).and_then(|()| dup2_stdout(&self.output));
    }
}

/// Prints what diffoscope said to standard error.
pub(super) fn details(rebuilt: &Rebuilt) {
    for line in rebuilt.diffoscope.iter().flat_map(|text| text.lines()) {
        line_to_stderr(&plain(line));
    }
}

impl Print for Rebuilt {
    fn write(&self, out: &mut String) -> fmt::Result {
        let comparison = &self.comparison;
        let mut rows: Vec<Vec<String>> = Vec::new();
        for file in &comparison.files {
            let verdict = match file.verdict {
                Verdict::Same => "same",
                Verdict::CompilerMarks => "compiler-marks",
                Verdict::Differs => "differs",
            };
            let details = file.details.iter().map(ToString::to_string);
            for (at, detail) in details.chain(file.more.then(|| "and more".to_owned())).enumerate() {
                let (verdict, path) = if at == 0 { (verdict, file.path.as_str()) } else { ("", "") };
                rows.push([verdict, path, &detail].map(plain).into());
            }
        }
        if !rows.is_empty() {
            table(out, &["VERDICT", "PRODUCT", "WHAT"], &rows)?;
            writeln!(out)?;
        }
        for guess in &self.looks_like {
            writeln!(out, "{}", plain(&guess.to_string()))?;
        }
        if !self.looks_like.is_empty() {
            writeln!(out)?;
        }
        let listed = u64::try_from(comparison.files.len()).unwrap_or(u64::MAX);
        let unlisted = (comparison.differing + comparison.compiler_marks).saturating_sub(listed);
        if unlisted > 0 {
            writeln!(out, "and {unlisted} more products that are not the same")?;
        }
        writeln!(
            out,
            "{} compared: {} the same, {} the same but for compiler marks, {} different",
            comparison.compared, comparison.identical, comparison.compiler_marks, comparison.differing
        )?;
        for (name, build) in ["first", "second"].into_iter().zip(&self.builds) {
            let seconds = format!("{:.1} s", build.seconds);
            let tree = build.tree.as_ref().map(|tree| format!("in {}", tree.display()));
            let facts = build.options.iter().map(|option| (*option).to_owned()).chain(tree);
            let facts: Vec<String> = std::iter::once(seconds).chain(facts).collect();
            writeln!(out, "{name} build: {}", facts.join(", "))?;
        }
        Ok(())
    }
}

/// Names and lines are whatever a build wants them to be.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
