//! Wheels, and an index that serves them.

use std::sync::{Arc, Mutex};

use hermes::testing::digest::Digest;

use super::fake_registry::{FakeRegistry, Reply, ranged};

/// A zip of files with their modes, uncompressed.
pub fn zip(files: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, mode, content) in files {
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let [length, name_length] = [content.len(), name.len()].map(|length| u32::try_from(length).unwrap());
        let offset = u32::try_from(bytes.len()).unwrap();
        // Version, flags, method, time, date; sums and lengths.
        let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0x50];
        for number in [crc.sum(), length, length] {
            common.extend(number.to_le_bytes());
        }
        common.extend(u16::try_from(name_length).unwrap().to_le_bytes());
        common.extend([0, 0]);
        bytes.extend(b"PK\x03\x04");
        bytes.extend(&common);
        bytes.extend(name.as_bytes());
        bytes.extend(*content);
        directory.extend(b"PK\x01\x02\x14\x03");
        directory.extend(&common);
        directory.extend([0; 6]);
        directory.extend(((0o100_000 | mode) << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let [count, length, offset] = [files.len(), directory.len(), bytes.len()].map(|n| u32::try_from(n).unwrap());
    bytes.extend(&directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend([u16::try_from(count).unwrap().to_le_bytes(); 2].concat());
    bytes.extend(length.to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    bytes.extend([0, 0]);
    bytes
}

/// A file of an index.
#[derive(Clone)]
pub struct Published {
    pub file: String,
    pub bytes: Vec<u8>,
    /// What the page says of its digest, in place of its own.
    pub stated: Option<Digest>,
    pub yanked: Option<String>,
}

impl Published {
    pub fn new(file: &str, bytes: Vec<u8>) -> Self {
        Self { file: file.to_owned(), bytes, stated: None, yanked: None }
    }
}

/// An index of one package, which can change.
#[derive(Clone, Default)]
pub struct Index {
    pub package: &'static str,
    pub files: Arc<Mutex<Vec<Published>>>,
    /// `USER:PASSWORD` in base64, without which nothing is served.
    pub login: Option<String>,
    /// Serves the HTML form of pages.
    pub html: bool,
    /// The server of the files, if it is another one.
    pub files_at: Option<String>,
}

impl Index {
    /// One of the package `tool`.
    pub fn of(files: Vec<Published>) -> Self {
        Self::named("tool", files)
    }

    pub fn named(package: &'static str, files: Vec<Published>) -> Self {
        Self { package, files: Arc::new(Mutex::new(files)), ..Self::default() }
    }

    pub fn set(&self, files: Vec<Published>) {
        *self.files.lock().unwrap() = files;
    }

    /// Serves the index at `/simple`, and files at `/files`.
    pub fn serve(&self) -> FakeRegistry {
        let index = self.clone();
        FakeRegistry::start(move |seen, _| {
            let wanted = index.login.as_ref().map(|login| format!("Basic {login}"));
            if wanted.is_some() && seen.header("authorization") != wanted.as_deref() {
                return Reply::new(401, b"").header("www-authenticate", "Basic realm=\"index\"");
            }
            if seen.path == format!("/simple/{}/", index.package) {
                let page = if index.html { index.html() } else { index.json() };
                return Reply::new(200, page.as_bytes());
            }
            let files = index.files.lock().unwrap();
            let name = seen.path.strip_prefix("/files/").and_then(|name| name.split('?').next());
            match files.iter().find(|file| Some(file.file.as_str()) == name) {
                Some(file) => ranged(seen, Reply::new(200, &file.bytes)),
                None => Reply::new(404, b""),
            }
        })
    }

    /// `index-url` of a served index.
    pub fn url(server: &FakeRegistry) -> String {
        format!("http://{}/simple", server.host())
    }

    fn link(&self, file: &str) -> String {
        match &self.files_at {
            Some(host) => format!("http://{host}/files/{file}?signature=hidden"),
            None => format!("../../files/{file}"),
        }
    }

    fn json(&self) -> String {
        let files = self.files.lock().unwrap();
        let entry = |file: &Published| {
            let digest = file.stated.unwrap_or_else(|| Digest::of(&file.bytes)).hex();
            let yanked = file.yanked.as_ref().map_or(serde_json::Value::Bool(false), |reason| reason.as_str().into());
            serde_json::json!({
                "filename": file.file, "url": self.link(&file.file), "hashes": { "sha256": digest }, "yanked": yanked
            })
        };
        let files: Vec<_> = files.iter().map(entry).collect();
        serde_json::json!({ "meta": { "api-version": "1.1" }, "name": self.package, "files": files }).to_string()
    }

    fn html(&self) -> String {
        let files = self.files.lock().unwrap();
        let entry = |file: &Published| {
            let digest = file.stated.unwrap_or_else(|| Digest::of(&file.bytes)).hex();
            format!("<a href=\"{}#sha256={digest}\">{}</a><br>\n", self.link(&file.file), file.file)
        };
        format!("<!DOCTYPE html><html><body>{}</body></html>", files.iter().map(entry).collect::<String>())
    }
}
