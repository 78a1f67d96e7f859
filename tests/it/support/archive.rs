//! A small archive of Debian packages, signed with a key of its own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hermes::testing::digest::Digest;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::fake_registry::{FakeRegistry, Reply, ranged};

/// Configuration of a host that cannot run programs for s390x. Packages without programs cannot be composed: on a platform
/// without an emulator hermes does not try.
pub const NO_EMULATOR: &str = "[emulator]\nlinux-s390x = '/nonexistent/qemu-s390x'\n";

/// When keys are made, in seconds since 1970.
const CREATED: u32 = 1_600_000_000;

/// A key of OpenPGP (RFC 9580) that signs: Ed25519, version 4.
pub struct Key {
    pair: Ed25519KeyPair,
    body: Vec<u8>,
}

impl Key {
    /// The key that belongs to this number.
    pub fn new(seed: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let mut body = vec![4];
        body.extend(CREATED.to_be_bytes());
        // EdDSA over Ed25519 by its object identifier (§5.5.5.5).
        body.extend([22, 9, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01]);
        let point = [&[0x40], pair.public_key().as_ref()].concat();
        body.extend(mpi(&point));
        Self { pair, body }
    }

    pub fn fingerprint(&self) -> String {
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &self.framed());
        hash.as_ref().iter().fold(String::new(), |text, byte| text + &format!("{byte:02X}"))
    }

    fn framed(&self) -> Vec<u8> {
        let length = u16::try_from(self.body.len()).unwrap().to_be_bytes();
        [&[0x99], &length[..], &self.body].concat()
    }

    /// The public key, binary.
    pub fn public(&self) -> Vec<u8> {
        let owner = b"An archive of tests";
        let length = u32::try_from(owner.len()).unwrap().to_be_bytes();
        let data = [&self.framed()[..], &[0xb4], &length, owner].concat();
        let signature = self.signature(0x13, CREATED, &data);
        [packet(6, &self.body), packet(13, owner), packet(2, &signature)].concat()
    }

    /// A signature packet over `data`.
    fn signature(&self, kind: u8, time: u32, data: &[u8]) -> Vec<u8> {
        let fingerprint = digest(&SHA1_FOR_LEGACY_USE_ONLY, &self.framed());
        let mut hashed = [&[5, 2], &time.to_be_bytes()[..], &[22, 33, 4], fingerprint.as_ref()].concat();
        if kind == 0x13 {
            hashed.extend([2, 27, 3]);
        }
        let length = u16::try_from(hashed.len()).unwrap().to_be_bytes();
        // EdDSA with SHA-256.
        let head = [&[4, kind, 22, 8], &length[..], &hashed].concat();
        let trailer = u32::try_from(head.len()).unwrap().to_be_bytes();
        let hash = digest(&SHA256, &[data, &head, &[4, 0xff], &trailer].concat());
        let signed = self.pair.sign(hash.as_ref());
        let (r, s) = signed.as_ref().split_at(32);
        [&head, &[0, 0][..], &hash.as_ref()[..2], &mpi(r), &mpi(s)].concat()
    }

    /// `text` as a clearsigned document.
    pub fn sign(&self, text: &str, time: u32) -> String {
        let lines: Vec<_> =
            text.trim_end_matches('\n').split('\n').map(|line| line.trim_end_matches([' ', '\t'])).collect();
        let signature = packet(2, &self.signature(1, time, lines.join("\r\n").as_bytes()));
        format!(
            "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{}\n-----BEGIN PGP SIGNATURE-----\n\n{}\n-----END PGP SIGNATURE-----\n",
            lines.join("\n"),
            STANDARD.encode(signature)
        )
    }
}

fn mpi(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    let rest = &bytes[start..];
    let bits = rest.first().map_or(0, |first| rest.len() * 8 - first.leading_zeros() as usize);
    [&u16::try_from(bits).unwrap().to_be_bytes()[..], rest].concat()
}

fn packet(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = match body.len() {
        length @ 0..192 => vec![u8::try_from(length).unwrap()],
        length => {
            let length = u16::try_from(length - 192).unwrap() + 0xc000;
            length.to_be_bytes().to_vec()
        }
    };
    [&[0xc0 | tag], &length[..], body].concat()
}

