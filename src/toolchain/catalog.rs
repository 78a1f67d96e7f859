//! The catalogue: toolchains of the project, of the user, and embedded ones.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::fs::regular;
use crate::fs::trust::Trust;
use crate::lock::{self, Lock, LockError};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::toolchain::project::MAX_FILE;
use crate::toolchain::{
    Additions, Content, Definition, EmulatorSource, Native, Packages, ToolArchive, ToolchainError, shipped,
};

/// The embedded toolchains: every file of `toolchains/`.
const EMBEDDED: &[(&str, &str)] = &[
    ("debian", include_str!("../../toolchains/debian.toml")),
    ("debian-image", include_str!("../../toolchains/debian-image.toml")),
    ("debian13", include_str!("../../toolchains/debian13.toml")),
    ("dockcross", include_str!("../../toolchains/dockcross.toml")),
    ("manylinux_2_28", include_str!("../../toolchains/manylinux_2_28.toml")),
    ("zig", include_str!("../../toolchains/zig.toml")),
];

/// Toolchains by name, looked up in this order: the project, the user's directory, the embedded ones. The first match is
/// used.
#[derive(Debug, Clone, Default)]
pub(crate) struct Catalog {
    /// Toolchains of the project.
    pub project: BTreeMap<String, Definition>,
    /// The user's directory of `NAME.toml` files, which need not exist.
    pub directory: Option<PathBuf>,
}

/// A target platform of a toolchain, with the defaults of the toolchain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chosen {
    /// The image, or the reserved reference of a root of packages.
    pub reference: Reference,
    /// The packages of the root.
    pub packages: Option<Packages>,
    /// The platform of the programs.
    pub image_platform: Platform,
    /// Emulator of foreign programs.
    pub emulator: Option<EmulatorSource>,
    /// Native tools; `None` if there shall be none.
    pub native: Option<Native>,
    /// The archive of emulators and native tools.
    pub archive: Option<ToolArchive>,
    /// Sources and variables.
    pub additions: Additions,
}

impl Catalog {
    /// The definition of `name`.
    ///
    /// # Errors
    /// The name is unknown; the file cannot be read or is not valid.
    pub(crate) fn find(&self, name: &str) -> Result<Definition, ToolchainError> {
        if let Some(definition) = self.project.get(name) {
            return Ok(definition.clone());
        }
        if let Some((directory, path)) = self.file_of_user(name) {
            let read = |file: File| regular::read(&file, MAX_FILE);
            match Trust::in_caller().open_followed(&path).and_then(read) {
                Ok(bytes) => {
                    let mut definition = parse(&String::from_utf8_lossy(&bytes), &path)?;
                    definition.debian.iter_mut().for_each(|debian| debian.resolve_paths(directory));
                    definition.additions.resolve_paths(directory);
                    definition.platform.values_mut().for_each(|target| target.additions.resolve_paths(directory));
                    return Ok(definition);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(ToolchainError::Unreadable { path, source }),
            }
        }
        match EMBEDDED.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => parse(text, Path::new(name)),
            None => Err(ToolchainError::Unknown { name: name.escape_default().to_string(), known: self.names() }),
        }
    }

    /// The lock that hermes ships for the toolchain `name`; `None` if a project or the user defines it.
    ///
    /// # Errors
    /// The lock cannot be used.
    pub(crate) fn shipped_lock(&self, name: &str) -> Result<Option<Lock>, LockError> {
        let is_replaced = self.file_of_user(name).is_some_and(|(_, path)| path.symlink_metadata().is_ok());
        if is_replaced || self.project.contains_key(name) { Ok(None) } else { shipped::lock(name) }
    }

    /// The user's directory of toolchains, and the file in it that would define `name`.
    fn file_of_user(&self, name: &str) -> Option<(&Path, PathBuf)> {
        // The name is used as a file name, so it must not be a path.
        let directory = self.directory.as_deref().filter(|_| !name.contains('/') && !name.starts_with('.'))?;
        Some((directory, directory.join(format!("{name}.toml"))))
    }

