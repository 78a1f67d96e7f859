//! The only place that starts an asynchronous runtime.

use std::future::Future;

use crate::commands::{Context, Error};
use crate::registry::Client;

/// Runs `work` with a client to its end; leaves no thread, since a sandbox is started from a single-threaded process.
pub(super) fn run<T, F: Future<Output = Result<T, Error>>>(
    context: &Context,
    work: impl FnOnce(Client) -> F,
) -> Result<T, Error> {
    let client = Client::new(context.registry.clone(), context.reporter.clone())?;
    // One thread for I/O is enough: inflating and hashing have threads of their own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::Runtime { source })?;
    runtime.block_on(work(client))
}
