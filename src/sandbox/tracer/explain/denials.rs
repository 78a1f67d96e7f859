//! Denials that init collects: each is kept once and counted, up to a maximum.

use std::collections::HashMap;

use crate::sandbox::denial::{Denial, Denied};

/// Maximum size of a path or name in bytes: a message must hold several ([`crate::sandbox::channel`]).
const MAX_TEXT: usize = 800;
/// Maximum number of denials of each of the two kinds.
const MAX_KEPT: usize = 1000;

/// Identity of a denial. The call does not matter for a path.
#[derive(PartialEq, Eq, Hash)]
struct Key(String, i32);

impl Key {
    fn new(what: &Denied, call: &str, errno: i32) -> Self {
        match what {
            Denied::Path { .. } | Denied::Address { .. } => Self(format!("{what:?}"), errno),
            // The name is the same, whether it was found or not.
            Denied::Lookup { .. } => Self(format!("{what:?}"), 0),
            _ => Self(format!("{call} {what:?}"), errno),
        }
    }
}

/// Denials so far.
#[derive(Default)]
pub(super) struct Denials {
    refusals: Vec<Denial>,
    places: HashMap<Key, usize>,
    /// Number of missing paths, which are the majority.
    missing: usize,
    clock: u64,
    /// Number of denials that were not kept.
    dropped: u64,
}

impl Denials {
    /// Adds a denial. `program` is called for the first of its kind only.
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
        // A search through many directories must not displace other denials.
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

    /// Returns the denials and the number of those that were not kept.
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
        let mut denials = Denials::default();
        let detail = |text: &str| Denied::Call { detail: Some(text.into()) };
        for (what, call, errno, pid) in [
            (missing("/opt/a".into()), "open", 2, 5),
            (missing("/opt/a".into()), "stat", 2, 6),
            (missing("/opt/a".into()), "stat", 13, 7),
            (detail("AF_ALG"), "socket", 97, 8),
            (detail("AF_ALG"), "bind", 97, 8),
        ] {
            denials.add(what, call, errno, pid, || format!("p{pid}"));
        }
        let (refusals, dropped) = denials.into_parts();
        let found: Vec<_> =
            refusals.iter().map(|r| (r.call.as_str(), r.errno, r.count, r.last, r.program.as_str())).collect();
        let want =
            [("open", 2, 2, 2, "p5"), ("stat", 13, 1, 3, "p7"), ("socket", 97, 1, 4, "p8"), ("bind", 97, 1, 5, "p8")];
        assert_eq!((found, dropped), (want.into(), 0));
    }

    #[test]
    fn many_do_not_push_out_few() {
        let mut denials = Denials::default();
        for i in 0..2 * MAX_KEPT {
            denials.add(missing(format!("/opt/{i}")), "open", 2, 1, String::new);
        }
        denials.add(Denied::Call { detail: None }, "mount", 1, 1, String::new);
        denials.add(missing("/x".repeat(MAX_TEXT)), "open", 2, 1, String::new);
        let (refusals, dropped) = denials.into_parts();
        assert_eq!((refusals.len(), dropped), (MAX_KEPT + 1, u64::try_from(MAX_KEPT).unwrap() + 1));
        assert_eq!(refusals.last().unwrap().call, "mount");
    }
}
