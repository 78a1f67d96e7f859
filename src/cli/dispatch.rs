//! From the process's start to its exit code.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;

use crate::cli::args::source::Source;
use crate::cli::args::{Cli, Hot, Keep, Toolchain, Verb};
use crate::cli::begun::Begun;
use crate::cli::exit::Codes;
use crate::cli::printer::{self, Imported};
use crate::cli::progress::Terminal;
use crate::cli::upkeep::Removed;
use crate::cli::{
    allow, bundle, diagnostic, exit, explanation, generate, inventory, launcher, locks, logbook, prompt, rebuilt,
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
pub(super) enum End {
    /// With this exit code.
    Code(u8),
    /// Standard output could not be written.
    Output(io::Error),
    /// The program is to be started anew, with what this keeps.
    Anew(Lease, Begun),
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
        let _ = launcher::seal();
    }
    match dispatch(cli) {
        Ok(End::Code(code)) => ExitCode::from(code),
        // Whoever read our output has seen enough.
        Ok(End::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Ok(End::Output(error)) => failed(&format!("error: cannot write the output\n  {error}\n"), 1),
        Ok(End::Anew(lease, begun)) => {
            let error = start_anew(&lease, &begun);
            failed(
                &format!(
                    "error: cannot start hermes anew after fetching\n  {error}\n\nhint: run the same command again\n"
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
        && let Ok(Cli { global, verb: Hot::Run(run) }) = Cli::try_parse()
    {
        return Ok(Cli { global, verb: Verb::Run(run) });
    }
    Cli::try_parse()
}

/// Replaces this process, which has had threads, by a fresh one with the same words. All it needs is
/// on this machine now, so it may not go to the network again: a loop is impossible.
fn start_anew(lease: &Lease, begun: &Begun) -> io::Error {
    if let Err(error) = lease.survive_exec() {
        return error;
    }
    launcher::again(&["--anew", &begun.to_string()])
}

fn dispatch(cli: Cli) -> Result<End, Error> {
    let (json, quiet, begun) = (cli.global.json, cli.global.quiet, cli.global.anew.as_ref());
    let reporter = Arc::new(Terminal::new(&cli.global));
    let context = settings::context(&cli.global, reporter)?;
    let shown = |value: &dyn Fn() -> io::Result<()>| Ok(value().map_or_else(End::Output, |()| End::Code(0)));
    match cli.verb {
        Verb::Run(args) => run_command(&context, *args, begun, (json, quiet)),
        Verb::Lock(args) => locks::lock(&context, args, json),
        Verb::Bisect(args) => locks::bisect(&context, *args, begun, json),
        Verb::Bundle(args) => bundle::bundle(context, args, json),
        Verb::Rebuild(args) => build_again(&context, *args, begun, json),
        Verb::Log(args) => Ok(logbook::log(&context, args, json)?.map_or_else(End::Output, |()| End::Code(0))),
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
        Verb::Keep(verb) => keep(&context, verb, json),
    }
}

fn run_command(
    context: &Context,
    args: crate::cli::args::Run,
    begun: Option<&Begun>,
    (json, quiet): (bool, bool),
) -> Result<End, Error> {
    let request = settings::request(args, begun)?;
    let volumes = request.volumes.clone();
    let Ran { outcome, record, crash } = match run::run(context, request)? {
        Done::Ran(ran) => ran,
        Done::Fetched(lease) => return Ok(End::Anew(lease, Begun::new(&volumes)?)),
    };
    if let Some(cause) = &outcome.cause
        && !printer::to_stderr_in_time(&diagnostic::render(cause))
    {
        // Nobody reads the terminal, and the run was to end.
        return Ok(End::Code(outcome.exit_code()));
    }
    explanation::after(context, &outcome, &record, json, quiet);
    if let Some(crash) = crash.filter(|_| !quiet) {
        printer::line_to_stderr(&format!("hint: {crash}"));
    }
    Ok(End::Code(outcome.exit_code()))
}

fn keep(context: &Context, verb: Keep, json: bool) -> Result<End, Error> {
    let shown = |value: &dyn Fn() -> io::Result<()>| Ok(value().map_or_else(End::Output, |()| End::Code(0)));
    match verb {
        Keep::Images => {
            let rows = images::list(context)?;
            shown(&|| printer::print(&rows, json))
        }
        Keep::Inspect(args) => {
            let image =
                images::inspect(context, &args.reference.parse()?, settings::platform(args.platform.as_deref())?)?;
            shown(&|| printer::print(&image, json))
        }
        Keep::Packages(args) => inventory::packages(context, &args, json),
        Keep::Rm(args) => {
            let mut removed = Vec::new();
            for reference in references(&args.references)? {
                let pruned = images::remove(context, &reference)?;
                removed.push(Removed { reference, pruned });
            }
            shown(&|| printer::print(&removed, json))
        }
        Keep::Import(args) => {
            let name = args.name.map(|text| text.parse()).transpose()?;
            let path = if args.path == *"-" { "/dev/stdin".into() } else { args.path };
            let images = import::import(context, &path, name.as_ref())?;
            let images: Vec<_> = images.into_iter().map(|(reference, top)| Imported { reference, top }).collect();
            shown(&|| printer::print(&images, json))
        }
        Keep::Export(args) => export_to(context, args, json),
        Keep::Gc(args) => {
            let budget = Budget { bytes: args.keep_bytes.map(|Size(bytes)| bytes), inodes: args.max_inodes };
            let forget = settings::absolute(args.forget)?;
            let collected = gc::gc(context, budget, &forget, args.dry_run)?;
            let code = u8::from(!collected.within_budget());
            Ok(printer::print(&collected, json).map_or_else(End::Output, |()| End::Code(code)))
        }
        Keep::Df => {
            let usage = df::df(context)?;
            shown(&|| printer::print(&usage, json))
        }
        Keep::Verify(args) => {
            let references = references(&args.references)?;
            let verified = verify::verify(context, &references, args.dry_run)?;
            let code = if verified.damage.is_empty() { 0 } else { exit::INTEGRITY };
            Ok(printer::print(&verified, json).map_or_else(End::Output, |()| End::Code(code)))
        }
        Keep::Source(args) => sources(context, args, json),
        Keep::Toolchain(args) => toolchain(context, args, json),
        Keep::Allow(args) => allow::allow(context, args, json),
        Keep::Login(args) => {
            let registry = login::registry(&args.registry)?;
            let (user, password) = prompt::login(&args)?;
            let done = login::login(context, registry, user, &password)?;
            shown(&|| printer::print(&done, json))
        }
        Keep::Logout(args) => {
            let done = logout::logout(context, login::registry(&args.registry)?)?;
            shown(&|| printer::print(&done, json))
        }
        Keep::Doctor => {
            let report = doctor::run(context)?;
            let code = u8::from(!report.native);
            Ok(printer::print(&report, json).map_or_else(End::Output, |()| End::Code(code)))
        }
        Keep::Completions(args) => shown(&|| generate::completions(args.shell, &mut io::stdout())),
        Keep::Man(args) => shown(&|| generate::man(&args.directory)),
    }
}

fn build_again(
    context: &Context,
    args: crate::cli::args::Rebuild,
    begun: Option<&Begun>,
    json: bool,
) -> Result<End, Error> {
    let request = match settings::rebuild(args, begun)? {
        settings::Rebuild::Twice(request) => request,
        settings::Rebuild::Recorded(request) => {
            return Ok(match rebuilt::with_output_aside(|| again::again(context, &request))? {
                again::Done::Rebuilt(again) => {
                    let code = u8::from(again.check && again.same == Some(false));
                    printer::print(&*again, json).map_or_else(End::Output, |()| End::Code(code))
                }
                again::Done::Fetched(lease) => End::Anew(lease, Begun::new(&[])?),
            });
        }
    };
    match rebuilt::with_output_aside(|| rebuild::rebuild(context, &request))? {
        rebuild::Done::Rebuilt(rebuilt) => {
            rebuilt::details(&rebuilt);
            let code = u8::from(!rebuilt.same);
            Ok(printer::print(&*rebuilt, json).map_or_else(End::Output, |()| End::Code(code)))
        }
        rebuild::Done::Fetched(lease) => Ok(End::Anew(lease, Begun::new(&request.run.volumes)?)),
    }
}

fn toolchain(context: &Context, args: Toolchain, json: bool) -> Result<End, Error> {
    let printed = match args {
        Toolchain::List => printer::print(&toolchains::list(context)?, json),
        Toolchain::Show { name } => printer::print(&toolchains::show(context, &name)?, json),
    };
    Ok(printed.map_or_else(End::Output, |()| End::Code(0)))
}

fn sources(context: &Context, args: Source, json: bool) -> Result<End, Error> {
    let print = |printed: io::Result<()>, code| Ok(printed.map_or_else(End::Output, |()| End::Code(code)));
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

fn export_to(context: &Context, args: crate::cli::args::Export, json: bool) -> Result<End, Error> {
    let request = settings::export(&args)?;
    if args.file == *"-" {
        let out = rustix::stdio::stdout();
        if rustix::termios::isatty(out) {
            return Err(Error::Terminal);
        }
        let out = out.try_clone_to_owned().map_err(|source| Error::Archive { path: args.file, source })?;
        export::stream(context, &request, &out.into())?;
        return Ok(End::Code(0));
    }
    let exported = export::export(context, &request, &args.file)?;
    Ok(printer::print(&exported, json).map_or_else(End::Output, |()| End::Code(0)))
}

fn preview_all(context: &Context, args: crate::cli::args::Pull) -> Result<preview::Previews, Error> {
    let selection = settings::selection(args.which)?;
    if args.references.is_empty() {
        return preview::toolchain(context, selection);
    }
    preview::images(context, &references(&args.references)?, &wanted(selection))
}

/// What is wanted of images that are named.
fn wanted(selection: crate::commands::Selection) -> Wanted {
    Wanted { platform: selection.platform.unwrap_or_else(Platform::host), said: selection.said }
}

fn references(words: &[String]) -> Result<Vec<Reference>, Error> {
    Ok(words.iter().map(|text| text.parse()).collect::<Result<_, _>>()?)
}

fn pull_all(context: &Context, args: crate::cli::args::Pull) -> Result<Vec<pull::Pulled>, Error> {
    let selection = settings::selection(args.which)?;
    if args.references.is_empty() {
        return Ok(vec![pull::toolchain(context, selection)?]);
    }
    let wanted = wanted(selection);
    args.references.iter().map(|text| pull::image(context, &text.parse()?, &wanted)).collect()
}
