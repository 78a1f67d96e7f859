//! Packages, good and hostile.

mod archive;
mod data;
mod database;
mod dpkg;
mod file;
