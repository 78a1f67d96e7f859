//! `hermes run`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueHint};

use crate::cli::guest_overrides::GuestOverrides;
use crate::cli::values::OrWord;
use crate::cli::values::parsed;
use crate::emulation::{Accel, EmulationMode};
use crate::oci::WirePlatform;
use crate::platform::Platform;
use crate::record::Users;
use crate::reference::Reference;
use crate::sandbox::{FakeRoot, Feature, Isolation, Network, RootStrategy};
use crate::size::{Cpus, Size, Time};

/// Less than this holds no program at all.
const LEAST_MEMORY: Size = Size(1 << 20);

fn memory(text: &str) -> Result<Size, String> {
    match text.parse::<Size>() {
        Ok(size) if size < LEAST_MEMORY => Err("less than 1M is too little for any program".to_owned()),
        size => size.map_err(|error| error.to_string()),
    }
}

/// Which image.
#[derive(Debug, PartialEq, Args)]
pub(in crate::cli) struct Which {
    /// Build for this platform, in any usual spelling: linux-aarch64, linux/arm64, armv6, …
    #[arg(short, long, value_name = "PLATFORM", value_parser = parsed::<Platform>)]
    pub(in crate::cli) platform: Option<Platform>,
    /// Use the image labelled OS/ARCH[/VARIANT], even if the label fits neither platform nor processor; has no effect
    /// once the image is locked
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(in crate::cli) image_platform: Option<WirePlatform>,
    /// Use this image
    #[arg(long, value_name = "REF", conflicts_with = "toolchain", value_parser = parsed::<Reference>)]
    pub(in crate::cli) image: Option<Reference>,
    /// Use this toolchain [default: the project's, else debian]
    #[arg(short, long, value_name = "NAME")]
    pub(in crate::cli) toolchain: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Run {
    /// Show what the run would do, without running the command: mounts, namespaces, environment, system call filter
    #[arg(long)]
    pub(in crate::cli) plan: bool,
    #[command(flatten)]
    pub(in crate::cli) options: RunOptions,
}

/// The options of `run`, which `rebuild` and `bisect` have as well.
#[derive(Debug, PartialEq, Args)]
pub(in crate::cli) struct RunOptions {
    #[command(flatten)]
    pub(in crate::cli) which: Which,
    /// Mount a file or directory of the host; may be repeated
    #[arg(short = 'v', long = "volume", value_name = "SRC:DST[:ro]")]
    pub(in crate::cli) volumes: Vec<OsString>,
    /// Set a variable, or pass on the caller's value; may be repeated
    #[arg(short = 'e', long = "env", value_name = "NAME[=VALUE]")]
    pub(in crate::cli) env: Vec<OsString>,
    /// Start the command in DIR [default: the image's, else /work]
    #[arg(short = 'w', long = "workdir", value_name = "DIR")]
    pub(in crate::cli) workdir: Option<PathBuf>,
    /// Give the command this network [default: the project's, else none]
    #[arg(long, value_enum)]
    pub(in crate::cli) net: Option<Network>,
    /// Run PROGRAM instead of the image's entrypoint; an empty text omits the entrypoint
    #[arg(long, value_name = "PROGRAM")]
    pub(in crate::cli) entrypoint: Option<OsString>,
    /// Run the command as user 0 of the sandbox
    #[arg(long)]
    pub(in crate::cli) root: bool,
    /// Choose the result of changes of ownership and user by user 0 of the sandbox [default: stateless]
    #[arg(long, value_enum, value_name = "HOW", requires = "root")]
    pub(in crate::cli) fake_root: Option<FakeRoot>,
    /// Map these users into the sandbox. With a range, changes of ownership are not faked, and files that users other
    /// than root write to /work belong to ids of the range on the host
    #[arg(long, value_enum, default_value = "single", requires = "root", conflicts_with = "fake_root")]
    pub(in crate::cli) userns: Users,
    /// Fail unless this host enforces FEATURE; may be repeated, or a list with commas
    #[arg(long, value_name = "FEATURE", value_delimiter = ',')]
    pub(in crate::cli) require: Vec<Feature>,
    /// End the command after TIME, with exit code 124: 30s, 5m, 1h30m
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) timeout: Option<Time>,
    /// Limit memory to SIZE: 500M, 2G
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub(in crate::cli) memory: Option<Size>,
    /// Limit processor time to that of N processors: 4, 1.5
    #[arg(long, value_name = "N")]
    pub(in crate::cli) cpus: Option<Cpus>,
    /// Limit the number of simultaneous processes and threads to N
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(in crate::cli) pids: Option<u64>,
    /// Run the command with the nice value N, from -20 (first) to 19 (last) [default: the caller's]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i8).range(-20..=19))]
    pub(in crate::cli) nice: Option<i8>,
    /// Isolate the command from this host in this way
    #[arg(long, value_enum, default_value = "namespaces")]
    pub(in crate::cli) isolation: Isolation,
    /// Make the root file system in this way
    #[arg(long, value_enum, default_value = "auto")]
    pub(in crate::cli) rootfs: OrWord<RootStrategy>,
    /// Replace emulated compilers and other tools with native ones
    #[arg(long, value_enum, default_value = "auto")]
    pub(in crate::cli) accel: Accel,
    /// Start the emulator of foreign programs in this way
    #[arg(long, value_enum, default_value = "auto")]
    pub(in crate::cli) emulation: OrWord<EmulationMode>,
    /// Record digests of the file or directory PATH of the project if the command succeeds; 'rebuild' compares PATH
    /// instead of all files that a build created or changed; may be repeated
    #[arg(long = "output", value_name = "PATH")]
    pub(in crate::cli) outputs: Vec<PathBuf>,
    /// Trace the command, and list the operations that the sandbox denied and the options that would allow them
    ///
    /// Prints the list to standard error, with --json as one line of JSON. Tracing slows the command down, and the command
    /// cannot trace other processes: gdb and strace fail.
    #[arg(long)]
    pub(in crate::cli) explain: bool,
    #[command(flatten)]
    pub(in crate::cli) guest_overrides: GuestOverrides,
    /// The command, or arguments of the image's entrypoint
    #[arg(trailing_var_arg = true, value_name = "COMMAND", value_hint = ValueHint::CommandWithArguments)]
    pub(in crate::cli) argv: Vec<OsString>,
}
