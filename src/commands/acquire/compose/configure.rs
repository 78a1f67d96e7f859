//! The run of the scripts of packages.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::time::Duration;

use super::composition::{Archive, Composition, Work};
use super::error::ComposeError;
use crate::debian::compose::finish::{PLACE, Part};
use crate::debian::compose::layer::Owned;
use crate::debian::compose::script::{self, Preinst};
use crate::debian::compose::tree::{FileKey, Tree};
use crate::emulation::{self, EmulationMode};
use crate::fs::copy;
use crate::layer::Entry;
use crate::sandbox::{
    self, Clock, FakeRoot, InitReaper, Interposed, Outcome, PathOwner, Plan, Policy, Profile, SandboxError,
};
use crate::store::Store;

/// Umask of the scripts.
const UMASK: u32 = 0o022;

/// The owners other than root among these files.
pub(super) fn owners(entries: &[Entry]) -> Vec<PathOwner> {
    let foreign = entries.iter().filter(|entry| (entry.uid, entry.gid) != (0, 0));
    let of_path = |entry: &Entry| PathOwner {
        path: OsString::from_vec(entry.path.clone()).into(),
        owner: (entry.uid, entry.gid),
    };
    foreign.map(of_path).collect()
}

/// Writes the files that the script of this part needs into the tree.
pub(super) fn provide(work: &Work<'_>, tree: &Tree, part: Part, preinsts: &[Preinst]) -> Result<(), ComposeError> {
    let place = tree.path().join(PLACE);
    let at = |source| ComposeError::io("create", &place)(source);
    for directory in ["", "/control", "/debs"] {
        tree.make_directory(&format!("{PLACE}{directory}"), 0o700).map_err(at)?;
    }
    let write = |name: &str, content: &[u8]| tree.write(&format!("{PLACE}/{name}"), content, Some(0o600)).map_err(at);
    write(script::LOG, b"")?;
    write(script::STEP, b"")?;
    for preinst in preinsts {
        write(&format!("control/{}", preinst.name), &preinst.control)?;
    }
    match part {
        Part::Base => {
            let Composition { base, index, .. } = *work.composition;
            let (mut selections, mut available) = (String::new(), String::new());
            for Archive { expected, .. } in base {
                let _ = writeln!(selections, "{} install", expected.name);
            }
            for paragraph in index {
                let _ = write!(available, "{}\n\n", paragraph.trim_end_matches('\n'));
            }
            write("selections", selections.as_bytes())?;
            write("available", available.as_bytes())
        }
        Part::Packages => work.composition.packages.iter().try_for_each(|archive| provide_archive(&place, archive)),
    }
}

/// Copies an archive into the tree: what the scripts change there must not be the store's.
fn provide_archive(place: &Path, Archive { expected, path }: &Archive) -> Result<(), ComposeError> {
    let to = place.join("debs").join(format!("{}_{}.deb", expected.name, expected.architecture.as_str()));
    let from = std::fs::File::open(path).map_err(ComposeError::io("open", path))?;
    let file = std::fs::File::create_new(&to).map_err(ComposeError::io("create", &to))?;
    copy::content(from, &file).map_err(ComposeError::io("write", &to))
}

/// Runs the script of this part. `owners` are the owners of files before; returns those after it.
pub(super) fn run(
    work: &Work<'_>,
    tree: &Tree,
    part: Part,
    preinsts: &[Preinst],
    owners: Vec<PathOwner>,
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
        interposed: Interposed { clock: Some(clock), directory_order },
        ..Policy::new(script::command(part, preinsts, requested), "/".into())
    };
    let caller = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let plan = Plan::in_tree(policy, work.place, caller, platform, emulator.map(Path::to_owned));
    let (outcome, reaper) = attempt(work.store, plan)?;
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
fn attempt(store: &Store, mut plan: Plan) -> Result<(Outcome, InitReaper), SandboxError> {
    match sandbox::run(&plan, None) {
        Err(error) if error.handlers_refused().is_some() && plan.policy.emulation == Some(EmulationMode::Binfmt) => {
            plan.policy.emulation = Some(EmulationMode::Ptrace);
            // Without the note the next run finds it out again.
            let _ = store.set_binfmt_unsupported(true);
            sandbox::run(&plan, None)
        }
        ended => ended,
    }
}
