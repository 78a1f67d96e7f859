//! The acquisition of the sources that a toolchain adds to its root.

use std::path::PathBuf;

use crate::commands::acquire::Acquirer;
use crate::commands::source::acquire::WantedSource;
use crate::commands::{Context, Error, Target};
use crate::fs::opened::Opened;
use crate::lock::{Lock, Source, ToolchainSourceKey};
use crate::sandbox::{Bind, Shared};
use crate::source::Label;
use crate::store::Store;

/// Sources of toolchains, by their key in a lock; `None` for one that the lock lacks and must have.
type Acquired = Vec<(ToolchainSourceKey, Option<Source>)>;

impl Acquirer<'_> {
    /// Acquires the sources that the toolchain of `target` adds to its root: those of `known`, else new ones, unless
    /// `only_known`.
    pub(in crate::commands) fn additions(
        &mut self,
        target: &Target,
        known: &Lock,
        only_known: bool,
    ) -> Result<Acquired, Error> {
        let Some(toolchain) = target.toolchain.as_deref().filter(|_| !target.additions.sources.is_empty()) else {
            return Ok(vec![]);
        };
        let allowed = self.context.allow_additions(toolchain)?;
        let project = owner(self.context, toolchain);
        let mut acquired = Vec::new();
        for (name, source) in &target.additions.sources {
            let label = Label::of_toolchain(toolchain, name);
            let (definition, platform) = (&source.definition, target.image_platform);
            let wanted = WantedSource { label: &label, definition, project, allowed: &allowed, platform };
            let key = (toolchain.to_owned(), target.platform, name.clone());
            let source = self.source(wanted, known.toolchain_sources.get(&key), only_known)?;
            acquired.push((key, source));
        }
        Ok(acquired)
    }

    /// Downloads the archives of sources of toolchains that `lock` has and the store lacks, as far as their definitions are
    /// known here.
    pub(in crate::commands) fn archives_of_toolchains(&mut self, lock: &Lock) -> Result<(), Error> {
        let context = self.context;
        for ((toolchain, platform, name), source) in &lock.toolchain_sources {
            let Ok(chosen) = context.catalog.target(toolchain, *platform) else { continue };
            let Some(defined) = chosen.additions.sources.get(name).filter(|_| !self.store.has_blob(&source.blob()))
            else {
                continue;
            };
            let (label, allowed) = (Label::of_toolchain(toolchain, name), context.allow_additions(toolchain)?);
            let (definition, project) = (&defined.definition, owner(context, toolchain));
            let platform = chosen.image_platform;
            let wanted = WantedSource { label: &label, definition, project, allowed: &allowed, platform };
            self.archive(wanted, source)?;
        }
        Ok(())
    }
}

/// The directory of the project, if it defines the toolchain.
fn owner<'a>(context: &'a Context, toolchain: &str) -> Option<&'a Opened> {
    let project = context.project.as_ref().filter(|_| context.catalog.project.contains_key(toolchain))?;
    Some(&project.directory)
}

/// The mounts of acquired sources in the root of `target`.
pub(in crate::commands) fn binds(store: &Store, target: &Target, acquired: &Lock) -> Result<Vec<Shared>, Error> {
    let bind = |((_, _, name), source): (&ToolchainSourceKey, &Source)| {
        let added = target.additions.sources.get(name)?;
        let source: PathBuf = store.source_path(&source.key());
        let (path, target) = (source.clone(), added.mount.clone());
        let shared = Shared::new(Bind { source, target, read_only: true });
        Some(shared.map_err(|source| Error::Volume { path, source }))
    };
    acquired.toolchain_sources.iter().filter_map(bind).collect()
}
