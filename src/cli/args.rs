//! The command line as clap sees it: types and help, no logic.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

pub(super) use login::{Login, Logout};

use crate::cli::begun::Begun;
use crate::cli::surroundings::Surroundings;
use crate::fetch::MAX_JOBS;
use crate::registry::Bandwidth;
use crate::size::{Cpus, Size, Time};

pub(super) mod allow;
pub(super) mod bundle;
pub(super) mod lock;
mod login;
pub(super) mod packages;
pub(super) mod source;

/// What `--help` and the manual page say at their end; `cli::exit` and `cli::env_vars` have the truth.
const MORE: &str = "\
Exit codes: 0 success; 1 failure; 2 wrong usage, or a project requests something that you have not allowed; 3 integrity: bytes do not match their digest; 4 not available offline, or the \
lockfile would change under --locked; 70 a bug. 'run' exits with the command's own code, 128 + n for signal n, 124 if it \
timed out, 125 if hermes failed, 126 if the command cannot be invoked, 127 if it is not found. 'rebuild' exits with 0 if the products are identical, 1 if \
they differ, 2 if a build failed, 3 if the builds did not have the same environment.

Environment: HERMES_STORE, the directory of the store; HERMES_SITE_STORE, stores of others to try before the \
network; HERMES_CONFIG, the configuration file; PATH, where emulators \
(qemu-ARCH-static) and credential helpers \
are found; REGISTRY_AUTH_FILE, DOCKER_CONFIG, files with credentials; HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY; CI, if set, hides progress bars.

Files: hermes.toml and hermes.lock of the project; config.toml and toolchains/NAME.toml in XDG_CONFIG_HOME/hermes; \
/etc/hermes/config.toml.";

/// Run builds in OCI images, without a container engine, a daemon or root.
#[derive(Debug, Parser)]
#[command(name = "hermes", version, max_term_width = 100, after_long_help = MORE)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(super) struct Cli<V: Subcommand = Verb> {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) verb: V,
}

/// Options of every command.
#[derive(Debug, Args)]
#[expect(clippy::doc_markdown, reason = "shown as help, not as documentation")]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own on the command line")]
#[command(next_help_heading = "Global options")]
pub(super) struct Global {
    /// Disable network access; use only what is on this machine
    #[arg(long, global = true)]
    pub(super) offline: bool,
    /// Internal: run offline after a download, with the identities of the files that -v named before it
    #[arg(long, hide = true, value_name = "IDS")]
    pub(super) reexec: Option<Begun>,
    /// Fail with exit code 4 if the lockfile would change
    #[arg(long, global = true)]
    pub(super) locked: bool,
    /// Use this lockfile instead of the project's or the toolchain's
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) lock: Option<PathBuf>,
    /// Use the store in DIR [default: HERMES_STORE, else XDG_DATA_HOME/hermes]
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(super) store: Option<PathBuf>,
    /// Read the user's configuration from FILE [default: HERMES_CONFIG, else XDG_CONFIG_HOME/hermes/config.toml]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) config: Option<PathBuf>,
    /// Allow everything that the project's hermes.toml requests of this host, for this command only; see 'hermes allow'
    #[arg(long, global = true)]
    pub(super) allow_project: bool,
    /// Try MIRROR before REGISTRY; may be repeated
    #[arg(long, global = true, value_name = "REGISTRY=MIRROR", value_parser = pair)]
    pub(super) mirror: Vec<(String, String)>,
    /// Allow plain HTTP to REGISTRY; may be repeated
    #[arg(long, global = true, value_name = "REGISTRY")]
    pub(super) insecure: Vec<String>,
    /// Trust the certificate authorities in FILE (PEM) for REGISTRY; may be repeated
    #[arg(long, global = true, value_name = "REGISTRY=FILE", value_parser = pair)]
    pub(super) ca: Vec<(String, String)>,
    /// Download at most N layers at a time [default: 4]
    #[arg(long, global = true, value_name = "N", value_parser = jobs())]
    pub(super) max_concurrent: Option<u8>,
    /// Limit downloads to RATE bytes per second in total: 500K, 2M, 1.5MiB
    #[arg(long, global = true, value_name = "RATE")]
    pub(super) limit_rate: Option<Bandwidth>,
    /// Allow each layer or archive to unpack to SIZE, however small it is itself [default: 4G]
    #[arg(long, global = true, value_name = "SIZE")]
    pub(super) unpack_limit: Option<Size>,
    /// Print JSON instead of tables and summaries
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Print errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// Print more details
    #[arg(long, global = true)]
    pub(super) verbose: bool,
    /// Hide progress bars
    #[arg(long, global = true)]
    pub(super) no_progress: bool,
}

