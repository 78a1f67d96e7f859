//! `hermes run` in namespaces, with a root of its own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::commands::acquire::apt_sources;
use crate::commands::run::attempts::{self, Fallback};
use crate::commands::run::environment::{
    DEFAULT_PATH, Environment, apply_limits, build_variables, command_line, image_variables,
};
use crate::commands::run::native_tools::{self, Accelerated, Wanted};
use crate::commands::run::request::{Invocation, here};
use crate::commands::run::rootfs::{Composed, Composer};
use crate::commands::run::session::{Conditions, Executed, RunSession, Sandbox};
use crate::commands::{Error, Target};
use crate::emulation;
use crate::fs::{atomic, beneath};
use crate::lock::{Build, Personality};
use crate::oci::ImageConfig;
use crate::record::Users;
use crate::resolve::check_level;
use crate::rootfs::{self, Accounts, HostFiles, Identity, InjectedFile, Rootfs};
use crate::sandbox::{AppliedLimits, FakeRoot, Network, Plan, Policy, Profile, SandboxError, Scratch, Shared, SubIds};

/// Longest file of the host's names that a run gets, in bytes.
const MAX_HOST_FILE: u64 = 1 << 20;

/// A planned run in namespaces.
pub(super) struct Namespaces {
    pub(super) plan: Plan,
    conditions: Conditions,
    tools: Vec<String>,
    /// The root of the plan, which lasts until the run has ended.
    _composed: Composed,
}

/// What is mounted: the project, unless a volume is mounted in its place, and the volumes.
pub(super) fn binds(invocation: &Invocation, _: &Target) -> Result<Vec<Shared>, Error> {
    let mut binds = invocation.volumes();
    let work = invocation.work();
    if !binds.iter().any(|volume| volume.bind.target == work) {
        binds.insert(0, Shared::directory(here()?, work.to_owned()));
    }
    Ok(binds)
}

impl Namespaces {
    /// Makes the plan. Native tools may have to be tested first.
    ///
    /// # Errors
    /// The image, its user or its tools do not fit the request or the host.
    pub(super) fn prepare(session: &mut RunSession<'_>) -> Result<Self, Error> {
        check_level(&session.target.reference, &session.image, &session.config)?;
        let request = &session.invocation.request;
        let composed = composer(session).first(profile(request.root))?;
        let caller = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let mut accounts = Accounts::of(&composed.rootfs)?;
        let mut identity = rootfs::resolve(&session.config.user, request.root, session.build.uid, &accounts)?;
        session.guest.settle(&mut identity, &mut accounts);
        let (limits, group) = apply_limits(session.context, request.limits);
        let sub_ids = (request.root && request.users == Users::Range).then(|| SubIds::of(caller.0)).transpose()?;
        if sub_ids.is_some() && !matches!(composed.scratch, Scratch::Memory(_)) {
            return Err(SandboxError::RangeOnDisk.into());
        }
        let environment = environment(session, &identity, &composed.rootfs);
        let accelerated = accelerate(session, &composed.rootfs, &identity, caller, &environment)?;
        let policy = policy(session, sub_ids, environment, accelerated.placements, limits)?;
        let guest = session.guest.view(Path::new(&identity.home), &policy.binds);
        let files = files(session, &policy, &composed.rootfs, &accounts, &identity);
        let root = composed.root(files);
        let emulator = session.foreign.as_ref().and_then(|foreign| foreign.path.clone());
        let plan = Plan::new(policy, root, caller, &identity, session.target.image_platform, emulator);
        let conditions = Conditions { limits, group, guest };
        Ok(Self { plan, conditions, tools: accelerated.tools, _composed: composed })
    }
}

impl Sandbox for Namespaces {
    fn policy(&self) -> &Policy {
        &self.plan.policy
    }

    fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    fn native_tools(&mut self) -> Vec<String> {
        std::mem::take(&mut self.tools)
    }

    fn execute(&mut self, session: &mut RunSession<'_>) -> Result<Executed, Error> {
        let RunSession { context, store, image, invocation, foreign, .. } = session;
        let composer = Composer { context, store, image, requested: invocation.request.rootfs };
        let fallbacks = std::iter::once(Fallback::Root).chain(foreign.as_mut().map(Fallback::Emulation)).collect();
        let (outcome, reaper) = attempts::run(&composer, &mut self.plan, self.conditions.group.as_ref(), fallbacks)?;
        Ok(Executed {
            outcome,
            root_strategy: self.plan.root.strategy,
            emulation: self.plan.policy.emulation,
            reaper: Some(reaper),
        })
    }
}

fn composer<'a>(session: &'a RunSession<'_>) -> Composer<'a> {
    let RunSession { context, store, image, invocation, .. } = session;
    Composer { context, store, image, requested: invocation.request.rootfs }
}

fn profile(root: bool) -> Profile {
    if root { Profile::Provision } else { Profile::Build }
}

/// Native tools for a foreign image, if the caller wants them.
fn accelerate(
    session: &mut RunSession<'_>,
    rootfs: &Rootfs,
    identity: &Identity,
    caller: (u32, u32),
    environment: &[(OsString, OsString)],
) -> Result<Accelerated, Error> {
    let RunSession { context, store, target, image, native, invocation, accel, foreign, .. } = session;
    let (Some(native), Some(foreign)) = (native, foreign) else { return Ok(Accelerated::default()) };
    let path = environment.iter().find(|(name, _)| name == "PATH").and_then(|(_, path)| path.to_str());
    let path = path.unwrap_or(DEFAULT_PATH);
    let requested_root = invocation.request.rootfs;
    let wanted = Wanted { target, image, native, rootfs, requested_root, identity, caller, path };
    native_tools::accelerate(context, store, *accel, &wanted, foreign)
}

