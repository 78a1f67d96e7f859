//! The composition of a root of packages that the store has.

use std::collections::BTreeSet;

use super::Acquirer;
use super::compose::{self, ComposeError, Composition};
use super::paragraphs::{Paragraphs, of_base};
use super::wanted_root::WantedRoot;
use crate::commands::{Context, Error, OwnError};
use crate::debian::deb::Expected;
use crate::dpkg::{PackageName, Request};
use crate::lock::{Deb, Image, Layer, Root};
use crate::store::{Closure, Store};

impl OwnError for ComposeError {}

/// Composes the root of its packages, which the store has, and writes its layers, config and manifest into the store.
pub(super) fn compose(acquirer: &mut Acquirer<'_>, wanted: WantedRoot<'_>) -> Result<Image, Error> {
    let known = acquirer.paragraphs.take_if(|known| known.of == wanted.root.base_digest(wanted.archives));
    let (context, store, lease) = (acquirer.context, acquirer.store, &mut *acquirer.lease);
    let mut hold = |layer: &Layer| {
        let mut needs = Closure::default();
        needs.layer(layer);
        lease.add(&needs);
    };
    into(context, store, (store, wanted), known.as_ref(), &mut hold)
}

/// Composes the root into the store `to`, of packages that `from` has.
pub(super) fn into(
    context: &Context,
    to: &Store,
    (from, wanted): (&Store, WantedRoot<'_>),
    known: Option<&Paragraphs>,
    hold: &mut dyn FnMut(&Layer),
) -> Result<Image, Error> {
    let root = wanted.root;
    let emulator = wanted.emulator.map(|emulator| from.blob_path(&emulator.digest));
    let [base, packages] = [true, false].map(|is_base| {
        let debs = root.debs.iter().filter(move |deb| deb.is_base == is_base);
        debs.map(|deb| file(from, deb)).collect::<Vec<_>>()
    });
    let requested: Vec<_> = requested(root).map(|deb| deb.name.to_string()).collect();
    let suite = wanted.archives.first().map_or("", |archive| archive.suite.as_str());
    let index = || match known {
        Some(known) => Ok(known.texts.clone()),
        None => paragraphs(from, wanted),
    };
    let sources = wanted.apt_sources();
    let composition = Composition {
        platform: root.platform,
        suite,
        epoch: i64::try_from(root.epoch).unwrap_or(i64::MAX),
        base: &base,
        base_key: root.scripts.then(|| wanted.base_key()),
        index: &index,
        packages: &packages,
        scripts: root.scripts,
        requested: &requested,
        sources: sources.as_deref(),
        emulator: emulator.as_deref(),
        required: &context.required(),
        limits: *to.limits(),
        directory_order: None,
        is_unpacked_by_dpkg: false,
    };
    Ok(compose::compose(to, &composition, hold)?)
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
fn paragraphs(store: &Store, wanted: WantedRoot<'_>) -> Result<Vec<String>, ComposeError> {
    let mut paragraphs = Vec::new();
    wanted.read_indexes(store, |index| paragraphs.extend(of_base(wanted.root, &index)))?;
    Ok(paragraphs)
}