fn jobs() -> clap::builder::RangedI64ValueParser<u8> {
    clap::value_parser!(u8).range(1..=i64::try_from(MAX_JOBS).unwrap_or(i64::MAX))
}

/// Less than this holds no program at all.
const LEAST_MEMORY: Size = Size(1 << 20);

fn memory(text: &str) -> Result<Size, String> {
    match text.parse::<Size>() {
        Ok(size) if size < LEAST_MEMORY => Err("less than 1M is too little for any program".to_owned()),
        size => size.map_err(|error| error.to_string()),
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

/// The verb whose start counts, alone: making the parser of all verbs takes longer than the rest of the start.
#[derive(Debug, Subcommand)]
pub(super) enum FastPath {
    Run(Box<Run>),
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Run a command in a toolchain's image; the current directory is /work inside
    Run(Box<Run>),
    /// Build a project twice, or a recorded run again, and compare what came out
    Rebuild(Box<Rebuild>),
    /// Lock all platforms of a toolchain; update, check or compare lockfiles
    Lock(lock::Lock),
    /// Create or load an offline bundle of everything that a lockfile references
    #[command(subcommand)]
    Bundle(bundle::Bundle),
    /// Bisect two lockfiles for the entry that breaks a build
    Bisect(Box<lock::Bisect>),
    /// List what ran, and show records of it
    Log(crate::cli::logbook::Log),
    /// Download an image, or everything that a run needs
    Pull(Pull),
    /// Download everything that a lockfile references, for offline work
    Fetch(Fetch),
    #[command(flatten)]
    Maintenance(Maintenance),
}

/// Verbs that look after what is there: images and their store, credentials, hermes itself.
#[derive(Debug, Subcommand)]
pub(super) enum Maintenance {
    /// List the images in the store
    Images,
    /// Show the details of an image in the store
    Inspect(Inspect),
    /// List the packages of an image, or compare two images
    Packages(packages::Packages),
    /// Remove images from the store
    Rm(Rm),
    /// Remove everything from the store that no image, lockfile or running hermes needs
    Gc(Gc),
    /// Show disk usage of the store
    Df,
    /// Verify the integrity of the store and remove corrupt objects
    Verify(Verify),
    /// Import images from an OCI image layout (directory or tar) or a 'docker save' archive
    Import(Import),
    /// Export an image to an archive, for offline machines or other tools
    Export(Export),
    /// List and show toolchains
    #[command(subcommand)]
    Toolchain(Toolchain),
    /// Add, fetch, list, verify and mirror the sources of a project
    #[command(subcommand)]
    Source(source::Source),
    /// Allow what the project's hermes.toml requests of this host
    ///
    /// Without options, allow everything that the project in the current directory requests beyond its own directory:
    /// the host's network, files of this host, repositories over SSH. The permission holds until one of these settings
    /// changes.
    Allow(allow::Allow),
    /// Log in to a registry
    Login(Login),
    /// Log out of a registry
    Logout(Logout),
    /// Check what this host lacks to run commands, by trying each step
    Doctor,
    /// Print the completion script for a shell
    Completions(Completions),
    /// Write the manual pages to a directory
    #[command(hide = true)]
    Man(Man),
}

/// Which image.
#[derive(Debug, PartialEq, Args)]
pub(super) struct Which {
    /// Build for this platform, in any usual spelling: linux-aarch64, linux/arm64, armv6, …
    #[arg(short, long, value_name = "PLATFORM")]
    pub(super) platform: Option<String>,
    /// Use the image labelled OS/ARCH[/VARIANT], even if the label fits neither platform nor processor; has no effect
    /// once the image is locked
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(super) image_platform: Option<String>,
    /// Use this image
    #[arg(long, value_name = "REF", conflicts_with = "toolchain")]
    pub(super) image: Option<String>,
    /// Use this toolchain [default: the project's, else debian]
    #[arg(short, long, value_name = "NAME")]
    pub(super) toolchain: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Net {
    /// Loopback only
    None,
    /// The host's network
    Host,
}

/// Users inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Userns {
    /// One
    Single,
    /// Many
    Range,
}

/// What a user 0 is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum FakeRoot {
    /// They fail
    Off,
    /// They succeed, without effect
    Stateless,
    /// They succeed, and stat shows the new owner; slower
    Stateful,
}

/// What confines a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Require {
    /// A network of its own
    Netns,
    /// The system call filter
    Seccomp,
    /// Rules on paths, signals and sockets
    Landlock,
}

