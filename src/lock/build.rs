//! Settings of builds, which make a build reproducible on every machine.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// 2 January 1980. Zip files, and so wheels and jars, cannot store a time before 1 January 1980, and store local time: a day
/// later also works west of Greenwich. nixpkgs uses the same time.
const EPOCH: Epoch = Epoch::Seconds(315_619_200);
/// 1 January 1980: the default of earlier versions of hermes. Locks that have it keep it.
const OLD_EPOCH: Epoch = Epoch::Seconds(315_532_800);
/// The last second of the year 9999, the latest time of common formats.
const MAX_EPOCH: u64 = 253_402_300_799;
/// Longest host name, in bytes (`HOST_NAME_MAX`).
const MAX_HOSTNAME: usize = 64;
/// Longest value of other settings, in bytes.
const MAX_TEXT: usize = 4096;
/// The largest user id: the next one means "none" to the kernel.
const MAX_ID: u32 = u32::MAX - 1;

/// Network access.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// Loopback only.
    #[default]
    None,
    /// The host's network.
    Host,
}

/// A kernel feature that confines a command, if the kernel has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Feature {
    /// Network namespace: loopback only.
    Netns,
    /// System call filter.
    Seccomp,
    /// Rules for paths and, if the kernel has them, for signals, abstract sockets and TCP.
    Landlock,
}

impl Feature {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Netns => "netns",
            Self::Seccomp => "seccomp",
            Self::Landlock => "landlock",
        }
    }
}

/// A flag of personality(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Personality {
    /// `ADDR_NO_RANDOMIZE`: addresses are the same in each run.
    AddrNoRandomize,
}

/// `[build]` of `hermes.toml`. Missing settings have the defaults of `Build::new`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct BuildSettings {
    env: BTreeMap<String, String>,
    epoch: Option<Epoch>,
    hostname: Option<String>,
    locale: Option<String>,
    net: Network,
    nproc: Option<u32>,
    personality: BTreeSet<Personality>,
    require: BTreeSet<Feature>,
    time_zone: Option<String>,
    uid: Option<u32>,
    umask: Option<Umask>,
}

impl BuildSettings {
    /// Checks the values.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        Build::new(self, Digest::of(b"")).check()
    }
}

/// All settings of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Build {
    /// `SOURCE_DATE_EPOCH`, the time that builds write into their products.
    pub epoch: Epoch,
    /// Host name.
    pub hostname: String,
    /// `LANG`.
    pub locale: String,
    /// Network access.
    pub net: Network,
    /// Number of visible processors; `None` for the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nproc: Option<u32>,
    /// Flags of personality(2).
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub personality: BTreeSet<Personality>,
    /// Digest of the sandbox policy of the hermes that wrote the lock (`docs/lockfile.md`).
    pub policy: Digest,
    /// Features without which hermes refuses to run a command.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub require: BTreeSet<Feature>,
    /// `TZ`.
    pub time_zone: String,
    /// User and group id, if the image names none.
    pub uid: u32,
    /// File mode creation mask.
    pub umask: Umask,
    /// Directory of the project.
    pub work: String,
    /// Environment variables, which override those of the image.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

impl Build {
    /// Where the project is mounted in the sandbox: dockcross's convention.
    pub const WORK: &'static str = "/work";
    /// The default host name: constant, since programs write it into their products.
    pub const HOSTNAME: &'static str = "hermes";

    /// The default locale.
    pub const LOCALE: &'static str = "C.UTF-8";

    /// The settings of a project with the settings `wanted`, in a sandbox with this policy.
    #[must_use]
    pub fn new(wanted: &BuildSettings, policy: Digest) -> Self {
        let wanted = wanted.clone();
        Self {
            epoch: wanted.epoch.unwrap_or(EPOCH),
            hostname: wanted.hostname.unwrap_or_else(|| Self::HOSTNAME.to_owned()),
            locale: wanted.locale.unwrap_or_else(|| Self::LOCALE.to_owned()),
            net: wanted.net,
            nproc: wanted.nproc,
            personality: wanted.personality,
            policy,
            require: wanted.require,
            time_zone: wanted.time_zone.unwrap_or_else(|| "UTC".to_owned()),
            uid: wanted.uid.unwrap_or(1000),
            umask: wanted.umask.unwrap_or_default(),
            work: Self::WORK.to_owned(),
            env: wanted.env,
        }
    }

