//! Fitting native tools to an image: which file goes where.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::compiler::{self, Compiler};
use super::incompatibility::Incompatibility;
use super::origin::{self, Pair};
use super::placement::Placement;
use super::self_test::SelfTest;
use super::shim::Orders;
use super::tools::{BINUTILS, Tool};
use crate::emulation::{interpreter, is_program};
use crate::fs::{atomic, beneath};
use crate::packages::Owners;
use crate::platform::Platform;
use crate::rootfs::{Rootfs, Tree};

/// Where the whole image of native tools is mounted in the sandbox.
pub(crate) const NATIVE: &str = "/.hermes/native";
/// Where replaced programs of the image remain accessible.
const OWN: &str = "/.hermes/own";
/// Bytes read at the start of a program.
const HEAD: usize = 4096;
/// Largest file of dpkg, in bytes.
const MAX_DATABASE: u64 = 64 << 20;
/// Directory of the shims.
const SHIMS: &str = "/.hermes/shim";

/// Arguments of a GCC driver for which the image's own driver is run: queries about the compiler and its paths, and options
/// that depend on the machine.
const OWN_EXACTLY: [&str; 13] = [
    "-v",
    "-###",
    "--version",
    "-Q",
    "--target-help",
    "-dumpspecs",
    "-dumpversion",
    "-dumpfullversion",
    "-dumpmachine",
    "-march=native",
    "-mcpu=native",
    "-mtune=native",
    "-no-canonical-prefixes",
];
const OWN_BEGINNING: [&str; 8] = ["-print-", "--print-", "--help", "-specs", "--specs", "-fplugin", "-wrapper", "@"];

/// Native tools that fit an image.
#[derive(Debug)]
pub(crate) struct Fit {
    /// Everything that is put into the root, in order.
    pub placements: Vec<Placement>,
    /// Names of the native tools, for messages.
    pub names: Vec<String>,
    /// The self-test of the compilers, if there are compilers.
    pub self_test: Option<SelfTest>,
}

/// An image of native tools, and the image that they are for.
pub(crate) struct Natives<'a> {
    image: &'a Rootfs,
    platform: Platform,
    tools: Vec<Tool>,
    tree: Tree,
    crosses: Vec<Cross>,
    /// Directories in the PATH of the image.
    directories: Vec<PathBuf>,
}

/// A cross compiler among the native tools.
struct Cross {
    /// Path in the image of native tools.
    path: PathBuf,
    target: String,
    /// Suffix of its name, such as `-12`.
    suffix: String,
}

/// Programs of an image by real path, since several names may lead to one program.
type Programs = BTreeMap<PathBuf, PathBuf>;

impl<'a> Natives<'a> {
    /// Opens `tree`, which has the native `tools` for `image`, an image for `platform` with the `PATH` `path`.
    ///
    /// # Errors
    /// The tree cannot be opened.
    pub(crate) fn new(
        image: &'a Rootfs,
        platform: Platform,
        path: &str,
        tree: &Path,
        mut tools: Vec<Tool>,
    ) -> Result<Self, Incompatibility> {
        // The compiler comes first, so that it is tested without the other tools.
        tools.sort_by_key(|tool| *tool != Tool::Compiler);
        let opened = Tree::open(tree).map_err(|source| Incompatibility::Io { path: tree.to_owned(), source })?;
        let mut directories: Vec<PathBuf> = Vec::new();
        for directory in path.split(':').chain(["/usr/bin", "/bin"]).filter(|directory| directory.starts_with('/')) {
            if !directories.iter().any(|known| known == Path::new(directory)) {
                directories.push(directory.into());
            }
        }
        let crosses = crosses(&opened);
        Ok(Self { image, platform, tools, tree: opened, crosses, directories })
    }

