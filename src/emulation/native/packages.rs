//! The packages of an archive that have the native tools for an image, found by the image's own packages. No I/O.
//!
//! Debian's cross compilers for the host's architecture are in the suite that the image is from. What they need of the target,
//! headers and libraries, is the image's, so packages of such files are left out: of Debian 12's cross compiler for arm64
//! remain 19 packages, 50 MB.

use crate::debian::{Pool, Selected, SolveError};
use crate::dpkg::{Architecture, PackageName, Request};
use crate::emulation::native::origin;
use crate::hint::{ErrorKind, Hint};
use crate::packages::{Built, Malformed, Source, built};

/// The compilers of an image, according to its packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageCompilers {
    /// The GNU type of its programs, such as `aarch64-linux-gnu`.
    target: &'static str,
    /// The source of the C compiler, whose name is that of its package too, such as `gcc-12`.
    gcc: Source,
    /// Whether there is a C++ compiler of the same version.
    is_cxx: bool,
    /// The source of the binutils.
    binutils: Source,
}

/// Native tools that an archive does not have.
#[derive(Debug, thiserror::Error)]
pub enum CrossToolsError {
    /// dpkg's database, or an index of packages, is malformed.
    #[error("invalid list of packages")]
    Malformed(#[from] Malformed),
    /// The image has no compiler that is a package.
    #[error("the image has no packages of GCC and binutils")]
    NoCompiler,
    /// The image is not Debian's, or does not name its release.
    #[error("the image does not say of which release of Debian it is")]
    NotDebian,
    /// What was found before.
    #[error("{0}")]
    Known(String),
    /// The packages do not exist, or cannot be installed.
    #[error("the archive has no native tools for the image")]
    Unavailable(#[from] SolveError),
    /// The archive's package is built from other sources than the image's.
    #[error("the image has {}, but {package} of the archive is built from {}", shown(.image), .native.as_deref().map_or_else(|| "unknown sources".to_owned(), shown))]
    OtherSource { package: String, image: Box<Source>, native: Option<Box<Source>> },
}

impl Hint for CrossToolsError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Failed
    }

    fn hints(&self) -> Vec<String> {
        vec!["--accel off runs without native tools: the same result, but slower".into()]
    }
}

fn shown(source: &Source) -> String {
    format!("{} {}", source.name, source.version)
}

/// The source of a package whose name begins with `name`.
fn source<'a>(package: &'a Built, name: &str) -> Option<&'a Source> {
    package.sources.iter().find(|source| source.name.starts_with(name))
}

impl CrossToolsError {
    /// Whether the image has no compilers that an archive could have native counterparts of.
    #[must_use]
    pub fn is_inapplicable(&self) -> bool {
        matches!(self, Self::NoCompiler | Self::NotDebian)
    }
}

impl ImageCompilers {
    /// The compilers of the image with this `status` of dpkg. Of several versions of GCC, the one that `gcc` is.
    ///
    /// # Errors
    /// [`CrossToolsError::Malformed`], [`CrossToolsError::NoCompiler`].
    pub fn of(status: &[u8]) -> Result<Self, CrossToolsError> {
        let packages = built(status)?;
        let version = |name: &str| name.strip_prefix("gcc-").and_then(|version| version.parse::<u32>().ok());
        // `gcc` is a package of links to one of them, with the version 4:12.2.0-3 for GCC 12.2.
        let default = packages.iter().find(|package| package.name == "gcc").and_then(|package| {
            let upstream = package.version.split_once(':').map_or(package.version.as_str(), |(_, upstream)| upstream);
            upstream.split('.').next()?.parse::<u32>().ok()
        });
        let gcc = packages.iter().filter_map(|package| Some((version(&package.name)?, package)));
        let (number, gcc) =
            gcc.max_by_key(|(number, _)| (Some(*number) == default, *number)).ok_or(CrossToolsError::NoCompiler)?;
        let of_target = |package: &&Built| package.architecture == gcc.architecture;
        let binutils = packages.iter().filter(of_target).find(|package| package.name == "binutils");
        let cxx = format!("g++-{number}");
        let architecture = gcc.architecture.parse::<Architecture>().ok();
        let target = architecture.and_then(|architecture| architecture.gnu_type());
        let sources = source(gcc, &gcc.name).zip(binutils.and_then(|package| source(package, "binutils")));
        let (target, (source, binutils)) = target.zip(sources).ok_or(CrossToolsError::NoCompiler)?;
        Ok(Self {
            target,
            gcc: source.clone(),
            is_cxx: packages.iter().filter(of_target).any(|package| package.name == cxx),
            binutils: binutils.clone(),
        })
    }

