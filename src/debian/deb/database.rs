//! dpkg's database of packages that are unpacked and not configured, as dpkg writes it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::control::Control;
use super::error::{DebError, Fault};
use super::fields::Fields;
use super::root::UnpackedPackage;
use crate::dpkg::parse_relations;
use crate::layer::Attributes;

/// dpkg's directory.
const ADMIN: &str = "var/lib/dpkg";
/// The fields that dpkg knows, in the order in which it writes them (`fieldinfos` in lib/dpkg/parse.c). It writes others after
/// them, in the order of the control file.
const ORDER: [&str; 26] = [
    "Package",
    "Essential",
    "Protected",
    "Status",
    "Priority",
    "Section",
    "Installed-Size",
    "Origin",
    "Maintainer",
    "Bugs",
    "Architecture",
    "Multi-Arch",
    "Source",
    "Version",
    "Replaces",
    "Provides",
    "Depends",
    "Pre-Depends",
    "Recommends",
    "Suggests",
    "Breaks",
    "Conflicts",
    "Enhances",
    "Conffiles",
    "Description",
    "Triggers-Pending",
];
/// Those that hold relations, which dpkg writes in one form.
const RELATIONS: [&str; 9] =
    ["Replaces", "Provides", "Depends", "Pre-Depends", "Recommends", "Suggests", "Breaks", "Conflicts", "Enhances"];
/// What dpkg keeps in its database, or an index says of an archive: never the package's to say.
const OURS: [&str; 12] = [
    "Status",
    "Conffiles",
    "Config-Version",
    "Triggers-Pending",
    "Triggers-Awaited",
    "Filename",
    "Size",
    "MD5sum",
    "SHA1",
    "SHA256",
    "SHA512",
    "Description-md5",
];

/// A file of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseFile {
    /// Path in the tree, without a leading `/`.
    pub path: String,
    pub attributes: Attributes,
    pub content: Vec<u8>,
}

/// What packages add to dpkg's database.
#[derive(Debug, Default)]
pub(crate) struct Additions {
    /// Files of their own.
    pub(crate) info: Vec<DatabaseFile>,
    /// Paragraphs of `status`.
    pub(crate) status: String,
    /// Lines of `triggers/File`: interests in paths.
    pub(crate) by_path: String,
    /// Lines of the files of other triggers, by the names of these files in `triggers`.
    pub(crate) by_name: BTreeMap<String, String>,
}

impl Additions {
    /// Those of unpacked `packages`, as dpkg writes them. Files that the packages do not have get the time `mtime`.
    ///
    /// # Errors
    /// A package with a malformed relation.
    pub(crate) fn new(packages: &[UnpackedPackage], mtime: i64) -> Result<Self, DebError> {
        Self::with_index(packages, &BTreeMap::new(), mtime)
    }

    fn with_index(
        packages: &[UnpackedPackage],
        index: &BTreeMap<String, Overrides>,
        mtime: i64,
    ) -> Result<Self, DebError> {
        let mut packages: Vec<_> = packages.iter().collect();
        packages.sort_by(|a, b| a.control.name.cmp(&b.control.name));
        let mut additions = Self::default();
        for package in &packages {
            let control = &package.control;
            let of_index = index.get(control.name.as_str());
            paragraph(package, of_index, &mut additions.status).map_err(Fault::of(&control.name))?;
            let name = control.database_name();
            for (file, of) in &control.files {
                additions.info.push(file_of(&format!("info/{name}.{file}"), of.mode, of.mtime, of.content.clone()));
            }
            if let Some(md5sums) = &package.md5sums {
                additions.info.push(file_of(&format!("info/{name}.md5sums"), 0o644, mtime, md5sums.clone()));
            }
            additions.info.push(file_of(&format!("info/{name}.list"), 0o644, mtime, list(package)));
        }
        (additions.by_path, additions.by_name) = triggers(&packages);
        Ok(additions)
    }
}

fn file_of(path: &str, mode: u16, mtime: i64, content: Vec<u8>) -> DatabaseFile {
    let attributes = Attributes { mode, uid: 0, gid: 0, mtime };
    DatabaseFile { path: format!("{ADMIN}/{path}"), attributes, content }
}