    /// What native programs need to run in the image: the whole tree at [`NATIVE`], and their loader and libraries where they
    /// expect them. In a multiarch distribution these directories are specific to the architecture.
    ///
    /// # Errors
    /// The native tools are not from such a distribution, or the image has files there.
    pub(crate) fn foundation(&self) -> Result<Vec<Placement>, Incompatibility> {
        let mut placements = vec![Placement::Native { source: self.tree.path().to_owned(), target: NATIVE.into() }];
        let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
        let libraries = ["/usr/lib", "/lib"].map(|directory| Path::new(directory).join(&triplet));
        for (target, is_needed) in
            self.loader()?.map(|loader| (loader, true)).into_iter().chain(libraries.map(|path| (path, false)))
        {
            let Some(source) = self.tree.find(&target).and_then(|path| path.canonicalize().ok()) else {
                if is_needed {
                    return Err(Incompatibility::File { path: target, what: "does not exist" });
                }
                continue;
            };
            let is_known = |placement: &Placement| matches!(placement, Placement::Native { source: known, .. } if *known == source);
            if placements.iter().any(is_known) {
                continue;
            }
            if self.find(&target)?.is_some() {
                return Err(Incompatibility::Occupied(target));
            }
            placements.push(Placement::Native { source, target });
        }
        Ok(placements)
    }

    /// The loader of the native programs, taken from the first program that names one.
    fn loader(&self) -> Result<Option<PathBuf>, Incompatibility> {
        let usual = ["make", "env", "bash", "sh"].map(|name| Path::new("/usr/bin").join(name));
        for path in self.crosses.iter().map(|cross| &cross.path).chain(&usual) {
            let Some(file) = self.tree.find(path).filter(|file| is_elf(file, Platform::host())) else { continue };
            let head = head(&file).map_err(|source| Incompatibility::Io { path: file, source })?;
            if let Some(loader) = interpreter(&head) {
                return Ok(Some(OsStr::from_bytes(loader).into()));
            }
        }
        Ok(None)
    }

    /// The queries to the compilers, as a script for `sh` in the image with the [`Self::foundation`]. `None` if no compiler is
    /// requested.
    ///
    /// # Errors
    /// There is no compiler.
    pub(crate) fn questions(&self) -> Result<Option<String>, Incompatibility> {
        if !self.tools.contains(&Tool::Compiler) {
            return Ok(None);
        }
        if self.crosses.is_empty() {
            return Err(Incompatibility::NoCrossCompiler);
        }
        let inside = |programs: Programs| programs.into_keys().collect::<Vec<_>>();
        let drivers = inside(self.drivers(&self.crosses, &["gcc", "cc"])?);
        if drivers.is_empty() {
            return Err(Incompatibility::NoCompiler(self.platform));
        }
        let variants = inside(self.drivers(&self.crosses, &["g++", "c++", "cpp"])?);
        let natives: Vec<_> = self.crosses.iter().map(|cross| native(&cross.path)).collect();
        let mut others: Vec<PathBuf> = inside(self.programs(&["as", "ld"])?);
        for cross in &self.crosses {
            let of_target = ["as", "ld"].map(|name| PathBuf::from(format!("/usr/bin/{}-{name}", cross.target)));
            others.extend(of_target.iter().filter(|path| self.tree.find(path).is_some()).map(|path| native(path)));
        }
        others.sort();
        others.dedup();
        Ok(Some(compiler::script(&drivers, &natives, &variants, &others)))
    }

    /// The native tools that fit, given the output `said` of [`Self::questions`].
    ///
    /// # Errors
    /// The tools do not fit the image.
    pub(crate) fn fit(&self, said: Option<&str>) -> Result<Fit, Incompatibility> {
        let mut placed = Placed { placements: self.foundation()?, ..Placed::default() };
        let mut names = Vec::new();
        let mut self_test = None;
        for tool in &self.tools {
            match tool {
                Tool::Compiler => {
                    let (name, test) = self.place_compiler(said.unwrap_or_default(), &mut placed)?;
                    names.push(name);
                    self_test = Some(test);
                }
                tool => {
                    if self.place_programs(*tool, &mut placed)? {
                        names.push(tool.name().to_owned());
                    }
                }
            }
        }
        Ok(Fit { placements: placed.placements, names, self_test })
    }

    fn place_programs(&self, tool: Tool, placed: &mut Placed) -> Result<bool, Incompatibility> {
        let mut any = false;
        for inside in self.programs(tool.programs())?.into_keys() {
            let Some(name) = inside.file_name() else { continue };
            // A multi-call program such as busybox is replaced by the same program or not at all.
            let native = ["/usr/bin", "/bin", "/usr/local/bin"].iter().find_map(|directory| {
                let found = self.tree.find(&Path::new(directory).join(name))?.canonicalize().ok()?;
                (found.file_name() == Some(name) && is_elf(&found, Platform::host())).then_some(found)
            });
            if let Some(source) = native {
                if tool == Tool::Python {
                    let modules = Path::new("/usr/lib").join(name).join("lib-dynload");
                    if let (Some(source), Some(_)) = (self.tree.find(&modules), self.find(&modules)?) {
                        placed.native(source, modules);
                    }
                }
                placed.native(source, inside);
                any = true;
            }
        }
        Ok(any)
    }

