//! Variations of the second of two builds. Each is an option of `run`.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::commands::run::usable_accel;
use crate::commands::{Context, Target};
use crate::compare::Side;
use crate::emulation::Accel;
use crate::record::RunRequest;
use crate::sandbox::DirectoryOrder;

/// Something that the two builds do differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Vary {
    /// Another name and domain of the host.
    Hostname,
    /// Another day, month, year and day of the week. `SOURCE_DATE_EPOCH` stays.
    Time,
    /// A time zone in which it is another hour, and for most of the day another day.
    Tz,
    /// No UTF-8, and another language wished for.
    Locale,
    /// A group that may write.
    Umask,
    /// Directories from their end.
    DirOrder,
    /// One processor.
    Cpus,
    /// Another home directory.
    Home,
    /// Another place of the project, with a longer name.
    BuildPath,
    /// The first with native tools, which may be refused and so is tried first; the second without.
    Accel,
}

/// The requested variations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wish {
    /// These.
    These(Vec<Vary>),
    /// All that can be.
    All,
}

const HOSTNAME: &str = "another.host.example";
const CLOCK: &str = "+398d";
const ZONE: (&str, &str) = ("TZ", "<+14>-14");
const LOCALE: [(&str, &str); 2] = [("LC_ALL", "C"), ("LANGUAGE", "et:en")];
const UMASK: &str = "002";
const HOME: &str = "/home/another-builder";
const PLACE: &str = "/builds/of/another/project";

impl Vary {
    /// All of them.
    pub(crate) const ALL: [Self; 10] = [
        Self::Hostname,
        Self::Time,
        Self::Tz,
        Self::Locale,
        Self::Umask,
        Self::DirOrder,
        Self::Cpus,
        Self::Home,
        Self::BuildPath,
        Self::Accel,
    ];

    /// Its name on the command line.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hostname => "hostname",
            Self::Time => "time",
            Self::Tz => "tz",
            Self::Locale => "locale",
            Self::Umask => "umask",
            Self::DirOrder => "dir-order",
            Self::Cpus => "cpus",
            Self::Home => "home",
            Self::BuildPath => "build-path",
            Self::Accel => "accel",
        }
    }

    /// Applies the variation to the build of `side`, as options of `run` with their values.
    pub(in crate::commands) fn apply(self, side: Side, request: &mut RunRequest) -> Option<&'static str> {
        if side == Side::First {
            return (self == Self::Accel).then(|| {
                request.accel = Accel::Require;
                "--accel require"
            });
        }
        let guest = &mut request.guest_overrides;
        Some(match self {
            Self::Hostname => {
                guest.hostname = Some(HOSTNAME.to_owned());
                "--hostname another.host.example"
            }
            Self::Time => {
                guest.interposed.clock = CLOCK.parse().ok();
                "--clock +398d"
            }
            Self::Tz => {
                request.set_variable(ZONE.0, ZONE.1);
                "-e 'TZ=<+14>-14'"
            }
            Self::Locale => {
                for (name, value) in LOCALE {
                    request.set_variable(name, value);
                }
                "-e LC_ALL=C -e LANGUAGE=et:en"
            }
            Self::Umask => {
                guest.umask = UMASK.parse().ok();
                "--umask 002"
            }
            Self::DirOrder => {
                guest.interposed.directory_order = Some(DirectoryOrder::Reverse);
                "--dir-order reverse"
            }
            Self::Cpus => {
                guest.nproc = Some(1);
                "--nproc 1"
            }
            Self::Home => {
                guest.home = Some(HOME.to_owned());
                "--home /home/another-builder"
            }
            Self::BuildPath => {
                move_project(request);
                "--work /builds/of/another/project"
            }
            Self::Accel => {
                request.accel = Accel::Off;
                "--accel off"
            }
        })
    }

    /// Whether compilers of other packages take part, so that their marks may differ.
    pub(super) fn takes_other_compilers(self) -> bool {
        self == Self::Accel
    }

    /// The option, if the user has said something of what is varied.
    pub(super) fn is_fixed(self, request: &RunRequest) -> Option<&'static str> {
        let guest = &request.guest_overrides;
        let variable = |name: &str| request.variable(name.as_ref()).is_some();
        match self {
            Self::Hostname => guest.hostname.is_some().then_some("--hostname"),
            Self::Time => guest.interposed.clock.is_some().then_some("--clock"),
            Self::Tz => variable("TZ").then_some("-e TZ"),
            Self::Locale if variable("LANGUAGE") => Some("-e LANGUAGE"),
            Self::Locale => variable("LC_ALL").then_some("-e LC_ALL"),
            Self::Umask => guest.umask.is_some().then_some("--umask"),
            Self::DirOrder => guest.interposed.directory_order.is_some().then_some("--dir-order"),
            Self::Cpus => guest.nproc.is_some().then_some("--nproc"),
            Self::Home if variable("HOME") => Some("-e HOME"),
            Self::Home => guest.home.is_some().then_some("--home"),
            Self::BuildPath => guest.work.is_some().then_some("--work"),
            Self::Accel => (request.accel != Accel::default()).then_some("--accel"),
        }
    }

    /// `TZ` of the second build, where this is what is varied.
    pub(super) fn zone(self) -> Option<&'static str> {
        (self == Self::Tz).then_some(ZONE.1)
    }

    /// Why it cannot be varied, on a host with `cpus` processors.
    fn is_impossible(self, cpus: usize) -> Option<&'static str> {
        (self == Self::Cpus && cpus < 2).then_some("this host has only one processor")
    }
}

