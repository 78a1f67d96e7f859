//! Child processes that cannot hang a test.

use std::ffi::OsStr;
use std::io::{Read, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longest any process may take; emulated compilers on a busy machine are slow.
pub const LIMIT: Duration = Duration::from_secs(120);

/// A command to be run.
#[must_use]
pub struct Run {
    pub command: Command,
    input: Option<Vec<u8>>,
}

impl Run {
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self { command: Command::new(program), input: None }
    }

    pub fn args<S: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.command.args(words);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn dir(mut self, path: &Path) -> Self {
        self.command.current_dir(path);
        self
    }

    /// Feeds `bytes` to standard input, which else is empty.
    pub fn input(mut self, bytes: &[u8]) -> Self {
        self.input = Some(bytes.to_vec());
        self
    }

    /// The same under strace(1), which writes to `log`; `what` is its `-e`: what to trace or to inject.
    pub fn strace(self, log: &Path, what: &str) -> Self {
        self.under(&["strace", "-f", "-qq", "-e", "signal=none", "-e", what, "-o", log.to_str().unwrap()])
    }

    /// The same with `what` done to its calls of `call`: the rest of strace(1)'s `-e inject`. `all` for every
    /// thread and process of it, each of which counts its own calls; else only for the first thread.
    pub fn inject(self, all: bool, call: &str, what: &str) -> Self {
        let (trace, inject) = (format!("trace={call}"), format!("inject={call}:{what}"));
        let words = ["strace", "-qq", "-o", "/dev/null", "-e", "signal=none", "-e", &trace, "-e", &inject];
        let threads: &[&str] = if all { &["-f"] } else { &[] };
        self.under(&[&words[..], threads].concat())
    }

    /// Puts `words` before the command line: `strace`, `unshare`, a shell.
    pub fn under(self, words: &[&str]) -> Self {
        let mut outer = Command::new(words[0]);
        outer.args(&words[1..]).arg(self.command.get_program()).args(self.command.get_args());
        outer.env_clear();
        outer.envs(self.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if let Some(dir) = self.command.get_current_dir() {
            outer.current_dir(dir);
        }
        Self { command: outer, input: self.input }
    }

    /// Runs it to its end.
    pub fn output(self) -> Output {
        self.start().wait()
    }

    /// Runs it to its end, which must be success, and gives what it printed, without the last newline.
    #[track_caller]
    pub fn ok(self) -> String {
        self.output().ok()
    }

    /// Starts it.
    pub fn start(mut self) -> Running {
        let stdin = if self.input.is_some() { Stdio::piped() } else { Stdio::null() };
        let words = format!("{:?}", self.command);
        let child = self.command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{words}: {error}"));
        if let (Some(mut to), Some(bytes)) = (child.stdin.take(), self.input) {
            // One that ends without reading it all is the test's business.
            std::thread::spawn(move || drop(to.write_all(&bytes)));
        }
        let stdout = Pipe::new(child.stdout.take().unwrap());
        let stderr = Pipe::new(child.stderr.take().unwrap());
        Running { child, stdout, stderr, words }
    }
}

/// Collects what comes out of a pipe.
struct Pipe {
    bytes: Arc<Mutex<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

impl Pipe {
    fn new(mut from: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&bytes);
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 65536];
            while let Ok(n @ 1..) = from.read(&mut buffer) {
                to.lock().unwrap().extend_from_slice(&buffer[..n]);
            }
        });
        Self { bytes, thread: Some(thread) }
    }

    fn so_far(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }

    /// Everything, once every writer is gone.
    fn end(&mut self, limit: Instant) -> Option<Vec<u8>> {
        let thread = self.thread.take()?;
        while !thread.is_finished() {
            if Instant::now() > limit {
                return None;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Some(self.so_far())
    }
}

/// A command that runs; killed when dropped.
pub struct Running {
    child: Child,
    stdout: Pipe,
    stderr: Pipe,
    words: String,
}

impl Running {
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits until standard output has `text`, and gives all of it.
    #[track_caller]
    pub fn until(&self, text: &str) -> String {
        let limit = Instant::now() + LIMIT;
        loop {
            let out = String::from_utf8_lossy(&self.stdout.so_far()).into_owned();
            if out.contains(text) {
                return out;
            }
            assert!(
                Instant::now() < limit,
                "{}: no {text:?} in {out:?}; {}",
                self.words,
                String::from_utf8_lossy(&self.stderr.so_far())
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until standard error has `text`.
    #[track_caller]
    pub fn until_stderr(&self, text: &str) {
        let limit = Instant::now() + LIMIT;
        loop {
            let error = String::from_utf8_lossy(&self.stderr.so_far()).into_owned();
            if error.contains(text) {
                return;
            }
            assert!(Instant::now() < limit, "{}: no {text:?} in {error:?}", self.words);
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for its end and for that of whoever holds its output.
    #[track_caller]
    pub fn wait(mut self) -> Output {
        let limit = Instant::now() + LIMIT;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > limit {
                let _ = self.child.kill();
                panic!("{} hangs; {}", self.words, String::from_utf8_lossy(&self.stderr.so_far()));
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let (Some(stdout), Some(stderr)) = (self.stdout.end(limit), self.stderr.end(limit)) else {
            panic!("{} has ended, and something still holds its output", self.words);
        };
        let stderr = String::from_utf8_lossy(&stderr).into_owned();
        Output { status, stdout, stderr, words: std::mem::take(&mut self.words) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What became of a command.
#[must_use]
#[derive(Debug)]
pub struct Output {
    status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: String,
    words: String,
}

impl Output {
    /// The exit code; minus the signal where one ended it.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| -self.status.signal().unwrap())
    }

    /// Standard output without the last newline.
    pub fn text(&self) -> String {
        let text = str::from_utf8(&self.stdout).unwrap();
        text.strip_suffix('\n').unwrap_or(text).to_owned()
    }

    #[track_caller]
    pub fn ok(&self) -> String {
        self.exits(0).text()
    }

    #[track_caller]
    pub fn exits(&self, code: i32) -> &Self {
        let out = String::from_utf8_lossy(&self.stdout);
        assert_eq!(self.code(), code, "{}\nstdout: {out}\nstderr: {}", self.words, self.stderr);
        self
    }

    /// It failed with `code` before it printed any data, said `error:` and each of `parts`.
    #[track_caller]
    pub fn refused(&self, code: i32, parts: &[&str]) -> &Self {
        self.exits(code);
        assert!(self.stdout.is_empty(), "{}: data in spite of an error: {}", self.words, self.text());
        assert!(self.stderr.lines().any(|line| line.starts_with("error: ")), "{}", self.stderr);
        for part in parts {
            assert!(self.stderr.contains(part), "no {part:?} in what {} says:\n{}", self.words, self.stderr);
        }
        self
    }
}
