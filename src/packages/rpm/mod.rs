//! rpm's database: a header for each package, kept in `SQLite` (since 2020), in ndb (SUSE) or in a hash of
//! Berkeley DB (until then). Each is read as far as it takes to find the headers.

mod berkeley;
mod bytes;
mod database;
mod header;
mod ndb;
mod sqlite;

pub(super) use database::{berkeley, ndb, sqlite};