    /// Keeps a default of `locked`, the settings in a lock, if the default has changed since and `wanted` sets no value.
    #[must_use]
    pub fn keeping(self, wanted: &BuildSettings, locked: Option<&Self>) -> Self {
        let is_old = wanted.epoch.is_none() && locked.is_some_and(|locked| locked.epoch == OLD_EPOCH);
        Self { epoch: if is_old { OLD_EPOCH } else { self.epoch }, ..self }
    }

    /// Checks the values, which may come from a stranger.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let right = [
            (self.epoch.seconds().is_none_or(Self::is_epoch), "build.epoch: expected seconds since 1970"),
            (is_hostname(&self.hostname), "build.hostname: expected at most 64 letters, digits, '-' and '.'"),
            (is_plain(&self.locale), "build.locale: expected printable characters"),
            (self.nproc != Some(0), "build.nproc: expected at least 1"),
            (is_plain(&self.time_zone), "build.time-zone: expected printable characters"),
            ((1..=MAX_ID).contains(&self.uid), "build.uid: expected an id other than 0"),
            (self.work.starts_with('/') && is_plain(&self.work), "build.work: expected an absolute path"),
            (
                self.env.iter().all(|(name, value)| Self::is_variable(name, value)),
                "build.env: expected names and values of variables",
            ),
        ];
        right.into_iter().find(|(right, _)| !right).map_or(Ok(()), |(_, what)| Err(what))
    }

    /// Whether `name` and `value` can be a variable.
    #[must_use]
    pub(crate) fn is_variable(name: &str, value: &str) -> bool {
        is_plain(name) && !name.contains('=') && !value.contains('\0')
    }

    /// Whether `seconds` since 1970 is a time that programs can use.
    #[must_use]
    pub(crate) fn is_epoch(seconds: u64) -> bool {
        seconds <= MAX_EPOCH
    }

    /// Whether both are the same for a build, whichever version of hermes wrote them.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        *self == Self { policy: self.policy, ..other.clone() }
    }
}

/// The value of `SOURCE_DATE_EPOCH`: in files a number or `"git"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WireEpoch", into = "WireEpoch")]
pub enum Epoch {
    /// Seconds since 1970.
    Seconds(u64),
    /// The time of the last commit of the project's git repository.
    Commit,
}

impl Epoch {
    /// The seconds since 1970; `None` for the time of a commit.
    #[must_use]
    pub fn seconds(self) -> Option<u64> {
        if let Self::Seconds(seconds) = self { Some(seconds) } else { None }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected seconds since 1970, or \"git\" for the time of the last commit")]
enum WireEpoch {
    Seconds(u64),
    Word(String),
}

impl TryFrom<WireEpoch> for Epoch {
    type Error = String;

    fn try_from(wire: WireEpoch) -> Result<Self, String> {
        match wire {
            WireEpoch::Seconds(seconds) => Ok(Self::Seconds(seconds)),
            WireEpoch::Word(word) if word == "git" => Ok(Self::Commit),
            WireEpoch::Word(_) => Err("epoch: expected seconds since 1970, or \"git\"".to_owned()),
        }
    }
}

impl From<Epoch> for WireEpoch {
    fn from(epoch: Epoch) -> Self {
        match epoch {
            Epoch::Seconds(seconds) => Self::Seconds(seconds),
            Epoch::Commit => Self::Word("git".to_owned()),
        }
    }
}

/// A file mode creation mask; in files octal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Umask(u32);

impl Umask {
    /// The default.
    pub const USUAL: Self = Self(0o022);

    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl Default for Umask {
    fn default() -> Self {
        Self::USUAL
    }
}

impl FromStr for Umask {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = (1..=4).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_digit());
        let bits = digits.then(|| u32::from_str_radix(text, 8).ok()).flatten().filter(|bits| *bits <= 0o777);
        bits.map(Self).ok_or_else(|| "expected octal digits from 000 to 777".to_owned())
    }
}

