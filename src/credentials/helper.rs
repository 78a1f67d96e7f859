//! Credential helpers: `docker-credential-NAME get|store|erase`, docker's protocol.

use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};

use super::{Credential, CredentialsError};

/// How long a helper may take. One that waits for somebody who is not there waits for ever.
pub(super) const LIMIT: Duration = Duration::from_secs(10);
const MAX_ANSWER: u64 = 64 << 10;
/// The user by which a helper says that the secret is an identity token.
const TOKEN_USER: &str = "<token>";
/// What helpers print, with a failure, where they have nothing (docker-credential-helpers).
const NOT_FOUND: &str = "credentials not found in native keychain";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Wire {
    #[serde(rename = "ServerURL", default)]
    server: String,
    username: String,
    secret: String,
}

/// What the helper `name` has for `server`, if anything.
pub(super) fn get(search: &[PathBuf], name: &str, server: &str) -> Result<Option<Credential>, CredentialsError> {
    let failed = |what: &str| CredentialsError::Helper { name: name.to_owned(), what: what.to_owned() };
    let (success, answer) = run(search, name, "get", server.as_bytes())?;
    if !success {
        let nothing = String::from_utf8_lossy(&answer).trim() == NOT_FOUND;
        return if nothing { Ok(None) } else { Err(failed("fails")) };
    }
    let wire: Wire = serde_json::from_slice(&answer).map_err(|_| failed("gives an answer that is none"))?;
    Ok(match wire {
        Wire { secret, .. } if secret.is_empty() => None,
        Wire { username, secret, .. } if username == TOKEN_USER => Some(Credential::IdentityToken(secret)),
        Wire { username, secret, .. } => Some(Credential::Password { user: username, password: secret }),
    })
}

/// Gives the helper `name` a password to keep.
pub(super) fn store(
    search: &[PathBuf],
    name: &str,
    server: &str,
    user: &str,
    password: &str,
) -> Result<(), CredentialsError> {
    let wire = Wire { server: server.to_owned(), username: user.to_owned(), secret: password.to_owned() };
    let text = serde_json::to_vec(&wire).unwrap_or_default();
    expect(run(search, name, "store", &text)?.0, name, "fails to keep them")
}

/// Has the helper `name` forget what it has for `server`.
pub(super) fn erase(search: &[PathBuf], name: &str, server: &str) -> Result<(), CredentialsError> {
    let (success, answer) = run(search, name, "erase", server.as_bytes())?;
    let nothing = String::from_utf8_lossy(&answer).trim() == NOT_FOUND;
    expect(success || nothing, name, "fails to forget them")
}

fn expect(success: bool, name: &str, what: &str) -> Result<(), CredentialsError> {
    if success { Ok(()) } else { Err(CredentialsError::Helper { name: name.to_owned(), what: what.to_owned() }) }
}

/// Runs a helper to its end: whether it succeeded, and what it printed. What it says on standard
/// error is dropped, since it may quote the secret.
fn run(search: &[PathBuf], name: &str, verb: &str, input: &[u8]) -> Result<(bool, Vec<u8>), CredentialsError> {
    let failed = |what: String| CredentialsError::Helper { name: name.to_owned(), what };
    let missing = || CredentialsError::NoHelper { name: name.to_owned() };
    // The name becomes part of a path.
    if !name.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.')) {
        return Err(missing());
    }
    let file = format!("docker-credential-{name}");
    let program = search.iter().map(|dir| dir.join(&file)).find(|path| path.is_file()).ok_or_else(missing)?;
    let mut child = Command::new(program)
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // So that what it has started in turn, and what holds the pipe, ends with it.
        .process_group(0)
        .spawn()
        .map_err(|error| failed(format!("cannot be started: {error}")))?;
    let (sender, receiver) = mpsc::channel();
    let (stdin, stdout, input) = (child.stdin.take(), child.stdout.take(), input.to_owned());
    std::thread::spawn(move || {
        // One that reads nothing may still answer.
        let _ = stdin.map(|mut pipe| pipe.write_all(&input));
        let mut answer = Vec::new();
        let read = stdout.map(|pipe| pipe.take(MAX_ANSWER).read_to_end(&mut answer));
        let _ = sender.send(read.and_then(Result::ok).map(|_| answer));
    });
    let deadline = Instant::now() + LIMIT;
    let answer = receiver.recv_timeout(LIMIT).ok().flatten();
    match wait(&mut child, deadline) {
        Some(success) if answer.is_some() => Ok((success, answer.unwrap_or_default())),
        _ => {
            end(&mut child);
            Err(failed(format!("does not answer within {} s", LIMIT.as_secs())))
        }
    }
}

/// Whether it succeeded; `None` if it has not ended by `deadline`.
fn wait(child: &mut Child, deadline: Instant) -> Option<bool> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status.success()),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
            _ => return None,
        }
    }
}

fn end(child: &mut Child) {
    // Not yet waited for where it still runs, so the id is still its own.
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    let _ = child.wait();
}
