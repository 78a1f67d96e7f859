//! The provenance of a recorded run.

use std::path::Path;

use crate::attest::{ProvenanceError, Statement};
use crate::commands::OwnError;
use crate::commands::{Context, Error, log, outputs};
use crate::lock::LockFile;
use crate::record::objects::LOCKS;

impl OwnError for ProvenanceError {}

/// The provenance of the outputs of the recorded run whose id begins with `prefix`.
///
/// # Errors
/// [`ProvenanceError`]; a record, or what is kept beside it, that cannot be used.
pub(crate) fn provenance(context: &Context, prefix: Option<&str>, here: &Path) -> Result<Statement, Error> {
    let (id, record) = log::run(context, prefix, here, "provenance")?;
    let store = context.open_store()?;
    let place = store.records();
    LOCKS.read(&place, &record.run.lock)?;
    let lock = LockFile::new(LOCKS.path(&place, &record.run.lock)).read()?;
    Statement::new(id, &record, &lock, &|tree| outputs::kept(&store, tree))
}
