//! The three forms of the database.

use crate::packages::rpm::berkeley::headers as berkeley_headers;
use crate::packages::rpm::bytes::Bytes;
use crate::packages::rpm::header;
use crate::packages::rpm::ndb::headers as ndb_headers;
use crate::packages::rpm::sqlite::headers as sqlite_headers;
use crate::packages::{MAX_PACKAGES, Malformed, Package};

/// `rpmdb.sqlite`.
pub(in crate::packages) fn sqlite(database: &[u8]) -> Result<Vec<Package>, Malformed> {
    packages(&sqlite_headers(&Bytes(database))?)
}

/// `Packages.db`.
pub(in crate::packages) fn ndb(database: &[u8]) -> Result<Vec<Package>, Malformed> {
    packages(&ndb_headers(&Bytes(database))?)
}

/// `Packages`.
pub(in crate::packages) fn berkeley(database: &[u8]) -> Result<Vec<Package>, Malformed> {
    packages(&berkeley_headers(&Bytes(database))?)
}

fn packages(headers: &[impl AsRef<[u8]>]) -> Result<Vec<Package>, Malformed> {
    if headers.len() > MAX_PACKAGES {
        return Err(Malformed { why: "there are too many packages", unit: "package", at: headers.len() });
    }
    let packages = headers.iter().enumerate().map(|(at, header)| {
        header::package(&Bytes(header.as_ref())).map_err(|why| Malformed { why, unit: "package", at: at + 1 })
    });
    // Imported keys are in the database like packages.
    packages.filter(|package| !matches!(package, Ok(package) if package.name == "gpg-pubkey")).collect()
}
