//! The run of the scripts of packages.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::time::Duration;

use super::composition::{Archive, Composition, Work};
use super::error::ComposeError;
use crate::debian::compose::finish::{PLACE, Part, finish};
use crate::debian::compose::layer::{Described, Facts, Owned};
use crate::debian::compose::script::{self, Preinst};
use crate::debian::compose::tree::{FileKey, Tree};
use crate::emulation::{self, EmulationMode};
use crate::fs::copy;
use crate::layer::{Entry, Kind};
use crate::sandbox::{
    self, Beside, Clock, FakeRoot, InitReaper, Interposed, Outcome, PathOwner, Plan, Policy, Profile, SandboxError,
};
use crate::store::Store;

/// Umask of the scripts.
const UMASK: u32 = 0o022;

/// The owners other than root among these files.
fn owners(entries: &[Entry]) -> Vec<PathOwner> {
    let foreign = entries.iter().filter(|entry| (entry.uid, entry.gid) != (0, 0));
    let of_path = |entry: &Entry| PathOwner {
        path: OsString::from_vec(entry.path.clone()).into(),
        owner: (entry.uid, entry.gid),
    };
    foreign.map(of_path).collect()
}

/// A part of a root that is to be configured.
pub(super) struct Step<'a> {
    pub(super) part: Part,
    /// Packages with a preinst script among those that are unpacked.
    pub(super) preinsts: &'a [Preinst],
    /// What is in the tree, but for the files that the script needs.
    pub(super) entries: Vec<Entry>,
}

/// Writes the files that the script of the base needs into the tree.
pub(super) fn provide_base(
    work: &Work<'_>,
    tree: &Tree,
    preinsts: &[Preinst],
    index: &[String],
) -> Result<(), ComposeError> {
    provide(tree, preinsts)?;
    let (mut selections, mut available) = (String::new(), String::new());
    for Archive { expected, .. } in work.composition.base {
        let _ = writeln!(selections, "{} install", expected.name);
    }
    for paragraph in index {
        let _ = write!(available, "{}\n\n", paragraph.trim_end_matches('\n'));
    }
    write(tree, "selections", selections.as_bytes())?;
    write(tree, "available", available.as_bytes())
}

/// Writes the files that the script of further packages needs into the tree; `archives` are those that dpkg unpacks.
pub(super) fn provide_packages<'a>(
    tree: &Tree,
    preinsts: &[Preinst],
    archives: impl Iterator<Item = &'a Archive>,
) -> Result<(), ComposeError> {
    provide(tree, preinsts)?;
    let place = tree.path().join(PLACE).join("debs");
    for Archive { expected, path } in archives {
        // What the scripts change there must not be the store's.
        let to = place.join(format!("{}_{}.deb", expected.name, expected.architecture.as_str()));
        let from = std::fs::File::open(path).map_err(ComposeError::io("open", path))?;
        let file = std::fs::File::create_new(&to).map_err(ComposeError::io("create", &to))?;
        copy::content(from, &file).map_err(ComposeError::io("write", &to))?;
    }
    Ok(())
}

/// Writes what every script needs.
fn provide(tree: &Tree, preinsts: &[Preinst]) -> Result<(), ComposeError> {
    for directory in ["", "/control", "/debs"] {
        let made = tree.make_directory(&format!("{PLACE}{directory}"), 0o700);
        made.map_err(ComposeError::io("create", &tree.path().join(PLACE)))?;
    }
    write(tree, script::LOG, b"")?;
    write(tree, script::STEP, b"")?;
    preinsts.iter().try_for_each(|preinst| write(tree, &format!("control/{}", preinst.name), &preinst.control))
}

fn write(tree: &Tree, name: &str, content: &[u8]) -> Result<(), ComposeError> {
    let path = format!("{PLACE}/{name}");
    tree.write(&path, content, Some(0o600)).map_err(ComposeError::io("create", &tree.path().join(&path)))
}

/// Configures a part of the root. `beside` is done meanwhile, unless the system has no thread for it.
pub(super) fn configured(
    work: &Work<'_>,
    tree: &Tree,
    step: Step<'_>,
    beside: Beside<'_, '_>,
) -> Result<Vec<Described>, ComposeError> {
    let Composition { epoch, sources, limits, .. } = *work.composition;
    let Step { part, preinsts, entries } = step;
    restore(tree, &entries)?;
    let owners = owners(&entries);
    drop(entries);
    let start = now(work)?;
    let owners = run(work, tree, (part, preinsts), owners, beside)?;
    finish(tree, part, epoch, sources)
        .map_err(|(path, source)| ComposeError::io("change", &tree.path().join(path))(source))?;
    let facts = Facts { epoch, run: (start, now(work)?), owners };
    let found = tree.list(&limits).map_err(ComposeError::io("read", tree.path()))?;
    Ok(facts.describe(found))
}

