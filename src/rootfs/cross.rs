//! The cross compilers of an image, made to run where the image is no root: straight out of its tree, on the C library
//! of the host.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::fs::beneath::{self, Links};
use crate::platform::Platform;
use crate::sys::file::path_of;

/// Suffixes, after the name of a target, of programs that compile or link. They need to know where the files of the target are.
const DRIVERS: [&str; 12] =
    ["gcc", "g++", "c++", "cc", "cpp", "gfortran", "clang", "clang++", "ld", "ld.bfd", "ld.gold", "ld.lld"];
/// By which of these a compiler for a target is known.
const COMPILERS: [&str; 4] = ["gcc", "cc", "clang", "g++"];
/// Parts of glibc, which fit its loader alone, and that is the host's.
const GLIBC: [&str; 16] = [
    "ld-linux",
    "libBrokenLocale.",
    "libanl.",
    "libc.",
    "libc_malloc_debug.",
    "libdl.",
    "libm.",
    "libmvec.",
    "libnsl.",
    "libnss_",
    "libpthread.",
    "libresolv.",
    "librt.",
    "libthread_db.",
    "libutil.",
    "libmemusage.",
];

/// The tree of an image.
pub(crate) struct Tree {
    path: PathBuf,
    root: OwnedFd,
}

impl Tree {
    /// The tree at `path`.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let path = fs::canonicalize(path)?;
        let root = rustix::fs::open(&path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { path, root })
    }

    /// Where it is, without links.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where on the host `path` of the image is, if it is there. Its name stays if that leads to the right file, since
    /// programs look at theirs; a link to an absolute path does not.
    #[must_use]
    pub(crate) fn find(&self, path: &Path) -> Option<PathBuf> {
        let found = beneath::find(&self.root, path, Links::Follow).ok()?;
        let real = fs::read_link(path_of(found.as_fd())).ok()?;
        let plain = self.path.join(path.strip_prefix("/").unwrap_or(path));
        Some(if fs::canonicalize(&plain).is_ok_and(|leads_to| leads_to == real) { plain } else { real })
    }

    /// Names in a directory of the image that are UTF-8, each with where it leads.
    #[must_use]
    pub(crate) fn list(&self, directory: &Path) -> Vec<(String, PathBuf)> {
        let entries = self.find(directory).and_then(|directory| fs::read_dir(directory).ok());
        let names = entries.into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.filter_map(|name| Some((name.clone(), self.find(&directory.join(name))?))).collect()
    }

    /// Puts into `bin` a script for each cross compiler in `directories` and each program of its target, and for each
    /// other program that is none of the host's, by `host_has`. Returns the targets, of which there may be none.
    ///
    /// # Errors
    /// The system's, in writing.
    pub(crate) fn wrap(
        &self,
        directories: &[&Path],
        bin: &Path,
        libraries: &Path,
        host_has: impl Fn(&str) -> bool,
    ) -> io::Result<Vec<String>> {
        let mut programs = BTreeMap::new();
        for (name, path) in directories.iter().flat_map(|directory| self.list(directory)) {
            let runs = fs::metadata(&path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0);
            if runs {
                programs.entry(name).or_insert(path);
            }
        }
        let mut targets: BTreeMap<&str, bool> = BTreeMap::new();
        for (name, path) in &programs {
            let Some(target) = target(name) else { continue };
            // crosstool-NG's compilers know where their files are, by where they are themselves.
            let places = [Some(path.clone()), fs::canonicalize(path).ok()];
            let mut prefixes = places.iter().flatten().filter_map(|place| place.parent()?.parent());
            let has_own = prefixes.any(|prefix| prefix.join(target).join("sysroot").is_dir());
            if has_own || !is_native(target) {
                *targets.entry(target).or_default() |= has_own;
            }
        }
        let sysroot = [b" --sysroot=", quoted(&self.path).as_slice()].concat();
        for (name, path) in &programs {
            let of_target =
                targets.iter().find_map(|(target, own)| Some((name.strip_prefix(target)?.strip_prefix('-')?, *own)));
            let option = match of_target {
                Some((tool, false)) if DRIVERS.contains(&without_version(tool)) => sysroot.as_slice(),
                None if is_toolchain(name) || host_has(name) => continue,
                _ => b"",
            };
            let libraries = quoted(libraries);
            let script = [
                b"#!/bin/sh\nLD_LIBRARY_PATH=",
                libraries.as_slice(),
                b"${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}\nexport LD_LIBRARY_PATH\nexec ",
                &quoted(path),
                option,
                b" \"$@\"\n",
            ];
            let mut file = File::options().write(true).create_new(true).mode(0o755).open(bin.join(name))?;
            file.write_all(&script.concat())?;
        }
        Ok(targets.into_keys().map(str::to_owned).collect())
    }

    /// Puts into `libraries` a link for each shared library of the image, the C library's own left out, in the usual
    /// directories and then in `more`.
    ///
    /// # Errors
    /// The system's, in writing.
    pub(crate) fn link_libraries(&self, more: &[&Path], libraries: &Path) -> io::Result<()> {
        let multiarch = format!("{}-linux-gnu", std::env::consts::ARCH);
        let usual = ["lib", "usr/lib", "lib64", "usr/lib64", "usr/local/lib"].map(PathBuf::from);
        let usual = usual.iter().flat_map(|directory| [directory.join(&multiarch), directory.clone()]);
        let mut linked = BTreeSet::new();
        for (name, path) in usual.chain(more.iter().map(PathBuf::from)).flat_map(|directory| self.list(&directory)) {
            let is_library = name.split_once(".so").is_some_and(|(_, rest)| rest.is_empty() || rest.starts_with('.'));
            if is_library && !GLIBC.iter().any(|own| name.starts_with(own)) && !linked.contains(&name) {
                symlink(path, libraries.join(&name))?;
                linked.insert(name);
            }
        }
        Ok(())
    }
}