/// What keeps a command apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Isolation {
    /// Namespaces, with a root of their own
    Namespaces,
    /// Not hermetic: rules on this host's paths, for a cross toolchain where no user namespace can be had
    Landlock,
}

/// Native tools in place of emulated ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Accel {
    /// None: every program is the image's, emulated
    Off,
    /// Where the toolchain has some that fit
    Auto,
    /// Run nothing without them
    Require,
}

/// How foreign programs come to their emulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Emulation {
    /// The first of these that works here; the host's only if it is the locked one, or there is no other
    Auto,
    /// Registered with the kernel for this sandbox alone (Linux 6.7)
    Binfmt,
    /// Whatever this host has registered, with flag F
    Host,
    /// Nothing registered: programs are executed under the eyes of hermes (Linux 4.8)
    Ptrace,
}

/// How a root is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum RootFs {
    /// The first that this host allows
    Auto,
    /// An overlay of the image's layers
    Overlay,
    /// The layers merged into one tree, read-only but for the usual places; with --root, a copy of it
    Merged,
}

#[derive(Debug, PartialEq, Args)]
pub(super) struct Run {
    #[command(flatten)]
    pub(super) which: Which,
    /// Mount a file or directory of the host; may be repeated
    #[arg(short = 'v', long = "volume", value_name = "SRC:DST[:ro]")]
    pub(super) volumes: Vec<OsString>,
    /// Set a variable, or pass the caller's on; may be repeated
    #[arg(short = 'e', long = "env", value_name = "NAME[=VALUE]")]
    pub(super) env: Vec<OsString>,
    /// Directory to start in [default: the image's, else /work]
    #[arg(short = 'w', long = "workdir", value_name = "DIR")]
    pub(super) workdir: Option<PathBuf>,
    /// What network there is [default: the project's, else none]
    #[arg(long, value_enum)]
    pub(super) net: Option<Net>,
    /// Run this instead of the image's entrypoint; empty for none
    #[arg(long, value_name = "PROGRAM")]
    pub(super) entrypoint: Option<OsString>,
    /// Be user 0 inside
    #[arg(long)]
    pub(super) root: bool,
    /// How calls of user 0 end that give files away or change to another user [default: stateless]
    #[arg(long, value_enum, value_name = "HOW", requires = "root")]
    pub(super) fake_root: Option<FakeRoot>,
    /// Users inside: the caller's id alone, or also the caller's range in /etc/subuid and /etc/subgid. With a range
    /// nothing is faked, and what other users than root write to /work belongs to ids of the range outside
    #[arg(long, value_enum, default_value = "single", requires = "root", conflicts_with = "fake_root")]
    pub(super) userns: Userns,
    /// Run nothing unless this host enforces FEATURE; may be repeated, or a list with commas
    #[arg(long, value_name = "FEATURE", value_delimiter = ',')]
    pub(super) require: Vec<Require>,
    /// Exit the command after TIME: 30s, 5m, 1h30m; exit code 124
    #[arg(long, value_name = "TIME")]
    pub(super) timeout: Option<Time>,
    /// Let the command have SIZE of memory at most: 500M, 2G
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub(super) memory: Option<Size>,
    /// Let it have the time of N processors at most: 4, 1.5
    #[arg(long, value_name = "N")]
    pub(super) cpus: Option<Cpus>,
    /// Let it have N processes and threads at a time at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) pids: Option<u64>,
    /// What keeps the command apart from this host
    #[arg(long, value_enum, default_value = "namespaces")]
    pub(super) isolation: Isolation,
    /// How the root is made
    #[arg(long, value_enum, default_value = "auto")]
    pub(super) rootfs: RootFs,
    /// Whether native tools take the place of emulated compilers and the like
    #[arg(long, value_enum, default_value = "auto")]
    pub(super) accel: Accel,
    /// How foreign programs come to their emulator
    #[arg(long, value_enum, default_value = "auto")]
    pub(super) emulation: Emulation,
    /// A file or directory that the command makes in the project: its digests are recorded, where the command ends with 0.
    /// With 'rebuild' what is compared [default there: all that a build made or changed]. May be repeated
    #[arg(long = "output", value_name = "PATH")]
    pub(super) outputs: Vec<PathBuf>,
    /// Watch the command, and list in the end what was refused to it and the options that would allow it
    ///
    /// The list goes to standard error, with --json as one line of JSON. This slows the command down, and it cannot trace
    /// others itself: gdb and strace fail in it.
    #[arg(long)]
    pub(super) explain: bool,
    #[command(flatten)]
    pub(super) surroundings: Surroundings,
    /// The command, or arguments of the image's entrypoint
    #[arg(trailing_var_arg = true, value_name = "COMMAND", value_hint = ValueHint::CommandWithArguments)]
    pub(super) argv: Vec<OsString>,
}

