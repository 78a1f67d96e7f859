//! Copies of the shim (`src/sys/shim/main.rs`) with their orders.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

/// The program of the shim.
const SHIM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/shim"));
/// Marks the place for orders in the program.
const MAGIC: &[u8; 16] = b"hermes-shim-text";
/// Space for orders, in bytes.
const ROOM: usize = 4096 - MAGIC.len();

/// The orders of a shim. `src/sys/shim/main.rs` explains the letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Orders(Vec<u8>);

impl Orders {
    /// Adds an order. Ignores an argument that would be ambiguous to the shim.
    pub(super) fn add(mut self, letter: u8, text: impl AsRef<OsStr>) -> Self {
        let text = text.as_ref().as_bytes();
        if !text.contains(&0) {
            self.0.push(letter);
            self.0.extend_from_slice(text);
            self.0.push(0);
        }
        self
    }

    /// Adds the same order for several arguments.
    pub(super) fn all(self, letter: u8, texts: &[&str]) -> Self {
        texts.iter().fold(self, |orders, text| orders.add(letter, text))
    }

    /// The program with these orders; `None` if they do not fit.
    pub(super) fn program(&self) -> Option<Vec<u8>> {
        let at = SHIM.windows(MAGIC.len()).position(|window| window == MAGIC)? + MAGIC.len();
        let mut program = SHIM.to_vec();
        let room = program.get_mut(at..at + ROOM)?;
        // An empty order ends the list: the space contains zeros.
        room.get_mut(..self.0.len() + 1)?[..self.0.len()].copy_from_slice(&self.0);
        Some(program)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    use super::*;

    /// Runs a shim whose programs print their arguments.
    fn said(orders: Orders, arguments: &[&str], environment: &[(&str, &str)]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, content: &[u8]| {
            std::fs::write(dir.path().join(name), content).unwrap();
            std::fs::set_permissions(dir.path().join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        for name in ["native", "own"] {
            put(
                name,
                format!("#!/bin/sh\necho {name} \"$*\" \"LIST=${{LIST-unset}} SET=$SET REST=$REST\"\n").as_bytes(),
            );
        }
        let orders = orders.add(b'n', dir.path().join("native")).add(b'o', dir.path().join("own"));
        put("shim", &orders.program().unwrap());
        // A fork of another thread may briefly hold the file open for writing (ETXTBSY).
        let output = loop {
            let shim = Command::new(dir.path().join("shim"))
                .args(arguments)
                .env_clear()
                .envs(environment.iter().copied())
                .output();
            match shim {
                Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {}
                output => break output.unwrap(),
            }
        };
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    #[test]
    fn which_program_is_started() {
        let orders = || {
            Orders::default()
                .all(b'=', &["-v", "--version"])
                .all(b'^', &["-print-", "@"])
                .add(b'u', "LPATH")
                .add(b'x', "INSIDE")
        };
        let none = "LIST=unset SET= REST=";
        for (arguments, environment, want) in [
            (&[][..], &[][..], "native"),
            (&["-c", "a b"], &[], "native -c a b"),
            (&["-vv"], &[("LPATH", "")], "native -vv"),
            (&["-c", "-v"], &[], "own -c -v"),
            (&["-print-x"], &[], "own -print-x"),
            (&["@x"], &[], "own @x"),
            (&["-c"], &[("LPATH", "/x")], "own -c"),
            (&["-c"], &[("LPATHS", "/x")], "native -c"),
            (&["-c"], &[("LPATH", "/x"), ("INSIDE", "y")], "native -c"),
        ] {
            let want = if want.contains(' ') { format!("{want} {none}") } else { format!("{want}  {none}") };
            assert_eq!(said(orders(), arguments, environment), want, "{arguments:?} {environment:?}");
        }
        // Without the native program the image's own is run.
        let missing = Orders::default().add(b'n', "/none/there");
        assert_eq!(said(missing, &["x"], &[]), format!("own x {none}"));
    }

    #[test]
    fn what_it_is_given() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().to_str().unwrap();
        let orders = || {
            let orders = Orders::default()
                .all(b'a', &["-iprefix", "/p/"])
                .add(b'e', "SET=1")
                .add(b'd', place)
                .add(b'v', "-w")
                .add(b'z', "-z");
            orders.add(b'p', "LIST=/a:/b").add(b'P', "LIST=/c")
        };
        assert_eq!(said(orders(), &["x"], &[("REST", "r")]), "native -iprefix /p/ x LIST=/a:/b SET=1 REST=r");
        assert_eq!(said(orders(), &["-iprefix", "/q/"], &[("SET", "0")]), "native -iprefix /q/ LIST=/a:/b SET=1 REST=");
        assert_eq!(said(orders(), &["-w"], &[]), "native -iprefix /p/ -w LIST=/c SET=1 REST=");
        assert_eq!(said(orders(), &["-w", "-z"], &[]), "native -iprefix /p/ -w -z LIST=unset SET=1 REST=");
        std::fs::write(dir.path().join("f"), "").unwrap();
        assert_eq!(said(orders(), &[], &[("LIST", "/own")]), "native -iprefix /p/ LIST=/own:/c SET=1 REST=");
        let many: Vec<String> = (0..3000).map(|number| number.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(said(Orders::default(), &many, &[]).ends_with("2999 LIST=unset SET= REST="));
    }

    #[test]
    fn orders_that_do_not_fit_make_no_program() {
        let long = "x".repeat(ROOM - 3);
        assert!(Orders::default().add(b'n', &long).program().is_some());
        assert!(Orders::default().add(b'n', format!("{long}x")).program().is_none());
        assert_eq!(Orders::default().add(b'n', "a\0b"), Orders::default());
    }
}
