//! The composition of a root of packages that the store has.

use std::collections::BTreeSet;

use super::Acquirer;
use super::compose::{self, ComposeError, Composition};
use super::packages::MAX_INDEX;
use super::wanted_root::WantedRoot;
use crate::archive;
use crate::commands::{Error, OwnError};
use crate::debian::deb::Expected;
use crate::digest::Digest;
use crate::dpkg::{Architecture, PackageName, Request};
use crate::lock::{Deb, Image, Root};
use crate::store::Store;

impl OwnError for ComposeError {}

/// Composes the root of its packages, which the store has, and writes its layers, config and manifest into the store.
pub(super) fn compose(acquirer: &mut Acquirer<'_>, wanted: WantedRoot<'_>) -> Result<Image, Error> {
    let (store, root) = (acquirer.store, wanted.root);
    let emulator = wanted.emulator.map(|emulator| store.blob_path(&emulator.digest));
    let paragraphs = if root.scripts { paragraphs(store, wanted)? } else { vec![] };
    let paragraphs: Vec<&str> = paragraphs.iter().map(String::as_str).collect();
    let [base, packages] = [true, false].map(|is_base| {
        let debs = root.debs.iter().filter(move |deb| deb.is_base == is_base);
        debs.map(|deb| file(store, deb)).collect::<Vec<_>>()
    });
    let requested: Vec<_> = requested(root).map(|deb| deb.name.to_string()).collect();
    let suite = wanted.archives.first().map_or("", |archive| archive.suite.as_str());
    Ok(compose::compose(
        store,
        &Composition {
            platform: root.platform,
            suite,
            epoch: i64::try_from(root.epoch).unwrap_or(i64::MAX),
            base: &base,
            index: &paragraphs,
            packages: &packages,
            scripts: root.scripts,
            requested: &requested,
            sources: wanted.apt_sources().as_deref(),
            emulator: emulator.as_deref(),
            required: &acquirer.context.required(),
            limits: *store.limits(),
            directory_order: None,
        },
    )?)
}

fn file(store: &Store, deb: &Deb) -> compose::Archive {
    let Deb { name, version, architecture, digest, size, .. } = deb.clone();
    let path = store.blob_path(&digest);
    compose::Archive { expected: Expected { name, version, architecture, digest, size }, path }
}

/// The packages on top of the base that the request names.
fn requested(root: &Root) -> impl Iterator<Item = &Deb> {
    let name = |request: &'_ Request| matches!(request, Request::Install { .. }).then(|| request.name().clone());
    let names: BTreeSet<PackageName> = root.request.iter().filter_map(name).collect();
    root.debs.iter().filter(move |deb| !deb.is_base && names.contains(&deb.name))
}

/// The paragraphs of the base's packages in the locked indexes, in their order.
fn paragraphs(store: &Store, wanted: WantedRoot<'_>) -> Result<Vec<String>, Error> {
    let root = wanted.root;
    let architecture = Architecture::of(root.platform);
    let base: BTreeSet<Digest> = root.debs.iter().filter(|deb| deb.is_base).map(|deb| deb.digest).collect();
    let mut paragraphs = Vec::new();
    for archive in wanted.archives {
        for (path, blob) in root.indexes(archive) {
            let bytes = store.read_blob(blob, MAX_INDEX)?;
            let index = archive::read_index(&bytes, &archive.suite, path, &architecture)?;
            let of_base = index.packages().filter(|package| base.contains(&package.digest()));
            paragraphs.extend(of_base.map(|package| String::from_utf8_lossy(package.paragraph()).into_owned()));
        }
    }
    Ok(paragraphs)
}