fn policy(
    session: &mut RunSession<'_>,
    sub_ids: Option<SubIds>,
    environment: Vec<(OsString, OsString)>,
    placements: Vec<emulation::native::Placement>,
    limits: AppliedLimits,
) -> Result<Policy, Error> {
    let invocation = &session.invocation;
    let request = &invocation.request;
    let argv = command_line(&session.config, request.entrypoint.as_ref(), &request.argv)
        .ok_or_else(|| Error::NoCommand(session.target.reference.clone()))?;
    let directory = directory(request.directory.as_deref(), &session.config, invocation.work());
    let common = session.policy(argv, directory, environment, limits);
    let RunSession { context, foreign, guest, build, invocation, .. } = session;
    let request = &invocation.request;
    Ok(Policy {
        profile: profile(request.root),
        fake_root: if request.root && sub_ids.is_none() { request.fake_root } else { FakeRoot::Off },
        sub_ids,
        search: context.search.clone(),
        emulation: foreign.as_ref().map(|foreign| foreign.mode),
        explain: request.explain.then(|| invocation.caller.clone()),
        placements,
        hostname: guest.hostname().to_owned(),
        fixed_addresses: build.personality.contains(&Personality::AddrNoRandomize),
        interposed: guest.interposed,
        ..common
    })
}

/// The files of the run itself.
fn files(
    session: &RunSession<'_>,
    policy: &Policy,
    rootfs: &Rootfs,
    accounts: &Accounts,
    identity: &Identity,
) -> Vec<InjectedFile> {
    let read = |path: &str| {
        let bytes = atomic::read_limited(Path::new(path), MAX_HOST_FILE).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let apt_sources = || {
        let is_root = policy.profile == Profile::Provision;
        is_root.then(|| apt_sources(session.context, &session.target, &session.packages)).flatten()
    };
    let host = (policy.network == Network::Host).then(|| HostFiles {
        resolver: read("/etc/resolv.conf"),
        hosts: read("/etc/hosts"),
        apt_sources: apt_sources(),
    });
    let one_user = policy.fake_root != FakeRoot::Off;
    rootfs::injected(rootfs, accounts, identity, &policy.hostname, host, one_user)
}

/// `-w`, else the image's, else the project at `work`. An image without a setting has `/`; one with `/work` means the project.
fn directory(requested: Option<&Path>, config: &ImageConfig, work: &Path) -> PathBuf {
    let of_image = Some(config.working_dir.as_str()).filter(|path| !["", "/", Build::WORK].contains(path));
    beneath::plain(&Path::new("/").join(requested.or(of_image.map(Path::new)).unwrap_or(work)))
}

/// The variables of every build, the image's, those that hermes knows better, the toolchain's, the project's, and the caller's.
fn environment(session: &RunSession<'_>, identity: &Identity, rootfs: &Rootfs) -> Vec<(OsString, OsString)> {
    let RunSession { config, build, .. } = session;
    let emulated = session.foreign.is_some();
    let has_locale = has_locale(build, config, rootfs);
    let mut environment = Environment::default();
    environment.set("PATH", DEFAULT_PATH);
    environment.set("HOME", identity.home.clone());
    for (name, value) in build_variables(build).filter(|(name, _)| name != "LANG" || has_locale) {
        environment.set(name, value);
    }
    for (name, value) in image_variables(config) {
        // Those of QEMU would change what it emulates, for instance, or have it load a plugin.
        if !(emulated && name.starts_with(emulation::VARIABLES)) {
            environment.set(name, value);
        }
    }
    if emulated {
        for (name, value) in emulation::environment(session.target.image_platform) {
            environment.set(*name, *value);
        }
    }
    for (name, value) in &session.target.additions.environment {
        environment.set(name, value);
    }
    environment.prepend_path(&session.target.additions.path);
    environment.set_requested(&session.invocation, build);
    environment.into_list()
}

/// Whether programs of the image know the locale of the build. hermes looks for the default only: another one is the project's
/// choice.
fn has_locale(build: &Build, config: &ImageConfig, rootfs: &Rootfs) -> bool {
    build.locale != Build::LOCALE || image_variables(config).any(|(name, _)| name == "LANG") || rootfs.has_utf8_locale()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_command_starts() {
        for (asked, image, work, want) in [
            (None, "", "/work", "/work"),
            (None, "/", "/work", "/work"),
            (None, "/src", "/work", "/src"),
            (None, "src", "/work", "/src"),
            (Some("/x"), "/src", "/work", "/x"),
            (Some("y"), "", "/work", "/y"),
            (None, "", "/other", "/other"),
            (None, "/work", "/other", "/other"),
            (None, "/src", "/other", "/src"),
        ] {
            let config = ImageConfig { working_dir: image.into(), ..ImageConfig::default() };
            assert_eq!(
                directory(asked.map(Path::new), &config, Path::new(work)),
                Path::new(want),
                "{asked:?} {image:?}"
            );
        }
    }
}
