//! What two builds came to, and where their own words go.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::os::fd::OwnedFd;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::stdio::{dup2_stdin, dup2_stdout, stderr, stdin, stdout};

use crate::cli::args::Rebuild;
use crate::cli::begun::Begun;
use crate::cli::exec::{App, Exec, Exit};
use crate::cli::printer::{Print, line_to_stderr, table};
use crate::cli::settings;
use crate::commands::Error;
use crate::commands::rebuild::replay::{self, Replay};
use crate::commands::rebuild::{self, Build, Rebuilt};
use crate::compare::{Comparison, Guess, Verdict};
use crate::visible::visible;

impl Exec for Rebuild {
    fn exec(self, App { context, begun, .. }: App) -> Result<Exit, Error> {
        let request = match settings::rebuild(&context, self, begun.as_ref())? {
            settings::Rebuild::Twice(request) => request,
            settings::Rebuild::Recorded(request) => {
                return Ok(match with_output_aside(|| replay::replay(&context, &request))? {
                    replay::Done::Rebuilt(replay) => {
                        let code = u8::from(replay.check && replay.same == Some(false));
                        Exit::show_with(*replay, code)
                    }
                    replay::Done::Fetched(lease) => Exit::Reexec(lease, Begun::new(&[])?),
                });
            }
        };
        Ok(match with_output_aside(|| rebuild::rebuild(&context, &request))? {
            rebuild::Done::Rebuilt(rebuilt) => {
                details(&rebuilt);
                let code = u8::from(!rebuilt.same);
                Exit::show_with(*rebuilt, code)
            }
            rebuild::Done::Fetched(lease) => Exit::Reexec(lease, Begun::new(&request.run.volumes())?),
        })
    }
}

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
fn details(rebuilt: &Rebuilt) {
    for line in rebuilt.diffoscope.iter().flat_map(|text| text.lines()) {
        line_to_stderr(line);
    }
}

impl Print for Rebuilt {
    fn write(&self, out: &mut String) -> fmt::Result {
        compared(out, &self.comparison, &self.looks_like)?;
        for (name, build) in ["first", "second"].into_iter().zip(&self.builds) {
            writeln!(out, "{name} build: {}", facts(build))?;
        }
        Ok(())
    }
}

impl Print for Replay {
    fn write(&self, out: &mut String) -> fmt::Result {
        if self.same.is_some() {
            compared(out, &self.comparison, &[])?;
        }
        writeln!(out, "record {}: {:.1} s", self.record.short(), self.seconds)?;
        writeln!(out, "this build: {}", facts(&self.build))
    }
}

/// How long a build took, what was special about it, where it is.
fn facts(build: &Build) -> String {
    let seconds = format!("{:.1} s", build.seconds);
    let tree = build.tree.as_ref().map(|tree| format!("in {}", tree.display()));
    let facts = build.options.iter().map(|option| (*option).to_owned()).chain(tree);
    let facts: Vec<String> = std::iter::once(seconds).chain(facts).collect();
    facts.join(", ")
}

/// The table, and how much was compared.
fn compared(out: &mut String, comparison: &Comparison, looks_like: &[Guess]) -> fmt::Result {
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
            rows.push([verdict, path, &detail].map(str::to_owned).into());
        }
    }
    if !rows.is_empty() {
        table(out, &["VERDICT", "PRODUCT", "WHAT"], &rows)?;
        writeln!(out)?;
    }
    for guess in looks_like {
        writeln!(out, "{}", visible(&guess.to_string()))?;
    }
    if !looks_like.is_empty() {
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
    Ok(())
}