    /// The target `platform` of the toolchain `name`.
    ///
    /// # Errors
    /// As [`Self::find`]; the toolchain does not build for the platform; its name is not fit for packages.
    pub(crate) fn target(&self, name: &str, platform: Platform) -> Result<Chosen, ToolchainError> {
        let mut definition = self.find(name)?;
        let Some(target) = definition.platform.remove(&platform) else {
            let known = definition.platform.into_keys().collect();
            return Err(ToolchainError::Platform { name: name.to_owned(), platform, known });
        };
        let image_platform = target.image_platform.unwrap_or(platform);
        let archive = self.archive(name, &definition);
        let (reference, packages) = match (target.content, definition.debian) {
            (Content::Image(image), _) => (Some(image), None),
            (Content::Packages { request, scripts }, Some(debian)) => {
                let request = debian.packages.iter().cloned().chain(request).collect();
                let is_of_project = self.project.contains_key(name);
                let packages = Packages { debian, request, scripts, is_of_project };
                (lock::root_reference(name, platform, image_platform), Some(packages))
            }
            // Refused when the definition was parsed.
            (Content::Packages { .. }, None) => (None, None),
        };
        let reference = reference.ok_or_else(|| ToolchainError::Name { name: name.escape_default().to_string() })?;
        let emulator = target.emulator.or(definition.emulator);
        let native = target.native.or(definition.native).unwrap_or(Native::Auto);
        let native = Some(native).filter(|native| *native != Native::Off);
        // Checked when the definition was parsed.
        let additions = definition.additions.with(&target.additions).unwrap_or_default();
        Ok(Chosen { reference, packages, image_platform, emulator, native, archive, additions })
    }

    /// The emulator for `platform` in the toolchain `name`, even if the toolchain does not build for that platform, and the
    /// toolchain's archive.
    pub(crate) fn emulator(
        &self,
        name: &str,
        platform: Platform,
    ) -> Result<(Option<EmulatorSource>, Option<ToolArchive>), ToolchainError> {
        let mut definition = self.find(name)?;
        let archive = self.archive(name, &definition);
        let of_platform = definition.platform.remove(&platform).and_then(|target| target.emulator);
        Ok((of_platform.or(definition.emulator), archive))
    }

    /// The archive of a toolchain, for packages of the host's architecture.
    fn archive(&self, name: &str, definition: &Definition) -> Option<ToolArchive> {
        let debian = definition.debian.clone()?;
        let is_of_project = self.project.contains_key(name);
        let packages = Packages { debian, request: vec![], scripts: false, is_of_project };
        Some(ToolArchive { toolchain: name.to_owned(), packages })
    }

    /// All names, sorted.
    #[must_use]
    pub(crate) fn names(&self) -> Vec<String> {
        let files = self.directory.iter().filter_map(|directory| std::fs::read_dir(directory).ok()).flatten();
        let files =
            files.filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".toml").map(str::to_owned));
        let mut names: Vec<String> = self.project.keys().cloned().chain(files).collect();
        names.extend(EMBEDDED.iter().map(|(name, _)| (*name).to_owned()));
        names.sort();
        names.dedup();
        names
    }
}

