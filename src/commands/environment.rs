//! The variables of a command.

use std::collections::HashMap;
use std::ffi::OsString;

/// Variables in the order in which each was first set. An image may have any number of them.
#[derive(Debug, Default)]
pub(super) struct Environment {
    list: Vec<(OsString, OsString)>,
    /// Where in the list each is.
    places: HashMap<OsString, usize>,
}

impl Environment {
    /// Sets a variable, in the place that it has.
    pub(super) fn set(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        let (name, value) = (name.into(), value.into());
        if let Some(place) = self.places.get(&name) {
            self.list[*place].1 = value;
        } else {
            self.places.insert(name.clone(), self.list.len());
            self.list.push((name, value));
        }
    }

    /// All of them.
    pub(super) fn into_list(self) -> Vec<(OsString, OsString)> {
        self.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_keeps_its_place() {
        let mut environment = Environment::default();
        for (name, value) in [("a", "1"), ("b", "2"), ("a", "3"), ("c", ""), ("b", "4")] {
            environment.set(name, value);
        }
        let list: Vec<(OsString, OsString)> =
            [("a", "3"), ("b", "4"), ("c", "")].map(|(name, value)| (name.into(), value.into())).into();
        assert_eq!(environment.into_list(), list);
    }

    /// With a search through the list for each, this takes minutes.
    #[test]
    fn many_are_no_trouble() {
        let mut environment = Environment::default();
        for round in 0..2 {
            for at in 0..300_000 {
                environment.set(format!("V{at}"), format!("{round}"));
            }
        }
        let list = environment.into_list();
        assert_eq!(list.len(), 300_000);
        assert_eq!(list[299_999], ("V299999".into(), "1".into()));
    }
}
