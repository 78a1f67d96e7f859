//! Fetching a commit of a git repository as a tar, with the host's `git`.
//!
//! git runs without the settings of user and system, and without hooks, helpers, other protocols and submodules. It verifies
//! objects against their ids. hermes writes the tar from the objects, so that it is the same for a commit on every machine,
//! regardless of attributes and filters in the repository.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead as _, BufReader, Read as _, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use tar::{Builder, EntryType, Header};

use crate::fs::opened::Opened;
use crate::source::SourceError;
use crate::visible::shortened;

/// The supported protocols. git may use only that of the URL, so that no redirect leads to another.
const PROTOCOLS: [&str; 4] = ["https", "http", "ssh", "file"];
/// Allows git no protocol: no protocol has this name.
const NO_PROTOCOL: &str = "none";
/// ssh without prompts, and without forwarding of agent, ports and display.
const SSH: &str =
    "ssh -oBatchMode=yes -oForwardAgent=no -oForwardX11=no -oClearAllForwardings=yes -oPermitLocalCommand=no";
const SETTINGS: [&str; 10] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "credential.helper=",
    "fetch.recurseSubmodules=false",
    "fetch.writeCommitGraph=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "http.emptyAuth=false",
    "transfer.bundleURI=false",
];
/// Longest target of a link (Linux `PATH_MAX`).
const MAX_TARGET: u64 = 4096;
/// Most characters shown of git's messages.
const MAX_WORDS: usize = 500;
/// Most bytes read of git's messages: a server can make it print without end.
const MAX_SAID: u64 = 64 << 10;
/// Largest list of a commit's files, in bytes. A few trees that contain each other many times make an endless list.
const MAX_TABLE: u64 = 256 << 20;

/// The host's git and its environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GitHost {
    /// Directories that are searched for `git`.
    pub search: Vec<PathBuf>,
    /// All variables that it gets, in addition to those that hermes sets. Without `HOME`, since libcurl would send the
    /// passwords in `~/.netrc` to any server that asks.
    pub environment: Vec<(OsString, OsString)>,
}

impl GitHost {
    fn program(&self) -> Option<PathBuf> {
        self.search.iter().map(|dir| dir.join("git")).find(|path| path.is_file())
    }
}

/// The time of the last commit of the repository around `directory`, in seconds since 1970.
///
/// The repository may be a stranger's, and its settings can name programs. This git command starts none: no pager, no
/// signature check, no file monitor. A partial clone cannot fetch missing objects, since no protocol is allowed.
///
/// # Errors
/// git is not installed, or there is no repository of this user, or no commit.
pub(crate) fn commit_time(host: &GitHost, directory: &Opened) -> Result<u64, SourceError> {
    let failed = |why: String| SourceError::CommitTime { directory: directory.path().to_owned(), why };
    let program = host.program().ok_or_else(|| failed("git is not installed".to_owned()))?;
    let git = Git {
        program,
        home: Path::new("/dev/null"),
        environment: &host.environment,
        protocol: NO_PROTOCOL,
        repository: &directory.reach(),
        url: "",
        commit: "",
    };
    let words = ["--no-pager", "--no-optional-locks", "rev-list", "--max-count=1", "--format=%ct", "HEAD", "--"];
    let end = git.start(&words, Stdio::null()).and_then(|git| {
        git.wait_with_output()
            .map_err(|source| SourceError::GitIo { url: directory.path().display().to_string(), source })
    })?;
    if !end.status.success() {
        return Err(failed(message(&end.stderr)));
    }
    let text = String::from_utf8_lossy(&end.stdout);
    let time = text.lines().last().and_then(|line| line.parse().ok());
    time.ok_or_else(|| failed("its last commit has no time".to_owned()))
}

/// The host's `git`, for one repository.
pub(super) struct Git<'a> {
    program: PathBuf,
    home: &'a Path,
    environment: &'a [(OsString, OsString)],
    protocol: &'static str,
    repository: &'a Path,
    url: &'a str,
    commit: &'a str,
}

struct Entry {
    mode: u32,
    id: String,
    path: Vec<u8>,
}

