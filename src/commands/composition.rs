//! Which root a run gets: an overlay of the layers, or where the host refuses that, what comes next.

use crate::commands::{Context, Error};
use crate::fs::measure::{Counted, measure};
use crate::hint::Hint as _;
use crate::lock::Image;
use crate::rootfs::Rootfs;
use crate::sandbox::{self, Group, InitReaper, Outcome, Plan, Profile, Rung, SandboxError, Scratch, probe};
use crate::size;
use crate::store::{Store, StoreError, TempDir};

/// What root was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum RootKind {
    /// The first that the host allows.
    #[default]
    Auto,
    /// An overlay, or none.
    Overlay,
    /// A merged tree, even where an overlay could be had.
    Merged,
}

/// What a root is made of.
pub(super) struct Composed {
    pub(super) rootfs: Rootfs,
    pub(super) scratch: Scratch,
    pub(super) rung: Rung,
    /// Removed when it is dropped, after the run.
    _disk: Option<TempDir>,
}

/// Has the tree ready that a run of `image` takes.
///
/// # Errors
/// Those of merging.
pub(super) fn make_ready(image: &Image, store: &Store) -> Result<(), StoreError> {
    if store.overlay_known_unsupported() {
        return Rootfs::merged(image, store).map(drop);
    }
    Rootfs::of(image, store).map(drop)
}

/// The root to be tried first.
pub(super) fn first(
    context: &Context,
    image: &Image,
    store: &Store,
    kind: RootKind,
    profile: Profile,
) -> Result<Composed, Error> {
    if kind == RootKind::Merged || kind == RootKind::Auto && store.overlay_known_unsupported() {
        return without_overlay(context, image, store, profile);
    }
    let rootfs = Rootfs::of(image, store)?;
    if probe::memory_takes_overlays() {
        let scratch = Scratch::Memory(store.root().join("tmp"));
        return Ok(Composed { rootfs, scratch, rung: Rung::Overlay, _disk: None });
    }
    let disk = store.scratch()?;
    if kind == RootKind::Auto && !probe::takes_overlays(disk.path()) {
        drop(disk);
        refused(context, store, "the store's file system has no extended attributes", true);
        return without_overlay(context, image, store, profile);
    }
    let scratch = Scratch::Disk(disk.path().to_owned());
    Ok(Composed { rootfs, scratch, rung: Rung::Overlay, _disk: Some(disk) })
}

/// Runs the plan; where the overlay in it is refused and another root will do, with that. `otherwise` may change it for
/// other refusals, and says whether it has.
pub(super) fn run(
    context: &Context,
    image: &Image,
    store: &Store,
    kind: RootKind,
    plan: &mut Plan,
    group: Option<&Group>,
    mut otherwise: impl FnMut(&mut Plan, &SandboxError) -> bool,
) -> Result<(Outcome, InitReaper), Error> {
    let mut composed = None;
    loop {
        let outcome = sandbox::run(plan, group);
        let Err(error) = &outcome else { return Ok(outcome?) };
        let overlay = error.overlay_refused().filter(|_| kind == RootKind::Auto && plan.root.rung == Rung::Overlay);
        if let Some(call) = overlay {
            refused(context, store, &call.to_string(), error.refuses_every_overlay());
            let next = without_overlay(context, image, store, plan.policy.profile)?;
            (plan.root.rootfs, plan.root.scratch, plan.root.rung) =
                (next.rootfs.clone(), next.scratch.clone(), next.rung);
            composed = Some(next);
        } else if !otherwise(plan, error) {
            drop(composed);
            return Ok(outcome?);
        }
    }
}

/// Says so, and where it holds for all images remembers it, so that it is said once in a boot.
fn refused(context: &Context, store: &Store, reason: &str, of_all_images: bool) {
    context.reporter.warn(&format!(
        "no overlay can be mounted here ({reason}): the root is a merged tree, of which only the usual places can be \
         written to; 'hermes doctor' says what to do"
    ));
    if !of_all_images {
        return;
    }
    if let Err(error) = store.set_overlay_unsupported(true) {
        let hints = error.hints().join("; ");
        context.reporter.verbose(&format!("the next run will try again: {error} {hints}"));
    }
}

fn without_overlay(context: &Context, image: &Image, store: &Store, profile: Profile) -> Result<Composed, Error> {
    let Some(rootfs) = Rootfs::merged(image, store)? else { return Err(Error::NoLayers) };
    if profile == Profile::Build {
        let scratch = Scratch::Memory(store.root().join("tmp"));
        return Ok(Composed { rootfs, scratch, rung: Rung::Merged, _disk: None });
    }
    let disk = store.scratch()?;
    let tree = disk.path().join(Scratch::TREE);
    std::fs::create_dir(&tree).map_err(|source| StoreError::Io { action: "create", path: tree.clone(), source })?;
    let diff_ids: Vec<_> = image.layers.iter().map(|layer| layer.diff_id).collect();
    store.copy_root(&diff_ids, &tree)?;
    let bytes = measure(&tree, &mut Counted::new()).bytes;
    let size = size::shown(bytes);
    context.reporter.warn(&format!("without an overlay, --root works in a copy of the image: {size} until it ends"));
    let scratch = Scratch::Disk(disk.path().to_owned());
    Ok(Composed { rootfs, scratch, rung: Rung::Copy, _disk: Some(disk) })
}
