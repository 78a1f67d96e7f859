//! From the process's start to its exit code.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;

use crate::cli::args::{Cli, FastPath, Maintenance, Verb};
use crate::cli::begun::Begun;
use crate::cli::exec::{App, Exec, Exit};
use crate::cli::exit::Codes;
use crate::cli::progress::Terminal;
use crate::cli::{df, diagnostic, doctor, exit, images, sealed_exe, settings};
use crate::commands::Error;
use crate::store::Lease;
use crate::sys::process::{has_privileges_of_its_file, leave_owner_bits, survive_file_size_limit};

/// Parses the command line, executes the verb, prints its result and returns the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let failed = |text: &str, code: u8| {
        let _ = io::stderr().write_all(text.as_bytes());
        ExitCode::from(code)
    };
    if has_privileges_of_its_file() {
        return failed(
            "error: hermes is set-user-id, set-group-id or has file capabilities, and would lend them to every image\n\n\
             hint: it needs none: chmod ug-s, setcap -r\n",
            125,
        );
    }
    survive_file_size_limit();
    leave_owner_bits();
    let cli = match parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()) * 2);
        }
    };
    let codes = match cli.verb {
        Verb::Run(_) => Codes::Command,
        Verb::Rebuild(_) => Codes::Same,
        _ => Codes::Done,
    };
    if codes != Codes::Done {
        // Best effort: sealing is defence in depth, so that its failure is not fatal.
        let _ = sealed_exe::seal();
    }
    let json = cli.global.json;
    match dispatch(cli) {
        Ok(Exit::Code(code)) => ExitCode::from(code),
        Ok(Exit::Shown(shown)) => match shown.print(json) {
            Ok(code) => ExitCode::from(code),
            // The reader of our output has closed it.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Err(error) => failed(&format!("error: cannot write to standard output\n  {error}\n"), 1),
        },
        Ok(Exit::Reexec(lease, begun)) => {
            let error = reexec(&lease, &begun);
            failed(
                &format!(
                    "error: cannot execute hermes again after fetching\n  {error}\n\nhint: run the same command again\n"
                ),
                codes.failed(),
            )
        }
        Err(error) => failed(&diagnostic::render(&error), exit::code(&error, codes)),
    }
}

/// Parses the command line. Anything but a valid `run` goes to the parser of all verbs, help and errors included.
fn parse() -> Result<Cli, clap::Error> {
    if std::env::args_os().any(|word| word == "run")
        && let Ok(Cli { global, verb: FastPath::Run(run) }) = Cli::try_parse()
    {
        return Ok(Cli { global, verb: Verb::Run(run) });
    }
    Cli::try_parse()
}

/// Replaces this process, which has had threads, by a fresh one with the same words. All it needs is
/// on this machine now, so it may not go to the network again: a loop is impossible.
fn reexec(lease: &Lease, begun: &Begun) -> io::Error {
    if let Err(error) = lease.survive_exec() {
        return error;
    }
    sealed_exe::reexec(&["--reexec", &begun.to_string()])
}

fn dispatch(cli: Cli) -> Result<Exit, Error> {
    let Cli { global, verb } = cli;
    let reporter = Arc::new(Terminal::new(&global));
    let context = settings::context(&global, reporter)?;
    verb.exec(App { context, json: global.json, quiet: global.quiet, begun: global.reexec })
}

impl Exec for Verb {
    fn exec(self, app: App) -> Result<Exit, Error> {
        match self {
            Self::Run(args) => args.exec(app),
            Self::Rebuild(args) => args.exec(app),
            Self::Lock(args) => args.exec(app),
            Self::Bundle(args) => args.exec(app),
            Self::Bisect(args) => args.exec(app),
            Self::Log(args) => args.exec(app),
            Self::Pull(args) => args.exec(app),
            Self::Fetch(args) => args.exec(app),
            Self::Mirror(args) => args.exec(app),
            Self::Maintenance(verb) => verb.exec(app),
        }
    }
}

impl Exec for Maintenance {
    fn exec(self, app: App) -> Result<Exit, Error> {
        match self {
            Self::Images => images::exec(&app),
            Self::Inspect(args) => args.exec(app),
            Self::Packages(args) => args.exec(app),
            Self::Rm(args) => args.exec(app),
            Self::Gc(args) => args.exec(app),
            Self::Df => df::exec(&app),
            Self::Verify(args) => args.exec(app),
            Self::Import(args) => args.exec(app),
            Self::Export(args) => args.exec(app),
            Self::Toolchain(args) => args.exec(app),
            Self::Source(args) => args.exec(app),
            Self::Allow(args) => args.exec(app),
            Self::Login(args) => args.exec(app),
            Self::Logout(args) => args.exec(app),
            Self::Doctor => doctor::exec(&app),
            Self::Completions(args) => args.exec(app),
            Self::Man(args) => args.exec(app),
        }
    }
}