    /// The packages of `pool`, an archive for the host, that have the native tools for the image.
    ///
    /// # Errors
    /// [`CrossToolsError::Unavailable`], [`CrossToolsError::OtherSource`], [`CrossToolsError::Malformed`].
    pub fn cross_tools<'a>(&self, pool: &Pool<'a>) -> Result<Vec<Selected<'a>>, CrossToolsError> {
        let requests = self.requests();
        let mut packages = pool.solve(&requests)?.packages;
        for package in packages.iter().filter(|package| package.is_requested) {
            let name = package.package.name().as_str();
            let image = if name.starts_with("binutils") { &self.binutils } else { &self.gcc };
            let described = built(package.package.paragraph())?;
            let native = described.first().and_then(|package| source(package, &image.name)).cloned();
            if !native.as_ref().is_some_and(|native| origin::is_accepted(image, native, self.target)) {
                let (image, native) = (Box::new(image.clone()), native.map(Box::new));
                return Err(CrossToolsError::OtherSource { package: name.to_owned(), image, native });
            }
        }
        packages.retain(|package| !(package.package.is_all() && is_of_target(package.package.name())));
        Ok(packages)
    }

    fn requests(&self) -> Vec<Request> {
        // Names of packages have no underscore: x86-64-linux-gnu.
        let target = self.target.replace('_', "-");
        let number = self.gcc.name.strip_prefix("gcc-").unwrap_or_default();
        let compilers = ["gcc", "g++", "cpp"].into_iter().filter(|name| *name != "g++" || self.is_cxx);
        let names = compilers.map(|name| format!("{name}-{number}-{target}")).chain([format!("binutils-{target}")]);
        names.filter_map(|name| Some(Request::Install { name: name.parse().ok()?, version: None })).collect()
    }
}

