//! Self-test of native compilers: the image's compilers and the native ones compile the same units.
//!
//! The information of packages about sources, and the table of revisions that differ, may be wrong. The self-test compares
//! the output. It calls the native compilers through their shims, as a build does.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::compiler::quoted;
use super::placement::Placement;
use crate::digest::Digest;

/// The sources and their file names.
const SOURCES: [(&str, &str); 2] =
    [("units.c", include_str!("units/units.c")), ("units.cc", include_str!("units/units.cc"))];
/// The script's file name.
const SCRIPT: &str = "script";
/// Prefix of the names of the functions that are units.
const UNIT: &str = "unit_";
/// Each unit gets its own sections, so that a difference can be located.
const ALWAYS: &str = "-w -ffunction-sections -fdata-sections -c";
const LINKED: &str = "-w -O2 -g -flto -frandom-seed=1 -fPIC -shared -nostdlib";

/// The test of one compiler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SelfTest {
    /// Number of placements, from the first, that the native compilers need.
    pub placements: usize,
    /// The products, in order.
    pub products: Vec<Product>,
    key: Digest,
}

/// One call of a compiler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Product {
    /// Its output file, in the directory of the test.
    pub file: String,
    driver: PathBuf,
    source: &'static str,
    options: String,
}

impl SelfTest {
    /// The command for `sh` that runs the test, in the directory of its files.
    pub(crate) const COMMAND: &str = "/bin/sh ./script >log 2>&1; : >ended";

    /// The file that exists when the test is done.
    pub(crate) const ENDED: &str = "ended";

    /// A test of a C compiler without placements.
    #[cfg(test)]
    pub(crate) fn of(gcc: &Path) -> Self {
        Self::new(gcc, None, "", &[])
    }

    /// A test of the drivers for C and C++ for `target`, given by their paths in the image, where `placements` put them.
    pub(super) fn new(gcc: &Path, gxx: Option<&Path>, target: &str, placements: &[Placement]) -> Self {
        // Options against return-oriented programming are specific to an architecture.
        let branches = match target.split('-').next() {
            Some("aarch64") => " -mbranch-protection=standard",
            Some("x86_64" | "i686") => " -fcf-protection=full",
            _ => "",
        };
        let hardened = format!("{ALWAYS} -O2 -g -fstack-protector-strong -fstack-clash-protection");
        let c = [
            format!("{ALWAYS} -g"),
            hardened.clone(),
            format!("{ALWAYS} -O2 -fPIC{branches}"),
            format!("{ALWAYS} -O3 -fopenmp"),
            format!("{ALWAYS} -Os -pg"),
            LINKED.to_owned(),
        ];
        let cxx = [format!("{ALWAYS} -g"), hardened, format!("{ALWAYS} -O3 -fPIC{branches}")];
        let c = c.into_iter().map(|options| (gcc, SOURCES[0].0, options));
        let cxx = gxx.into_iter().flat_map(|gxx| cxx.clone().map(|options| (gxx, SOURCES[1].0, options)));
        let products = c.chain(cxx).enumerate().map(|(number, (driver, source, options))| Product {
            file: format!("product-{number}"),
            driver: driver.to_owned(),
            source,
            options,
        });
        let mut test = Self { placements: placements.len(), products: products.collect(), key: Digest::of(b"") };
        test.key = test.digest(placements);
        test
    }

    /// Digest of all inputs: sources, options and shims.
    fn digest(&self, placements: &[Placement]) -> Digest {
        let mut all: Vec<u8> = self.files().into_iter().flat_map(|(_, text)| text.into_bytes()).collect();
        for placement in placements {
            let (path, content) = match placement {
                Placement::Native { target, .. } | Placement::Again { target, .. } => (target, &[][..]),
                Placement::Program { target, content } => (target, &content[..]),
            };
            all.extend_from_slice(path.as_os_str().as_encoded_bytes());
            all.push(0);
            all.extend_from_slice(content);
        }
        Digest::of(&all)
    }

    /// Key of the stored result.
    #[must_use]
    pub(crate) fn key(&self) -> Digest {
        self.key
    }

    /// The input files, by name.
    #[must_use]
    pub(crate) fn files(&self) -> Vec<(&'static str, String)> {
        let mut script = String::new();
        for Product { file, driver, source, options } in &self.products {
            let _ = writeln!(script, "{} {options} {source} -o {file} || echo {file}: $?", quoted(driver));
        }
        let sources = SOURCES.iter().map(|(name, text)| (*name, (*text).to_owned()));
        sources.chain([(SCRIPT, script)]).collect()
    }
}

impl Product {
    /// Description of the call, for messages.
    #[must_use]
    pub(crate) fn call(&self) -> String {
        let name = self.driver.file_name().unwrap_or_default().to_string_lossy();
        format!("{} {} {}", name.escape_debug(), self.options, self.source)
    }
}

/// The unit that a section of a product belongs to, if any.
#[must_use]
pub(crate) fn unit(section: &str) -> Option<&str> {
    let (_, name) = section.split_once(UNIT)?;
    // Parts of a function have its name and a suffix, as `unit_x.cold`.
    let name = name.split('.').next().unwrap_or(name);
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(target: &str, content: &[u8]) -> SelfTest {
        let placements = [Placement::Program { target: "/.hermes/shim/0".into(), content: content.to_vec() }];
        SelfTest::new(Path::new("/usr/bin/x'-gcc"), Some(Path::new("/usr/bin/g++")), target, &placements)
    }

    #[test]
    fn what_is_compiled() {
        let arm = test("aarch64-linux-gnu", b"");
        let files = arm.files();
        let script = &files[2].1;
        assert_eq!(script.lines().count(), 9);
        assert!(script.starts_with(r"'/usr/bin/x'\''-gcc' -w "), "{script}");
        for text in ["-fstack-protector-strong", "-fstack-clash", "-mbranch-protection", "-flto", "-fopenmp", "-pg"] {
            assert!(script.contains(text), "{text}");
        }
        assert!(!test("arm-linux-gnueabi", b"").files()[2].1.contains("branch"));
        // Units of each language; C++ only with a compiler for it.
        for (name, text) in &files[..2] {
            assert!(text.matches(UNIT).count() >= 8, "{name}");
        }
        assert_eq!(SelfTest::new(Path::new("/gcc"), None, "x", &[]).products.len(), 6);
        assert!(arm.products[0].call().ends_with("-c -g units.c"), "{}", arm.products[0].call());
    }

    #[test]
    fn other_shims_are_tested_by_themselves() {
        assert_eq!(test("x", b"a").key(), test("x", b"a").key());
        assert_ne!(test("x", b"a").key(), test("x", b"b").key());
        assert_ne!(test("x", b"a").key(), test("aarch64-x", b"a").key());
    }

    #[test]
    fn units_by_their_sections() {
        assert_eq!(unit(".text.unit_alloca"), Some("alloca"));
        assert_eq!(unit(".rela.text.unlikely.unit_exceptions.cold"), Some("exceptions"));
        assert_eq!((unit(".debug_info"), unit(".text.unit_"), unit("")), (None, None, None));
    }
}
