//! Credential helpers (docker's protocol): `docker-credential-NAME get|store|erase`.

use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};

use super::{Credential, CredentialsError};

/// Timeout of a helper: it may wait for input that nobody will give.
pub(super) const LIMIT: Duration = Duration::from_secs(10);
const MAX_ANSWER: u64 = 64 << 10;
/// The user name by which a helper marks an identity token.
const TOKEN_USER: &str = "<token>";
/// What a helper prints when it has no credential. Its exit status is that of any other failure, so the protocol of
/// docker-credential-helpers leaves only this text to tell them apart.
const NOT_FOUND: &str = "credentials not found in native keychain";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Wire {
    #[serde(rename = "ServerURL", default)]
    server: String,
    username: String,
    secret: String,
}

/// Gets the credential for `server` from the helper `name`, if it has one.
pub(super) fn get(search: &[PathBuf], name: &str, server: &str) -> Result<Option<Credential>, CredentialsError> {
    let failed = |what: &str| CredentialsError::Helper { name: name.to_owned(), what: what.to_owned() };
    let (success, answer) = run(search, name, "get", server.as_bytes())?;
    if !success {
        let nothing = String::from_utf8_lossy(&answer).trim() == NOT_FOUND;
        return if nothing { Ok(None) } else { Err(failed("failed")) };
    }
    let wire: Wire = serde_json::from_slice(&answer).map_err(|_| failed("returned an invalid response"))?;
    Ok(match wire {
        Wire { secret, .. } if secret.is_empty() => None,
        Wire { username, secret, .. } if username == TOKEN_USER => Some(Credential::IdentityToken(secret)),
        Wire { username, secret, .. } => Some(Credential::Password { user: username, password: secret }),
    })
}

/// Stores a password with the helper `name`.
pub(super) fn store(
    search: &[PathBuf],
    name: &str,
    server: &str,
    user: &str,
    password: &str,
) -> Result<(), CredentialsError> {
    let wire = Wire { server: server.to_owned(), username: user.to_owned(), secret: password.to_owned() };
    let text = serde_json::to_vec(&wire).unwrap_or_default();
    expect(run(search, name, "store", &text)?.0, name, "failed to store the credentials")
}

/// Erases the credential for `server` with the helper `name`.
pub(super) fn erase(search: &[PathBuf], name: &str, server: &str) -> Result<(), CredentialsError> {
    let (success, answer) = run(search, name, "erase", server.as_bytes())?;
    let nothing = String::from_utf8_lossy(&answer).trim() == NOT_FOUND;
    expect(success || nothing, name, "failed to erase the credentials")
}

fn expect(success: bool, name: &str, what: &str) -> Result<(), CredentialsError> {
    if success { Ok(()) } else { Err(CredentialsError::Helper { name: name.to_owned(), what: what.to_owned() }) }
}

/// Runs a helper. Returns whether it succeeded, and its output. Its standard error is discarded, since it may quote the
/// secret.
fn run(search: &[PathBuf], name: &str, verb: &str, input: &[u8]) -> Result<(bool, Vec<u8>), CredentialsError> {
    let failed = |what: String| CredentialsError::Helper { name: name.to_owned(), what };
    let missing = || CredentialsError::NoHelper { name: name.to_owned() };
    // The name becomes part of a path, so it must not contain a slash.
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
        // A process group, so that processes that it starts, which hold the pipe open, can be killed with it.
        .process_group(0)
        .spawn()
        .map_err(|error| failed(format!("cannot be started: {error}")))?;
    let (sender, receiver) = mpsc::channel();
    let (stdin, stdout, input) = (child.stdin.take(), child.stdout.take(), input.to_owned());
    std::thread::spawn(move || {
        // A helper that does not read its input may still answer.
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
            kill(&mut child);
            Err(failed(format!("did not respond within {} s", LIMIT.as_secs())))
        }
    }
}

/// Waits until `deadline`: whether the helper succeeded, `None` if it has not ended.
fn wait(child: &mut Child, deadline: Instant) -> Option<bool> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status.success()),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
            _ => return None,
        }
    }
}

fn kill(child: &mut Child) {
    // The process was not waited for yet, so its id cannot belong to another process.
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    let _ = child.wait();
}