    fn place_compiler(&self, said: &str, placed: &mut Placed) -> Result<(String, SelfTest), Incompatibility> {
        let (compilers, versions) = compiler::parse(said);
        let drivers = self.drivers(&self.crosses, &["gcc", "cc"])?;
        let mut difference = None;
        let mut fitting = None;
        for image in compilers.iter().filter(|compiler| drivers.contains_key(&compiler.driver)) {
            for other in compilers.iter().filter(|other| other.instead_of == image.driver) {
                match image.difference(other) {
                    None => fitting = fitting.or(Some((image, other))),
                    // A difference from the compiler for the same target is more useful.
                    Some(text) if difference.is_none() || image.target == other.target => difference = Some(text),
                    Some(_) => {}
                }
            }
        }
        let Some((image, other)) = fitting else {
            return Err(difference.map_or_else(|| Incompatibility::Silent(first_lines(said)), Incompatibility::Differs));
        };
        let Some(cross) = self.crosses.iter().find(|cross| native(&cross.path) == other.driver) else {
            return Err(Incompatibility::NoCrossCompiler);
        };
        self.check_binutils(&versions, &cross.target)?;
        let mut differing = self.check_origin(image, other, cross)?;
        differing.extend(image.offloading(other));
        self.place_specs(image, other, placed)?;
        let gxx = self.place_drivers(&compilers, (image, other), cross, placed)?;
        self.place_parts(image, other, cross, &differing, placed)?;
        self.place_binutils(cross, placed)?;
        let self_test = SelfTest::new(&image.driver, gxx.as_deref(), &image.target, &placed.placements);
        Ok((format!("gcc {} ({})", image.version, image.target), self_test))
    }

    /// Requires equal versions of `as` and `ld`.
    fn check_binutils(&self, versions: &[(PathBuf, String)], target: &str) -> Result<(), Incompatibility> {
        let version =
            |path: &Path| versions.iter().find(|(known, _)| known == path).map(|(_, version)| version.as_str());
        for inside in self.programs(&["as", "ld"])?.keys() {
            let name = inside.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let name = name.strip_prefix(&format!("{target}-")).unwrap_or(name);
            let other = native(Path::new(&format!("/usr/bin/{target}-{name}")));
            if let (Some(ours), Some(theirs)) = (version(inside), version(&other))
                && ours != theirs
            {
                let text = format!("{} in the image is {ours:?}, among the native tools {theirs:?}", inside.display());
                return Err(Incompatibility::Differs(text));
            }
        }
        Ok(())
    }

