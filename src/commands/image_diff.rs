//! Differences between two images: their packages and configs.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::commands::{Context, Error};
use crate::digest::Digest;
use crate::fetch::unpack_local;
use crate::lock::{Deb, Entry, Image, Lock, Root};
use crate::oci::{self, Document, DocumentError, ImageConfig, Manifest};
use crate::packages::{Inventory, Kind, Package, PackageChanges, Unread};
use crate::rootfs::Rootfs;
use crate::store::{Store, StoreError};

/// The differences between two images.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ImageChanges {
    /// The packages; `None` where a layer of one of the images is not in the store.
    pub packages: Option<PackageChanges>,
    /// Package databases that could not be read, so that changes in them are unknown.
    pub unread: Vec<Unread>,
    /// The configs.
    pub config: Vec<ConfigChange>,
}

/// A config setting that has different values in the two images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ConfigChange {
    /// `Env NAME`, or a name of the image config: `User`, `WorkingDir`, `Entrypoint`, `Cmd`.
    pub setting: String,
    /// In the old image; `None` where it has none.
    pub old: Option<String>,
    /// In the new one.
    pub new: Option<String>,
}

/// What changed from `old` to `new`. Both must be in the store, with their configs; layers that are not unpacked are, if
/// their blobs are there.
///
/// # Errors
/// A config that is not in the store, or damaged; the store's.
pub(crate) fn between(context: &Context, store: &Store, old: &Image, new: &Image) -> Result<ImageChanges, Error> {
    let config = config_changes(&config(store, old)?, &config(store, new)?);
    let inventories = (inventory(context, store, old)?, inventory(context, store, new)?);
    let (Some(old), Some(new)) = inventories else {
        return Ok(ImageChanges { config, ..ImageChanges::default() });
    };
    let packages = Some(PackageChanges::between(&old, &new));
    Ok(ImageChanges { packages, unread: [old.unread, new.unread].concat(), config })
}

/// What changed in the packages of an entry from the lock `old` to the lock `new`, by these alone.
pub(super) fn between_packages(entry: &Entry, old: &Lock, new: &Lock) -> Option<ImageChanges> {
    let of = |lock: &Lock| match entry {
        Entry::Root(toolchain, platform) => lock.roots.get(&(toolchain.clone(), *platform)).map(listed),
        Entry::Native(toolchain, platform) => {
            lock.natives.get(&(toolchain.clone(), *platform)).map(|native| listed(&native.root))
        }
        _ => None,
    };
    let packages = Some(PackageChanges::between(&of(old)?, &of(new)?));
    Some(ImageChanges { packages, ..ImageChanges::default() })
}

/// The packages of a root, by the lock alone.
pub(super) fn listed(root: &Root) -> Inventory {
    let package = |deb: &Deb| Package {
        kind: Kind::Deb,
        name: deb.name.to_string(),
        architecture: deb.architecture.to_string(),
        version: deb.version.to_string(),
        source: None,
        license: None,
    };
    Inventory { packages: root.debs.iter().map(package).collect(), ..Inventory::default() }
}

/// The packages of an image; `None` where a layer of it is not in the store.
pub(super) fn inventory(context: &Context, store: &Store, image: &Image) -> Result<Option<Inventory>, Error> {
    unpack_local(image, store, context.reporter.as_ref())?;
    if !store.missing_layers(image).is_empty() {
        return Ok(None);
    }
    let rootfs = Rootfs::of(image, store)?;
    let read = |source| StoreError::Io { action: "look for packages in", path: rootfs.base.clone(), source };
    Ok(Some(Inventory::of(&rootfs).map_err(read)?))
}

fn config(store: &Store, image: &Image) -> Result<ImageConfig, Error> {
    let document = |digest: Digest| move |source: DocumentError| StoreError::Document { digest, source };
    let manifest = store.read_blob(&image.manifest, oci::MAX_MANIFEST)?;
    let parsed = Document::parse(&manifest, Some(&image.manifest.media_type));
    let manifest: Manifest = match parsed.map_err(document(image.manifest.digest))? {
        Document::Manifest(manifest) => manifest,
        Document::Index(_) => return Err(StoreError::Missing(image.config.digest).into()),
    };
    let bytes = store.read_blob(&image.config, oci::MAX_CONFIG)?;
    Ok(ImageConfig::parse(&bytes, &manifest).map_err(document(image.config.digest))?)
}

fn config_changes(old: &ImageConfig, new: &ImageConfig) -> Vec<ConfigChange> {
    let (old_env, new_env) = (variables(old), variables(new));
    let names: BTreeSet<&str> = old_env.keys().chain(new_env.keys()).copied().collect();
    let value = |env: &BTreeMap<&str, &str>, name: &str| env.get(name).map(|value| (*value).to_owned());
    let env = names.into_iter().map(|name| (format!("Env {name}"), value(&old_env, name), value(&new_env, name)));
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    // As JSON, since a word may have spaces.
    let words = |words: &[String]| (!words.is_empty()).then(|| serde_json::Value::from(words).to_string());
    let others = [
        ("User", text(&old.user), text(&new.user)),
        ("WorkingDir", text(&old.working_dir), text(&new.working_dir)),
        ("Entrypoint", words(&old.entrypoint), words(&new.entrypoint)),
        ("Cmd", words(&old.cmd), words(&new.cmd)),
    ];
    env.chain(others.map(|(setting, old, new)| (setting.to_owned(), old, new)))
        .filter(|(_, old, new)| old != new)
        .map(|(setting, old, new)| ConfigChange { setting, old, new })
        .collect()
}

fn variables(config: &ImageConfig) -> BTreeMap<&str, &str> {
    config.env.iter().map(|text| text.split_once('=').unwrap_or((text, ""))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_differ() {
        let config = |env: &[&str], user: &str, cmd: &[&str]| ImageConfig {
            env: env.iter().map(ToString::to_string).collect(),
            user: user.into(),
            cmd: cmd.iter().map(ToString::to_string).collect(),
            ..ImageConfig::default()
        };
        let old = config(&["A=1", "B=2", "C=3=4"], "", &["sh"]);
        let new = config(&["C=3=4", "A=2", "D="], "me", &["sh", "-c", "a b"]);
        let changes: Vec<_> = config_changes(&old, &new)
            .into_iter()
            .map(|change| format!("{} {:?} {:?}", change.setting, change.old, change.new))
            .collect();
        assert_eq!(
            changes,
            [
                "Env A Some(\"1\") Some(\"2\")",
                "Env B Some(\"2\") None",
                "Env D None Some(\"\")",
                "User None Some(\"me\")",
                "Cmd Some(\"[\\\"sh\\\"]\") Some(\"[\\\"sh\\\",\\\"-c\\\",\\\"a b\\\"]\")",
            ]
        );
        assert_eq!(config_changes(&old, &old), []);
    }
}
