//! The control archive: the control file, maintainer scripts, and lists that dpkg keeps (deb-control(5), deb-conffiles(5),
//! deb-triggers(5)).

use std::collections::{BTreeMap, HashSet};
use std::io::Read;

use super::error::Fault;
use super::expected::Expected;
use super::fields::Fields;
use crate::dpkg::{Architecture, PackageName, Relation, Version, parse_relations};
use crate::layer::{self, Content, Header, Limits, Type};
use crate::visible::{shortened, visible_path};

/// Most that a control archive may have. The largest lists of Debian 13 have some megabytes.
const LIMITS: Limits = Limits {
    entries: 100,
    bytes: 64 << 20,
    ratio: 200,
    free: 8 << 20,
    path: 200,
    depth: 2,
    metadata: 4096,
    table: 1 << 20,
};
/// Longest name of a control file, in bytes (dpkg's `MAXCONTROLFILENAME`).
const MAX_NAME: usize = 100;
/// Most lines of the lists of conffiles and triggers. A line takes more memory than its bytes.
const MAX_LINES: usize = 100_000;
const MEMBER: &str = "control.tar";

#[cfg(test)]
thread_local! {
    /// How often this thread has looked whether one package replaces another.
    pub(super) static COMPARED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// What a package says of itself.
#[derive(Debug, Clone)]
pub struct Control {
    pub name: PackageName,
    pub version: Version,
    pub architecture: Architecture,
    /// All fields of the control file.
    pub(super) fields: Fields,
    /// What it may take files from.
    pub(super) replaces: Vec<Relation>,
    /// All files but `control`, by name.
    pub(super) files: BTreeMap<String, ControlFile>,
    pub(super) conffiles: Vec<Conffile>,
    /// In the order of the file `triggers`.
    pub(super) interests: Vec<Interest>,
}

/// A file of the control archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlFile {
    /// Permissions, 9 bits.
    pub mode: u16,
    /// Seconds since 1970.
    pub mtime: i64,
    pub content: Vec<u8>,
}

/// A file that the user may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Conffile {
    /// Absolute, as it stands there.
    pub(super) path: String,
    /// Whether dpkg is to remove it; then the package does not contain it.
    pub(super) is_removed: bool,
}

/// A trigger that a package waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interest {
    /// An absolute path, or a name.
    pub(super) trigger: String,
    /// Whether packages that activate it do not wait until it is processed.
    pub(super) is_noawait: bool,
}

impl Control {
    /// Reads a control archive, plain or compressed. It must be that of the expected package.
    pub(super) fn read(archive: impl Read, expected: &Expected) -> Result<Self, Fault> {
        let mut files = BTreeMap::new();
        let visit = &mut |header: &Header, content: Content<'_>| entry(header, content, &mut files);
        layer::for_each_entry(archive, &LIMITS, visit)?;
        let control = files.remove("control").ok_or(Fault::Archive("control.tar has no file control"))?;
        let fields = Fields::parse(&control.content).map_err(|why| Fault::control("control", why))?;
        let package = field(&fields, "Package")?;
        check("package", package, expected.name.as_str())?;
        check("version", field(&fields, "Version")?, expected.version.as_str())?;
        check("architecture", field(&fields, "Architecture")?, expected.architecture.as_str())?;
        let replaces = parse_relations(fields.get("Replaces").unwrap_or_default());
        let replaces = replaces.map_err(|error| Fault::relation("Replaces", &error))?;
        let text = |name: &str| files.get(name).map(|file: &ControlFile| lines(name, &file.content)).transpose();
        let (conffiles, triggers) = (text("conffiles")?.unwrap_or_default(), text("triggers")?.unwrap_or_default());
        let conffiles = conffiles.into_iter().filter(|line| !line.is_empty()).map(conffile);
        let interests = triggers.into_iter().filter(|line| !line.is_empty() && !line.starts_with('#')).map(interest);
        let (conffiles, interests): (Vec<Conffile>, _) =
            (conffiles.collect::<Result<_, _>>()?, interests.filter_map(Result::transpose).collect::<Result<_, _>>()?);
        let mut paths: HashSet<&str> = HashSet::new();
        if let Some(twice) = conffiles.iter().find(|conffile| !paths.insert(&conffile.path)) {
            return Err(Fault::control("conffiles", format!("'{}' is there twice", shortened(&twice.path, 100))));
        }
        Ok(Self {
            name: expected.name.clone(),
            version: expected.version.clone(),
            architecture: expected.architecture.clone(),
            replaces: replaces.into_iter().flatten().collect(),
            fields,
            files,
            conffiles,
            interests,
        })
    }

