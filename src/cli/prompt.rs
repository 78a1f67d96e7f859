//! Prompts for a user, a password and consent.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};

use rustix::stdio::stdin;
use rustix::termios::{LocalModes, OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcsetattr};

use crate::cli::args::Login;
use crate::commands::{Error, OwnError};
use crate::hint::{ErrorKind, Hint};
use crate::visible::visible_lines;

/// Longest password on standard input.
const MAX_PASSWORD: u64 = 64 << 10;

/// Why an answer cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum PromptError {
    #[error("standard {0} is not a terminal")]
    NoTerminal(&'static str),
    #[error("a user name must not be empty or contain ':'")]
    UserName,
    #[error("the password is empty")]
    EmptyPassword,
    #[error("the password is not UTF-8")]
    NotUtf8,
    #[error("interrupted")]
    Interrupted,
    #[error("cannot use the terminal")]
    Terminal(#[from] io::Error),
}

/// No user, or no password, for a login.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {what}")]
pub(super) struct LoginPromptError {
    pub(super) what: &'static str,
    pub(super) source: PromptError,
}

impl OwnError for LoginPromptError {}

impl Hint for LoginPromptError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Usage
    }

    fn hints(&self) -> Vec<String> {
        vec!["without a terminal: hermes login REGISTRY --user USER --password-stdin < FILE".into()]
    }
}

/// User and password, by the options or by asking at the terminal.
pub(super) fn login(args: &Login) -> Result<(String, String), Error> {
    let failed = |what| move |source| LoginPromptError { what, source };
    let user = match &args.user {
        Some(user) => user.clone(),
        None => line("User: ").map_err(failed("the user"))?,
    };
    // Basic authentication ends the user at the first colon (RFC 7617 §2).
    if user.is_empty() || user.contains(':') {
        return Err(failed("the user")(PromptError::UserName).into());
    }
    let password = if args.password_stdin { all_of_stdin() } else { secret("Password: ") };
    let password = password.map_err(failed("the password"))?;
    if password.is_empty() {
        return Err(failed("the password")(PromptError::EmptyPassword).into());
    }
    Ok((user, password))
}

/// Asks a question at the terminal; any answer but yes is no. Input that was typed before the question is discarded.
pub(super) fn yes(question: &str) -> Result<bool, PromptError> {
    if !io::stderr().is_terminal() {
        return Err(PromptError::NoTerminal("error"));
    }
    tcflush(stdin(), QueueSelector::IFlush).map_err(io::Error::from)?;
    Ok(matches!(&*line(question)?.to_lowercase(), "y" | "yes"))
}

fn ask(question: &str) -> Result<(), PromptError> {
    if !io::stdin().is_terminal() {
        return Err(PromptError::NoTerminal("input"));
    }
    Ok(io::stderr().write_all(visible_lines(question).as_bytes())?)
}

fn line(question: &str) -> Result<String, PromptError> {
    ask(question)?;
    let mut text = String::new();
    io::stdin().lock().read_line(&mut text)?;
    Ok(text.trim().to_owned())
}

fn all_of_stdin() -> Result<String, PromptError> {
    let mut text = String::new();
    io::stdin().lock().take(MAX_PASSWORD).read_to_string(&mut text)?;
    // Only the end of the line, as docker does: the rest may be meant.
    let end = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(end);
    Ok(text)
}

/// Restores the terminal however the asking ends.
struct Silenced(Termios);

impl Drop for Silenced {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), OptionalActions::Flush, &self.0);
        let _ = io::stderr().write_all(b"\n");
    }
}

/// A line that is not shown. Ctrl-C is read as a key, so that it cannot end hermes while the terminal
/// is silenced.
fn secret(question: &str) -> Result<String, PromptError> {
    ask(question)?;
    let before = tcgetattr(stdin()).map_err(io::Error::from)?;
    let mut silent = before.clone();
    silent.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
    tcsetattr(stdin(), OptionalActions::Flush, &silent).map_err(io::Error::from)?;
    let _restored = Silenced(before);
    let mut typed = Vec::new();
    for byte in io::stdin().lock().bytes() {
        match byte? {
            b'\n' | b'\r' => break,
            // Ctrl-C, Ctrl-D, Ctrl-\.
            3 | 4 | 28 => return Err(PromptError::Interrupted),
            // Backspace, over a whole character.
            8 | 127 => while typed.pop().is_some_and(|byte: u8| byte & 0xC0 == 0x80) {},
            byte => typed.push(byte),
        }
    }
    String::from_utf8(typed).map_err(|_| PromptError::NotUtf8)
}
