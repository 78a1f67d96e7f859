//! What a command gets of its image, its project and its caller: variables, command line, limits.

use std::collections::HashMap;
use std::error::Error as _;
use std::ffi::{OsStr, OsString};

use crate::commands::Context;
use crate::commands::run::request::Invocation;
use crate::hint::Hint as _;
use crate::lock::Build;
use crate::oci::ImageConfig;
use crate::record::Text;
use crate::sandbox::{self, AppliedLimits, Group, Limits};

/// Docker's default, for images that set none.
pub(super) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

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

    /// Puts directories before those of `PATH`.
    pub(super) fn prepend_path(&mut self, directories: &[String]) {
        if directories.is_empty() {
            return;
        }
        let path = self.places.get(OsStr::new("PATH")).map(|place| self.list[*place].1.clone());
        let all = directories.iter().map(OsString::from).chain(path);
        self.set("PATH", all.collect::<Vec<_>>().join(OsStr::new(":")));
    }

    /// Sets what comes last in every run: `TERM`, then the project's variables, then those of the request.
    pub(super) fn set_requested(&mut self, invocation: &Invocation, build: &Build) {
        if invocation.request.terminal {
            self.set("TERM", invocation.term.clone());
        }
        for (name, value) in &build.env {
            self.set(name, value);
        }
        for (name, value) in invocation.request.variables() {
            self.set(name, value);
        }
    }

    /// The variables, in order.
    pub(super) fn into_list(self) -> Vec<(OsString, OsString)> {
        self.list
    }
}

/// Variables of time and place for every build. The image may override them: it may not have the locale.
pub(super) fn build_variables(build: &Build) -> impl Iterator<Item = (OsString, OsString)> {
    let epoch = build.epoch.seconds().map(|epoch| ("SOURCE_DATE_EPOCH", epoch.to_string()));
    let rest = [("LANG", build.locale.clone()), ("TZ", build.time_zone.clone())];
    epoch.into_iter().chain(rest).map(|(name, value)| (name.into(), value.into()))
}

/// The variables of the image.
pub(super) fn image_variables(config: &ImageConfig) -> impl Iterator<Item = (&str, &str)> {
    config.env.iter().filter_map(|pair| pair.split_once('=')).filter(|(name, _)| !name.is_empty())
}

/// Entrypoint and Cmd as the image spec and Docker have them: arguments replace Cmd, and another
/// entrypoint makes Cmd void.
pub(super) fn command_line(config: &ImageConfig, entrypoint: Option<&Text>, argv: &[Text]) -> Option<Vec<OsString>> {
    let strings = |words: &[String]| words.iter().map(OsString::from).collect::<Vec<_>>();
    let cmd = match entrypoint {
        None if argv.is_empty() => strings(&config.cmd),
        _ => argv.iter().map(|word| word.0.clone()).collect(),
    };
    let mut line = match entrypoint {
        Some(program) if program.0.is_empty() => vec![],
        Some(program) => vec![program.0.clone()],
        None => strings(&config.entrypoint),
    };
    line.extend(cmd);
    (!line.is_empty()).then_some(line)
}

/// Applies the limits, and warns if no cgroup enforces them.
pub(super) fn apply_limits(context: &Context, limits: Limits) -> (AppliedLimits, Option<Group>) {
    let (applied, group, why) = sandbox::apply_limits(limits);
    if let Some(why) = why {
        let cause = why.source().map(|source| format!(": {source}")).unwrap_or_default();
        context.reporter.warn(&format!("{}; {why}{cause}", applied.notes().join("; ")));
        why.hints().iter().for_each(|hint| context.reporter.verbose(hint));
    }
    (applied, group)
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

    #[test]
    fn directories_come_before_those_of_the_path() {
        let mut environment = Environment::default();
        environment.set("PATH", "/usr/bin:/bin");
        environment.prepend_path(&[]);
        environment.prepend_path(&["/opt/a/bin".into(), "/opt/b".into()]);
        assert_eq!(environment.into_list(), [("PATH".into(), OsString::from("/opt/a/bin:/opt/b:/usr/bin:/bin"))]);
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

    fn config(entrypoint: &[&str], cmd: &[&str]) -> ImageConfig {
        let strings = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        ImageConfig { entrypoint: strings(entrypoint), cmd: strings(cmd), ..ImageConfig::default() }
    }

    #[test]
    fn entrypoint_and_cmd() {
        let words = |text: &str| text.split_whitespace().map(OsString::from).collect::<Vec<_>>();
        let text = |word: &str| Text(word.into());
        for (entrypoint, cmd, asked, argv, line) in [
            (&["e"][..], &["c"][..], None, "", Some("e c")),
            (&["e"], &["c"], None, "a b", Some("e a b")),
            (&[], &["c"], None, "a", Some("a")),
            (&[], &["c", "d"], None, "", Some("c d")),
            (&["e"], &["c"], Some("x"), "", Some("x")),
            (&["e"], &["c"], Some("x"), "a", Some("x a")),
            (&["e"], &["c"], Some(""), "a", Some("a")),
            (&["e"], &["c"], Some(""), "", None),
            (&[], &[], None, "", None),
        ] {
            let got = command_line(
                &config(entrypoint, cmd),
                asked.map(text).as_ref(),
                &argv.split_whitespace().map(text).collect::<Vec<_>>(),
            );
            assert_eq!(got, line.map(words), "{entrypoint:?} {cmd:?} {asked:?} {argv:?}");
        }
    }
}
