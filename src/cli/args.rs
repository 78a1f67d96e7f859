//! The command line as clap sees it: types and help, no logic.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueHint};

use crate::cli::values::parsed;
pub(super) use login::{Login, Logout};
pub(super) use rebuild::Rebuild;
pub(super) use run::{Run, RunOptions, Which};

use crate::cli::begun::Begun;
use crate::commands::export;
use crate::dpkg::Request;
use crate::fetch::MAX_JOBS;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::registry::Bandwidth;
use crate::size::Size;

pub(super) mod allow;
pub(super) mod bundle;
pub(super) mod lock;
mod login;
pub(super) mod mirror;
pub(super) mod packages;
mod rebuild;
mod run;
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
    /// Build a project twice, or repeat a recorded run, and compare the products
    Rebuild(Box<Rebuild>),
    /// Lock all platforms of a toolchain; update, check or compare lockfiles
    Lock(lock::Lock),
    /// Create or load an offline bundle of everything that a lockfile references
    #[command(subcommand)]
    Bundle(bundle::Bundle),
    /// Bisect two lockfiles for the entry that breaks a build
    Bisect(Box<lock::Bisect>),
    /// List recorded runs, and show their records
    Log(crate::cli::log::Log),
    /// Download an image, or everything that a run needs
    Pull(Pull),
    /// Download everything that a lockfile references, for offline work
    Fetch(Fetch),
    /// Copy the sources and packages of a lockfile to a directory or a repository in a registry
    ///
    /// Copies every source and Debian package that the lockfile names, and the signed documents of their archives, unless the
    /// mirror has them. Images are not copied.
    Mirror(mirror::Mirror),
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
    /// List, show and add toolchains
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

#[derive(Debug, Args)]
pub(super) struct Pull {
    /// Images to download in their current version [default: what a run needs, by its lockfile]
    #[arg(value_name = "REF", conflicts_with_all = ["toolchain", "image"])]
    pub(super) references: Vec<Reference>,
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
    pub(super) references: Vec<Reference>,
    /// Build for this platform, in any usual spelling; may be repeated [default: the project's, else this host's]
    #[arg(short, long = "platform", value_name = "PLATFORM", value_parser = parsed::<Platform>)]
    pub(super) platforms: Vec<Platform>,
    /// Download all platforms in the lockfile, or if it has none, all that exist
    #[arg(long, conflicts_with = "platforms")]
    pub(super) all_platforms: bool,
    /// Use this image
    #[arg(long, value_name = "REF", conflicts_with = "toolchain", value_parser = parsed::<Reference>)]
    pub(super) image: Option<Reference>,
    /// Use this toolchain [default: the project's, else debian]
    #[arg(short, long, value_name = "NAME")]
    pub(super) toolchain: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// The image
    #[arg(value_name = "REF", value_parser = parsed::<Reference>)]
    pub(super) reference: Reference,
    /// Show this platform [default: this host's, if the store has it]
    #[arg(short, long, value_name = "PLATFORM", value_parser = parsed::<Platform>)]
    pub(super) platform: Option<Platform>,
}

#[derive(Debug, Args)]
pub(super) struct Rm {
    /// The images
    #[arg(value_name = "REF", required = true, value_parser = parsed::<Reference>)]
    pub(super) references: Vec<Reference>,
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
    #[arg(value_name = "REF", value_parser = parsed::<Reference>)]
    pub(super) references: Vec<Reference>,
    /// Report what is corrupt, but change nothing
    #[arg(short = 'n', long)]
    pub(super) dry_run: bool,
    /// Compose the roots of these toolchains in the lockfile again from their packages, and compare them with it
    /// [default: all toolchains]
    #[arg(long, value_name = "NAME", num_args = 0.., conflicts_with_all = ["references", "dry_run"])]
    pub(super) compose: Option<Vec<String>>,
}

#[derive(Debug, Args)]
pub(super) struct Import {
    /// Layout or archive; - for standard input
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(super) path: PathBuf,
    /// Name the image REF [default: the name in the layout]
    #[arg(long, value_name = "REF", value_parser = parsed::<Reference>)]
    pub(super) name: Option<Reference>,
}

#[derive(Debug, Args)]
pub(super) struct Export {
    /// The image
    #[arg(value_name = "REF", value_parser = parsed::<Reference>)]
    pub(super) reference: Reference,
    /// Archive to write; - for standard output
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) file: PathBuf,
    /// Format of the archive
    #[arg(long, value_enum, default_value = "oci")]
    pub(super) format: export::Format,
    /// Export this platform, in a format that has room for one only [default: this host's, if the store has it]
    #[arg(short, long, value_name = "PLATFORM", value_parser = parsed::<Platform>)]
    pub(super) platform: Option<Platform>,
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
    /// Lock a toolchain of Debian packages and add it to hermes.toml
    Add {
        /// Name of the toolchain: lower-case letters, digits and . - _
        name: String,
        /// Use packages of SUITE, such as bookworm; may be repeated
        #[arg(long = "debian", value_name = "SUITE", required = true)]
        suites: Vec<String>,
        /// Accept signatures of the keys in FILE, which is relative to hermes.toml [default: Debian's keys]
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        signed_by: Option<String>,
        /// Build for this platform, in any usual spelling; may be repeated [default: this host's]
        #[arg(short, long = "platform", value_name = "PLATFORM", value_parser = parsed::<Platform>)]
        platforms: Vec<Platform>,
        /// Packages: NAME, NAME=VERSION for one version, or NAME- for one that must not be installed
        #[arg(value_name = "PACKAGE", value_parser = parsed::<Request>)]
        packages: Vec<Request>,
    },
}

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// Shell to write the script for
    pub(super) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(super) struct Man {
    /// Directory to write to
    #[arg(value_hint = ValueHint::DirPath)]
    pub(super) directory: PathBuf,
}
