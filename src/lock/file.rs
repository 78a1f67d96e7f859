//! Reading and writing lock files.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::Error as _;

use crate::digest::Digest;
use crate::fs::opened::Opened;
use crate::fs::regular::Type;
use crate::fs::trust::{Distrust, Trust};
use crate::fs::{atomic, flock};
use crate::hint::{ErrorKind, Hint};
use crate::lock::entry::UnknownPlatforms;
use crate::lock::model::Lock;
use crate::lock::packages::WirePackages;
use crate::lock::wire::{Version, WireLock};
use crate::percent;
use crate::reference::Reference;

/// Largest lock file, in bytes.
const MAX_LOCK: u64 = 16 << 20;
/// The name of a project's lock.
const NAME: &str = "hermes.lock";
const HEADER: &str = "# Written by hermes: what was resolved. Keep it under version control; do not edit it.\n\n";

/// A lock file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The file cannot be read.
    #[error("cannot read the lockfile {path}")]
    Read { path: PathBuf, source: io::Error },
    /// The file cannot be written.
    #[error("cannot write the lockfile {path}")]
    Write { path: PathBuf, source: io::Error },
    /// The file is not a valid lock.
    #[error("invalid lockfile {path}")]
    Malformed { path: PathBuf, source: Box<toml::de::Error> },
    /// The file has a version that is not supported.
    #[error("the lockfile {path} has version {found}; this hermes reads versions up to {}", Version::LATEST.number())]
    Version {
        path: PathBuf,
        /// The version in the file.
        found: i64,
    },
    /// The file contains conflict markers.
    #[error("the lockfile {path} contains merge conflict markers")]
    Conflict { path: PathBuf },
}

impl Hint for LockError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { .. } | Self::Write { .. } => ErrorKind::Failed,
            _ => ErrorKind::Integrity,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Read { source, .. } | Self::Write { source, .. } if source.kind() == io::ErrorKind::InvalidInput => {
                vec!["remove it, and hermes writes a new lockfile; or choose another file: --lock FILE".into()]
            }
            Self::Read { path, source } | Self::Write { path, source } if Distrust::of(source).is_some() => {
                let place = path.parent().unwrap_or(path).display();
                vec![
                    format!("check its owner and who can write to it: ls -la {place}"),
                    "or keep lockfiles in another directory: XDG_STATE_HOME=DIRECTORY, or --lock FILE".into(),
                ]
            }
            Self::Write { .. } => vec!["choose another file: --lock FILE".into()],
            Self::Read { .. } => vec![],
            Self::Malformed { .. } => {
                vec!["restore the file from version control, or remove it to resolve all references again".into()]
            }
            Self::Version { .. } => vec!["use the version of hermes that wrote it, or a newer one".into()],
            Self::Conflict { .. } => {
                vec!["keep one side of the merge, then run hermes again to add missing entries".into()]
            }
        }
    }
}

/// A lock file.
#[derive(Debug, Clone)]
pub(crate) struct LockFile {
    /// The absolute path, for messages and for the store.
    path: PathBuf,
    /// The path by which this process opens it.
    at: PathBuf,
    /// The open directory that `at` leads through.
    _directory: Option<Opened>,
    /// Requires that nobody but the user can change it.
    is_own: bool,
    /// The lock of an image for which an older hermes has not written a file of its own.
    older: Option<OlderLock>,
}

/// The one lock that hermes once kept for all images that were used outside of projects.
#[derive(Debug, Clone)]
struct OlderLock {
    path: PathBuf,
    /// The image whose entries count.
    image: Reference,
}