/// A package: the fields of its control file besides the name, and its .deb.
#[derive(Clone)]
pub struct Package {
    pub name: String,
    pub version: String,
    pub architecture: String,
    pub fields: String,
    /// Programs in it besides its one file, by their paths.
    pub programs: Vec<(String, Vec<u8>)>,
}

impl Package {
    pub fn new(name: &str, version: &str, fields: &str) -> Self {
        let (name, version, fields) = (name.to_owned(), version.to_owned(), fields.to_owned());
        Self { name, version, architecture: "all".to_owned(), fields, programs: vec![] }
    }

    /// The same for amd64, with this program.
    pub fn with_file(self, path: &str, bytes: &[u8]) -> Self {
        let programs = [self.programs, vec![(path.to_owned(), bytes.to_vec())]].concat();
        Self { architecture: "amd64".to_owned(), programs, ..self }
    }

    pub fn path(&self) -> String {
        let Self { name, version, architecture, .. } = self;
        format!("pool/main/{name}_{version}_{architecture}.deb")
    }

    fn control(&self) -> String {
        let Self { name, version, architecture, fields, .. } = self;
        let newline = if fields.is_empty() { "" } else { "\n" };
        format!(
            "Package: {name}\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: T <t@example.org>\n{fields}{newline}"
        )
    }

    /// The .deb (deb(5)): an ar archive with two tars. The one with the files has a file that names the package.
    pub fn deb(&self) -> Vec<u8> {
        let control = tar(&[("control", 0o644, self.control().as_bytes())]);
        let text = format!("{} {}\n", self.name, self.version);
        let path = format!("usr/share/{}", self.name);
        let programs = self.programs.iter().map(|(path, bytes)| (path.as_str(), 0o755, bytes.as_slice()));
        let data = tar(&[&[(path.as_str(), 0o644, text.as_bytes())], &programs.collect::<Vec<_>>()[..]].concat());
        let mut ar = b"!<arch>\n".to_vec();
        for (name, bytes) in [("debian-binary", &b"2.0\n"[..]), ("control.tar", &control), ("data.tar", &data)] {
            ar.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, bytes.len()).into_bytes());
            ar.extend(bytes);
            ar.resize(ar.len().next_multiple_of(2), b'\n');
        }
        ar
    }
}

/// Files with their modes.
fn tar(files: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, mode, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(*mode);
        header.set_mtime(1_700_000_000);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, format!("./{path}"), *bytes).unwrap();
    }
    tar.into_inner().unwrap()
}

/// A package that exists: its paragraph in an index, and its .deb.
struct Existing {
    paragraph: String,
    deb: Vec<u8>,
}

/// The value of a field in a paragraph.
fn field<'a>(paragraph: &'a str, name: &str) -> &'a str {
    let line = paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    line.unwrap_or_else(|| panic!("no {name} in {paragraph}"))
}

/// The packages of the fixture `base`.
fn existing(fixture: &Path) -> Vec<Existing> {
    let index = ["base", "packages"].map(|name| fs::read_to_string(fixture.join(name)).unwrap()).join("\n\n");
    let paragraphs = index.split("\n\n").map(str::trim).filter(|paragraph| !paragraph.is_empty());
    let read = |paragraph: &str| {
        let [name, version, architecture] =
            ["Package", "Version", "Architecture"].map(|name| field(paragraph, name).replace(':', "%3a"));
        let deb = fs::read(fixture.join(format!("{name}_{version}_{architecture}.deb"))).unwrap();
        Existing { paragraph: paragraph.to_owned(), deb }
    };
    paragraphs.map(read).collect()
}

/// An archive with one suite and one component, `main`.
pub struct Archive {
    /// It signs.
    pub key: Key,
    /// The suite, `stable` unless it is changed.
    pub suite: String,
    /// Packages that it makes.
    pub packages: Vec<Package>,
    existing: Vec<Existing>,
    /// `Date` of the release.
    pub date: String,
    /// More fields of the release, each with its line end.
    pub fields: String,
    /// Files by their path.
    files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
}