    /// Requires that both compilers and their binutils are built from the same sources. Returns the prefixes of options for which
    /// their output is known to differ.
    fn check_origin(
        &self,
        image: &Compiler,
        other: &Compiler,
        cross: &Cross,
    ) -> Result<Vec<&'static str>, Incompatibility> {
        let drivers = [(image.driver.as_path(), other.driver.as_path())];
        let programs = image.programs.iter().filter_map(|(name, ours)| Some((ours.as_path(), other.program(name)?)));
        let mut pairs = Vec::new();
        for (ours, theirs) in drivers.into_iter().chain(programs) {
            let theirs = theirs.strip_prefix(NATIVE).ok().and_then(|path| self.real_in_tree(Path::new(path)));
            if let (Some(image), Some(native)) = (self.find(ours)?, theirs) {
                pairs.push(Pair { image, native, source: "gcc-" });
            }
        }
        for (image, name) in self.binutils(cross)? {
            if let Some(native) = self.real_in_tree(&name) {
                pairs.push(Pair { image, native, source: "binutils" });
            }
        }
        let read = |path: &Path| atomic::read_limited(path, MAX_DATABASE).ok();
        let of_image = |path: &str| {
            let found = self.image.find(Path::new(path)).ok().flatten()?;
            (!found.is_directory).then(|| read(&found.outside)).flatten()
        };
        let of_tree = |path: &str| self.tree.find(Path::new(path)).and_then(|path| read(&path));
        let owners = (Owners::of(&of_image), Owners::of(&of_tree));
        origin::compare(&pairs, (owners.0.as_ref(), owners.1.as_ref()), &image.target)
    }

    /// Gives the native drivers the specs of the image's, in a file that only they read: `TARGET/specs` in the directory of GCC
    /// that the cross compiler was configured with. Given by `-specs`, they would make a driver pass on unknown options.
    fn place_specs(&self, image: &Compiler, other: &Compiler, placed: &mut Placed) -> Result<(), Incompatibility> {
        let Some(specs) = image.specs_for(other) else { return Ok(()) };
        // The driver states its directories by their relation to itself.
        let installed = beneath::plain(&other.install);
        let Some(directory) = installed.strip_prefix(NATIVE).ok().and_then(Path::parent) else {
            return Err(Incompatibility::Silent(format!("{} is no directory of GCC's", installed.display())));
        };
        let target = Path::new("/").join(directory).join("specs");
        // They would hide those of a file that both drivers read.
        for path in [image.install.join("specs"), target.clone()] {
            if self.find(&path)?.is_some() {
                return Err(Incompatibility::Specs(path));
            }
        }
        placed.placements.push(Placement::Program { target, content: specs.as_bytes().to_vec() });
        Ok(())
    }

    /// Places the drivers. Returns one of the drivers for C++.
    fn place_drivers(
        &self,
        compilers: &[Compiler],
        (image, other): (&Compiler, &Compiler),
        cross: &Cross,
        placed: &mut Placed,
    ) -> Result<Option<PathBuf>, Incompatibility> {
        let mut gxx = None;
        let Some(prefix) = image.install.ancestors().nth(2) else {
            return Err(Incompatibility::Silent(format!("{} is not a directory of GCC", image.install.display())));
        };
        for (names, own_name) in [(&["gcc", "cc"][..], "gcc"), (&["g++", "c++"], "g++"), (&["cpp"], "cpp")] {
            let path = format!("/usr/bin/{}-{own_name}{}", cross.target, cross.suffix);
            let Some(program) = self.in_tree(Path::new(&path)) else { continue };
            for inside in self.drivers(std::slice::from_ref(cross), names)?.into_keys() {
                let is_kin = |compiler: &&Compiler| {
                    compiler.driver == inside
                        && (&compiler.version, &compiler.target, &compiler.package)
                            == (&image.version, &image.target, &image.package)
                };
                if !compilers.iter().any(|compiler| is_kin(&compiler)) {
                    continue;
                }
                let orders = Orders::default().add(b'n', &program).all(b'=', &OWN_EXACTLY).all(b'^', &OWN_BEGINNING);
                // A cross compiler treats the sysroot differently, and ignores these variables.
                let orders = orders.add(b'^', "--sysroot").all(b'u', &["LIBRARY_PATH", "GCC_EXEC_PREFIX"]);
                let mut orders = orders.all(b'^', image.offloading(other));
                // GCC_EXEC_PREFIX does not lead a cross compiler there.
                if let Some(libexec) = image.libexec() {
                    orders = orders.add(b'p', format!("COMPILER_PATH={}", libexec.display()));
                }
                // Unless the driver that started this one has set them.
                let orders =
                    orders.add(b'x', "COLLECT_GCC").add(b'e', format!("GCC_EXEC_PREFIX={}/", prefix.display()));
                if own_name == "g++" {
                    gxx = Some(inside.clone());
                }
                placed.shim(inside, orders)?;
            }
        }
        Ok(gxx)
    }

    /// Places the programs that the drivers call.
    fn place_parts(
        &self,
        image: &Compiler,
        other: &Compiler,
        cross: &Cross,
        differing: &[&'static str],
        placed: &mut Placed,
    ) -> Result<(), Incompatibility> {
        for (name, of_image) in &image.programs {
            let (Some(own), Some(path)) = (self.find(of_image)?, other.program(name)) else { continue };
            let Some(source) = path.strip_prefix(NATIVE).ok().and_then(|path| self.tree.find(path)) else { continue };
            let is_cxx = name == "cc1plus";
            if name == "cc1" || is_cxx {
                let variable = if is_cxx { "CPLUS_INCLUDE_PATH" } else { "C_INCLUDE_PATH" };
                let paths = image.paths_before(other, is_cxx);
                let mut orders = Orders::default().add(b'n', path).add(b'^', "-fplugin").add(b'z', "-nostdinc");
                // A file of arguments may contain any option.
                orders = orders.all(b'^', differing).add(b'^', "@");
                if is_cxx {
                    orders = orders.add(b'=', "-nostdinc++");
                }
                orders = orders.add(b'a', "-iprefix").add(b'a', format!("{}/", image.install.display()));
                if !paths.always.is_empty() {
                    orders = orders.add(b'p', format!("{variable}={}", paths.always));
                }
                if let Some(usual) = &paths.usual {
                    // An empty directory does not affect the result, but `-v` lists it, and CMake reads that list.
                    orders =
                        orders.add(b'd', usual).add(b'v', "-v").add(b'P', format!("{variable}={}", paths.with_usual));
                } else if !paths.always.is_empty() {
                    orders = orders.add(b'P', format!("{variable}={}", paths.always));
                }
                placed.shim(own, orders)?;
                continue;
            }
            // They use the options stored in the objects, which a shim does not see; and lto-wrapper with offloading ignores
            // that the compiler for the accelerator is not installed.
            if matches!(name.as_str(), "lto1" | "lto-wrapper") && !differing.is_empty() {
                continue;
            }
            // collect2 of a cross compiler looks for a linker with the name of the target as prefix.
            let linker = format!("{}-ld", cross.target);
            if name == "collect2" && self.programs(&[&linker])?.is_empty() {
                continue;
            }
            placed.native(source, own);
        }
        // Plugins of the linker, which is native now.
        if let (Some(of_image), Some(path)) = (image.program("cc1"), other.program("cc1")) {
            const PLUGIN: &str = "liblto_plugin.so";
            if let Some(own) = self.find(&of_image.with_file_name(PLUGIN))? {
                let path = path.with_file_name(PLUGIN);
                let source = path.strip_prefix(NATIVE).ok().and_then(|path| self.tree.find(path));
                placed.native(source.ok_or(Incompatibility::File { path, what: "does not exist" })?, own);
            }
        }
        Ok(())
    }

    fn place_binutils(&self, cross: &Cross, placed: &mut Placed) -> Result<(), Incompatibility> {
        for (inside, name) in self.binutils(cross)? {
            placed.placements.extend(self.tree.find(&name).map(|source| Placement::Native { source, target: inside }));
        }
        Ok(())
    }

    /// The binutils that both have: real paths in the image, and names of the native programs.
    fn binutils(&self, cross: &Cross) -> Result<Vec<(PathBuf, PathBuf)>, Incompatibility> {
        let prefix = format!("{}-", cross.target);
        let names: Vec<String> =
            BINUTILS.iter().flat_map(|name| [(*name).to_owned(), format!("{prefix}{name}")]).collect();
        let counterpart = |inside: PathBuf| {
            // `ld` of the image may be any linker.
            let name = inside.file_name()?.to_str()?;
            let name = name.strip_prefix(&prefix).unwrap_or(name);
            let native = PathBuf::from(format!("/usr/bin/{prefix}{name}"));
            let is_there = BINUTILS.contains(&name) && self.in_tree(&native).is_some();
            is_there.then_some((inside, native))
        };
        Ok(self.programs(&names)?.into_keys().filter_map(counterpart).collect())
    }

    /// Drivers of the image under all their names: `gcc`, `gcc-12`, `aarch64-linux-gnu-gcc-12`.
    fn drivers(&self, crosses: &[Cross], names: &[&str]) -> Result<Programs, Incompatibility> {
        let mut all: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        for Cross { target, suffix, .. } in crosses {
            for name in names {
                all.extend([format!("{name}{suffix}"), format!("{target}-{name}"), format!("{target}-{name}{suffix}")]);
            }
        }
        self.programs(&all.into_iter().collect::<Vec<_>>())
    }

    /// Programs of the image with these names, in its PATH.
    fn programs(&self, names: &[impl AsRef<str>]) -> Result<Programs, Incompatibility> {
        let mut programs = Programs::new();
        for path in self.directories.iter().flat_map(|directory| names.iter().map(|name| directory.join(name.as_ref())))
        {
            let found = self.image.find(&path).map_err(|source| Incompatibility::Io { path, source })?;
            if let Some(found) = found.filter(|found| !found.is_directory && is_elf(&found.outside, self.platform)) {
                programs.insert(found.inside, found.outside);
            }
        }
        Ok(programs)
    }

    /// Resolves `path` in the image.
    fn find(&self, path: &Path) -> Result<Option<PathBuf>, Incompatibility> {
        let found = self.image.find(path).map_err(|source| Incompatibility::Io { path: path.to_owned(), source })?;
        Ok(found.map(|found| found.inside))
    }

    /// Resolves a path in the image of native tools.
    fn real_in_tree(&self, path: &Path) -> Option<PathBuf> {
        let found = self.tree.find(path)?.canonicalize().ok()?;
        let tree = self.tree.path().canonicalize().ok()?;
        Some(Path::new("/").join(found.strip_prefix(tree).ok()?))
    }

    /// Path of a native program in the sandbox.
    fn in_tree(&self, path: &Path) -> Option<PathBuf> {
        self.tree.find(path).filter(|path| is_elf(path, Platform::host())).map(|_| native(path))
    }
}