/// Makes dpkg's database for `packages`: `status`, `available`, `cmethopt`, the lists and control files in `info`, and the
/// triggers. `index` has the paragraphs of an archive's index for these packages; its priorities and sections win over those of
/// the packages. `available` has those that the file of this name gets, in their order. Files that the packages do not have get
/// the time `mtime`. The result is sorted by path.
///
/// # Errors
/// A package with a malformed relation; a malformed paragraph of the index.
pub fn database(
    packages: &[UnpackedPackage],
    index: &[&str],
    available: &[&str],
    mtime: i64,
) -> Result<Vec<DatabaseFile>, DebError> {
    let index: BTreeMap<_, _> = index.iter().filter_map(|text| overrides(text)).collect();
    let Additions { info: mut files, status, by_path, by_name } = Additions::with_index(packages, &index, mtime)?;
    let mut add = |path: &str, content: Vec<u8>| files.push(file_of(path, 0o644, mtime, content));
    add("triggers/File", by_path.into_bytes());
    for (trigger, interested) in by_name {
        add(&format!("triggers/{trigger}"), interested.into_bytes());
    }
    let available: Vec<u8> =
        available.iter().flat_map(|text| [text.trim_end_matches('\n'), "\n\n"]).flat_map(str::bytes).collect();
    add("available", available);
    add("cmethopt", b"apt apt\n".to_vec());
    add("info/format", b"1\n".to_vec());
    add("status", status.into_bytes());
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// Priority and section by which an index describes a package.
#[derive(Debug, Default)]
struct Overrides {
    priority: Option<String>,
    section: Option<String>,
}

fn overrides(text: &str) -> Option<(String, Overrides)> {
    let fields = Fields::parse(text.as_bytes()).ok()?;
    let get = |name| fields.get(name).map(str::to_owned);
    Some((get("Package")?, Overrides { priority: get("Priority"), section: get("Section") }))
}

/// The paths of a package, as dpkg lists them.
fn list(package: &UnpackedPackage) -> Vec<u8> {
    let mut list = Vec::new();
    for path in &package.paths {
        list.push(b'/');
        list.extend_from_slice(if path.is_empty() { b"." } else { path });
        list.push(b'\n');
    }
    list
}

/// The interests in paths, as one text, and those in names, by name.
fn triggers(packages: &[&UnpackedPackage]) -> (String, BTreeMap<String, String>) {
    let (mut by_path, mut by_name) = (String::new(), BTreeMap::<String, String>::new());
    for package in packages {
        let name = package.control.database_name();
        for interest in &package.control.interests {
            let noawait = if interest.is_noawait { "/noawait" } else { "" };
            if interest.trigger.starts_with('/') {
                let _ = writeln!(by_path, "{} {name}{noawait}", interest.trigger);
            } else {
                let _ = writeln!(by_name.entry(interest.trigger.clone()).or_default(), "{name}{noawait}");
            }
        }
    }
    (by_path, by_name)
}

/// Adds the paragraph of a package in `status`, and the empty line after it.
fn paragraph(package: &UnpackedPackage, index: Option<&Overrides>, status: &mut String) -> Result<(), Fault> {
    let control = &package.control;
    for name in ORDER {
        let value = match name {
            "Status" => Some("install ok unpacked".to_owned()),
            "Conffiles" => conffiles(package),
            "Priority" => index.and_then(|index| index.priority.clone()).or_else(|| text(control, name)),
            "Section" => index.and_then(|index| index.section.clone()).or_else(|| text(control, name)),
            "Triggers-Pending" => None,
            _ if RELATIONS.contains(&name) => relations(control, name)?,
            _ => text(control, name),
        };
        if let Some(value) = value {
            field(name, &value, status);
        }
    }
    let known = |name: &str| ORDER.iter().chain(&OURS).any(|known| known.eq_ignore_ascii_case(name));
    for (name, value) in control.fields.iter().filter(|(name, value)| !known(name) && !value.is_empty()) {
        field(name, value, status);
    }
    status.push('\n');
    Ok(())
}

fn field(name: &str, value: &str, status: &mut String) {
    let blank = if value.starts_with('\n') { "" } else { " " };
    let _ = writeln!(status, "{name}:{blank}{value}");
}

fn text(control: &Control, name: &str) -> Option<String> {
    control.field(name).filter(|value| !value.is_empty()).map(str::to_owned)
}

fn relations(control: &Control, name: &str) -> Result<Option<String>, Fault> {
    let Some(value) = text(control, name) else { return Ok(None) };
    let all = parse_relations(&value).map_err(|error| Fault::relation(name, &error))?;
    let all = all.iter().map(|any| any.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | "));
    Ok(Some(all.collect::<Vec<_>>().join(", ")).filter(|value| !value.is_empty()))
}

/// Those that dpkg is to remove at an upgrade have no digest in its database, as long as they were never there.
fn conffiles(package: &UnpackedPackage) -> Option<String> {
    let mut value = String::new();
    for (conffile, digest) in &package.conffiles {
        let path = &conffile.path;
        let _ = match digest {
            Some(digest) => write!(value, "\n {path} {digest}"),
            None if conffile.is_removed => write!(value, "\n {path} newconffile remove-on-upgrade"),
            None => Ok(()),
        };
    }
    Some(value).filter(|value| !value.is_empty())
}
