//! The packages chosen for a request.

use crate::debian::index::IndexPackage;
use crate::dpkg::PackageName;

/// The packages chosen for a request, each name once.
#[derive(Debug)]
pub struct Solution<'a> {
    /// In the order in which they were chosen.
    pub packages: Vec<Selected<'a>>,
    /// Where an archive does not say which package to prefer: the user should name one.
    pub choices: Vec<VirtualChoice>,
}

/// A chosen package.
#[derive(Debug, Clone, Copy)]
pub struct Selected<'a> {
    pub package: IndexPackage<'a>,
    /// The index it is from, counted from 0 in the order in which the pool got them.
    pub index: usize,
    /// Whether a request names it, or is met by what it provides.
    pub is_requested: bool,
    /// The position of the package because of whose dependency it was chosen; `None` if a request was the reason.
    pub wanted_by: Option<usize>,
}

/// A name that no package has, and that several packages of one priority provide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualChoice {
    pub name: PackageName,
    /// The package that depends on it; `None` if a request names it.
    pub wanted_by: Option<PackageName>,
    pub chosen: PackageName,
    /// The packages of that priority that provide it, by name.
    pub providers: Vec<PackageName>,
}

impl Solution<'_> {
    /// Why a package was chosen: the requested package, the one that it depends on, and so on, to the package itself.
    #[must_use]
    pub fn why(&self, name: &PackageName) -> Option<Vec<PackageName>> {
        let at = self.packages.iter().position(|selected| selected.package.name() == name)?;
        Some(chain(&self.packages, at))
    }
}

/// The names from the request to the package at `at`.
pub(super) fn chain(packages: &[Selected], at: usize) -> Vec<PackageName> {
    let mut chain: Vec<_> = std::iter::successors(Some(at), |at| packages[*at].wanted_by)
        .map(|at| packages[at].package.name().clone())
        .collect();
    chain.reverse();
    chain
}