impl TryFrom<String> for Umask {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Umask> for String {
    fn from(umask: Umask) -> Self {
        format!("{:03o}", umask.0)
    }
}

/// Whether `name` is a valid host name: letters, digits, `-` and `.` (RFC 1123).
#[must_use]
pub(crate) fn is_hostname(name: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
    name.len() <= MAX_HOSTNAME && name.split('.').all(is_part)
}

/// Whether `text` has no control characters.
fn is_plain(text: &str) -> bool {
    (1..=MAX_TEXT).contains(&text.len()) && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(text: &str) -> Result<Build, String> {
        let wanted: BuildSettings = toml::from_str(text).map_err(|error| error.to_string())?;
        let build = Build::new(&wanted, Digest::of(b"policy"));
        build.check().map(|()| build).map_err(str::to_owned)
    }

    #[test]
    fn what_is_left_out_is_always_the_same() {
        let build = build("").unwrap();
        assert_eq!((build.epoch, build.umask.bits(), build.uid), (Epoch::Seconds(315_619_200), 0o022, 1000));
        assert_eq!((&*build.locale, &*build.time_zone, &*build.hostname), ("C.UTF-8", "UTC", "hermes"));
        assert_eq!((build.net, build.nproc, &*build.work), (Network::None, None, "/work"));
        let elsewhere = Build { policy: Digest::of(b"other"), ..build.clone() };
        assert!(build.is_same(&elsewhere) && build != elsewhere);
        assert!(!build.is_same(&Build { epoch: Epoch::Seconds(1), ..build.clone() }));
    }

    #[test]
    fn what_is_asked_is_read() {
        let text = "epoch = 1\nhostname = 'a-1.b'\nlocale = 'C'\nnet = 'host'\nnproc = 2\ntime-zone = 'UTC+3'\nuid = 7\n\
            umask = '077'\npersonality = ['addr-no-randomize']\nrequire = ['seccomp', 'landlock']\nenv = { A = 'b c' }\n";
        let build = build(text).unwrap();
        assert_eq!((build.epoch, build.uid, build.umask.bits(), build.nproc), (Epoch::Seconds(1), 7, 0o077, Some(2)));
        assert_eq!((&*build.hostname, build.personality.len()), ("a-1.b", 1));
        assert_eq!((build.net, build.require.len(), build.env["A"].as_str()), (Network::Host, 2, "b c"));
        // The output can be parsed.
        assert_eq!(toml::from_str::<Build>(&toml::to_string(&build).unwrap()).unwrap(), build);
    }

    #[test]
    fn a_lock_keeps_the_default_it_was_made_with() {
        let policy = Digest::of(b"policy");
        let wanted = |text: &str| toml::from_str::<BuildSettings>(text).unwrap();
        let locked = |epoch: &str| build(&format!("epoch = {epoch}")).unwrap();
        for (text, lock, epoch) in [
            ("", None, Epoch::Seconds(315_619_200)),
            ("", Some("315532800"), Epoch::Seconds(315_532_800)),
            ("", Some("315619200"), Epoch::Seconds(315_619_200)),
            // No other value is taken from a lock.
            ("", Some("7"), Epoch::Seconds(315_619_200)),
            ("", Some("'git'"), Epoch::Seconds(315_619_200)),
            ("epoch = 8", Some("315532800"), Epoch::Seconds(8)),
            ("epoch = 315619200", Some("315532800"), Epoch::Seconds(315_619_200)),
            ("epoch = 'git'", Some("315532800"), Epoch::Commit),
        ] {
            let wanted = wanted(text);
            let lock = lock.map(locked);
            assert_eq!(Build::new(&wanted, policy).keeping(&wanted, lock.as_ref()).epoch, epoch, "{text} {lock:?}");
        }
        let text = toml::to_string(&locked("'git'")).unwrap();
        assert!(text.contains("epoch = \"git\"\n") && toml::from_str::<Build>(&text).unwrap().epoch == Epoch::Commit);
    }

    #[test]
    fn mistakes_are_explained() {
        for (text, word) in [
            ("epoch = -1", "epoch"),
            ("epoch = 99999999999999", "epoch"),
            ("epoch = 'now'", "epoch"),
            ("epoch = 1.5", "epoch"),
            ("hostname = 'a b'", "hostname"),
            ("hostname = ''", "hostname"),
            ("hostname = 'a..b'", "hostname"),
            ("nproc = 0", "nproc"),
            ("personality = ['x']", "personality"),
            ("umask = '8'", "umask"),
            ("umask = '1777'", "umask"),
            ("umask = 18", "umask"),
            ("locale = \"\\u001b[31m\"", "locale"),
            ("time-zone = ''", "time-zone"),
            ("uid = 0", "uid"),
            ("uid = 4294967295", "uid"),
            ("net = 'all'", "net"),
            ("require = ['magic']", "magic"),
            ("env = { 'A=B' = 'c' }", "env"),
            ("env = { A = \"\\u0000\" }", "env"),
            ("mounts = ['/etc']", "mounts"),
        ] {
            let error = build(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