/// The time by the clock of the tree's file system.
fn now(work: &Work<'_>) -> Result<(i64, u32), ComposeError> {
    use std::os::unix::fs::MetadataExt as _;
    let path = work.place.join("clock");
    let time = std::fs::write(&path, "x").and_then(|()| std::fs::symlink_metadata(&path));
    let time = time.map_err(ComposeError::io("write", &path))?;
    Ok((time.mtime(), u32::try_from(time.mtime_nsec()).unwrap_or(0)))
}

/// Gives the files of the tree the modes, and its directories the times, that they have in `entries`, where the unpacker gave
/// them others.
pub(super) fn restore(tree: &Tree, entries: &[Entry]) -> Result<(), ComposeError> {
    for entry in entries {
        let (mode, time) = match entry.kind {
            Kind::Directory => (true, true),
            Kind::File => (entry.mode & 0o7000 != 0 || entry.mode & 0o600 != 0o600, false),
            _ => (false, false),
        };
        let mode = if mode { tree.set_mode(&entry.path, entry.mode) } else { Ok(()) };
        let changed = mode.and_then(|()| if time { tree.set_time(&entry.path, entry.mtime) } else { Ok(()) });
        changed.map_err(|source| {
            let path = tree.path().join(crate::visible::visible_path(&entry.path));
            ComposeError::io("change", &path)(source)
        })?;
    }
    Ok(())
}

/// Runs the script of a part with these preinst scripts. `owners` are the owners of files before; returns those after it.
fn run(
    work: &Work<'_>,
    tree: &Tree,
    (part, preinsts): (Part, &[Preinst]),
    owners: Vec<PathOwner>,
    beside: Beside<'_, '_>,
) -> Result<HashMap<FileKey, Owned>, ComposeError> {
    let &Composition { platform, epoch, requested, emulator, required, directory_order, .. } = work.composition;
    let requested = if part == Part::Packages { requested } else { &[] };
    let mut environment = script::environment(epoch);
    if emulator.is_some() {
        let variables = emulation::environment(platform);
        environment.extend(variables.iter().map(|(name, value)| ((*name).into(), (*value).into())));
    }
    let clock = Clock::From(Duration::from_secs(u64::try_from(epoch).unwrap_or(0)));
    let policy = Policy {
        profile: Profile::Provision,
        fake_root: FakeRoot::Stateful,
        owners: Some(owners),
        silent: true,
        required: required.to_vec(),
        environment,
        emulation: emulator.map(|_| first_mode(work.store)),
        umask: UMASK,
        // If the machine fails, all of it is composed again.
        ignores_sync: true,
        interposed: Interposed { clock: Some(clock), directory_order },
        ..Policy::new(script::command(part, preinsts, requested), "/".into())
    };
    let caller = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let plan = Plan::in_tree(policy, work.place, caller, platform, emulator.map(Path::to_owned));
    let (outcome, reaper) = attempt(work.store, plan, beside)?;
    // The mounts of the sandbox are gone then.
    drop(reaper);
    if outcome.exit_code() != 0 {
        let read = |name: &str| {
            let bytes = tree.read(&format!("{PLACE}/{name}")).ok().flatten().unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        return Err(ComposeError::script(&read(script::STEP), &read(script::LOG), &outcome));
    }
    let files = outcome.faked.into_iter();
    let owned = files.map(|file| {
        let key = FileKey { device: file.device, inode: file.inode };
        (key, Owned { owner: file.owner, born: file.born })
    });
    Ok(owned.collect())
}

fn first_mode(store: &Store) -> EmulationMode {
    if store.binfmt_known_unsupported() { EmulationMode::Ptrace } else { EmulationMode::Binfmt }
}

/// Runs the plan. If the kernel refuses a private `binfmt_misc`, init runs foreign programs as their tracer instead, and a
/// note in the store saves the next run from trying.
fn attempt(store: &Store, mut plan: Plan, mut beside: Beside<'_, '_>) -> Result<(Outcome, InitReaper), SandboxError> {
    match sandbox::run_beside(&plan, beside.as_deref_mut()) {
        Err(error) if error.handlers_refused().is_some() && plan.policy.emulation == Some(EmulationMode::Binfmt) => {
            plan.policy.emulation = Some(EmulationMode::Ptrace);
            // Without the note the next run finds it out again.
            let _ = store.set_binfmt_unsupported(true);
            sandbox::run_beside(&plan, beside)
        }
        ended => ended,
    }
}