impl<'a> Git<'a> {
    /// Finds the `git` of `host`. It works in the existing, empty directory `scratch`.
    pub(super) fn find(
        host: &'a GitHost,
        scratch: &'a Path,
        url: &'a str,
        commit: &'a str,
    ) -> Result<Self, SourceError> {
        let is_used = |protocol: &&&str| url.strip_prefix(**protocol).is_some_and(|rest| rest.starts_with("://"));
        let Some(protocol) = PROTOCOLS.iter().find(is_used) else {
            let why = "the protocol of a git repository must be https, http, ssh or file";
            return Err(SourceError::Location { url: url.to_owned(), why });
        };
        let program = host.program().ok_or_else(|| SourceError::NoGit { url: url.to_owned() })?;
        let environment = &host.environment;
        Ok(Self { program, home: scratch, environment, protocol, repository: scratch, url, commit })
    }

    /// Fetches the commit and writes it as a tar.
    pub(super) fn write_tar(&self, to: &mut dyn Write) -> Result<(), SourceError> {
        let format = if self.commit.len() == 64 { "--object-format=sha256" } else { "--object-format=sha1" };
        self.run(&["init", "-q", "--bare", "--template=", format, "."])?;
        let fetch = ["fetch", "-q", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head"];
        let one = self.run(&[&fetch[..], &["--depth=1", "--", self.url, self.commit]].concat());
        // A server may refuse a commit that is no ref: then fetch all branches and tags.
        if one.is_err() {
            let all =
                [&fetch[..], &["--", self.url, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]].concat();
            self.run(&all)?;
        }
        let time = self.time()?;
        let entries = self.entries()?;
        let mut tar = Builder::new(to);
        self.each(&entries, |entry, size, content| append(&mut tar, entry, size, content, time))?;
        tar.finish().map_err(|source| self.io(source))
    }

    /// The time of the commit.
    fn time(&self) -> Result<u64, SourceError> {
        let commit = self.run(&["cat-file", "commit", self.commit])?;
        let line = commit.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"committer "));
        let words = line.map(|line| String::from_utf8_lossy(line).into_owned()).unwrap_or_default();
        let time = words.rsplit(' ').nth(1).and_then(|time| time.parse().ok());
        time.ok_or_else(|| self.failed("its commit has no time"))
    }

    fn entries(&self) -> Result<Vec<Entry>, SourceError> {
        let table = self.run(&["ls-tree", "-r", "-z", "--full-tree", self.commit])?;
        let entry = |line: &[u8]| {
            let tab = line.iter().position(|byte| *byte == b'\t')?;
            let head = str::from_utf8(&line[..tab]).ok()?;
            let mut words = head.split(' ');
            let (mode, _, id) = (words.next()?, words.next()?, words.next()?);
            let mode = u32::from_str_radix(mode, 8).ok()?;
            Some(Entry { mode, id: id.to_owned(), path: line[tab + 1..].to_vec() })
        };
        let lines = table.split(|byte| *byte == 0).filter(|line| !line.is_empty());
        let mut entries = lines
            .map(entry)
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| self.failed("its list of files is not valid"))?;
        entries.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(entries)
    }

    /// Calls `take` with each entry and its content.
    fn each(
        &self,
        entries: &[Entry],
        mut take: impl FnMut(&Entry, u64, &mut dyn io::Read) -> io::Result<()>,
    ) -> Result<(), SourceError> {
        let mut child = self.start(&["cat-file", "--batch"], Stdio::piped())?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (mut ask, answers) = pipes.ok_or_else(|| self.failed("it has no pipes"))?;
        let mut answers = BufReader::with_capacity(128 << 10, answers);
        let mut talk = |entry: &Entry| -> io::Result<()> {
            // A submodule belongs to another repository: its directory stays empty.
            if entry.mode & 0o170_000 == 0o160_000 {
                return take(entry, 0, &mut io::empty());
            }
            writeln!(ask, "{}", entry.id)?;
            let mut head = String::new();
            answers.by_ref().take(200).read_line(&mut head)?;
            let size = head.trim_end().strip_prefix(&format!("{} blob ", entry.id)).and_then(|size| size.parse().ok());
            let size: u64 = size.ok_or_else(|| io::Error::other(format!("git answers {:?}", head.trim_end())))?;
            let mut content = answers.by_ref().take(size);
            take(entry, size, &mut content)?;
            if content.limit() > 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            answers.read_exact(&mut [0])
        };
        let outcome = entries.iter().try_for_each(&mut talk);
        drop((ask, answers));
        let _ = child.wait();
        outcome.map_err(|source| self.io(source))
    }

    fn run(&self, words: &[&str]) -> Result<Vec<u8>, SourceError> {
        let mut child = self.start(words, Stdio::null())?;
        let pipes = child.stdout.take().zip(child.stderr.take());
        let (mut answers, mut words) = pipes.ok_or_else(|| self.failed("it has no pipes"))?;
        let (mut answer, mut said) = (Vec::new(), Vec::new());
        let read = thread::scope(|scope| {
            let reader = thread::Builder::new().spawn_scoped(scope, || {
                let read = words.by_ref().take(MAX_SAID).read_to_end(&mut said);
                // git must not block on a full pipe.
                read.and_then(|_| io::copy(&mut words, &mut io::sink()))
            })?;
            let read = answers.by_ref().take(MAX_TABLE + 1).read_to_end(&mut answer);
            if read.is_err() || answer.len() as u64 > MAX_TABLE {
                let _ = child.kill();
            }
            drop(answers);
            let _ = reader.join();
            read
        });
        if read.is_err() {
            let _ = child.kill();
        }
        let status = child.wait().map_err(|source| self.io(source))?;
        read.map_err(|source| self.io(source))?;
        if answer.len() as u64 > MAX_TABLE {
            return Err(self.failed(&format!("its list of files is larger than {MAX_TABLE} bytes")));
        }
        if status.success() {
            return Ok(answer);
        }
        Err(self.failed(&message(&said)))
    }

    fn start(&self, words: &[&str], stdin: Stdio) -> Result<Child, SourceError> {
        let mut git = Command::new(&self.program);
        git.env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("HOME", self.home)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_ALLOW_PROTOCOL", self.protocol)
            .env("GIT_SSH_COMMAND", SSH)
            .env("LC_ALL", "C");
        // Plain http is allowed per host, so http follows no redirect.
        let redirects = if self.protocol == "https" { "initial" } else { "false" };
        git.arg("-c").arg(format!("http.followRedirects={redirects}"));
        for setting in SETTINGS {
            git.args(["-c", setting]);
        }
        git.args(words).current_dir(self.repository).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        git.spawn().map_err(|source| self.io(source))
    }

    fn failed(&self, why: &str) -> SourceError {
        SourceError::Git { url: self.url.to_owned(), commit: self.commit.to_owned(), why: why.to_owned() }
    }

    fn io(&self, source: io::Error) -> SourceError {
        SourceError::GitIo { url: self.url.to_owned(), source }
    }
}

/// The standard error of git, in one line.
fn message(stderr: &[u8]) -> String {
    shortened(&String::from_utf8_lossy(stderr).trim().replace('\n', "; "), MAX_WORDS)
}

/// Adds an entry to the tar, with metadata that depends on the commit alone.
fn append(
    tar: &mut Builder<&mut dyn Write>,
    entry: &Entry,
    size: u64,
    content: &mut dyn io::Read,
    time: u64,
) -> io::Result<()> {
    let path = Path::new(OsStr::from_bytes(&entry.path));
    let mut header = Header::new_gnu();
    header.set_mtime(time);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    header.set_mode(if entry.mode & 0o111 == 0 { 0o644 } else { 0o755 });
    match entry.mode & 0o170_000 {
        0o160_000 => {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(0o755);
            tar.append_data(&mut header, path, io::empty())
        }
        0o120_000 => {
            let mut target = Vec::new();
            content.take(MAX_TARGET).read_to_end(&mut target)?;
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            tar.append_link(&mut header, path, Path::new(OsStr::from_bytes(&target)))
        }
        _ => {
            header.set_size(size);
            tar.append_data(&mut header, path, content)
        }
    }
}
