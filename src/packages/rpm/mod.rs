//! rpm's database: a header for each package, kept in `SQLite` (since 2020), in ndb (SUSE) or in a hash of
//! Berkeley DB (until then). Each is read as far as it takes to find the headers.

mod berkeley;
mod bytes;
mod header;
mod ndb;
mod sqlite;

use crate::packages::rpm::bytes::Bytes;
use crate::packages::{MAX_PACKAGES, Malformed, Package};

/// Longest header of a package, in bytes; rpm's own limit.
const MAX_HEADER: usize = 256 << 20;

/// `rpmdb.sqlite`.
pub(super) fn sqlite(database: &[u8]) -> Result<Vec<Package>, Malformed> {
    packages(&sqlite::headers(&Bytes(database))?)
}

/// `Packages.db`.
pub(super) fn ndb(database: &[u8]) -> Result<Vec<Package>, Malformed> {
    packages(&ndb::headers(&Bytes(database))?)
}

/// `Packages`.
pub(super) fn berkeley(database: &[u8]) -> Result<Vec<Package>, Malformed> {
    packages(&berkeley::headers(&Bytes(database))?)
}

fn packages(headers: &[impl AsRef<[u8]>]) -> Result<Vec<Package>, Malformed> {
    if headers.len() > MAX_PACKAGES {
        return Err(Malformed { why: "there are too many packages", unit: "package", at: headers.len() });
    }
    let packages = headers.iter().enumerate().map(|(at, header)| {
        header::package(&Bytes(header.as_ref())).map_err(|why| Malformed { why, unit: "package", at: at + 1 })
    });
    // Keys that were imported are kept as packages, and are none.
    packages.filter(|package| !matches!(package, Ok(package) if package.name == "gpg-pubkey")).collect()
}
