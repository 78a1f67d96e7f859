//! The root of a run: an overlay of the layers, or what replaces it on a host that refuses overlays.

use crate::commands::{Context, Error};
use crate::fs::measure::{Counted, measure};
use crate::hint::Hint as _;
use crate::lock::Image;
use crate::rootfs::{InjectedFile, Rootfs};
use crate::sandbox::{Plan, Profile, Root, RootStrategy, SandboxError, Scratch, probe};
use crate::size;
use crate::store::{Store, StoreError, TempDir};

/// A root that is ready to be mounted.
pub(super) struct Composed {
    pub(super) rootfs: Rootfs,
    pub(super) scratch: Scratch,
    pub(super) strategy: RootStrategy,
    /// Removed when it is dropped, after the run.
    _disk: Option<TempDir>,
}

impl Composed {
    /// The root of a plan, with `files` of the run.
    pub(super) fn root(&self, files: Vec<InjectedFile>) -> Root {
        Root { rootfs: self.rootfs.clone(), files, scratch: self.scratch.clone(), strategy: self.strategy }
    }
}

/// Makes the root of a run by the root strategy that was requested, otherwise by the first that the host allows.
#[derive(Clone, Copy)]
pub(super) struct Composer<'a> {
    pub(super) context: &'a Context,
    pub(super) store: &'a Store,
    pub(super) image: &'a Image,
    /// `--rootfs`.
    pub(super) requested: Option<RootStrategy>,
}

impl Composer<'_> {
    /// The root that is tried first.
    pub(super) fn first(&self, profile: Profile) -> Result<Composed, Error> {
        let &Self { context, image, store, requested } = self;
        let has_overlay = match requested {
            Some(strategy) => strategy == RootStrategy::Overlay,
            None => !store.overlay_known_unsupported(),
        };
        if !has_overlay {
            return self.without_overlay(profile);
        }
        let rootfs = Rootfs::of(image, store)?;
        if probe::memory_takes_overlays() {
            let scratch = Scratch::Memory(store.root().join("tmp"));
            return Ok(Composed { rootfs, scratch, strategy: RootStrategy::Overlay, _disk: None });
        }
        let disk = store.scratch()?;
        if requested.is_none() && !probe::takes_overlays(disk.path()) {
            drop(disk);
            refused(context, store, "the store's file system has no extended attributes", true);
            return self.without_overlay(profile);
        }
        let scratch = Scratch::Disk(disk.path().to_owned());
        Ok(Composed { rootfs, scratch, strategy: RootStrategy::Overlay, _disk: Some(disk) })
    }

    /// The root that replaces an overlay which `error` refused, unless the caller requires an overlay.
    pub(super) fn after_refusal(&self, plan: &Plan, error: &SandboxError) -> Result<Option<Composed>, Error> {
        let is_free = self.requested.is_none() && plan.root.strategy == RootStrategy::Overlay;
        let Some(call) = error.overlay_refused().filter(|_| is_free) else { return Ok(None) };
        refused(self.context, self.store, &call.to_string(), error.refuses_every_overlay());
        self.without_overlay(plan.policy.profile).map(Some)
    }

    fn without_overlay(&self, profile: Profile) -> Result<Composed, Error> {
        let &Self { context, image, store, .. } = self;
        let Some(rootfs) = Rootfs::merged(image, store)? else { return Err(Error::NoLayers) };
        if profile == Profile::Build {
            let scratch = Scratch::Memory(store.root().join("tmp"));
            return Ok(Composed { rootfs, scratch, strategy: RootStrategy::Merged, _disk: None });
        }
        let disk = store.scratch()?;
        let tree = disk.path().join(Scratch::TREE);
        std::fs::create_dir(&tree).map_err(|source| StoreError::Io { action: "create", path: tree.clone(), source })?;
        let diff_ids: Vec<_> = image.layers.iter().map(|layer| layer.diff_id).collect();
        store.copy_root(&diff_ids, &tree)?;
        let bytes = measure(&tree, &mut Counted::new()).bytes;
        let size = size::shown(bytes);
        context
            .reporter
            .warn(&format!("without an overlay, --root works in a copy of the image: {size} until it ends"));
        let scratch = Scratch::Disk(disk.path().to_owned());
        Ok(Composed { rootfs, scratch, strategy: RootStrategy::Copy, _disk: Some(disk) })
    }
}

/// Warns that overlays are refused. If that holds for all images, writes a note into the store, so that hermes warns once in a
/// boot.
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
