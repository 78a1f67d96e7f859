//! Denied init has seen: each refusal once, counted, and not without end.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// Longest path or name that is kept, in bytes: a message must hold several ([`crate::sandbox::channel`]).
const MAX_TEXT: usize = 800;
/// Most refusals kept of each of the two kinds.
const MAX_KEPT: usize = 1000;

/// Denied was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox) enum Denied {
    /// A path, links followed.
    Path {
        /// Absolute, inside.
        path: String,
        /// The first directory on the way that is not there, or the path itself; `None` where all is there.
        missing: Option<String>,
        /// Denied it would be on the host, where it lies in a mounted directory or was said relative to one.
        outside: Option<String>,
    },
    /// A program is there, and what it names to be run by is not.
    Interpreter {
        /// The program.
        program: String,
        /// Absolute, inside.
        path: String,
    },
    /// A program that is to run as its file's owner did not.
    SetUserId {
        /// The program.
        path: String,
    },
    /// A name was looked up in the domain name system.
    Lookup {
        /// The name, where it was seen.
        name: Option<String>,
    },
    /// An address of the internet.
    Address {
        /// As text, without the port.
        ip: String,
        /// The port.
        port: u16,
        /// It is this machine.
        loopback: bool,
    },
    /// A socket with a name of its own, outside all directories.
    Abstract {
        /// The name.
        name: String,
    },
    /// A call.
    Call {
        /// Denied of it, in words: a kind of socket, an id.
        detail: Option<String>,
    },
}

impl Denied {
    /// Every text of it.
    fn texts(&self) -> Vec<&str> {
        match self {
            Self::Path { path, missing, outside } => {
                [Some(path), missing.as_ref(), outside.as_ref()].into_iter().flatten().map(String::as_str).collect()
            }
            Self::Interpreter { program, path } => vec![program, path],
            Self::SetUserId { path } => vec![path],
            Self::Lookup { name } => name.iter().map(String::as_str).collect(),
            Self::Address { ip, .. } => vec![ip],
            Self::Abstract { name } => vec![name],
            Self::Call { detail } => detail.iter().map(String::as_str).collect(),
        }
    }
}

/// Something that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox) struct Denial {
    pub(super) what: Denied,
    /// The call that met it first.
    pub(super) call: String,
    /// Denied that call failed with; 0 where it did not fail.
    pub(super) errno: i32,
    /// How often.
    pub(super) count: u64,
    /// When last, counted in refusals.
    pub(super) last: u64,
    /// The program that met it first, by the name the kernel has for it.
    pub(super) program: String,
    /// Its process id, inside.
    pub(super) pid: i32,
}

/// Denied makes two refusals the same. Of paths it does not matter which call met them.
#[derive(PartialEq, Eq, Hash)]
struct Key(String, i32);

impl Key {
    fn new(what: &Denied, call: &str, errno: i32) -> Self {
        match what {
            Denied::Path { .. } | Denied::Address { .. } => Self(format!("{what:?}"), errno),
            // Found or not, it is the same name.
            Denied::Lookup { .. } => Self(format!("{what:?}"), 0),
            _ => Self(format!("{call} {what:?}"), errno),
        }
    }
}

/// All that was refused so far.
#[derive(Default)]
pub(super) struct Denials {
    refusals: Vec<Denial>,
    places: HashMap<Key, usize>,
    /// How many there are that something was missing for, which are the many.
    missing: usize,
    clock: u64,
    /// Met and not kept.
    dropped: u64,
}

impl Denials {
    /// Takes note of a refusal; `program` tells who met it, and is asked of the first only.
    pub(super) fn add(&mut self, what: Denied, call: &str, errno: i32, pid: i32, program: impl FnOnce() -> String) {
        self.clock += 1;
        if what.texts().iter().any(|text| text.len() > MAX_TEXT) {
            self.dropped += 1;
            return;
        }
        let key = Key::new(&what, call, errno);
        if let Some(place) = self.places.get(&key) {
            let known = &mut self.refusals[*place];
            known.count += 1;
            known.last = self.clock;
            return;
        }
        // A search through many directories must not push out what else there is to tell.
        let is_missing = matches!(what, Denied::Path { missing: Some(_), .. });
        let kept = if is_missing { self.missing } else { self.refusals.len() - self.missing };
        if kept >= MAX_KEPT {
            self.dropped += 1;
            return;
        }
        self.missing += usize::from(is_missing);
        self.places.insert(key, self.refusals.len());
        let call = call.to_owned();
        self.refusals.push(Denial { what, call, errno, count: 1, last: self.clock, program: program(), pid });
    }

    /// All of them, and how many were met and not kept.
    pub(super) fn into_parts(self) -> (Vec<Denial>, u64) {
        (self.refusals, self.dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(path: String) -> Denied {
        Denied::Path { missing: Some(path.clone()), path, outside: None }
    }

    #[test]
    fn the_same_is_counted() {
        let mut seen = Denials::default();
        let detail = |text: &str| Denied::Call { detail: Some(text.into()) };
        for (what, call, errno, pid) in [
            (missing("/opt/a".into()), "open", 2, 5),
            (missing("/opt/a".into()), "stat", 2, 6),
            (missing("/opt/a".into()), "stat", 13, 7),
            (detail("AF_ALG"), "socket", 97, 8),
            (detail("AF_ALG"), "bind", 97, 8),
        ] {
            seen.add(what, call, errno, pid, || format!("p{pid}"));
        }
        let (refusals, dropped) = seen.into_parts();
        let told: Vec<_> =
            refusals.iter().map(|r| (r.call.as_str(), r.errno, r.count, r.last, r.program.as_str())).collect();
        let want =
            [("open", 2, 2, 2, "p5"), ("stat", 13, 1, 3, "p7"), ("socket", 97, 1, 4, "p8"), ("bind", 97, 1, 5, "p8")];
        assert_eq!((told, dropped), (want.into(), 0));
    }

    #[test]
    fn many_do_not_push_out_few() {
        let mut seen = Denials::default();
        for i in 0..2 * MAX_KEPT {
            seen.add(missing(format!("/opt/{i}")), "open", 2, 1, String::new);
        }
        seen.add(Denied::Call { detail: None }, "mount", 1, 1, String::new);
        seen.add(missing("/x".repeat(MAX_TEXT)), "open", 2, 1, String::new);
        let (refusals, dropped) = seen.into_parts();
        assert_eq!((refusals.len(), dropped), (MAX_KEPT + 1, u64::try_from(MAX_KEPT).unwrap() + 1));
        assert_eq!(refusals.last().unwrap().call, "mount");
    }
}