/// The placements so far.
#[derive(Default)]
struct Placed {
    placements: Vec<Placement>,
    shims: usize,
}

impl Placed {
    fn native(&mut self, source: PathBuf, target: PathBuf) {
        self.placements.push(Placement::Native { source, target });
    }

    /// Places a shim at `own`; the program there remains accessible.
    fn shim(&mut self, own: PathBuf, orders: Orders) -> Result<(), Incompatibility> {
        let name = format!("{}-{}", self.shims, own.file_name().unwrap_or_default().to_string_lossy());
        self.shims += 1;
        let (kept, shim) = (Path::new(OWN).join(&name), Path::new(SHIMS).join(&name));
        let Some(content) = orders.add(b'o', &kept).program() else {
            return Err(Incompatibility::Silent(format!("{} has too many orders for a shim", own.display())));
        };
        self.placements.push(Placement::Again { source: own.clone(), target: kept });
        self.placements.push(Placement::Program { target: shim.clone(), content });
        self.placements.push(Placement::Again { source: shim, target: own });
        Ok(())
    }
}

/// The cross compilers in a tree.
fn crosses(tree: &Tree) -> Vec<Cross> {
    let mut crosses = Vec::new();
    for (name, path) in tree.list(Path::new("/usr/bin")) {
        let (stem, suffix) = match name.rsplit_once('-') {
            Some((stem, version)) if version.starts_with(|first: char| first.is_ascii_digit()) => {
                (stem, format!("-{version}"))
            }
            _ => (name.as_str(), String::new()),
        };
        if let Some(target) = stem.strip_suffix("-gcc").filter(|target| target.contains('-'))
            && is_elf(&path, Platform::host())
        {
            crosses.push(Cross { path: Path::new("/usr/bin").join(&name), target: target.to_owned(), suffix });
        }
    }
    // By file, since names with and without a version may lead to one file.
    let mut seen = BTreeSet::new();
    crosses.sort_by_key(|cross| (cross.target.clone(), std::cmp::Reverse(cross.suffix.len())));
    crosses.retain(|cross| seen.insert(tree.find(&cross.path).and_then(|path| path.canonicalize().ok())));
    crosses
}

/// Path of a file of the native tools in the sandbox.
fn native(path: &Path) -> PathBuf {
    Path::new(NATIVE).join(path.strip_prefix("/").unwrap_or(path))
}

/// Whether a file is a program for `platform`.
fn is_elf(path: &Path, platform: Platform) -> bool {
    // Opening a FIFO would block.
    std::fs::metadata(path).is_ok_and(|file| file.is_file()) && head(path).is_ok_and(|head| is_program(platform, &head))
}

/// The start of a file, which contains the path of its loader.
fn head(path: &Path) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(HEAD);
    File::open(path)?.take(HEAD as u64).read_to_end(&mut head)?;
    Ok(head)
}

fn first_lines(text: &str) -> String {
    text.lines().filter(|line| !line.is_empty()).take(3).collect::<Vec<_>>().join("; ").escape_debug().to_string()
}
