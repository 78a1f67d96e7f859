//! Emulators and native tools of a toolchain, for platforms whose programs this host cannot run.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::dpkg::Request;
use crate::reference::Reference;

/// The default path of an emulator in images such as `tonistiigi/binfmt`, and in Debian's package `qemu-user`.
const USUAL_PATH: &str = "/usr/bin/qemu-{arch}";
/// The default path in Debian's package `qemu-user-static`.
const STATIC_PATH: &str = "/usr/bin/qemu-{arch}-static";
/// What the name of that package ends with.
const STATIC: &str = "-static";
/// Longest path, including the final NUL (`PATH_MAX`).
const MAX_PATH: usize = 4096;

/// The origin of an emulator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WireEmulator", into = "WireEmulator")]
pub enum EmulatorSource {
    /// A file in an image for the host's platform.
    Image {
        image: Reference,
        /// Its path in the image; `{arch}` stands for QEMU's name of the architecture.
        path: String,
    },
    /// A file in a package of the toolchain's archive, for the host's architecture.
    Package {
        /// The package, or a version of it.
        package: Request,
        /// Its path, as in [`Self::Image`].
        path: String,
    },
    /// A file of this host.
    File {
        path: PathBuf,
        /// Its digest.
        sha256: Digest,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireEmulator {
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    package: Option<Request>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
}

impl TryFrom<WireEmulator> for EmulatorSource {
    type Error = String;

    fn try_from(wire: WireEmulator) -> Result<Self, String> {
        let in_place = |path: String, of: &str| {
            let is_fit = is_absolute(Path::new(&path));
            is_fit
                .then_some(path)
                .ok_or_else(|| format!("'path' of an emulator must be the absolute path of a file in its {of}"))
        };
        match wire {
            WireEmulator { image: Some(image), package: None, path, file: None, sha256: None } => {
                let path = in_place(path.unwrap_or_else(|| USUAL_PATH.to_owned()), "image")?;
                Ok(Self::Image { image, path })
            }
            WireEmulator { image: None, package: Some(package), path, file: None, sha256: None } => {
                if matches!(package, Request::Avoid(_)) {
                    return Err("'package' of an emulator must be NAME or NAME=VERSION".to_owned());
                }
                let usual = if package.name().as_str().ends_with(STATIC) { STATIC_PATH } else { USUAL_PATH };
                let path = in_place(path.unwrap_or_else(|| usual.to_owned()), "package")?;
                Ok(Self::Package { package, path })
            }
            WireEmulator { image: None, package: None, path: None, file: Some(path), sha256: Some(hex) } => {
                let sha256 = Digest::from_hex(&hex).map_err(|_| {
                    "'sha256' of an emulator must be 64 hexadecimal digits, as printed by sha256sum".to_owned()
                })?;
                is_absolute(&path)
                    .then_some(Self::File { path, sha256 })
                    .ok_or_else(|| "'file' of an emulator must be an absolute path of the host".to_owned())
            }
            WireEmulator { image: None, package: None, file: Some(_), sha256: None, .. } => {
                Err("an emulator with 'file' also needs 'sha256'".to_owned())
            }
            WireEmulator { image: None, package: None, file: None, .. } => {
                Err("an emulator needs 'image' or 'package', with an optional 'path' in it, or 'file' and 'sha256'"
                    .to_owned())
            }
            _ => Err(
                "an emulator needs either 'image' and 'path', 'package' and 'path', or 'file' and 'sha256', not both"
                    .to_owned(),
            ),
        }
    }
}

impl From<EmulatorSource> for WireEmulator {
    fn from(source: EmulatorSource) -> Self {
        let none = Self { image: None, package: None, path: None, file: None, sha256: None };
        match source {
            EmulatorSource::Image { image, path } => Self { image: Some(image), path: Some(path), ..none },
            EmulatorSource::Package { package, path } => Self { package: Some(package), path: Some(path), ..none },
            EmulatorSource::File { path, sha256 } => Self { file: Some(path), sha256: Some(sha256.hex()), ..none },
        }
    }
}

fn is_absolute(path: &Path) -> bool {
    let bytes = path.as_os_str().as_encoded_bytes();
    path.is_absolute() && bytes.len() < MAX_PATH && !bytes.iter().any(u8::is_ascii_control)
}

/// Native tools, which replace tools of a foreign image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WireNative", into = "WireNative")]
pub enum Native {
    /// The compilers that the archive has which the image is from: `native = "auto"`, the default.
    Auto,
    /// None: `native = false`.
    Off,
    /// Those of an image.
    Image {
        /// The image, for the host's platform.
        image: Reference,
        /// Names of the tools, as `emulation` defines them.
        tools: Vec<String>,
    },
}

impl Native {
    /// Names of the tools.
    #[must_use]
    pub fn tools(&self) -> Vec<String> {
        match self {
            Self::Auto => compiler(),
            Self::Off => vec![],
            Self::Image { tools, .. } => tools.clone(),
        }
    }
}

/// The word for [`Native::Auto`].
const AUTO: &str = "auto";

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected \"auto\", false, or a table with image and tools")]
enum WireNative {
    Word(String),
    Switch(bool),
    Image(WireNativeImage),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireNativeImage {
    image: Reference,
    #[serde(default = "compiler")]
    tools: Vec<String>,
}

impl TryFrom<WireNative> for Native {
    type Error = String;