impl LockFile {
    /// The lock in `path`, which need not exist.
    #[must_use]
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { at: path.clone(), path, _directory: None, is_own: false, older: None }
    }

    /// The lock that the user names: `path`, which is `absolute` in the working directory. A symbolic link means its target.
    #[must_use]
    pub(crate) fn named(path: PathBuf, absolute: PathBuf) -> Self {
        match path.canonicalize() {
            Ok(real) if path.is_symlink() => Self::new(real),
            _ => Self { path: absolute, at: path, _directory: None, is_own: false, older: None },
        }
    }

    /// The lock of the project in `directory`.
    #[must_use]
    pub(crate) fn of(directory: &Opened) -> Self {
        let [path, at] = [directory.path(), &directory.reach()].map(|directory| directory.join(NAME));
        Self { path, at, _directory: Some(directory.clone()), is_own: false, older: None }
    }

    /// As [`Self::new`], in a directory of the user: file and directory must belong to the user or root, and nobody else may
    /// be able to write to them.
    #[must_use]
    pub(crate) fn own(path: PathBuf) -> Self {
        Self { is_own: true, ..Self::new(path) }
    }

    /// The lock of an image that is used outside of projects, in the user's directory `locks`. Each image has a file of its own,
    /// so that the start of a run does not grow with the number of images. Entries of `images.lock`, which older versions of
    /// hermes wrote for all images, count until this file exists.
    #[must_use]
    pub(crate) fn of_image(locks: &Path, image: &Reference) -> Self {
        let older = OlderLock { path: locks.join("images.lock"), image: image.clone() };
        Self { older: Some(older), ..Self::own(locks.join(image_file_name(image))) }
    }

    /// Its path.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the lock. A missing file is an empty lock.
    ///
    /// # Errors
    /// The file cannot be read, is malformed, or has a newer version.
    pub(crate) fn read(&self) -> Result<Lock, LockError> {
        let text = match self.bytes() {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return self.older.as_ref().map_or(Ok(Lock::default()), OlderLock::read);
            }
            Err(source) => return Err(LockError::Read { path: self.path.clone(), source }),
        };
        parse(&text, &self.path)
    }

    fn bytes(&self) -> io::Result<Vec<u8>> {
        if !self.is_own {
            return atomic::read_plain(&self.at, MAX_LOCK);
        }
        let directory = rustix::fs::stat(self.at.parent().unwrap_or(Path::new("/")))?;
        let trust = Trust::in_caller();
        trust.check(&directory, Type::Directory)?;
        trust.within(&directory).read(&self.at, MAX_LOCK)
    }

    /// Updates the lock: reads it, applies `change`, and writes it if it differs. Concurrent updates are serialized, so that
    /// none is lost.
    ///
    /// # Errors
    /// As [`Self::read`]; the file or directory cannot be written.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Lock)) -> Result<Lock, LockError> {
        let failed = |source| LockError::Write { path: self.path.clone(), source };
        if let Some(parent) = self.at.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            let mode = if self.is_own { 0o700 } else { 0o777 };
            DirBuilder::new().recursive(true).mode(mode).create(parent).map_err(failed)?;
        }
        // In a directory of another user nothing is written, not even a file to lock.
        if self.is_own {
            self.read()?;
        }
        let _guard = flock::beside(&self.at).map_err(failed)?;
        let before = self.read()?;
        let mut after = before.clone();
        change(&mut after);
        after.drop_unused_archives();
        if after != before {
            atomic::write(&self.at, render(&after).as_bytes()).map_err(failed)?;
        }
        Ok(after)
    }
}

impl OlderLock {
    fn read(&self) -> Result<Lock, LockError> {
        let mut lock = LockFile::own(self.path.clone()).read()?;
        lock.images.retain(|(reference, _), _| *reference == self.image);
        lock.unknown = UnknownPlatforms::default();
        Ok(if lock.images.is_empty() { Lock::default() } else { lock })
    }
}

/// The name of the lock file of `image`: the reference with `%2f` for `/`, or its digest where that is too long for a file name.
/// The name of a toolchain contains neither `%` nor `:`.
fn image_file_name(image: &Reference) -> String {
    let text = image.to_string();
    let name = percent::encode(text.as_bytes(), |byte| byte.is_ascii_graphic() && !b"/%".contains(&byte));
    // The file that guards an update and the one that replaces this one have longer names.
    if name.len() <= 200 { format!("{name}.lock") } else { format!("{}.lock", Digest::of(text.as_bytes())) }
}

/// The text of a lock, which depends on the lock alone.
#[must_use]
pub fn render(lock: &Lock) -> String {
    // TOML can represent all of it: maps with string keys, strings and integers.
    let mut text = HEADER.to_owned() + &toml::to_string(&WireLock::of(lock)).unwrap_or_default();
    if let Some(packages) = WirePackages::of(lock) {
        // One line for each package, so that a change of one is a change of one line.
        text += "\n";
        text += &toml::to_string_pretty(&packages).unwrap_or_default();
    }
    text
}