/// What two builds do differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Vary {
    /// All that can be
    All,
    /// Another name of the host
    Hostname,
    /// Another day, month and year
    Time,
    /// A time zone far away
    Tz,
    /// The locale C, and another language
    Locale,
    /// Umask 002
    Umask,
    /// Directories from their end
    DirOrder,
    /// One processor
    Cpus,
    /// Another home directory
    Home,
    /// The project at another place
    BuildPath,
    /// The first has native tools in place of emulated ones, the second has not
    Accel,
}

#[derive(Debug, Args)]
// After '--' comes the command, and else there is the record.
#[command(mut_arg("argv", |argv| argv.trailing_var_arg(false).last(true)))]
pub(super) struct Rebuild {
    /// Compare what two builds of COMMAND make, each in a copy of the project, or what a recorded run made with what it makes
    /// now: exit code 0 same, 1 different, 2 not built, 3 not in the same environment
    #[arg(long)]
    pub(super) check: bool,
    /// The recorded run, by the beginning of its id ('hermes log'); all options of 'run' are those of the record [default,
    /// without COMMAND: the last run of the current directory]
    #[arg(value_name = "RECORD", conflicts_with = "argv")]
    pub(super) record: Option<String>,
    /// With RECORD: where the project is, if not where it was
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "argv")]
    pub(super) project: Option<PathBuf>,
    /// With RECORD: build the project as it is, even if it is not what it was
    #[arg(long, conflicts_with = "argv")]
    pub(super) changed_project: bool,
    /// With RECORD: fetch what is not on this machine, by its digest
    #[arg(long, conflicts_with = "argv")]
    pub(super) fetch: bool,
    /// What the second build does differently; a list with commas [default: nothing]
    #[arg(long, value_enum, value_name = "WHAT", value_delimiter = ',')]
    pub(super) vary: Vec<Vary>,
    /// Keep both trees in this new directory, whatever comes out [default: in the store for a week, if they differ]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(super) keep: Option<PathBuf>,
    #[command(flatten)]
    pub(super) run: Run,
}

