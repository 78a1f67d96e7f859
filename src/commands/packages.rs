//! `hermes packages`: lists the packages of an image in the store, or the changes from another image.

use serde::Serialize;

use crate::commands::acquire::{Acquirer, OtherLocks, WantedRoot};
use crate::commands::image_diff::{ImageChanges, between, inventory, listed};
use crate::commands::{Context, Error, OwnError, Target, TargetSelector, images};
use crate::digest::Digest;
use crate::dpkg::PackageName;
use crate::hint::{ErrorKind, Hint};
use crate::lock::{Image, Lock, Root, root_key};
use crate::packages::{Inventory, Package};
use crate::platform::Platform;
use crate::reference::Reference;

/// The packages of an image.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Listed {
    /// Its name.
    pub reference: Reference,
    /// What it is made for.
    pub platform: Platform,
    /// Its manifest.
    pub manifest: Digest,
    /// What it has.
    #[serde(flatten)]
    pub inventory: Inventory,
}

/// The packages of a toolchain, by its lock.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Locked {
    /// The toolchain.
    pub toolchain: String,
    /// The target platform.
    pub platform: Platform,
    /// Sorted by name.
    pub packages: Vec<Package>,
}

/// Why a toolchain has a package.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Why {
    /// A requested package, one that it depends on, and so on, to the package itself.
    pub chain: Vec<String>,
}

/// Errors of listing the packages of a toolchain.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PackagesError {
    /// The toolchain has an image.
    #[error("the toolchain '{0}' is not made of packages")]
    NoPackages(String),
    /// The root has no such package.
    #[error("{toolchain} for {} has no package {name}", platform.name())]
    NoPackage { toolchain: String, platform: Platform, name: PackageName },
}

impl OwnError for PackagesError {}

impl Hint for PackagesError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Usage
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::NoPackages(name) => {
                vec![format!("list the packages of its image: hermes toolchain show {name}, hermes packages REF")]
            }
            Self::NoPackage { toolchain, .. } => vec![format!("list them: hermes packages -t {toolchain}")],
        }
    }
}

/// The target of a toolchain of packages, its lock, and its root there.
fn locked(context: &Context, toolchain: String, platform: Option<Platform>) -> Result<(Target, Lock, Root), Error> {
    let target =
        context.choose(TargetSelector { platform, toolchain: Some(toolchain.clone()), ..TargetSelector::default() })?;
    if target.packages.is_none() {
        return Err(PackagesError::NoPackages(toolchain).into());
    }
    let file = context.lock_file(&target);
    let mut lock = file.read()?;
    if !lock.has(target.key())
        && let Some(key) = root_key(&target.reference, target.image_platform)
        && let Some((other, image)) = OtherLocks::of(context, &toolchain)?.root(&target, &lock)
    {
        other.put(&mut lock, key);
        lock.images.extend(image.map(|image| ((target.reference.clone(), target.image_platform), image)));
    }
    let root = lock.root(&target.reference, target.image_platform).cloned();
    let what = || format!("packages of {toolchain} for {}", target.platform.name());
    let root = root.ok_or_else(|| Error::NotLocked { lock: file.path().to_owned(), what: what() })?;
    Ok((target, lock, root))
}

/// The image of a toolchain of packages, by its lock.
///
/// # Errors
/// No machine has composed the root yet.
pub(super) fn root_image(
    context: &Context,
    toolchain: String,
    platform: Option<Platform>,
) -> Result<(Reference, Image), Error> {
    let (target, lock, root) = locked(context, toolchain, platform)?;
    let Target { reference, image_platform, .. } = target;
    let not_composed = Error::NotComposed { reference: reference.clone(), platform: root.platform };
    let image = root_key(&reference, image_platform).and_then(|key| lock.image_of_root(&key, &root).cloned());
    Ok((reference, image.ok_or(not_composed)?))
}

/// The packages of a toolchain for a platform, by its lock alone.
pub(crate) fn of_toolchain(context: &Context, toolchain: String, platform: Option<Platform>) -> Result<Locked, Error> {
    let (target, _, root) = locked(context, toolchain.clone(), platform)?;
    Ok(Locked { toolchain, platform: target.platform, packages: listed(&root).packages })
}

/// Why a toolchain has a package, by its lock, and by the indexes that the lock names.
pub(crate) fn why(
    context: &Context,
    toolchain: &str,
    platform: Option<Platform>,
    name: &PackageName,
) -> Result<Why, Error> {
    let (target, lock, root) = locked(context, toolchain.to_owned(), platform)?;
    let absent =
        || PackagesError::NoPackage { toolchain: toolchain.to_owned(), platform: target.platform, name: name.clone() };
    if root.debs.iter().all(|deb| deb.name != *name) {
        return Err(absent().into());
    }
    let archives = lock.archives_of(&root).unwrap_or_default();
    let wanted = WantedRoot {
        reference: &target.reference,
        toolchain: Some(toolchain),
        packages: target.packages.as_ref(),
        root: &root,
        archives: &archives,
        locked: None,
        emulator: None,
    };
    let store = context.open_store()?;
    let mut lease = store.lease();
    let chain = Acquirer::new(context, &store, &mut lease).why(wanted, name)?;
    let chain = chain.ok_or_else(absent)?.iter().map(ToString::to_string).collect();
    Ok(Why { chain })
}

/// The packages of an image for a platform; by default this host's, else the image's only one.
pub(crate) fn list(context: &Context, reference: &Reference, platform: Option<Platform>) -> Result<Listed, Error> {
    let store = context.open_store()?;
    let _lease = store.lease_all();
    let image = images::pick(&store, reference, platform)?;
    let inventory =
        inventory(context, &store, &image)?.ok_or_else(|| Error::NoLayersHere(Box::new(reference.clone())))?;
    let (platform, manifest) = (image.platform, image.manifest.digest);
    Ok(Listed { reference: reference.clone(), platform, manifest, inventory })
}

/// The changes from the image `old` to the image `new`, for one platform.
pub(crate) fn changes(
    context: &Context,
    old: &Reference,
    new: &Reference,
    platform: Option<Platform>,
) -> Result<ImageChanges, Error> {
    let store = context.open_store()?;
    let _lease = store.lease_all();
    let pick = |reference| images::pick(&store, reference, platform);
    between(context, &store, &pick(old)?, &pick(new)?)
}
