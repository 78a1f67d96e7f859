//! The packages among which to choose.

use std::collections::HashMap;

use crate::debian::index::{Field, Index, IndexPackage, Priority};
use crate::debian::solve::SolveError;
use crate::dpkg::{Architecture, Dependency, PackageName, Request, Version, parse_relations};

/// Most names that packages provide, together. In Debian 13 they are some 80,000.
const MAX_PROVIDED: usize = 2_000_000;

/// The packages of some indexes, by their names and by what they provide.
#[derive(Debug)]
pub struct Pool<'a> {
    pub(super) architecture: Architecture,
    /// Each with the number of its index.
    pub(super) packages: Vec<(IndexPackage<'a>, usize)>,
    /// Positions of the packages of a name, the highest version first, of equal ones that of the first index.
    pub(super) by_name: HashMap<&'a PackageName, Vec<usize>>,
    /// What provides a name, in the order of preference.
    pub(super) providers: HashMap<PackageName, Vec<Provider>>,
}

/// A package that provides a name.
#[derive(Debug)]
pub(super) struct Provider {
    /// Its position.
    pub(super) package: usize,
    /// The version that it provides.
    pub(super) version: Option<Version>,
}

/// A package's field as relations.
pub(super) fn relations(package: IndexPackage, field: Field) -> Result<Vec<Dependency>, SolveError> {
    parse_relations(package.relations(field)).map_err(|source| SolveError::Malformed {
        package: package.name().clone(),
        field,
        source,
    })
}

impl<'a> Pool<'a> {
    /// The packages of `indexes`, all of `architecture` or `all`.
    ///
    /// # Errors
    /// A malformed `Provides`.
    pub fn new(indexes: &[&'a Index], architecture: Architecture) -> Result<Self, SolveError> {
        let packages: Vec<_> = indexes
            .iter()
            .enumerate()
            .flat_map(|(number, index)| index.packages().map(move |package| (package, number)))
            .collect();
        let mut by_name: HashMap<_, Vec<usize>> = HashMap::with_capacity(packages.len());
        let mut providers: HashMap<_, Vec<Provider>> = HashMap::new();
        let mut provided_names = 0;
        for (at, (package, _)) in packages.iter().enumerate() {
            by_name.entry(package.name()).or_default().push(at);
            for provided in relations(*package, Field::Provides)?.into_iter().flatten() {
                provided_names += 1;
                if provided_names > MAX_PROVIDED {
                    return Err(SolveError::TooComplex);
                }
                let version = provided.constraint.map(|constraint| constraint.version);
                providers.entry(provided.name).or_default().push(Provider { package: at, version });
            }
        }
        for versions in by_name.values_mut() {
            versions.sort_by(|a, b| packages[*b].0.version().cmp(packages[*a].0.version()));
        }
        for list in providers.values_mut() {
            list.sort_by_key(|provider| {
                let package = packages[provider.package].0;
                (package.priority(), package.name())
            });
        }
        Ok(Self { architecture, packages, by_name, providers })
    }

    /// The candidate of a name: its highest version.
    pub(super) fn candidate(&self, name: &PackageName) -> Option<usize> {
        self.by_name.get(name).and_then(|versions| versions.first().copied())
    }

    /// The package that a request names, without those that it depends on.
    ///
    /// # Errors
    /// [`SolveError::UnknownPackage`], [`SolveError::UnknownVersion`].
    pub fn find(&self, request: &Request) -> Result<IndexPackage<'a>, SolveError> {
        let name = request.name();
        let versions = self.by_name.get(name).ok_or_else(|| SolveError::UnknownPackage(name.clone()))?;
        let mut packages = versions.iter().map(|at| self.packages[*at].0);
        let Request::Install { version: Some(version), .. } = request else {
            return packages.next().ok_or_else(|| SolveError::UnknownPackage(name.clone()));
        };
        packages.find(|package| package.version().as_str() == version.as_str()).ok_or_else(|| {
            let available = versions.iter().map(|at| self.packages[*at].0.version().clone()).collect();
            SolveError::UnknownVersion { name: name.clone(), version: version.clone(), available }
        })
    }

    /// The packages that every system has, as requests: essential ones, those of priority `required`, and apt, each by name.
    ///
    /// If one of them depends on `usrmerge | usr-is-merged`, as in Debian 12, the second one is requested and the first one
    /// avoided, as debootstrap does: a new root has a merged /usr from the start.
    ///
    /// # Errors
    /// Malformed relations of one of these packages.
    pub fn base(&self) -> Result<Vec<Request>, SolveError> {
        let candidates =
            || self.by_name.values().filter_map(|versions| versions.first()).map(|at| self.packages[*at].0);
        let mut base: Vec<_> = candidates()
            .filter(|package| {
                package.is_essential() || package.priority() == Priority::Required || package.name().as_str() == "apt"
            })
            .collect();
        // Essential ones first, apt last.
        base.sort_by_key(|package| (!package.is_essential(), package.priority(), package.name()));
        let install = |name: &PackageName| Request::Install { name: name.clone(), version: None };
        let mut requests: Vec<_> = base.iter().map(|package| install(package.name())).collect();
        for package in base {
            for field in [Field::PreDepends, Field::Depends] {
                for dependency in relations(package, field)? {
                    let names: Vec<_> = dependency.iter().map(|relation| &relation.name).collect();
                    if let [merge, merged] = names[..]
                        && (merge.as_str(), merged.as_str()) == ("usrmerge", "usr-is-merged")
                    {
                        // An archive with only some of Debian's packages may lack either.
                        let has = |name: &PackageName| self.by_name.contains_key(name);
                        requests.extend(Some(merged).filter(|name| has(name)).map(install));
                        requests.extend(Some(merge).filter(|name| has(name)).cloned().map(Request::Avoid));
                        return Ok(requests);
                    }
                }
            }
        }
        Ok(requests)
    }
}
