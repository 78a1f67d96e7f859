//! From the process's start to its exit code.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;

use crate::cli::args::source::Source;
use crate::cli::args::{Cli, FastPath, Maintenance, Toolchain, Verb};
use crate::cli::begun::Begun;
use crate::cli::exit::Codes;
use crate::cli::printer::{self, Imported};
use crate::cli::progress::Terminal;
use crate::cli::store::Removed;
use crate::cli::{
    allow, bisect, bundle, diagnostic, exit, explain, generate, lock, logbook, packages, prompt, rebuilt, sealed_exe,
    settings,
};
use crate::commands::run::{Done, Ran};
use crate::commands::{
    Context, Error, again, df, doctor, export, fetch, gc, images, import, login, logout, preview, pull, rebuild, run,
    source, toolchains, verify,
};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::resolve::Wanted;
use crate::size::Size;
use crate::store::{Budget, Lease};
use crate::sys::process::{has_privileges_of_its_file, leave_owner_bits, survive_file_size_limit};

/// How a verb ended, where it did not fail.
pub(super) enum Exit {
    /// With this exit code.
    Code(u8),
    /// Standard output could not be written.
    Output(io::Error),
    /// The program is to be executed again, with what this keeps.
    Reexec(Lease, Begun),
}

/// Parses the command line, runs it, and says how it went.
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
        // What cannot be had is a second wall: without it, as without landlock, the command still runs.
        let _ = sealed_exe::seal();
    }
    match dispatch(cli) {
        Ok(Exit::Code(code)) => ExitCode::from(code),
        // Whoever read our output has seen enough.
        Ok(Exit::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Ok(Exit::Output(error)) => failed(&format!("error: cannot write the output\n  {error}\n"), 1),
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

/// What the command line says. Whatever is not a faultless `run` is the whole parser's, help and errors included.
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
    let (json, quiet, begun) = (cli.global.json, cli.global.quiet, cli.global.reexec.as_ref());
    let reporter = Arc::new(Terminal::new(&cli.global));
    let context = settings::context(&cli.global, reporter)?;
    let shown = |value: &dyn Fn() -> io::Result<()>| Ok(value().map_or_else(Exit::Output, |()| Exit::Code(0)));
    match cli.verb {
        Verb::Run(args) => run_command(&context, *args, begun, (json, quiet)),
        Verb::Lock(args) => lock::lock(&context, args, json),
        Verb::Bisect(args) => bisect::bisect(&context, *args, begun, json),
        Verb::Bundle(args) => bundle::bundle(context, args, json),
        Verb::Rebuild(args) => build_again(&context, *args, begun, json),
        Verb::Log(args) => Ok(logbook::log(&context, args, json)?.map_or_else(Exit::Output, |()| Exit::Code(0))),
        Verb::Pull(args) if args.dry_run => {
            let previews = preview_all(&context, args)?;
            shown(&|| printer::print(&previews, json))
        }
        Verb::Fetch(args) => {
            let fetched = fetch::fetch(&context, &settings::fetch(args)?)?;
            shown(&|| printer::print(&fetched, json))
        }
        Verb::Pull(args) => {
            let pulled = pull_all(&context, args)?;
            shown(&|| printer::print(&pulled, json))
        }
        Verb::Maintenance(verb) => keep(&context, verb, json),
    }
}

fn run_command(
    context: &Context,
    args: crate::cli::args::Run,
    begun: Option<&Begun>,
    (json, quiet): (bool, bool),
) -> Result<Exit, Error> {
    let request = settings::request(args, begun)?;
    let volumes = request.volumes.clone();
    let Ran { outcome, record, crash } = match run::run(context, request)? {
        Done::Ran(ran) => ran,
        Done::Fetched(lease) => return Ok(Exit::Reexec(lease, Begun::new(&volumes)?)),
    };
    if let Some(cause) = &outcome.cause
        && !printer::to_stderr_in_time(&diagnostic::render(cause))
    {
        // Nobody reads the terminal, and the run was to end.
        return Ok(Exit::Code(outcome.exit_code()));
    }
    explain::after(context, &outcome, &record, json, quiet);
    if let Some(crash) = crash.filter(|_| !quiet) {
        printer::line_to_stderr(&format!("hint: {crash}"));
    }
    Ok(Exit::Code(outcome.exit_code()))
}

fn keep(context: &Context, verb: Maintenance, json: bool) -> Result<Exit, Error> {
    let shown = |value: &dyn Fn() -> io::Result<()>| Ok(value().map_or_else(Exit::Output, |()| Exit::Code(0)));
    match verb {
        Maintenance::Images => {
            let rows = images::list(context)?;
            shown(&|| printer::print(&rows, json))
        }
        Maintenance::Inspect(args) => {
            let image =
                images::inspect(context, &args.reference.parse()?, settings::platform(args.platform.as_deref())?)?;
            shown(&|| printer::print(&image, json))
        }
        Maintenance::Packages(args) => packages::packages(context, &args, json),
        Maintenance::Rm(args) => {
            let mut removed = Vec::new();
            for reference in references(&args.references)? {
                let pruned = images::remove(context, &reference)?;
                removed.push(Removed { reference, pruned });
            }
            shown(&|| printer::print(&removed, json))
        }
        Maintenance::Import(args) => {
            let name = args.name.map(|text| text.parse()).transpose()?;
            let path = if args.path == *"-" { "/dev/stdin".into() } else { args.path };
            let images = import::import(context, &path, name.as_ref())?;
            let images: Vec<_> = images.into_iter().map(|(reference, top)| Imported { reference, top }).collect();
            shown(&|| printer::print(&images, json))
        }
        Maintenance::Export(args) => export_to(context, args, json),
        Maintenance::Gc(args) => {
            let budget = Budget { bytes: args.keep_bytes.map(|Size(bytes)| bytes), inodes: args.max_inodes };
            let forget = settings::absolute(args.forget)?;
            let collected = gc::gc(context, budget, &forget, args.dry_run)?;
            let code = u8::from(!collected.within_budget());
            Ok(printer::print(&collected, json).map_or_else(Exit::Output, |()| Exit::Code(code)))
        }
        Maintenance::Df => {
            let usage = df::df(context)?;
            shown(&|| printer::print(&usage, json))
        }
        Maintenance::Verify(args) => {
            let references = references(&args.references)?;
            let verified = verify::verify(context, &references, args.dry_run)?;
            let code = if verified.damage.is_empty() { 0 } else { exit::INTEGRITY };
            Ok(printer::print(&verified, json).map_or_else(Exit::Output, |()| Exit::Code(code)))
        }
        Maintenance::Source(args) => sources(context, args, json),
        Maintenance::Toolchain(args) => toolchain(context, args, json),
        Maintenance::Allow(args) => allow::allow(context, args, json),
        Maintenance::Login(args) => {
            let registry = login::registry(&args.registry)?;
            let (user, password) = prompt::login(&args)?;
            let done = login::login(context, registry, user, &password)?;
            shown(&|| printer::print(&done, json))
        }
        Maintenance::Logout(args) => {
            let done = logout::logout(context, login::registry(&args.registry)?)?;
            shown(&|| printer::print(&done, json))
        }
        Maintenance::Doctor => {
            let report = doctor::run(context)?;
            let code = u8::from(!report.native);
            Ok(printer::print(&report, json).map_or_else(Exit::Output, |()| Exit::Code(code)))
        }
        Maintenance::Completions(args) => shown(&|| generate::completions(args.shell, &mut io::stdout())),
        Maintenance::Man(args) => shown(&|| generate::man(&args.directory)),
    }
}

fn build_again(
    context: &Context,
    args: crate::cli::args::Rebuild,
    begun: Option<&Begun>,
    json: bool,
) -> Result<Exit, Error> {
    let request = match settings::rebuild(args, begun)? {
        settings::Rebuild::Twice(request) => request,
        settings::Rebuild::Recorded(request) => {
            return Ok(match rebuilt::with_output_aside(|| again::again(context, &request))? {
                again::Done::Rebuilt(again) => {
                    let code = u8::from(again.check && again.same == Some(false));
                    printer::print(&*again, json).map_or_else(Exit::Output, |()| Exit::Code(code))
                }
                again::Done::Fetched(lease) => Exit::Reexec(lease, Begun::new(&[])?),
            });
        }
    };
    match rebuilt::with_output_aside(|| rebuild::rebuild(context, &request))? {
        rebuild::Done::Rebuilt(rebuilt) => {
            rebuilt::details(&rebuilt);
            let code = u8::from(!rebuilt.same);
            Ok(printer::print(&*rebuilt, json).map_or_else(Exit::Output, |()| Exit::Code(code)))
        }
        rebuild::Done::Fetched(lease) => Ok(Exit::Reexec(lease, Begun::new(&request.run.volumes)?)),
    }
}

fn toolchain(context: &Context, args: Toolchain, json: bool) -> Result<Exit, Error> {
    let printed = match args {
        Toolchain::List => printer::print(&toolchains::list(context)?, json),
        Toolchain::Show { name } => printer::print(&toolchains::show(context, &name)?, json),
    };
    Ok(printed.map_or_else(Exit::Output, |()| Exit::Code(0)))
}

fn sources(context: &Context, args: Source, json: bool) -> Result<Exit, Error> {
    let print = |printed: io::Result<()>, code| Ok(printed.map_or_else(Exit::Output, |()| Exit::Code(code)));
    match args {
        Source::Add { url, name, commit } => {
            let row = source::add(context, &url, commit.as_deref(), name)?;
            print(printer::print(&vec![row], json), 0)
        }
        Source::Fetch { names } => print(printer::print(&source::fetch(context, &names)?, json), 0),
        Source::List => print(printer::print(&source::list(context)?, json), 0),
        Source::Verify { names } => {
            let checked = source::verify(context, &names)?;
            let whole = checked.iter().all(|checked| checked.damage.is_empty());
            print(printer::print(&checked, json), if whole { 0 } else { exit::INTEGRITY })
        }
        Source::Mirror { target } => print(printer::print(&source::mirror(context, &target)?, json), 0),
    }
}

fn export_to(context: &Context, args: crate::cli::args::Export, json: bool) -> Result<Exit, Error> {
    let request = settings::export(&args)?;
    if args.file == *"-" {
        let out = rustix::stdio::stdout();
        if rustix::termios::isatty(out) {
            return Err(Error::Terminal);
        }
        let out = out.try_clone_to_owned().map_err(|source| Error::Archive { path: args.file, source })?;
        export::stream(context, &request, &out.into())?;
        return Ok(Exit::Code(0));
    }
    let exported = export::export(context, &request, &args.file)?;
    Ok(printer::print(&exported, json).map_or_else(Exit::Output, |()| Exit::Code(0)))
}

fn preview_all(context: &Context, args: crate::cli::args::Pull) -> Result<preview::Previews, Error> {
    let selector = settings::selector(args.which)?;
    if args.references.is_empty() {
        return preview::toolchain(context, selector);
    }
    preview::images(context, &references(&args.references)?, &wanted(selector))
}

/// What is wanted of images that are named.
fn wanted(selector: crate::commands::TargetSelector) -> Wanted {
    Wanted { platform: selector.platform.unwrap_or_else(Platform::host), said: selector.said }
}

fn references(words: &[String]) -> Result<Vec<Reference>, Error> {
    Ok(words.iter().map(|text| text.parse()).collect::<Result<_, _>>()?)
}

fn pull_all(context: &Context, args: crate::cli::args::Pull) -> Result<Vec<pull::Pulled>, Error> {
    let selector = settings::selector(args.which)?;
    if args.references.is_empty() {
        return Ok(vec![pull::toolchain(context, selector)?]);
    }
    let wanted = wanted(selector);
    args.references.iter().map(|text| pull::image(context, &text.parse()?, &wanted)).collect()
}
