//! Snapshots of the texts of errors: one for each type, with each variant as the command line prints it, its causes and its
//! hints. A type that has no snapshot fails `tests/architecture.rs`; a variant that is not listed here does not compile.
//! After a change run these tests with `INSTA_UPDATE=always`, and read what git shows as changed in `snapshots/`.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

use crate::cli::diagnostic;
use crate::digest::Digest;
use crate::hint::Hint;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::sys::SysError;

/// A snapshot of all variants of an error. `error` shows it with hints and kind; `cause`, for one that is only ever the
/// cause of another, without. Variants after `also` are further examples of those before.
macro_rules! variants {
    ($shown:ident $error:ident { $($variant:ident $fields:tt,)* } $(also { $($more:ident $values:tt,)* })?) => {{
        // A variant that is missing from the list is missing from this match, too.
        fn is_listed(error: &$error) {
            match error {
                $($error::$variant { .. } => {})*
            }
        }
        let examples = [
            $((stringify!($variant), $error::$variant $fields),)*
            $($((stringify!($more), $error::$more $values),)*)?
        ];
        let mut text = String::new();
        for (variant, example) in &examples {
            is_listed(example);
            text += &format!("# {variant}\n{}\n", $shown(example));
        }
        insta::assert_snapshot!(stringify!($error), text.trim_end());
    }};
}

/// A snapshot of an error that is no enum, with examples.
macro_rules! examples {
    ($shown:ident $error:ident [$($example:expr),* $(,)?]) => {{
        let texts = [$($shown(&$example)),*];
        insta::assert_snapshot!(stringify!($error), texts.join("\n").trim_end());
    }};
}

mod commands;
mod files;
mod images;
mod packages;
mod runs;
mod vocabulary;

/// An error as the command line prints it, and its kind.
fn error(error: &dyn Hint) -> String {
    format!("{}[{:?}]\n", diagnostic::render(error), error.kind())
}

/// An error that has no hints of its own.
fn cause(error: &dyn Error) -> String {
    diagnostic::render_parts(error, &[])
}

fn path(path: &str) -> PathBuf {
    PathBuf::from(path)
}

/// ENOENT
fn io() -> io::Error {
    io::Error::from_raw_os_error(Errno::NOENT.raw_os_error())
}

fn sys(call: &'static str, subject: &str, errno: Errno) -> SysError {
    SysError::new(call, subject, errno)
}

fn digest(content: &str) -> Digest {
    Digest::of(content.as_bytes())
}

fn reference() -> Reference {
    "docker.io/library/debian:bookworm".parse().unwrap()
}

fn foreign() -> Platform {
    Platform::Arm64
}

fn not_toml() -> toml::de::Error {
    toml::from_str::<toml::Table>("image = debian\n").unwrap_err()
}

fn not_json() -> serde_json::Error {
    serde_json::from_str::<u32>("{}").unwrap_err()
}
