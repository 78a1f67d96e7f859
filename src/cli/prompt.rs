//! Asking for a user and a password.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};

use rustix::stdio::stdin;
use rustix::termios::{LocalModes, OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcsetattr};

use crate::cli::args::Login;
use crate::commands::Error;
use crate::visible::visible_lines;

/// Longest password on standard input.
const MAX_PASSWORD: u64 = 64 << 10;

/// User and password, by the options or by asking at the terminal.
pub(super) fn login(args: &Login) -> Result<(String, String), Error> {
    let failed = |what| move |source| Error::Prompt { what, source };
    let user = match &args.user {
        Some(user) => user.clone(),
        None => line("User: ").map_err(failed("the user"))?,
    };
    // Basic authentication ends the user at the first colon (RFC 7617 §2).
    if user.is_empty() || user.contains(':') {
        return Err(failed("the user")(io::Error::other("a user has a name, and no ':' in it")));
    }
    let password = if args.password_stdin { all_of_stdin() } else { secret("Password: ") };
    let password = password.map_err(failed("the password"))?;
    if password.is_empty() {
        return Err(failed("the password")(io::Error::other("it is empty")));
    }
    Ok((user, password))
}

/// Asks a question at the terminal, to which the answer is no unless it is yes. What was typed before it was asked is no answer.
pub(super) fn yes(question: &str) -> io::Result<bool> {
    if !io::stderr().is_terminal() {
        return Err(io::Error::other("standard error is no terminal"));
    }
    tcflush(stdin(), QueueSelector::IFlush)?;
    Ok(matches!(&*line(question)?.to_lowercase(), "y" | "yes"))
}

fn ask(question: &str) -> io::Result<()> {
    if !io::stdin().is_terminal() {
        return Err(io::Error::other("standard input is no terminal"));
    }
    io::stderr().write_all(visible_lines(question).as_bytes())
}

fn line(question: &str) -> io::Result<String> {
    ask(question)?;
    let mut text = String::new();
    io::stdin().lock().read_line(&mut text)?;
    Ok(text.trim().to_owned())
}

fn all_of_stdin() -> io::Result<String> {
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
fn secret(question: &str) -> io::Result<String> {
    ask(question)?;
    let before = tcgetattr(stdin())?;
    let mut silent = before.clone();
    silent.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
    tcsetattr(stdin(), OptionalActions::Flush, &silent)?;
    let _restored = Silenced(before);
    let mut typed = Vec::new();
    for byte in io::stdin().lock().bytes() {
        match byte? {
            b'\n' | b'\r' => break,
            // Ctrl-C, Ctrl-D, Ctrl-\.
            3 | 4 | 28 => return Err(io::Error::other("interrupted")),
            // Backspace, over a whole character.
            8 | 127 => while typed.pop().is_some_and(|byte: u8| byte & 0xC0 == 0x80) {},
            byte => typed.push(byte),
        }
    }
    String::from_utf8(typed).map_err(|_| io::Error::other("it is not UTF-8"))
}