/// Parses a lock. `path` is for messages.
///
/// # Errors
/// Malformed or conflicting text; a newer version.
pub fn parse(text: &str, path: &Path) -> Result<Lock, LockError> {
    #[derive(Deserialize)]
    struct Probe {
        version: i64,
    }
    if text.lines().any(|line| line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> ")) {
        return Err(LockError::Conflict { path: path.to_owned() });
    }
    let malformed = |source| LockError::Malformed { path: path.to_owned(), source: Box::new(source) };
    let Probe { version } = toml::from_str(text).map_err(malformed)?;
    if Version::numbered(version).is_none() {
        return Err(LockError::Version { path: path.to_owned(), found: version });
    }
    toml::from_str::<WireLock>(text).map_err(malformed)?.read().map_err(|what| malformed(toml::de::Error::custom(what)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::model::{Emulator, FileOfImage, Image, Layer, Origin};
    use crate::lock::{Build, BuildSettings};
    use crate::oci::{self, Descriptor};
    use crate::platform::Platform;

    fn sample() -> Lock {
        let blob = |text: &str, kind| Descriptor::new(kind, Digest::of(text.as_bytes()), text.len() as u64);
        let layer = |text: &str| Layer {
            blob: blob(text, "application/vnd.oci.image.layer.v1.tar+gzip"),
            diff_id: Digest::of(text.to_uppercase().as_bytes()),
        };
        let image = Image {
            tree: Some(Digest::of(b"tree")),
            platform: Platform::ArmV5,
            label: None,
            index: Some(blob("index", oci::INDEX)),
            manifest: blob("manifest", oci::MANIFEST),
            config: blob("config", "application/vnd.oci.image.config.v1+json"),
            layers: vec![layer("low"), layer("high")],
        };
        let build = Build::new(&BuildSettings::default(), Digest::of(b"policy"));
        let mut lock = Lock { build: Some(build), ..Lock::default() };
        for name in ["debian:12", "quay.io/a/b:c"] {
            for platform in [Platform::ArmV6, Platform::Amd64] {
                lock.images.insert((name.parse().unwrap(), platform), image.clone());
            }
        }
        let plain = Emulator::new(Digest::of(b"qemu"), 4);
        let version = Some("9.2.2 (tonistiigi/binfmt)".into());
        let file = FileOfImage { image: "a/b:c".parse().unwrap(), path: "/usr/bin/qemu-aarch64".into() };
        let origin = Some(Origin::Image(file));
        lock.emulators.insert(Platform::Arm64, Emulator { version, origin, ..plain.clone() });
        lock.emulators.insert(Platform::ArmV6, plain);
        lock
    }

    #[test]
    fn the_bytes_are_stable() {
        let text = render(&sample());
        insta::assert_snapshot!(text);
        let again = parse(&text, Path::new("hermes.lock")).unwrap();
        assert_eq!(again, sample());
        assert_eq!(render(&again), text);
    }

    #[test]
    fn entries_for_unknown_platforms_are_kept_and_not_used() {
        let path = Path::new("hermes.lock");
        // As a hermes writes it that knows two platforms more: one sorts between the others, one after them.
        let known = render(&sample());
        let text = known.replace("linux/arm/v6", "linux/ancient/v1").replace("linux/arm64", "linux/vax");
        let lock = parse(&text, path).unwrap();
        assert_eq!(lock.unknown.names(), ["linux/ancient/v1", "linux/vax"]);
        let platforms: Vec<_> = lock.images.keys().map(|(_, platform)| *platform).collect();
        assert_eq!((platforms, lock.emulators.len()), (vec![Platform::Amd64; 2], 0));
        assert_eq!(render(&lock), text);
        // Other entries change beside them.
        let mut changed = lock.clone();
        let image = changed.images.pop_first().unwrap();
        let again = parse(&render(&changed), path).unwrap();
        assert_eq!((&again.unknown, again.images.len()), (&lock.unknown, 1));
        changed.images.extend([image]);
        assert_eq!(render(&changed), text);
        assert_ne!(parse(&known, path).unwrap(), lock);
        // They are entries all the same.
        for (from, to) in [("size = 5", "size = 'x'"), ("diff-id", "diff-ids"), (&Digest::of(b"LOW").hex(), "00")] {
            assert!(text.contains(from));
            assert!(matches!(parse(&text.replace(from, to), path), Err(LockError::Malformed { .. })), "{from}");
        }
        for bad in
            ["", "vax", "linux", "linux/", "linux/vax/", "linux/a/b/c", "Linux/Vax", "linux/\\u001b[31m", "w/vax"]
        {
            let text = text.replace("linux/vax", bad);
            assert!(matches!(parse(&text, path), Err(LockError::Malformed { .. })), "{bad}");
        }
        let text = known.replace("platform = \"linux/arm/v5\"", "platform = \"linux/vax\"");
        assert!(matches!(parse(&text, path), Err(LockError::Malformed { .. })), "a known platform served by none");
    }

    #[test]
    fn a_label_takes_the_version_that_has_labels() {
        let mut lock = sample();
        assert!(render(&lock).contains("\nversion = 2\n"));
        let key = lock.images.keys().next().unwrap().clone();
        lock.images.get_mut(&key).unwrap().label = Some("linux/amd64/v3".parse().unwrap());
        let text = render(&lock);
        assert!(text.contains("\nversion = 3\n") && text.contains("\nlabel = \"linux/amd64/v3\"\n"), "{text}");
        assert_eq!(parse(&text, Path::new("hermes.lock")).unwrap(), lock);
        for bad in ["nothing", "", "linux/\\u001b[31m", "linux/a b", &"linux/x".repeat(20)] {
            let text = text.replace("\"linux/amd64/v3\"", &format!("\"{bad}\""));
            assert!(matches!(parse(&text, Path::new("hermes.lock")), Err(LockError::Malformed { .. })), "{bad}");
        }
    }

    #[test]
    fn shuffled_blocks_give_the_same_bytes() {
        let text = render(&sample());
        let is_head =
            |line: &str| line.starts_with("[image.") && line.matches('"').count() == 4 && line.ends_with("\"]");
        let mut blocks = vec![String::new()];
        for line in text.lines() {
            if is_head(line) || line.starts_with("[emulator") || line == "[build]" {
                blocks.push(String::new());
            }
            let block = blocks.last_mut().unwrap();
            block.push_str(line);
            block.push('\n');
        }
        assert_eq!(blocks.len(), 8, "the head, the surroundings, four images and two emulators");
        blocks[1..].reverse();
        let shuffled = blocks.concat();
        assert_ne!(shuffled, text);
        assert_eq!(render(&parse(&shuffled, Path::new("hermes.lock")).unwrap()), text);
    }

    #[test]
    fn each_image_has_a_file_and_older_entries_count_until_it_exists() {
        let temp = tempfile::tempdir().unwrap();
        let locks = temp.path();
        let [debian, other] = ["debian:12", "other/image:1"].map(|text| text.parse::<Reference>().unwrap());
        let of = |image| LockFile::of_image(locks, image);
        assert_eq!(of(&debian).path(), locks.join("docker.io%2flibrary%2fdebian:12.lock"));
        assert_eq!(of(&debian).read().unwrap(), Lock::default());

        let older = LockFile::own(locks.join("images.lock"));
        let all = older.update(|lock| *lock = sample()).unwrap();
        let read = of(&debian).read().unwrap();
        assert!(read.images.len() == 2 && read.images.keys().all(|(reference, _)| *reference == debian));
        assert_eq!(read.emulators, all.emulators);
        assert_eq!(of(&other).read().unwrap(), Lock::default(), "entries of other images do not count");

        of(&debian).update(|lock| lock.images.retain(|(_, platform), _| *platform == Platform::Amd64)).unwrap();
        assert_eq!(of(&debian).read().unwrap().images.len(), 1);
        assert_eq!(older.read().unwrap(), all, "the older file is not changed");
    }

    #[test]
    fn a_long_reference_gets_a_short_file_name() {
        let long: Reference = format!("registry.example.org/{}:1", "a/".repeat(120) + "b").parse().unwrap();
        let name = image_file_name(&long);
        assert!(name.starts_with("sha256:") && name.len() < 100, "{name}");
    }

    #[test]
    fn bad_locks_are_named() {
        let path = Path::new("hermes.lock");
        assert!(matches!(parse("version = 5\nnew = 1\n", path), Err(LockError::Version { found: 5, .. })));
        assert!(matches!(parse("", path), Err(LockError::Malformed { .. })));
        assert!(matches!(parse("version = 1\nversion = 1\n", path), Err(LockError::Malformed { .. })));
        assert!(matches!(parse("version = 1\nmount = '/etc'\n", path), Err(LockError::Malformed { .. })));
        assert!(matches!(parse("<<<<<<< ours\nversion = 1\n", path), Err(LockError::Conflict { .. })));
        let short = render(&sample()).replace(&Digest::of(b"index").hex(), "abc");
        assert!(matches!(parse(&short, path), Err(LockError::Malformed { .. })));
        let text = render(&sample());
        assert!(parse(&text[..text.len() / 2], path).is_err(), "a truncated lock was accepted");
        for version in ["\\u001b[31m9.2.2", "9.2.2\\n", "", &"9".repeat(101)] {
            let text = text.replace("9.2.2 (tonistiigi/binfmt)", version);
            assert!(matches!(parse(&text, path), Err(LockError::Malformed { .. })), "{version}");
        }
    }
}
