//! One run as the command line, a rebuild or a bisection wants it: its request, and what belongs to this process.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::commands::{CallerProxies, Context, Error, Target};
use crate::digest::Digest;
use crate::fs::opened::Opened;
use crate::record::{RunRequest, Variable};
use crate::sandbox::{Bind, Caller, Isolation, Network, Shared};
use crate::toolchain::Mounted;

/// A request, and what it needs of this process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Invocation {
    /// What the caller asked for.
    pub request: RunRequest,
    /// The open sources of the request's volumes, in their order.
    sources: Vec<Opened>,
    /// The target of the record that is repeated; otherwise the request selects one.
    pub target: Option<Target>,
    /// `TERM` of the caller, for a command with a terminal.
    pub term: OsString,
    /// To whom `--explain` explains.
    pub caller: Caller,
    /// The record that this run repeats.
    pub repeats: Option<Digest>,
}

impl Invocation {
    /// A run of `request` with these volumes in place of its own.
    #[must_use]
    pub(crate) fn new(mut request: RunRequest, volumes: Vec<Shared>) -> Self {
        let (binds, sources) = volumes.into_iter().map(|volume| (volume.bind, volume.source)).unzip();
        request.volumes = binds;
        Self { request, sources, ..Self::default() }
    }

    /// The volumes, with their open sources.
    #[must_use]
    pub(crate) fn volumes(&self) -> Vec<Shared> {
        let both = self.request.volumes.iter().zip(&self.sources);
        both.map(|(bind, source)| Shared { bind: bind.clone(), source: source.clone() }).collect()
    }

    /// Where the project is mounted.
    #[must_use]
    pub(crate) fn work(&self) -> &Path {
        self.request.guest_overrides.work()
    }

    /// The image to be run.
    pub(in crate::commands) fn choose_target(&self, context: &Context) -> Result<Target, Error> {
        match &self.target {
            Some(target) => Ok(target.clone()),
            None => context.choose(self.request.selector.clone()),
        }
    }

    /// The network of the command, if the user allows what the project requests of the host for it.
    ///
    /// # Errors
    /// [`crate::consent::ConsentError`].
    pub(in crate::commands) fn network(&self, context: &Context) -> Result<Network, Error> {
        let network = self.request.network.unwrap_or_else(|| context.build().net);
        context.allow_project(self.request.network.is_none() && network == Network::Host)?;
        Ok(network)
    }

    /// The directory that is the project of this run.
    pub(in crate::commands) fn project(&self) -> Result<Opened, Error> {
        match self.project_volume() {
            Some(at) => Ok(self.sources[at].clone()),
            None => here(),
        }
    }

    /// Index of the last volume whose target is the directory of the project.
    fn project_volume(&self) -> Option<usize> {
        self.request.volumes.iter().rposition(|bind| bind.target == self.work())
    }

    /// Mounts the directory `tree` in place of the project, with the access that the project had.
    pub(in crate::commands) fn replace_project(&mut self, tree: Opened) {
        let tree = Shared::directory(tree, self.work().to_owned());
        match self.project_volume() {
            Some(at) => {
                self.request.volumes[at].source = tree.bind.source;
                self.sources[at] = tree.source;
            }
            None => self.mount(0, tree),
        }
    }

    fn mount(&mut self, at: usize, shared: Shared) {
        self.request.volumes.insert(at, shared.bind);
        self.sources.insert(at, shared.source);
    }

    /// Mounts the whole project if its file says so and hermes was started below its top. The command starts in the same
    /// directory.
    ///
    /// # Errors
    /// [`crate::consent::ConsentError`].
    pub(in crate::commands) fn mount_project(&mut self, context: &Context) -> Result<(), Error> {
        let work = self.work().to_owned();
        let project = context.project.as_ref().filter(|project| project.mount == Some(Mounted::Project));
        let Some(directory) = project.map(|project| &project.directory) else { return Ok(()) };
        let inside = context.directory().strip_prefix(directory.path()).unwrap_or(Path::new(""));
        if inside.as_os_str().is_empty() || self.project_volume().is_some() {
            return Ok(());
        }
        context.allow_mount()?;
        if self.request.isolation == Isolation::Landlock {
            // Everything is at its own path there, and the command starts in the current directory.
            let at = self.request.volumes.len();
            self.mount(at, Shared::directory(directory.clone(), directory.path().to_owned()));
            return Ok(());
        }
        self.request.directory.get_or_insert_with(|| work.join(inside));
        self.mount(0, Shared::directory(directory.clone(), work));
        Ok(())
    }

    /// Passes the caller's proxies on to a command that has the host's network, if the user wants that. Otherwise warns that
    /// the command does not get them.
    pub(super) fn pass_proxies(&mut self, context: &Context, network: Network) {
        // The record that is repeated has the proxies of its run.
        if network != Network::Host || self.repeats.is_some() {
            return;
        }
        let build = context.build().env;
        let is_set = |name: &OsStr| {
            let by_project = name.to_str().is_some_and(|name| build.contains_key(name));
            by_project || self.request.variable(name).is_some()
        };
        let CallerProxies { variables, are_passed_on } = &context.proxies;
        let lacking: Vec<_> = variables.iter().filter(|(name, _)| !is_set(name)).cloned().collect();
        if *are_passed_on {
            let passed_on = lacking.into_iter().map(|(name, value)| Variable::passed_on(name, value));
            self.request.environment.extend(passed_on);
        } else if lacking.len() == variables.len() && !lacking.is_empty() && !context.reexecuted {
            let options: Vec<_> = lacking.iter().map(|(name, _)| format!("-e {}", name.to_string_lossy())).collect();
            context.reporter.warn(&format!(
                "the command does not get your proxies; to pass them on: {}, or [run] pass-proxy = true in config.toml",
                options.join(" ")
            ));
        }
    }
}

/// The current directory, which must be readable.
pub(super) fn here() -> Result<Opened, Error> {
    let here = Opened::here().and_then(|here| {
        rustix::fs::openat(&here, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(here)
    });
    here.map_err(|source| Error::WorkDirectory { source })
}

/// Opens the source of a volume, which must exist.
///
/// # Errors
/// [`Error::Volume`].
pub(crate) fn share(bind: Bind) -> Result<Shared, Error> {
    let path = bind.source.clone();
    Shared::new(bind).map_err(|source| Error::Volume { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::Build;

    #[test]
    fn the_tree_takes_the_place_of_the_project() {
        const WORK: &str = Build::WORK;
        let bind =
            |source: &str, target: &str, read_only| Bind { source: source.into(), target: target.into(), read_only };
        for (volumes, want) in [
            (vec![], vec![bind("/usr", WORK, false)]),
            (vec![bind("/etc", "/x", true)], vec![bind("/usr", WORK, false), bind("/etc", "/x", true)]),
            (
                vec![bind("/proc", WORK, true), bind("/etc", "/work/x", false)],
                vec![bind("/usr", WORK, true), bind("/etc", "/work/x", false)],
            ),
        ] {
            let volumes = volumes.into_iter().map(|bind| Shared::new(bind).unwrap()).collect();
            let mut invocation = Invocation::new(RunRequest::default(), volumes);
            invocation.replace_project(Opened::directory(Path::new("/usr")).unwrap());
            assert_eq!(invocation.request.volumes, want);
            assert!(invocation.volumes().iter().all(|volume| volume.source.path() == volume.bind.source));
        }
    }
}