#[derive(Debug, Args)]
pub(super) struct Pull {
    /// Images to download in their current version [default: what a run needs, by its lockfile]
    #[arg(value_name = "REF", conflicts_with_all = ["toolchain", "image"])]
    pub(super) references: Vec<String>,
    /// Show what would be downloaded and unpacked, but change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) which: Which,
}

#[derive(Debug, Args)]
pub(super) struct Fetch {
    /// Images to download: the locked version, else the current one, which gets locked [default: the toolchain's]
    #[arg(value_name = "REF", conflicts_with_all = ["toolchain", "image"])]
    pub(super) references: Vec<String>,
    /// Build for this platform, in any usual spelling; may be repeated [default: the project's, else this host's]
    #[arg(short, long = "platform", value_name = "PLATFORM")]
    pub(super) platforms: Vec<String>,
    /// Download all platforms in the lockfile, or if it has none, all that exist
    #[arg(long, conflicts_with = "platforms")]
    pub(super) all_platforms: bool,
    /// Use this image
    #[arg(long, value_name = "REF", conflicts_with = "toolchain")]
    pub(super) image: Option<String>,
    /// Use this toolchain [default: the project's, else debian]
    #[arg(short, long, value_name = "NAME")]
    pub(super) toolchain: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// The image
    #[arg(value_name = "REF")]
    pub(super) reference: String,
    /// Show this platform [default: this host's, if the store has it]
    #[arg(short, long, value_name = "PLATFORM")]
    pub(super) platform: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Rm {
    /// The images
    #[arg(value_name = "REF", required = true)]
    pub(super) references: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Gc {
    /// Show what would be removed, but change nothing
    #[arg(short = 'n', long)]
    pub(super) dry_run: bool,
    /// Also remove the least recently used images, until the rest takes at most SIZE: 500M, 20GiB, 1.5T
    #[arg(long, value_name = "SIZE")]
    pub(super) keep_bytes: Option<Size>,
    /// Also remove the least recently used images, until the rest has at most N files
    #[arg(long, value_name = "N")]
    pub(super) max_inodes: Option<u64>,
    /// Stop keeping the images of this lockfile, until it is used again; may be repeated
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) forget: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// Images to verify [default: the whole store]
    #[arg(value_name = "REF")]
    pub(super) references: Vec<String>,
    /// Report what is corrupt, but change nothing
    #[arg(short = 'n', long)]
    pub(super) dry_run: bool,
}

#[derive(Debug, Args)]
pub(super) struct Import {
    /// Layout or archive; - for standard input
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(super) path: PathBuf,
    /// Name the image REF [default: the name in the layout]
    #[arg(long, value_name = "REF")]
    pub(super) name: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Export {
    /// The image
    #[arg(value_name = "REF")]
    pub(super) reference: String,
    /// Archive to write; - for standard output
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) file: PathBuf,
    /// Format of the archive
    #[arg(long, value_enum, default_value = "oci")]
    pub(super) format: Format,
    /// Export this platform, in a format that has room for one only [default: this host's, if the store has it]
    #[arg(short, long, value_name = "PLATFORM")]
    pub(super) platform: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A tar of an OCI image layout, with all platforms in the store
    Oci,
    /// An OCI image layout in a directory
    OciDir,
    /// The format of 'docker save' and 'docker load', with one platform
    DockerArchive,
}

#[derive(Debug, Subcommand)]
pub(super) enum Toolchain {
    /// List all toolchains and the platforms they build for
    List,
    /// Show one toolchain
    Show {
        /// Name of the toolchain
        name: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell
    pub(super) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(super) struct Man {
    /// The directory
    #[arg(value_hint = ValueHint::DirPath)]
    pub(super) directory: PathBuf,
}