/// The name without `-12` or `-12.2` at its end.
fn without_version(name: &str) -> &str {
    match name.rsplit_once('-') {
        Some((name, version)) if version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') => name,
        _ => name,
    }
}

/// The target of a compiler that has one in its name.
fn target(name: &str) -> Option<&str> {
    let (target, tool) = without_version(name).rsplit_once('-')?;
    (COMPILERS.contains(&tool) && target.contains('-')).then_some(target)
}

/// Whether programs of this target are the host's own.
fn is_native(target: &str) -> bool {
    let (architecture, rest) = target.split_once('-').unwrap_or((target, ""));
    architecture.parse() == Ok(Platform::host()) && rest.ends_with("linux-gnu")
}

/// Whether a program compiles or links: without a target in its name, for the machine it runs on.
fn is_toolchain(name: &str) -> bool {
    let tool = without_version(name);
    let tool = tool.rsplit_once('-').map_or(tool, |(_, tool)| tool);
    tool == "as" || DRIVERS.contains(&tool)
}

/// A path as a word of sh(1).
fn quoted(path: &Path) -> Vec<u8> {
    let mut word = b"'".to_vec();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'\'' => word.extend_from_slice(br"'\''"),
            byte => word.push(*byte),
        }
    }
    word.push(b'\'');
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_of_compilers() {
        for (name, want) in [
            ("aarch64-linux-gnu-gcc", Some("aarch64-linux-gnu")),
            ("aarch64-linux-gnu-gcc-12", Some("aarch64-linux-gnu")),
            ("arm-none-eabi-g++-12.2", Some("arm-none-eabi")),
            ("x86_64-w64-mingw32-clang", Some("x86_64-w64-mingw32")),
            ("aarch64-linux-gnu-gcc-ar", None),
            ("gcc-12", None),
            ("c99-gcc", None),
            ("gcc", None),
            ("", None),
        ] {
            assert_eq!(target(name), want, "{name}");
        }
        let native = format!("{}-linux-gnu", std::env::consts::ARCH);
        assert!(is_native(&native) && is_native(&native.replace("-linux", "-pc-linux")));
        assert!(!is_native("s390x-linux-gnu") && !is_native(&native.replace("gnu", "musl")) && !is_native("gnu"));
        for (name, want) in [("gcc", true), ("x86_64-linux-gnu-gcc-12", true), ("ld.gold", true), ("cmake", false)] {
            assert_eq!(is_toolchain(name), want, "{name}");
        }
    }

    #[test]
    fn words_of_a_shell() {
        assert_eq!(quoted(Path::new("/a b/it's $(x)")), br"'/a b/it'\''s $(x)'");
    }

    #[test]
    fn scripts_and_links_lead_into_the_tree() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        for path in ["tree/usr/bin", "tree/usr/lib", "tree/opt/x/bin", "tree/opt/x/x-elf-y/sysroot", "bin", "lib"] {
            fs::create_dir_all(at(path)).unwrap();
        }
        let native = format!("{}-linux-gnu-gcc", std::env::consts::ARCH);
        for name in ["aarch64-elf-x-gcc", "aarch64-elf-x-gcc-ar", "gcc", "cmake", "make", &native] {
            fs::write(at("tree/usr/bin").join(name), "").unwrap();
            fs::set_permissions(at("tree/usr/bin").join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::write(at("tree/usr/bin/README"), "").unwrap();
        fs::copy(at("tree/usr/bin/gcc"), at("tree/opt/x/bin/x-elf-y-gcc")).unwrap();
        symlink("/opt/x/bin/x-elf-y-gcc", at("tree/usr/bin/x-elf-z-cc")).unwrap();
        // Known by its real place.
        symlink("../../opt/x/bin/x-elf-y-gcc", at("tree/usr/bin/x-elf-y-gcc")).unwrap();
        symlink("/etc/passwd", at("tree/usr/bin/outside")).unwrap();
        for name in ["libz.so.1", "libc.so.6", "libm.so.6", "libmpc.so.3", "libz.a", "ld-linux-x86-64.so.2"] {
            fs::write(at("tree/usr/lib").join(name), "").unwrap();
        }
        let tree = Tree::open(&at("tree")).unwrap();
        let places = [Path::new("/usr/bin"), Path::new("/opt/x/bin"), Path::new("/none")];
        let targets = tree.wrap(&places, &at("bin"), &at("lib"), |name| name == "make").unwrap();
        assert_eq!(targets, ["aarch64-elf-x", "x-elf-y", "x-elf-z"]);
        let names = |directory: &str| {
            let mut names: Vec<_> = fs::read_dir(at(directory))
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        assert_eq!(names("bin"), ["aarch64-elf-x-gcc", "aarch64-elf-x-gcc-ar", "cmake", "x-elf-y-gcc", "x-elf-z-cc"]);
        let told = |name: &str| fs::read_to_string(at("bin").join(name)).unwrap().contains("--sysroot");
        assert_eq!(["aarch64-elf-x-gcc", "x-elf-z-cc"].map(told), [true, true]);
        assert_eq!(["aarch64-elf-x-gcc-ar", "x-elf-y-gcc", "cmake"].map(told), [false, false, false]);
        let script = fs::read_to_string(at("bin/x-elf-z-cc")).unwrap();
        let real = tree.path().join("opt/x/bin/x-elf-y-gcc");
        assert!(script.contains(&format!("exec '{}' --sysroot='", real.display())), "{script}");
        tree.link_libraries(&[], &at("lib")).unwrap();
        assert_eq!(names("lib"), ["libmpc.so.3", "libz.so.1"]);
    }
}
