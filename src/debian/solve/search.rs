//! The search for a solution, without backtracking.

use std::collections::HashMap;

use crate::debian::index::Field;
use crate::debian::solve::error::chained;
use crate::debian::solve::pool::{Pool, relations};
use crate::debian::solve::solution::chain;
use crate::debian::solve::{Selected, Solution, SolveError, VirtualChoice};
use crate::dpkg::{Dependency, PackageName, Qualifier, Relation, Request};
use crate::visible::shortened;

/// Most steps of the search for one request: packages that are examined, and fields that are read, as often as that happens.
/// Debian's largest requests need some 300,000.
const MAX_STEPS: usize = 2_000_000;
/// Bytes of a field that are a step.
const BYTES_OF_STEP: usize = 10;
/// Most reasons that an error has, and most characters of a dependency and versions in it.
const MAX_REASONS: usize = 10;
const MAX_DEPENDENCY: usize = 300;
const MAX_VERSIONS: usize = 20;

impl<'a> Pool<'a> {
    /// The packages for `requests`, in the order in which they are chosen.
    ///
    /// # Errors
    /// See [`SolveError`].
    pub fn solve(&self, requests: &[Request]) -> Result<Solution<'a>, SolveError> {
        Search::new(self, requests)?.solve(requests)
    }
}

/// Why a package is banned.
#[derive(Clone, Copy)]
enum Ban {
    /// By a request.
    Request,
    /// By the chosen package at this position, whose field names it.
    Package(usize, Field),
}

/// What meets a relation.
struct Targets {
    /// The package of that name.
    real: Option<usize>,
    /// Packages that provide it, in the order of preference.
    providers: Vec<usize>,
}

impl Targets {
    fn all(&self) -> impl Iterator<Item = usize> {
        self.real.into_iter().chain(self.providers.iter().copied())
    }
}

/// The state of a search. Packages are positions in the pool.
struct Search<'p, 'a> {
    pool: &'p Pool<'a>,
    /// Candidates that requests have set.
    versions: HashMap<PackageName, usize>,
    banned: HashMap<usize, Ban>,
    selected: Vec<Selected<'a>>,
    /// Positions in `selected`.
    marked: HashMap<usize, usize>,
    choices: Vec<VirtualChoice>,
    steps: usize,
}

impl<'p, 'a> Search<'p, 'a> {
    /// Takes from the requests the versions and what to avoid.
    fn new(pool: &'p Pool<'a>, requests: &[Request]) -> Result<Self, SolveError> {
        let mut search = Self {
            pool,
            versions: HashMap::new(),
            banned: HashMap::new(),
            selected: Vec::new(),
            marked: HashMap::new(),
            choices: Vec::new(),
            steps: 0,
        };
        for request in requests {
            let Request::Install { name, version: Some(version) } = request else { continue };
            let all = pool.by_name.get(name).ok_or_else(|| SolveError::UnknownPackage(name.clone()))?;
            let written = |at: &usize| pool.packages[*at].0.version();
            let Some(found) = all.iter().find(|at| written(at).as_str() == version.as_str()) else {
                let available = all.iter().take(MAX_VERSIONS).map(|at| written(at).clone()).collect();
                return Err(SolveError::UnknownVersion { name: name.clone(), version: version.clone(), available });
            };
            let before = search.versions.insert(name.clone(), *found);
            if let Some(other) = before.filter(|other| other != found) {
                let versions = [written(&other).clone(), version.clone()];
                return Err(SolveError::TwoVersions { name: name.clone(), versions });
            }
        }
        for request in requests {
            if let Request::Avoid(name) = request {
                let package = search.candidate(name).ok_or_else(|| SolveError::UnknownPackage(name.clone()))?;
                search.banned.insert(package, Ban::Request);
            }
        }
        Ok(search)
    }

