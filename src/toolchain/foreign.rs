//! Emulators and native tools of a toolchain, for platforms whose programs this host cannot run.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::reference::Reference;

/// The default path of an emulator in images such as `tonistiigi/binfmt`.
const USUAL_PATH: &str = "/usr/bin/qemu-{arch}";
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
        match wire {
            WireEmulator { image: Some(image), path, file: None, sha256: None } => {
                let path = path.unwrap_or_else(|| USUAL_PATH.to_owned());
                is_absolute(Path::new(&path))
                    .then_some(Self::Image { image, path })
                    .ok_or_else(|| "'path' of an emulator must be the absolute path of a file in its image".to_owned())
            }
            WireEmulator { image: None, path: None, file: Some(path), sha256: Some(hex) } => {
                let sha256 = Digest::from_hex(&hex).map_err(|_| {
                    "'sha256' of an emulator must be 64 hexadecimal digits, as printed by sha256sum".to_owned()
                })?;
                is_absolute(&path)
                    .then_some(Self::File { path, sha256 })
                    .ok_or_else(|| "'file' of an emulator must be an absolute path of the host".to_owned())
            }
            WireEmulator { image: None, file: Some(_), sha256: None, .. } => {
                Err("an emulator with 'file' also needs 'sha256'".to_owned())
            }
            WireEmulator { image: None, file: None, .. } => {
                Err("an emulator needs 'image', with an optional 'path' in it, or 'file' and 'sha256'".to_owned())
            }
            _ => Err("an emulator needs either 'image' and 'path' or 'file' and 'sha256', not both".to_owned()),
        }
    }
}

impl From<EmulatorSource> for WireEmulator {
    fn from(source: EmulatorSource) -> Self {
        match source {
            EmulatorSource::Image { image, path } => {
                Self { image: Some(image), path: Some(path), file: None, sha256: None }
            }
            EmulatorSource::File { path, sha256 } => {
                Self { image: None, path: None, file: Some(path), sha256: Some(sha256.hex()) }
            }
        }
    }
}

fn is_absolute(path: &Path) -> bool {
    let bytes = path.as_os_str().as_encoded_bytes();
    path.is_absolute() && bytes.len() < MAX_PATH && !bytes.iter().any(u8::is_ascii_control)
}

/// Native tools, which replace tools of a foreign image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Native {
    /// Their image, for the host's platform.
    pub image: Reference,
    /// Names of the tools, as `emulation` defines them.
    #[serde(default = "compiler")]
    pub tools: Vec<String>,
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
        assert_eq!(definition.native, Some(Native { image: image("c/d:2"), tools: vec!["compiler".into()] }));
        let hex = "ab".repeat(32);
        let definition =
            parse(&format!("[emulator]\nfile = '/q'\nsha256 = '{hex}'\n[native]\nimage = 'c/d'\ntools = []"));
        let definition = definition.unwrap();
        let file = EmulatorSource::File { path: "/q".into(), sha256: Digest::from_hex(&hex).unwrap() };
        assert_eq!((definition.emulator.clone(), definition.native.clone().unwrap().tools), (Some(file), vec![]));
        // The output can be parsed.
        let text = toml::to_string(&definition).unwrap();
        assert_eq!(toml::from_str::<Definition>(&text).unwrap(), definition);
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
        ] {
            let error = parse(&format!("[emulator]\n{table}")).unwrap_err().to_string();
            assert!(error.contains(word), "{table}: {error}");
        }
        for (table, word) in [
            ("tools = ['compiler']", "image"),
            ("image = 'a/b'\ntools = 'all'", "tools"),
            ("image = 'a/b'\nmount = '/'", "mount"),
        ] {
            let error = parse(&format!("[native]\n{table}")).unwrap_err().to_string();
            assert!(error.contains(word), "{table}: {error}");
        }
    }
}