fn parse(text: &str, path: &Path) -> Result<Definition, ToolchainError> {
    toml::from_str(text).map_err(|source| ToolchainError::Malformed { path: path.to_owned(), source: Box::new(source) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toolchain::SignedBy;

    #[test]
    fn the_whole_catalogue_is_embedded_and_valid() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("toolchains");
        let mut files: Vec<String> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let mut names: Vec<String> = EMBEDDED.iter().map(|(name, _)| format!("{name}.toml")).collect();
        names.sort();
        assert_eq!(files, names);
        for (name, _) in EMBEDDED {
            let definition = Catalog::default().find(name).unwrap();
            assert!(!definition.description.is_empty() && !definition.platform.is_empty(), "{name}");
        }
        let target = Catalog::default().target("dockcross", Platform::ArmV6).unwrap();
        assert_eq!(target.image_platform, Platform::Amd64);
    }

    #[test]
    fn a_platform_may_have_an_emulator_of_its_own() {
        let text = "[emulator]\nimage = 'all/of:them'\n[native]\nimage = 'n/n'\n\
                    [platform.arm64]\nimage = 'x/y'\n[platform.armv6]\nimage = 'x/y'\n\
                    emulator = { image = 'own/one', path = '/q' }\nnative = { image = 'own/tools' }\n";
        let mut catalog = Catalog::default();
        catalog.project.insert("own".into(), parse(text, Path::new("hermes.toml")).unwrap());
        let image = |source: Option<EmulatorSource>| match source {
            Some(EmulatorSource::Image { image, .. }) => image.repository().to_owned(),
            source => panic!("{source:?}"),
        };
        for (platform, emulator, native) in
            [(Platform::Arm64, "all/of", "n/n"), (Platform::ArmV6, "own/one", "own/tools")]
        {
            let target = catalog.target("own", platform).unwrap();
            assert_eq!(image(target.emulator), emulator);
            let Some(Native::Image { image: found, .. }) = target.native else { panic!("{:?}", target.native) };
            assert_eq!(found.repository(), native);
            assert_eq!(image(catalog.emulator("own", platform).unwrap().0), emulator);
        }
        assert_eq!(image(catalog.emulator("own", Platform::S390x).unwrap().0), "all/of");
        assert!(matches!(catalog.emulator("none", Platform::S390x), Err(ToolchainError::Unknown { .. })));
    }

    #[test]
    fn native_tools_are_found_unless_a_toolchain_refuses_them() {
        let text =
            "native = false\n[platform.arm64]\nimage = 'x/y'\nnative = 'auto'\n[platform.armv7]\nimage = 'x/y'\n";
        let mut catalog = Catalog::default();
        catalog.project.insert("own".into(), parse(text, Path::new("hermes.toml")).unwrap());
        let native = |name, platform| catalog.target(name, platform).unwrap().native;
        assert_eq!(native("own", Platform::Arm64), Some(Native::Auto));
        assert_eq!(native("own", Platform::ArmV7), None);
        assert_eq!(native("manylinux_2_28", Platform::Arm64), Some(Native::Auto));
    }

    #[test]
    fn packages_have_a_reserved_reference() {
        let text = "[debian]\nsuites = ['a']\npackages = ['gcc']\nmirrors = ['vendor', 'https://deb.example.org/']\nsigned-by = 'k'\n\
            [platform.arm64]\npackages = ['cmake']\n[platform.armv7]\nimage-platform = 'amd64'\n[platform.amd64]\nimage = 'x/y'\n";
        let mut catalog = Catalog::default();
        catalog.project.insert("own".into(), parse(text, Path::new("hermes.toml")).unwrap());
        catalog.project.insert("Own".into(), parse(text, Path::new("hermes.toml")).unwrap());
        let target = |platform| catalog.target("own", platform).unwrap();
        let arm64 = target(Platform::Arm64);
        assert_eq!(arm64.reference.to_string(), "packages.hermes.invalid/own:latest");
        let packages = arm64.packages.unwrap();
        let names: Vec<_> = packages.request.iter().map(ToString::to_string).collect();
        assert_eq!((names, packages.is_of_project), (vec!["gcc".to_owned(), "cmake".to_owned()], true));
        assert_eq!(target(Platform::ArmV7).reference.to_string(), "packages.hermes.invalid/own:linux-armv7");
        assert_eq!(target(Platform::Amd64).packages, None);
        // Packages of the host are from there, too.
        let archive = target(Platform::Amd64).archive.unwrap();
        assert_eq!((archive.toolchain.as_str(), archive.packages.request.len()), ("own", 0));
        assert!(matches!(catalog.target("Own", Platform::Arm64), Err(ToolchainError::Name { .. })));
        // Paths in a file of the user are relative to its directory.
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("mine.toml"), text).unwrap();
        let catalog = Catalog { directory: Some(dir.path().to_owned()), ..Catalog::default() };
        let mine = catalog.target("mine", Platform::Arm64).unwrap().packages.unwrap();
        let vendor = dir.path().join("vendor").to_string_lossy().into_owned();
        assert_eq!(mine.debian.mirrors, [vendor, "https://deb.example.org/".to_owned()]);
        assert_eq!(mine.debian.signed_by, SignedBy::File(dir.path().join("k").to_string_lossy().into_owned()));
        assert!(!mine.is_of_project);
    }

    #[test]
    fn nearer_definitions_take_the_place_of_farther_ones() {
        let dir = tempfile::tempdir().unwrap();
        let text = |image: &str| format!("[platform.linux-aarch64]\nimage = '{image}'\n");
        std::fs::write(dir.path().join("debian.toml"), text("user/image")).unwrap();
        std::fs::write(dir.path().join("mine.toml"), text("user/mine")).unwrap();
        let mut catalog = Catalog { directory: Some(dir.path().to_owned()), ..Catalog::default() };
        let image =
            |catalog: &Catalog, name| catalog.target(name, Platform::Arm64).unwrap().reference.repository().to_owned();
        assert_eq!(image(&catalog, "debian"), "user/image");
        assert!(matches!(catalog.target("debian", Platform::Amd64), Err(ToolchainError::Platform { .. })));
        catalog.project.insert("debian".into(), parse(&text("project/image"), Path::new("hermes.toml")).unwrap());
        assert_eq!(image(&catalog, "debian"), "project/image");
        assert_eq!(image(&catalog, "mine"), "user/mine");
        assert_eq!(
            catalog.names(),
            ["debian", "debian-image", "debian13", "dockcross", "manylinux_2_28", "mine", "zig"]
        );
        for unknown in ["gcc", "../mine", "", ".mine"] {
            assert!(matches!(catalog.find(unknown), Err(ToolchainError::Unknown { .. })), "{unknown}");
        }
    }
}