impl Archive {
    /// The packages of a base, which every root has: `aa` is essential and depends on `bb`; `apt`; and two others, of which `top`
    /// depends on `lib`.
    pub fn new() -> Self {
        let packages = vec![
            Package::new("aa", "1", "Essential: yes\nPriority: required\nDepends: bb"),
            Package::new("bb", "1", ""),
            Package::new("apt", "2.6", "Priority: important"),
            Package::new("top", "1:1.0-1", "Depends: lib (>= 2)"),
            Package::new("lib", "2-1", ""),
        ];
        Self::of(packages, vec![])
    }

    /// The packages of the fixture `base`, and others that are made.
    pub fn with_base(fixture: &Path, packages: Vec<Package>) -> Self {
        Self::of(packages, existing(fixture))
    }

    /// Only packages that are made.
    pub fn with(suite: &str, packages: Vec<Package>) -> Self {
        let mut archive = Self::of(packages, vec![]);
        suite.clone_into(&mut archive.suite);
        archive.publish();
        archive
    }

    fn of(packages: Vec<Package>, existing: Vec<Existing>) -> Self {
        let date = "Sat, 11 Jul 2026 10:16:37 UTC".to_owned();
        let (key, suite, fields) = (Key::new(7), "stable".to_owned(), String::new());
        let mut archive = Self { key, suite, packages, existing, date, fields, files: Arc::default() };
        archive.publish();
        archive
    }

    /// Makes the release of the packages.
    pub fn publish(&mut self) {
        let mut files = BTreeMap::new();
        let mut index = String::new();
        let suite = &self.suite;
        for package in &self.packages {
            let deb = package.deb();
            let control = package.control();
            let _ = write!(
                index,
                "{control}Filename: {}\nSize: {}\nSHA256: {}\n\n",
                package.path(),
                deb.len(),
                Digest::of(&deb).hex()
            );
            files.insert(package.path(), deb);
        }
        for Existing { paragraph, deb } in &self.existing {
            let _ = write!(index, "{paragraph}\n\n");
            files.insert(field(paragraph, "Filename").to_owned(), deb.clone());
        }
        let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1)).unwrap();
        std::io::Write::write_all(&mut encoder, index.as_bytes()).unwrap();
        let index = encoder.finish().unwrap();
        let digest = Digest::of(&index).hex();
        let mut table = String::new();
        for architecture in ["amd64", "s390x"] {
            let directory = format!("main/binary-{architecture}");
            let _ = writeln!(table, " {digest} {} {directory}/Packages.xz", index.len());
            files.insert(format!("dists/{suite}/{directory}/by-hash/SHA256/{digest}"), index.clone());
        }
        let text = format!(
            "Origin: Tests\nSuite: {suite}\nCodename: testing\nDate: {}\n{}Acquire-By-Hash: yes\nArchitectures: amd64 s390x\n\
             Components: main\nSHA256:\n{table}",
            self.date, self.fields
        );
        files.insert(format!("dists/{suite}/InRelease"), self.key.sign(&text, CREATED + 1).into_bytes());
        *self.files.lock().unwrap() = files;
    }

    /// Puts other bytes at a path.
    pub fn set(&self, path: &str, bytes: &[u8]) {
        self.files.lock().unwrap().insert(path.to_owned(), bytes.to_vec());
    }

    pub fn get(&self, path: &str) -> Vec<u8> {
        self.files.lock().unwrap()[path].clone()
    }

    /// The index of packages, compressed.
    pub fn index(&self) -> Vec<u8> {
        let files = self.files.lock().unwrap();
        files.iter().find(|(path, _)| path.contains("/by-hash/")).unwrap().1.clone()
    }

    pub fn remove(&self, path: &str) {
        self.files.lock().unwrap().remove(path).unwrap();
    }

    /// Serves the archive at `/debian`, as it is at each request, by http and with ranges.
    pub fn serve(&self) -> FakeRegistry {
        let files = Arc::clone(&self.files);
        FakeRegistry::start(move |seen, _| {
            let path = seen.path.strip_prefix("/debian/").unwrap_or_default().replace("%2B", "+");
            match files.lock().unwrap().get(&path) {
                Some(bytes) => ranged(seen, Reply::new(200, bytes)),
                None => Reply::new(404, b"not here"),
            }
        })
    }

    /// Writes the archive into a directory.
    pub fn write(&self, directory: &Path) {
        for (path, bytes) in &*self.files.lock().unwrap() {
            let path = directory.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
}