    /// The value of a field of the control file; continuation lines follow the first one as they are.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name)
    }

    /// A file of the control archive, such as `preinst`.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&ControlFile> {
        self.files.get(name)
    }

    /// The name in dpkg's database: with the architecture, if several architectures of the package can be installed.
    #[must_use]
    pub fn database_name(&self) -> String {
        if self.field("Multi-Arch") == Some("same") {
            format!("{}:{}", self.name, self.architecture)
        } else {
            self.name.to_string()
        }
    }

    /// Bytes of its fields and files.
    pub(super) fn weight(&self) -> u64 {
        let fields = self.fields.iter().map(|(name, value)| name.len() + value.len());
        let files = self.files.iter().map(|(name, file)| name.len() + file.content.len());
        fields.chain(files).fold(0, |sum, bytes| sum.saturating_add(bytes as u64))
    }

    /// Whether it may take files from `other`: dpkg looks at real packages only.
    pub(super) fn replaces(&self, other: &Self) -> bool {
        #[cfg(test)]
        COMPARED.set(COMPARED.get() + 1);
        let fits =
            |relation: &Relation| relation.constraint.as_ref().is_none_or(|wanted| wanted.accepts(&other.version));
        self.replaces.iter().any(|relation| relation.name == other.name && fits(relation))
    }
}

/// Keeps a file of the archive.
fn entry(header: &Header, content: Content<'_>, files: &mut BTreeMap<String, ControlFile>) -> Result<(), Fault> {
    let path = header.path.strip_prefix(b"./").unwrap_or(&header.path);
    if header.kind == Type::Directory && matches!(path, b"" | b".") {
        return Ok(());
    }
    let invalid = |why: &str| Fault::control(&visible_path(path), why);
    if header.kind != Type::File || header.sparse.is_some() {
        return Err(invalid("it is not a regular file"));
    }
    let name = str::from_utf8(path).map_err(|_| invalid("its name is not plain"))?;
    let is_plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_' | b'+');
    if name.is_empty() || name.len() > MAX_NAME || name.starts_with('.') || !name.bytes().all(is_plain) {
        return Err(invalid("its name is not plain"));
    }
    if name == "list" {
        return Err(invalid("its name is that of a file of dpkg's"));
    }
    // dpkg passes over these.
    if name.contains('.') {
        return Ok(());
    }
    let mut bytes = Vec::new();
    content(&mut bytes)?;
    let file = ControlFile { mode: header.mode & 0o777, mtime: header.mtime.0, content: bytes };
    match files.insert(name.to_owned(), file) {
        None => Ok(()),
        Some(_) => Err(invalid("the archive has it twice")),
    }
}

fn field<'a>(fields: &'a Fields, name: &str) -> Result<&'a str, Fault> {
    fields.get(name).ok_or_else(|| Fault::control("control", format!("it has no field {name}")))
}

fn check(field: &'static str, actual: &str, expected: &str) -> Result<(), Fault> {
    if actual == expected {
        return Ok(());
    }
    Err(Fault::Other { field, expected: expected.to_owned(), actual: shortened(actual, 100) })
}

/// The lines of a list, without blanks at their ends.
fn lines<'a>(name: &str, content: &'a [u8]) -> Result<Vec<&'a str>, Fault> {
    let text = str::from_utf8(content).map_err(|_| Fault::control(name, "it is not UTF-8"))?;
    if text.contains(['\0', '\r']) {
        return Err(Fault::control(name, "it has a control character"));
    }
    if text.split('\n').count() > MAX_LINES {
        return Err(Fault::control(name, format!("it has more than {MAX_LINES} lines")));
    }
    Ok(text.split('\n').map(str::trim_end).collect())
}

fn conffile(line: &str) -> Result<Conffile, Fault> {
    let (flag, path) = match line.split_once(' ') {
        Some((flag, path)) if !line.starts_with('/') => (Some(flag), path.trim_start()),
        _ => (None, line),
    };
    if !path.starts_with('/')
        || path.contains(char::is_whitespace)
        || flag.is_some_and(|flag| flag != "remove-on-upgrade")
    {
        return Err(Fault::control("conffiles", format!("invalid line '{}'", shortened(line, 100))));
    }
    Ok(Conffile { path: path.to_owned(), is_removed: flag.is_some() })
}

/// `None` for what the package activates.
fn interest(line: &str) -> Result<Option<Interest>, Fault> {
    let invalid = || Fault::control("triggers", format!("invalid line '{}'", shortened(line, 100)));
    let mut words = line.split_ascii_whitespace();
    let (Some(directive), Some(trigger), None) = (words.next(), words.next(), words.next()) else {
        return Err(invalid());
    };
    // A name is that of a file in dpkg's database.
    let is_plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_' | b'+');
    let is_name = trigger.bytes().all(is_plain)
        && trigger.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !["File", "Unincorp", "Lock"].contains(&trigger)
        && trigger.len() <= MAX_NAME;
    let is_path = trigger.starts_with('/') && trigger.bytes().all(|c| c.is_ascii_graphic());
    if !is_name && !is_path {
        return Err(invalid());
    }
    match directive {
        "interest" | "interest-await" => Ok(Some(Interest { trigger: trigger.to_owned(), is_noawait: false })),
        "interest-noawait" => Ok(Some(Interest { trigger: trigger.to_owned(), is_noawait: true })),
        "activate" | "activate-await" | "activate-noawait" => Ok(None),
        _ => Err(invalid()),
    }
}

/// An error of the control archive, which is no tree.
pub(super) fn in_control(fault: Fault) -> Fault {
    match fault {
        Fault::Tree(source) => Fault::Member { member: MEMBER, source },
        other => other,
    }
}