/// Whether a package for all architectures has files of a target: `libc6-dev-arm64-cross`, `gcc-12-cross-base`.
fn is_of_target(name: &PackageName) -> bool {
    ["-cross", "-cross-base"].iter().any(|suffix| name.as_str().ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debian::Index;

    /// Of Debian 12, for arm64.
    const STATUS: &str = "Package: gcc\nArchitecture: arm64\nSource: gcc-defaults (1.203)\nVersion: 4:12.2.0-3\n
Package: gcc-12\nArchitecture: arm64\nVersion: 12.2.0-14+deb12u1\n
Package: gcc-12-base\nArchitecture: arm64\nSource: gcc-12\nVersion: 12.2.0-14+deb12u1\n
Package: g++-12\nArchitecture: arm64\nSource: gcc-12\nVersion: 12.2.0-14+deb12u1\n
Package: binutils\nArchitecture: arm64\nVersion: 2.40-2\n";

    fn amd64() -> Architecture {
        "amd64".parse().unwrap()
    }

    /// The archive for amd64, in which the cross compilers are built from these versions.
    fn archive(gcc: &str, binutils: &str) -> Index {
        let package = |name: &str, more: &str| {
            let digest = "0".repeat(64);
            format!("Package: {name}\n{more}Filename: pool/x.deb\nSize: 1\nSHA256: {digest}\n\n")
        };
        let own = |more: &str| format!("Architecture: amd64\nVersion: 1\n{more}");
        let cross = |depends: &str| {
            own(&format!("Source: gcc-12-cross (15)\nDepends: {depends}\nBuilt-Using: gcc-12 (= {gcc})\n"))
        };
        let common = "Architecture: all\nVersion: 1\n";
        let tools = format!("Architecture: amd64\nSource: binutils\nVersion: {binutils}\nDepends: binutils-common\n");
        let text = [
            package("gcc-12-aarch64-linux-gnu", &cross("cpp-12-aarch64-linux-gnu, libgcc-12-dev-arm64-cross, libmpc3")),
            package("g++-12-aarch64-linux-gnu", &cross("gcc-12-aarch64-linux-gnu, libstdc++-12-dev-arm64-cross")),
            package("cpp-12-aarch64-linux-gnu", &cross("libc6")),
            package("binutils-aarch64-linux-gnu", &tools),
            package("binutils-common", &own("")),
            package("libmpc3", &own("Depends: libc6\n")),
            package("libc6", &own("")),
            package("libgcc-12-dev-arm64-cross", &format!("{common}Depends: gcc-12-cross-base\n")),
            package("libstdc++-12-dev-arm64-cross", common),
            package("gcc-12-cross-base", common),
        ];
        Index::parse(text.concat().into_bytes(), &amd64()).unwrap()
    }

    /// The packages for the image with this `status`, or the refusal.
    fn tools(status: &str, archive: &Index) -> Result<Vec<String>, String> {
        let pool = Pool::new(&[archive], amd64()).unwrap();
        let found = ImageCompilers::of(status.as_bytes()).and_then(|compilers| compilers.cross_tools(&pool));
        let mut names: Vec<_> = found
            .map_err(|error| crate::hint::error_chain(&error))?
            .iter()
            .map(|package| package.package.name().to_string())
            .collect();
        names.sort();
        Ok(names)
    }

    #[test]
    fn tools_without_what_the_image_has() {
        let c = [
            "binutils-aarch64-linux-gnu",
            "binutils-common",
            "cpp-12-aarch64-linux-gnu",
            "g++-12-aarch64-linux-gnu",
            "gcc-12-aarch64-linux-gnu",
            "libc6",
            "libmpc3",
        ];
        // The two revisions of Debian 12 are known to differ in the stack protector alone.
        for revision in ["12.2.0-14+deb12u1", "12.2.0-14"] {
            assert_eq!(tools(STATUS, &archive(revision, "2.40-2")).unwrap(), c, "{revision}");
        }
        let status = STATUS.replace("g++-12", "libstdc++6");
        let without: Vec<_> = c.into_iter().filter(|name| !name.starts_with("g++")).collect();
        assert_eq!(tools(&status, &archive("12.2.0-14", "2.40-2")).unwrap(), without);
    }

    #[test]
    fn tools_of_other_sources_are_refused_by_name() {
        let refused = |archive: Index| tools(STATUS, &archive).unwrap_err();
        assert_eq!(
            refused(archive("12.2.0-13", "2.40-2")),
            "the image has gcc-12 12.2.0-14+deb12u1, but gcc-12-aarch64-linux-gnu of the archive is built from gcc-12 12.2.0-13"
        );
        let other = refused(archive("12.2.0-14", "2.41-1"));
        assert!(other.contains("has binutils 2.40-2, but binutils-aarch64-linux-gnu of the archive"), "{other}");
        let status = STATUS.replace("gcc-12", "gcc-13").replace("4:12.", "4:13.");
        let missing = tools(&status, &archive("12.2.0-14", "2.40-2")).unwrap_err();
        assert!(missing.contains("no package gcc-13-aarch64-linux-gnu"), "{missing}");
    }

    #[test]
    fn the_compiler_of_an_image() {
        let of = |status: &str| ImageCompilers::of(status.as_bytes()).map(|compilers| compilers.gcc.name);
        let newer = format!("{STATUS}\nPackage: gcc-13\nArchitecture: arm64\nVersion: 13.3.0-1\n");
        assert_eq!(of(&newer).unwrap(), "gcc-12");
        // Without the package gcc, the newest.
        assert_eq!(of(&newer.replace("Package: gcc\n", "Package: tcc\n")).unwrap(), "gcc-13");
        for bad in [
            "",
            "Package: gcc-12-base\nArchitecture: arm64\nSource: gcc-12\nVersion: 1\n",
            &STATUS.replace("Package: binutils", "Package: gold"),
            &STATUS.replace("arm64", "vax"),
            &STATUS.replacen("Package: gcc-12\n", "Package: gcc-12\nSource: mine\n", 1),
        ] {
            assert!(matches!(of(bad), Err(CrossToolsError::NoCompiler)), "{bad}");
        }
        assert!(matches!(of("no field\n"), Err(CrossToolsError::Malformed(_))));
    }
}
