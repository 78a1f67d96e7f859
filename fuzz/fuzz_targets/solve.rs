//! Requests to an archive. The first line has the requests; each other line is a package, `name version | Field: value ; …`.
#![no_main]

use std::collections::BTreeSet;
use std::fmt::Write as _;

use hermes::testing::debian::{Field, Index, Pool, Solution};
use hermes::testing::dpkg::{Architecture, Dependency, Request, parse_relations};
use hermes::testing::emulation::native::ImageCompilers;
use libfuzzer_sys::fuzz_target;

/// The packages of an image for which the archive may have native tools.
const STATUS: &str =
    "Package: gcc-12\nArchitecture: arm64\nVersion: 12\n\nPackage: binutils\nArchitecture: arm64\nVersion: 2\n";

/// The relations of a field of a package in a solution, of which all were read.
fn relations(solution: &Solution, at: usize, field: Field) -> Vec<Dependency> {
    parse_relations(solution.packages[at].package.relations(field)).expect("the solver has read it")
}

/// Whether a package of the solution has this name, or provides it.
fn has(solution: &Solution, name: &str) -> bool {
    (0..solution.packages.len()).any(|at| {
        let mut provided = relations(solution, at, Field::Provides).into_iter().flatten();
        solution.packages[at].package.name().as_str() == name || provided.any(|one| one.name.as_str() == name)
    })
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = str::from_utf8(data) else { return };
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let Ok(requests) = first.split_whitespace().map(str::parse).collect::<Result<Vec<Request>, _>>() else { return };
    let mut index = String::new();
    for line in lines {
        let (package, fields) = line.split_once(" | ").unwrap_or((line, "X: y"));
        let (name, version) = package.split_once(' ').unwrap_or((package, "1"));
        let fields = fields.split(" ; ").collect::<Vec<_>>().join("\n");
        let digest = "0".repeat(64);
        let _ = write!(
            index,
            "Package: {name}\nVersion: {version}\nArchitecture: amd64\n{fields}\nFilename: a\nSize: 1\nSHA256: {digest}\n\n"
        );
    }
    let amd64: Architecture = "amd64".parse().unwrap();
    let Ok(index) = Index::parse(index.into_bytes(), &amd64) else { return };
    let Ok(pool) = Pool::new(&[&index], amd64.clone()) else { return };
    let _ = pool.base();
    let image = ImageCompilers::of(STATUS.as_bytes()).expect("it has compilers");
    if let Ok(tools) = image.cross_tools(&pool) {
        assert!(tools.iter().any(|tool| tool.package.name().as_str() == "gcc-12-aarch64-linux-gnu"));
    }
    let Ok(solution) = pool.solve(&requests) else { return };
    let names: BTreeSet<_> = solution.packages.iter().map(|one| one.package.name().as_str()).collect();
    assert_eq!(names.len(), solution.packages.len(), "a name is chosen twice");
    for request in &requests {
        match request {
            Request::Avoid(name) => assert!(!names.contains(name.as_str()), "{name} is avoided"),
            Request::Install { name, .. } => assert!(has(&solution, name.as_str()), "{name} is requested"),
        }
    }
    for at in 0..solution.packages.len() {
        let name = solution.packages[at].package.name();
        let chain = solution.why(name).unwrap();
        let start = solution.packages.iter().find(|one| one.package.name() == &chain[0]).unwrap();
        assert!(start.is_requested && chain.last() == Some(name));
        for mut dependency in [Field::PreDepends, Field::Depends].map(|field| relations(&solution, at, field)).concat()
        {
            dependency.retain(|relation| relation.applies_to(&amd64));
            let is_met = dependency.is_empty() || dependency.iter().any(|one| has(&solution, one.name.as_str()));
            assert!(is_met, "{dependency:?} of {name}");
        }
    }
});
