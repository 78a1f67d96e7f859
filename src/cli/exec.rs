//! The execution of a verb: what it gets, and what it leaves to be shown.

use std::io;

use serde::Serialize;

use crate::cli::begun::Begun;
use crate::cli::printer::{Print, print, print_json};
use crate::commands::{Context, Error};
use crate::store::Lease;

/// What every verb gets besides its arguments.
pub(super) struct App {
    pub(super) context: Context,
    pub(super) json: bool,
    pub(super) quiet: bool,
    /// The files that `-v` named when this run began, where hermes has executed itself again.
    pub(super) begun: Option<Begun>,
}

/// The arguments of a verb.
pub(super) trait Exec {
    /// Carries the verb out.
    fn exec(self, app: App) -> Result<Exit, Error>;
}

/// How a verb ended that did not fail.
pub(super) enum Exit {
    /// With a result for standard output.
    Shown(Shown),
    /// With this exit code.
    Code(u8),
    /// This program is to be executed again, without threads, with what this keeps.
    Reexec(Lease, Begun),
}

/// A result, and the exit code that goes with it.
pub(super) struct Shown {
    value: Box<dyn Show>,
    code: u8,
}

impl Exit {
    /// A result of a verb that was successful.
    pub(super) fn show(value: impl Show + 'static) -> Self {
        Self::show_with(value, 0)
    }

    /// A result and its exit code.
    pub(super) fn show_with(value: impl Show + 'static, code: u8) -> Self {
        Self::Shown(Shown { value: Box::new(value), code })
    }
}

impl Shown {
    /// Writes the result to standard output; gives the exit code.
    pub(super) fn print(&self, json: bool) -> io::Result<u8> {
        self.value.show(json).map(|()| self.code)
    }
}

/// What can be written to standard output.
pub(super) trait Show {
    fn show(&self, json: bool) -> io::Result<()>;
}

impl<T: Print> Show for T {
    fn show(&self, json: bool) -> io::Result<()> {
        print(self, json)
    }
}

/// A document that is JSON with and without `--json`.
pub(super) struct Json<T>(pub(super) T);

impl<T: Serialize> Show for Json<T> {
    fn show(&self, _: bool) -> io::Result<()> {
        print_json(&self.0)
    }
}
