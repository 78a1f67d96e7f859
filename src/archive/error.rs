//! Errors of archives of packages.

use std::io;
use std::path::PathBuf;

use crate::debian::{ParseIndexError, ParseKeyringError, ParseReleaseError, ReleaseError, SignatureError};
use crate::digest::Digest;
use crate::fs::space;
use crate::fs::trust::Distrust;
use crate::hint::{ErrorKind, Hint};
use crate::lock::Deb;
use crate::store::StoreError;

/// Packages, or what an archive says of them, cannot be acquired.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// No address is known.
    #[error("no address of a Debian archive with {suite} is known")]
    NoAddress { suite: String },
    /// No address has the present state.
    #[error("no address of an archive with {suite} is known, only mirrors with copies of locked files: {places}")]
    OnlyCopies {
        suite: String,
        /// The mirrors.
        places: String,
    },
    /// The archive is on the network, which is disabled.
    #[error("{what} is not on this machine, and --offline forbids downloading it")]
    Offline {
        /// A package, or a file of the archive.
        what: String,
    },
    /// Every address failed.
    #[error("cannot fetch {what}: {tried}")]
    Unavailable {
        /// A file of the archive.
        what: String,
        /// Each address with its error.
        tried: String,
    },
    /// No address has a locked release or index any more.
    #[error("cannot fetch {what}, which the lockfile names: {tried}")]
    NoDocument {
        /// The release, or the index.
        what: String,
        /// Each address with its error.
        tried: String,
    },
    /// No address has a package any more.
    #[error(
        "{} (locked in the archive of {date}) is no longer in {place}{}{}",
        deb.shown(),
        nor(*mirrors),
        more(*others)
    )]
    Gone {
        deb: Box<Deb>,
        /// The date of the archive in the lock.
        date: String,
        /// The address of the archive.
        place: String,
        /// How many mirrors were tried besides.
        mirrors: usize,
        /// How many other packages are gone.
        others: usize,
    },
    /// An address has other bytes.
    #[error("checksum mismatch for {what} from {place}: expected {expected}, got {got}")]
    Changed { what: String, place: String, expected: Box<Digest>, got: Box<Digest> },
    /// The signatures of a release are not acceptable.
    #[error("cannot verify {suite} from {place}")]
    Signature { suite: String, place: String, source: Box<SignatureError> },
    /// A release is malformed.
    #[error("cannot read the release of {suite} from {place}")]
    Release { suite: String, place: String, source: ParseReleaseError },
    /// A release is signed, and not the wanted one.
    #[error("cannot use {suite} from {place}")]
    Unfit { suite: String, place: String, source: Box<ReleaseError> },
    /// An index is malformed.
    #[error("cannot read the index {path} of {suite}")]
    Index { suite: String, path: String, source: ParseIndexError },
    /// An index is malformed before it is decompressed.
    #[error("cannot decompress the index {path} of {suite}")]
    Decompress { suite: String, path: String, source: io::Error },
    /// A file with keys cannot be used.
    #[error("cannot use the keys in {}", path.display())]
    Keyring { path: PathBuf, source: ParseKeyringError },
    /// A file cannot be read or written.
    #[error("cannot {verb} {}", path.display())]
    File { verb: &'static str, path: PathBuf, source: io::Error },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn nor(mirrors: usize) -> String {
    match mirrors {
        0 => String::new(),
        1 => ", nor in 1 mirror".to_owned(),
        mirrors => format!(", nor in {mirrors} mirrors"),
    }
}

fn more(others: usize) -> String {
    match others {
        0 => String::new(),
        1 => ", and neither is 1 other package".to_owned(),
        others => format!(", and neither are {others} other packages"),
    }
}

impl ArchiveError {
    /// Whether what is wanted is not available, or no address is known or can be reached.
    #[must_use]
    pub(crate) fn is_absence(&self) -> bool {
        matches!(
            self,
            Self::NoAddress { .. }
                | Self::Offline { .. }
                | Self::Unavailable { .. }
                | Self::OnlyCopies { .. }
                | Self::NoDocument { .. }
                | Self::Gone { .. }
        )
    }
}

impl Hint for ArchiveError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoAddress { .. } | Self::OnlyCopies { .. } => ErrorKind::Usage,
            Self::Offline { .. } | Self::NoDocument { .. } | Self::Gone { .. } => ErrorKind::Unavailable,
            Self::Changed { .. } | Self::Decompress { .. } => ErrorKind::Integrity,
            Self::Signature { source, .. } => source.kind(),
            Self::Release { source, .. } => source.kind(),
            Self::Unfit { source, .. } => source.kind(),
            Self::Index { source, .. } => source.kind(),
            Self::Keyring { source, .. } => source.kind(),
            Self::Unavailable { .. } | Self::File { .. } => ErrorKind::Failed,
            Self::Store(source) => source.kind(),
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::NoAddress { .. } => vec![
                "write the address of a mirror of Debian into ~/.config/hermes/config.toml, or for all users into \
                 /etc/hermes/config.toml:\n[debian]\nmirrors = [\"https://deb.example.org/debian\"]"
                    .into(),
                "for one toolchain of hermes.toml: mirrors = [\"https://deb.example.org/debian\"] in [toolchains.NAME.debian]"
                    .into(),
                "or use an image of a registry: --toolchain debian-image".into(),
            ],
            Self::Offline { .. } => vec!["download it while there is a network: the same command without --offline".into()],
            Self::OnlyCopies { .. } => vec![
                "add the address of the archive, for example in config.toml: [debian] mirrors = [\"https://deb.example.org/debian\", …]"
                    .into(),
            ],
            Self::Gone { .. } | Self::NoDocument { .. } => vec![
                "on a machine whose store has it: hermes bundle create --packages FILE, and here: hermes bundle load FILE".into(),
                "or there: hermes mirror DIR, and here: add DIR to mirrors, in hermes.toml or in [debian] of config.toml".into(),
                "or add an archive that keeps old states to mirrors: \"https://snapshot.example.org/archive/debian/{date}/\"".into(),
                "or lock the versions that the archive has now: hermes lock --update".into(),
            ],
            Self::Changed { .. } => {
                vec!["the address has other bytes than the archive signed: use another mirror".into()]
            }
            Self::Signature { source, .. } => source.hints(),
            Self::Release { source, .. } => source.hints(),
            Self::Unfit { source, .. } => match &**source {
                ReleaseError::Older { .. } => vec!["use a mirror that is up to date".into()],
                ReleaseError::Expired { .. } => {
                    vec!["use a mirror that is up to date, and check the clock of this machine: date".into()]
                }
                source => source.hints(),
            },
            Self::Index { source, .. } => source.hints(),
            Self::Keyring { source, .. } => source.hints(),
            Self::File { path, source, .. } => {
                Distrust::of(source).map_or_else(|| space::hints(source), |distrust| distrust.hints(path))
            }
            Self::Store(source) => source.hints(),
            Self::Unavailable { .. } | Self::Decompress { .. } => Vec::new(),
        }
    }
}