    fn solve(mut self, requests: &[Request]) -> Result<Solution<'a>, SolveError> {
        for request in requests {
            if let Request::Install { name, .. } = request {
                let at = self.request(name)?;
                self.selected[at].is_requested = true;
            }
        }
        self.check()?;
        Ok(Solution { packages: self.selected, choices: self.choices })
    }

    fn name(&self, package: usize) -> &'a PackageName {
        self.pool.packages[package].0.name()
    }

    fn candidate(&self, name: &PackageName) -> Option<usize> {
        self.versions.get(name).copied().or_else(|| self.pool.candidate(name))
    }

    /// Marks what a request names, with all that it needs, and returns its position.
    fn request(&mut self, name: &PackageName) -> Result<usize, SolveError> {
        let relation = Relation {
            name: name.clone(),
            qualifier: None,
            constraint: None,
            architectures: Vec::new(),
            profiles: Vec::new(),
        };
        let mut targets = self.targets(&relation)?;
        if targets.real.is_some() {
            // Where there is a package of that name, it is the one that is meant.
            targets.providers.clear();
        }
        if let Some(at) = targets.all().find_map(|package| self.marked.get(&package)) {
            return Ok(*at);
        }
        if targets.all().next().is_none() {
            return Err(SolveError::UnknownPackage(name.clone()));
        }
        let Some(package) = self.first_allowed(&relation, &targets, None)? else {
            return Err(SolveError::Excluded { name: name.clone(), reasons: self.reasons(&relation, &targets)? });
        };
        self.mark(package)?;
        Ok(self.marked[&package])
    }

    /// Marks a package and all that it needs, depth first. The stack is on the heap, since a hostile chain may be long.
    fn mark(&mut self, package: usize) -> Result<(), SolveError> {
        self.enter(package, None)?;
        let mut stack = vec![(package, self.dependencies(package)?.into_iter())];
        while let Some((package, dependencies)) = stack.last_mut() {
            let package = *package;
            let Some(dependency) = dependencies.next() else {
                stack.pop();
                continue;
            };
            if let Some(needed) = self.choose(package, &dependency)? {
                self.enter(needed, Some(self.marked[&package]))?;
                stack.push((needed, self.dependencies(needed)?.into_iter()));
            }
        }
        Ok(())
    }

    /// Takes a package into the solution, and bans what it conflicts with.
    fn enter(&mut self, package: usize, wanted_by: Option<usize>) -> Result<(), SolveError> {
        let at = self.selected.len();
        let (selected, index) = self.pool.packages[package];
        self.selected.push(Selected { package: selected, index, is_requested: false, wanted_by });
        self.marked.insert(package, at);
        for (field, relation) in self.exclusions(package)? {
            for other in self.targets(&relation)?.all().filter(|other| *other != package) {
                self.banned.entry(other).or_insert(Ban::Package(at, field));
            }
        }
        Ok(())
    }

    /// `Pre-Depends` and `Depends`, without alternatives for other architectures.
    fn dependencies(&mut self, package: usize) -> Result<Vec<Dependency>, SolveError> {
        let mut all = Vec::new();
        for field in [Field::PreDepends, Field::Depends] {
            for mut dependency in self.relations(package, field)? {
                dependency.retain(|relation| relation.applies_to(&self.pool.architecture));
                if !dependency.is_empty() {
                    all.push(dependency);
                }
            }
        }
        Ok(all)
    }

    /// What a package conflicts with or breaks.
    fn exclusions(&mut self, package: usize) -> Result<Vec<(Field, Relation)>, SolveError> {
        let mut all = Vec::new();
        for field in [Field::Conflicts, Field::Breaks] {
            let relations = self.relations(package, field)?.into_iter().flatten();
            all.extend(
                relations.filter(|relation| relation.applies_to(&self.pool.architecture)).map(|one| (field, one)),
            );
        }
        Ok(all)
    }

    /// The relations of a field, which hold for some architectures.
    fn relations(&mut self, package: usize, field: Field) -> Result<Vec<Dependency>, SolveError> {
        let package = self.pool.packages[package].0;
        self.step(package.relations(field).len() / BYTES_OF_STEP)?;
        relations(package, field)
    }

    fn step(&mut self, count: usize) -> Result<(), SolveError> {
        self.steps += count;
        if self.steps > MAX_STEPS { Err(SolveError::TooComplex) } else { Ok(()) }
    }

    /// The candidates that meet a relation.
    fn targets(&mut self, relation: &Relation) -> Result<Targets, SolveError> {
        let (name, constraint) = (&relation.name, relation.constraint.as_ref());
        let fits_architecture = |package: usize| match &relation.qualifier {
            None | Some(Qualifier::Native) => true,
            Some(Qualifier::Any) => self.pool.packages[package].0.is_allowed(),
            Some(Qualifier::Architecture(architecture)) => *architecture == self.pool.architecture,
        };
        let providers = self.pool.providers.get(name).map_or(&[][..], Vec::as_slice);
        self.step(1 + providers.len())?;
        let real = self.candidate(name).filter(|package| {
            let version = self.pool.packages[*package].0.version();
            constraint.is_none_or(|constraint| constraint.accepts(version)) && fits_architecture(*package)
        });
        let fitting = providers.iter().filter(|provider| {
            let own = self.name(provider.package);
            let version = provider.version.as_ref();
            own != name
                && self.candidate(own) == Some(provider.package)
                && constraint.is_none_or(|constraint| version.is_some_and(|version| constraint.accepts(version)))
                && fits_architecture(provider.package)
        });
        Ok(Targets { real, providers: fitting.map(|provider| provider.package).collect() })
    }

    /// What to mark for a dependency of `package`; `None` if it is met.
    fn choose(&mut self, package: usize, dependency: &Dependency) -> Result<Option<usize>, SolveError> {
        let mut targets = Vec::new();
        for relation in dependency {
            let of = self.targets(relation)?;
            if of.all().any(|target| self.marked.contains_key(&target)) {
                return Ok(None);
            }
            targets.push(of);
        }
        for (relation, of) in dependency.iter().zip(&targets) {
            if let Some(needed) = self.first_allowed(relation, of, Some(package))? {
                return Ok(Some(needed));
            }
        }
        Err(self.unmet(package, dependency))
    }

    /// The first target that may be marked. If no package has the name, and several packages of one priority provide it, the
    /// choice is noted.
    fn first_allowed(
        &mut self,
        relation: &Relation,
        targets: &Targets,
        wanted_by: Option<usize>,
    ) -> Result<Option<usize>, SolveError> {
        for target in targets.all() {
            if self.obstacle(target)?.is_some() {
                continue;
            }
            let priority = |package: usize| self.pool.packages[package].0.priority();
            let equal = targets.providers.iter().filter(|provider| priority(**provider) == priority(target));
            let providers: Vec<_> = equal.map(|provider| self.name(*provider).clone()).collect();
            if providers.len() > 1 && !self.pool.by_name.contains_key(&relation.name) {
                self.choices.push(VirtualChoice {
                    name: relation.name.clone(),
                    wanted_by: wanted_by.map(|package| self.name(package).clone()),
                    chosen: self.name(target).clone(),
                    providers,
                });
            }
            return Ok(Some(target));
        }
        Ok(None)
    }

    /// Why a package cannot be marked, if so.
    fn obstacle(&mut self, package: usize) -> Result<Option<String>, SolveError> {
        let name = self.name(package);
        let verb = |field| if field == Field::Breaks { "breaks" } else { "conflicts with" };
        match self.banned.get(&package) {
            Some(Ban::Request) => return Ok(Some(format!("the request {name}- excludes it"))),
            Some(Ban::Package(at, field)) => {
                return Ok(Some(format!("{} {} {name}", chained(&chain(&self.selected, *at)), verb(*field))));
            }
            None => {}
        }
        for (field, relation) in self.exclusions(package)? {
            let targets = self.targets(&relation)?;
            let marked = targets.all().filter(|other| *other != package).find_map(|other| self.marked.get(&other));
            if let Some(at) = marked {
                return Ok(Some(format!("{name} {} {}", verb(field), chained(&chain(&self.selected, *at)))));
            }
        }
        Ok(None)
    }

    /// Why none of the targets of a relation can be marked.
    fn reasons(&mut self, relation: &Relation, targets: &Targets) -> Result<Vec<String>, SolveError> {
        let mut reasons = Vec::new();
        for target in targets.all() {
            if reasons.len() > MAX_REASONS {
                break;
            }
            reasons.extend(self.obstacle(target)?);
        }
        if reasons.is_empty() {
            reasons.push(match self.candidate(&relation.name) {
                Some(other) => format!("the archive has {} {}", relation.name, self.pool.packages[other].0.version()),
                None => format!("the archive has no package {}", relation.name),
            });
        }
        Ok(reasons)
    }

    /// The error that nothing meets a dependency of a marked package.
    fn unmet(&mut self, package: usize, dependency: &Dependency) -> SolveError {
        let mut reasons = Vec::new();
        for relation in dependency {
            match self.targets(relation).and_then(|targets| self.reasons(relation, &targets)) {
                Ok(more) => reasons.extend(more),
                Err(error) => return error,
            }
            if reasons.len() > MAX_REASONS {
                reasons.truncate(MAX_REASONS);
                reasons.push("…".to_owned());
                break;
            }
        }
        let written: Vec<_> = dependency.iter().take(MAX_DEPENDENCY).map(ToString::to_string).collect();
        let chain = chain(&self.selected, self.marked[&package]);
        SolveError::Unmet { chain, dependency: shortened(&written.join(" | "), MAX_DEPENDENCY), reasons }
    }

    /// Looks at the whole solution again: every dependency is met, and no marked package is banned.
    fn check(&mut self) -> Result<(), SolveError> {
        let mut marked: Vec<_> = self.marked.iter().map(|(package, at)| (*at, *package)).collect();
        marked.sort_unstable();
        for (_, package) in marked {
            for dependency in self.dependencies(package)? {
                if self.choose(package, &dependency)?.is_some() {
                    return Err(self.unmet(package, &dependency));
                }
            }
            if let Some(reason) = self.obstacle(package)? {
                return Err(SolveError::Excluded { name: self.name(package).clone(), reasons: vec![reason] });
            }
        }
        Ok(())
    }
}