    fn try_from(wire: WireNative) -> Result<Self, String> {
        match wire {
            WireNative::Word(word) if word == AUTO => Ok(Self::Auto),
            WireNative::Switch(false) => Ok(Self::Off),
            WireNative::Image(WireNativeImage { image, tools }) => Ok(Self::Image { image, tools }),
            WireNative::Word(_) | WireNative::Switch(true) => {
                Err("native: expected \"auto\", false, or a table with image and tools".to_owned())
            }
        }
    }
}

impl From<Native> for WireNative {
    fn from(native: Native) -> Self {
        match native {
            Native::Auto => Self::Word(AUTO.to_owned()),
            Native::Off => Self::Switch(false),
            Native::Image { image, tools } => Self::Image(WireNativeImage { image, tools }),
        }
    }
}

fn compiler() -> Vec<String> {
    vec!["compiler".to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toolchain::Definition;

    fn parse(text: &str) -> Result<Definition, toml::de::Error> {
        toml::from_str(&format!("{text}\n[platform.linux-aarch64]\nimage = 'x/y'\n"))
    }

    #[test]
    fn emulators_and_native_tools() {
        let definition = parse("[emulator]\nimage = 'a/b:1'\n[native]\nimage = 'c/d:2'\n").unwrap();
        let image = |text: &str| text.parse::<Reference>().unwrap();
        let usual = EmulatorSource::Image { image: image("a/b:1"), path: "/usr/bin/qemu-{arch}".into() };
        assert_eq!(definition.emulator, Some(usual));
        assert_eq!(definition.native, Some(Native::Image { image: image("c/d:2"), tools: vec!["compiler".into()] }));
        let hex = "ab".repeat(32);
        let definition =
            parse(&format!("[emulator]\nfile = '/q'\nsha256 = '{hex}'\n[native]\nimage = 'c/d'\ntools = []"));
        let definition = definition.unwrap();
        let file = EmulatorSource::File { path: "/q".into(), sha256: Digest::from_hex(&hex).unwrap() };
        assert_eq!((definition.emulator.clone(), definition.native.clone().unwrap().tools()), (Some(file), vec![]));
        // The output can be parsed.
        let text = toml::to_string(&definition).unwrap();
        assert_eq!(toml::from_str::<Definition>(&text).unwrap(), definition);
    }

    #[test]
    fn emulators_out_of_packages() {
        let parse = |text: &str| {
            let text = format!("[debian]\nsuites = ['a']\n[emulator]\n{text}\n[platform.arm64]\n");
            toml::from_str::<Definition>(&text).unwrap()
        };
        for (text, name, path) in [
            ("package = 'qemu-user-static'", "qemu-user-static", "/usr/bin/qemu-{arch}-static"),
            ("package = 'qemu-user=1:10-1'", "qemu-user=1:10-1", "/usr/bin/qemu-{arch}"),
            ("package = 'q-static'\npath = '/q/{arch}'", "q-static", "/q/{arch}"),
        ] {
            let definition = parse(text);
            let source = EmulatorSource::Package { package: name.parse().unwrap(), path: path.into() };
            assert_eq!(definition.emulator, Some(source), "{text}");
            assert_eq!(toml::from_str::<Definition>(&toml::to_string(&definition).unwrap()).unwrap(), definition);
        }
    }

    #[test]
    fn native_tools_are_a_word_or_a_table() {
        for (text, native) in [("native = 'auto'", Native::Auto), ("native = false", Native::Off)] {
            let definition = parse(text).unwrap();
            assert_eq!(definition.native, Some(native.clone()));
            assert_eq!(toml::from_str::<Definition>(&toml::to_string(&definition).unwrap()).unwrap(), definition);
            // As records have it.
            let json = serde_json::to_string(&native).unwrap();
            assert_eq!(serde_json::from_str::<Native>(&json).unwrap(), native);
        }
        for bad in ["native = true", "native = 'none'", "native = 1", "native = []"] {
            let error = parse(bad).unwrap_err().to_string();
            assert!(error.contains("expected \"auto\", false, or a table"), "{bad}: {error}");
        }
    }

    #[test]
    fn mistakes_are_explained() {
        let hex = "ab".repeat(32);
        for (table, word) in [
            ("image = 'a/b'\nfile = '/q'".to_owned(), "not both"),
            (format!("image = 'a/b'\nsha256 = '{hex}'"), "not both"),
            (format!("file = '/q'\npath = '/x'\nsha256 = '{hex}'"), "not both"),
            ("file = '/q'".to_owned(), "also needs 'sha256'"),
            (format!("file = 'q'\nsha256 = '{hex}'"), "absolute path of the host"),
            ("file = '/q'\nsha256 = 'abc'".to_owned(), "64 hexadecimal digits"),
            ("file = '/q'\nsha256 = 'sha256:abc'".to_owned(), "64 hexadecimal digits"),
            ("path = '/x'".to_owned(), "an emulator needs 'image'"),
            (String::new(), "an emulator needs 'image'"),
            ("image = 'a/b'\npath = 'usr/bin/qemu'".to_owned(), "absolute path of a file in its image"),
            ("image = 'a/b'\npath = \"/q\\u0000\"".to_owned(), "absolute path of a file in its image"),
            ("image = 'a/b'\npath = \"/q\\u001b[31m\"".to_owned(), "absolute path of a file in its image"),
            ("image = 'UPPER'".to_owned(), "UPPER"),
            ("image = 'a/b'\nflags = 'C'".to_owned(), "flags"),
            ("image = 'a/b'\npackage = 'qq'".to_owned(), "not both"),
            ("package = 'qq'\nfile = '/q'".to_owned(), "not both"),
            ("package = 'qq-'".to_owned(), "NAME=VERSION"),
            ("package = 'QQ'".to_owned(), "QQ"),
            ("package = 'qq'\npath = 'q'".to_owned(), "absolute path of a file in its package"),
            ("package = 'qq'".to_owned(), "[debian]"),
        ] {
            let error = parse(&format!("[emulator]\n{table}")).unwrap_err().to_string();
            assert!(error.contains(word), "{table}: {error}");
        }
        for table in ["tools = ['compiler']", "image = 'a/b'\ntools = 'all'", "image = 'a/b'\nmount = '/'"] {
            let error = parse(&format!("[native]\n{table}")).unwrap_err().to_string();
            assert!(error.contains("a table with image and tools"), "{table}: {error}");
        }
    }
}
