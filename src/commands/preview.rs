//! `hermes pull --dry-run`: computes what a pull would do, without changing the store.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::commands::acquire::{Acquirer, OtherLocks, State};
use crate::commands::prepare::{native_image, native_tools, origin};
use crate::commands::{Context, Error, Target, TargetSelector, network};
use crate::digest::Digest;
use crate::emulation::Accel;
use crate::hint::error_chain;
use crate::lock::{self, Lock, LockFile, Root};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::resolve::{Wanted, preview, resolve_local};
use crate::store::Store;

/// The amount of work of a pull.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Amount {
    /// Layers, each counted once.
    pub layers: usize,
    /// Those of them that are unpacked in the store.
    pub layers_here: usize,
    /// Bytes of layers that would be downloaded, without what the store has of them.
    pub fetch_bytes: u64,
    /// Bytes of files that would be unpacked.
    pub unpack_bytes: u64,
    /// Whether `unpack_bytes` is an estimate from the compressed size, since manifests do not have the unpacked size.
    pub unpack_estimated: bool,
    /// Files, directories and links that would be created; `None` if that is unknown before layers are read.
    pub unpack_inodes: Option<u64>,
}

/// What would be done for one image.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Preview {
    /// The image.
    pub reference: Reference,
    /// The platform asked for.
    pub platform: Platform,
    /// Its manifest; `None` for packages that no machine has composed yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Digest>,
    /// Packages that would be composed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packages: Option<Packages>,
    /// For this image alone.
    #[serde(flatten)]
    pub amount: Amount,
}

/// The packages of a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Packages {
    pub count: usize,
    /// Those of them that the store has.
    pub here: usize,
}

/// What would be done.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Previews {
    /// Image by image.
    pub images: Vec<Preview>,
    /// For all of them; layers they share count once.
    pub total: Amount,
}

/// Previews a pull of `references`. Manifests and configs are downloaded.
pub(crate) fn images(context: &Context, references: &[Reference], wanted: &Wanted) -> Result<Previews, Error> {
    let store = context.existing_store()?;
    let mut images = Vec::new();
    for reference in references {
        // What its digest names is what it was.
        let pinned = reference.digest().is_some();
        let known = if pinned { known(reference, wanted, store.as_ref()) } else { None };
        images.push((
            reference.clone(),
            wanted.platform,
            known_or_asked(context, store.as_ref(), reference, wanted, known)?,
        ));
    }
    Ok(previews(images, store.as_ref()))
}

/// Previews a pull of everything that a run of `selector` needs.
pub(crate) fn toolchain(context: &Context, selector: TargetSelector) -> Result<Previews, Error> {
    let target = context.choose(selector)?;
    let file = context.lock_file(&target);
    let mut lock = file.read()?;
    let store = context.existing_store()?;
    let emulator = origin(context, store.as_ref(), &lock, target.image_platform, target.emulator.as_ref());
    let emulator = emulator.map(|origin| origin.image);
    let native = native_to_compose(&target, &lock, store.as_ref());
    let root = to_compose(context, &target, &lock, &file)?;
    let mut image = |reference: &Reference, wanted: &Wanted| {
        let platform = wanted.platform;
        let locked = lock.images.remove(&(reference.clone(), platform));
        if locked.is_none() && context.locked {
            let what = format!("{reference} for {}", platform.name());
            return Err(Error::Stale { lock: file.path().to_owned(), what });
        }
        let known = locked.or_else(|| known(reference, wanted, store.as_ref()));
        let image = known_or_asked(context, store.as_ref(), reference, wanted, known)?;
        Ok((reference.clone(), platform, image))
    };
    let mut composed = Vec::new();
    let mut images = Vec::new();
    match root {
        Some(root) => composed.push(packages((target.reference.clone(), target.image_platform), &root, store.as_ref())),
        None => images.push(image(&target.reference, &target.wanted())?),
    }
    for welcome in emulator.iter().chain(native_image(&target, Accel::default())) {
        match image(welcome, &Platform::host().into()) {
            Err(error) if error.is_absence() => context.reporter.warn(&error_chain(&error)),
            welcome => images.push(welcome?),
        }
    }
    composed.extend(native.map(|(reference, root)| packages((reference, root.platform), &root, store.as_ref())));
    let mut previews = previews(images, store.as_ref());
    for composed in composed.into_iter().rev() {
        let (all, one) = (&mut previews.total, &composed.amount);
        all.fetch_bytes = all.fetch_bytes.saturating_add(one.fetch_bytes);
        all.unpack_bytes = all.unpack_bytes.saturating_add(one.unpack_bytes);
        all.unpack_estimated = true;
        all.unpack_inodes = None;
        previews.images.insert(0, composed);
    }
    Ok(previews)
}