impl Wish {
    /// The variations that are possible in a build of `target`; warns about the others.
    pub(in crate::commands) fn granted(&self, context: &Context, request: &RunRequest, target: &Target) -> Vec<Vary> {
        let mut granted = match self {
            Self::These(these) => these.clone(),
            Self::All => {
                let native = RunRequest { accel: Accel::Require, ..request.clone() };
                let is_accelerated = target.is_foreign() && usable_accel(&native, target).is_ok();
                let all = Vary::ALL.into_iter().filter(|vary| *vary != Vary::Accel || is_accelerated);
                all.filter(|vary| match vary.is_fixed(request) {
                    Some(option) => {
                        context.reporter.warn(&format!("not varying {}: {option} sets it", vary.name()));
                        false
                    }
                    None => true,
                })
                .collect()
            }
        };
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        granted.retain(|vary| match vary.is_impossible(cpus) {
            Some(why) => {
                context.reporter.warn(&format!("not varying {}: {why}", vary.name()));
                false
            }
            None => true,
        });
        let mut seen = Vec::new();
        granted.retain(|vary| {
            let is_new = !seen.contains(vary);
            seen.push(*vary);
            is_new
        });
        granted
    }

    /// The variations that the user named.
    pub(super) fn named(&self) -> &[Vary] {
        match self {
            Self::These(these) => these,
            Self::All => &[],
        }
    }
}

/// Has the project, and what is mounted in it, at [`PLACE`].
fn move_project(request: &mut RunRequest) {
    let from = request.guest_overrides.work().to_owned();
    let moved = |path: &Path| -> Option<PathBuf> {
        let rest = path.strip_prefix(&from).ok()?;
        Some(Path::new(PLACE).components().chain(rest.components()).collect())
    };
    for path in request.volumes.iter_mut().map(|bind| &mut bind.target).chain(&mut request.directory) {
        if let Some(there) = moved(path) {
            *path = there;
        }
    }
    request.guest_overrides.work = Some(PLACE.into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Bind;

    #[test]
    fn what_is_varied_is_an_option_of_run() {
        for vary in Vary::ALL {
            let plain = RunRequest::default();
            assert_eq!(vary.is_fixed(&plain), None, "{vary:?}");
            let [first, second] = [Side::First, Side::Second].map(|side| {
                let mut varied = RunRequest::default();
                let options = vary.apply(side, &mut varied);
                (options, vary.is_fixed(&varied))
            });
            assert!(second.0.is_some() && second.1.is_some(), "{vary:?}");
            assert!(
                second.0.unwrap().starts_with("-e") || second.0.unwrap().starts_with(second.1.unwrap()),
                "{vary:?}"
            );
            assert_eq!(first.0.is_some(), vary == Vary::Accel, "{vary:?}");
            assert_eq!(serde_json::to_value(vary).unwrap(), vary.name());
        }
        let mut varied = RunRequest::default();
        Vary::Time.apply(Side::Second, &mut varied);
        assert_eq!(varied.guest_overrides.interposed.clock.unwrap().to_string(), CLOCK);
        Vary::Umask.apply(Side::Second, &mut varied);
        assert_eq!(varied.guest_overrides.umask(), 2);
    }

    #[test]
    fn what_is_in_the_project_moves_with_it() {
        let bind = |target: &str| Bind { source: "/".into(), target: target.into(), read_only: false };
        let mut moved = RunRequest {
            volumes: ["/work", "/work/sub", "/workshop", "/data"].map(bind).into(),
            directory: Some("/work/src".into()),
            ..RunRequest::default()
        };
        Vary::BuildPath.apply(Side::Second, &mut moved);
        let targets: Vec<_> = moved.volumes.iter().map(|bind| bind.target.to_str().unwrap()).collect();
        assert_eq!(targets, [PLACE, &format!("{PLACE}/sub"), "/workshop", "/data"]);
        assert_eq!(moved.directory, Some(format!("{PLACE}/src").into()));
        assert_eq!(moved.guest_overrides.work(), Path::new(PLACE));
    }

    #[test]
    fn one_processor_cannot_be_fewer() {
        assert!(Vary::Cpus.is_impossible(1).is_some());
        assert_eq!([Vary::Cpus.is_impossible(2), Vary::Tz.is_impossible(1)], [None; 2]);
    }
}