/// The packages of `target` that would be composed: those in `lock`, else those that would be locked. `None` for an image, and
/// for a root that is composed already.
fn to_compose(context: &Context, target: &Target, lock: &Lock, file: &LockFile) -> Result<Option<Root>, Error> {
    let (reference, platform) = (&target.reference, target.image_platform);
    let (Some(wanted), Some(toolchain)) = (&target.packages, &target.toolchain) else { return Ok(None) };
    let known = lock.root(reference, platform);
    let archives = known.and_then(|root| lock.archives_of(root)).unwrap_or_default();
    if let Some(root) = known.filter(|root| root.fits(wanted, platform, &archives)) {
        let image = lock.images.get(&(reference.clone(), platform));
        let store = context.existing_store()?;
        let is_here = image.zip(store).is_some_and(|(image, store)| store.has_image(image));
        return Ok((!is_here).then(|| root.clone()));
    }
    if let Some((other, _)) = OtherLocks::of(context, toolchain)?.root(target, lock) {
        return Ok(Some(other.root));
    }
    if context.locked {
        let what = format!("packages of {toolchain} for {}", platform.name());
        return Err(Error::Stale { lock: file.path().to_owned(), what });
    }
    let store = context.open_store()?;
    let mut lease = store.lease();
    let solved = Acquirer::new(context, &store, &mut lease).solve(toolchain, wanted, platform, lock, State::Locked)?;
    Ok(Some(solved.root))
}

/// The locked native tools of `target` that would be composed.
fn native_to_compose(target: &Target, lock: &Lock, store: Option<&Store>) -> Option<(Reference, Root)> {
    let reference = native_tools(target, Accel::default()).and_then(|_| target.native_reference())?;
    let root = lock.root(&reference, Platform::host())?;
    let image = lock.images.get(&(reference.clone(), Platform::host()));
    let is_here = image.zip(store).is_some_and(|(image, store)| store.has_image(image));
    (!is_here).then(|| (reference, root.clone()))
}

/// What would be done for packages.
fn packages((reference, platform): (Reference, Platform), root: &Root, store: Option<&Store>) -> Preview {
    let is_here = |deb: &&lock::Deb| store.is_some_and(|store| store.has_blob(&deb.blob()));
    let rest = |deb: &lock::Deb| deb.size.saturating_sub(store.map_or(0, |store| store.partial_size(&deb.digest)));
    let missing = root.debs.iter().filter(|deb| !is_here(deb));
    let amount = Amount {
        fetch_bytes: missing.map(rest).fold(0, u64::saturating_add),
        unpack_bytes: unpacked("xz", root.debs.iter().map(|deb| deb.size).fold(0, u64::saturating_add)),
        unpack_estimated: true,
        ..Amount::default()
    };
    let packages = Packages { count: root.debs.len(), here: root.debs.iter().filter(is_here).count() };
    Preview { reference, platform, manifest: None, packages: Some(packages), amount }
}

/// The image by the store. Damage in the store is ignored, because the pull repairs it.
fn known(reference: &Reference, wanted: &Wanted, store: Option<&Store>) -> Option<lock::Image> {
    resolve_local(reference, wanted.clone(), store?).ok().flatten()
}

fn known_or_asked(
    context: &Context,
    store: Option<&Store>,
    reference: &Reference,
    wanted: &Wanted,
    known: Option<lock::Image>,
) -> Result<lock::Image, Error> {
    match known {
        Some(image) => Ok(image),
        None if context.offline => Err(Error::Offline { reference: reference.clone(), platform: wanted.platform }),
        None => network::run(context, async |client| {
            Ok(preview(reference, wanted.clone(), store, &client, context.reporter.as_ref()).await?)
        }),
    }
}

fn previews(images: Vec<(Reference, Platform, lock::Image)>, store: Option<&Store>) -> Previews {
    let total = amount(images.iter().flat_map(|(_, _, image)| &image.layers), store);
    let preview = |(reference, platform, image): (Reference, Platform, lock::Image)| Preview {
        reference,
        platform,
        manifest: Some(image.manifest.digest),
        packages: None,
        amount: amount(image.layers.iter(), store),
    };
    Previews { images: images.into_iter().map(preview).collect(), total }
}

fn amount<'a>(layers: impl Iterator<Item = &'a lock::Layer>, store: Option<&Store>) -> Amount {
    let mut amount = Amount { unpack_inodes: Some(0), ..Amount::default() };
    let mut seen = BTreeSet::new();
    for layer in layers.filter(|layer| seen.insert(layer.diff_id)) {
        amount.layers += 1;
        if store.is_some_and(|store| store.has_layer(&layer.diff_id)) {
            amount.layers_here += 1;
            continue;
        }
        let here = store.map_or(0, |store| {
            if store.has_blob(&layer.blob) { layer.blob.size } else { store.partial_size(&layer.blob.digest) }
        });
        amount.fetch_bytes += layer.blob.size.saturating_sub(here);
        amount.unpack_bytes += unpacked(&layer.blob.media_type, layer.blob.size);
        amount.unpack_estimated = true;
        amount.unpack_inodes = None;
    }
    amount
}

/// The estimated unpacked size of a layer or of packages of `size` bytes, by the ratios of Debian's packages.
fn unpacked(media_type: &str, size: u64) -> u64 {
    let tenths = if media_type == "xz" {
        40
    } else if media_type.ends_with("gzip") {
        27
    } else if media_type.ends_with("zstd") {
        30
    } else {
        10
    };
    (u128::from(size) * tenths / 10).try_into().unwrap_or(u64::MAX)
}
