//! The graph of imports between the files of the library, read from their text: `use` declarations and paths in the
//! code, both `crate::…` and relative ones. Re-exports are followed to the file that defines the item.

use std::collections::{BTreeMap, BTreeSet};

/// A module or an item as the names on the way to it from the crate's root.
type Names = Vec<String>;

/// The modules of the library.
pub(crate) struct Modules {
    /// The code of each module, without comments and unit tests.
    code: BTreeMap<Names, String>,
    /// What a module re-exports: module and name to the path that is meant.
    exports: BTreeMap<(Names, String), Names>,
    /// The modules of which a module re-exports everything.
    globs: BTreeMap<Names, Vec<Names>>,
}

/// One `use` declaration, or one path in the code.
struct Import {
    path: Names,
    /// The name under which the file knows the item.
    alias: String,
    is_exported: bool,
}

impl Modules {
    /// `files` are paths relative to `src` and the code in them.
    pub(crate) fn new(files: impl Iterator<Item = (String, String)>) -> Self {
        let code = files.map(|(path, code)| (module_of(&path), code)).collect();
        let mut modules = Self { code, exports: BTreeMap::new(), globs: BTreeMap::new() };
        let names: Vec<Names> = modules.code.keys().cloned().collect();
        for module in names {
            for import in modules.declared(&module) {
                if import.alias == "*" {
                    modules.globs.entry(module.clone()).or_default().push(import.path);
                } else if import.is_exported {
                    modules.exports.insert((module.clone(), import.alias), import.path);
                }
            }
        }
        modules
    }

    /// For each folder the imports between its files that are part of a ring. A folder inside it counts as one file, and
    /// the file that declares the folder as `mod`. The crate's root is the folder "".
    pub(crate) fn rings(&self) -> BTreeMap<String, Vec<String>> {
        let mut folders: BTreeMap<Names, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
        for module in self.code.keys() {
            for target in self.imports(module) {
                let common = module.iter().zip(&target).take_while(|(one, other)| one == other).count();
                let name = |names: &Names| names.get(common).map_or("mod", String::as_str).to_owned();
                let (from, to) = (name(module), name(&target));
                if from != to {
                    let folder = folders.entry(module[..common].to_vec()).or_default();
                    folder.entry(from).or_default().insert(to);
                }
            }
        }
        let rings = folders.into_iter().map(|(folder, arrows)| (folder.join("/"), arrows_in_rings(&arrows)));
        rings.filter(|(_, rings)| !rings.is_empty()).collect()
    }

    /// The modules that define what `module` uses.
    fn imports(&self, module: &Names) -> BTreeSet<Names> {
        let mut paths = Vec::new();
        let mut aliases = BTreeMap::new();
        for import in self.declared(module) {
            // The table of contents of a folder is no use of its files.
            if !(import.is_exported && import.path.starts_with(module)) {
                paths.push(import.path.clone());
            }
            aliases.insert(import.alias, import.path);
        }
        for text in paths_in(&without_declarations(&self.code[module])) {
            let names: Names = text.split("::").map(str::to_owned).collect();
            match aliases.get(&names[0]) {
                Some(path) => paths.push(path.iter().chain(&names[1..]).cloned().collect()),
                None => paths.extend(self.absolute(module, &names)),
            }
        }
        paths.iter().filter_map(|path| self.definer(path)).filter(|target| target != module).collect()
    }

    /// The `use` declarations of a module that name something of this crate.
    fn declared(&self, module: &Names) -> Vec<Import> {
        let mut found = Vec::new();
        for (head, tree) in declarations(&self.code[module]) {
            for leaf in leaves(tree) {
                let (path, alias) = leaf.split_once(" as ").unwrap_or((&leaf, ""));
                let mut names: Names = path.split("::").map(|name| name.trim().to_owned()).collect();
                let mut last = names.last().unwrap().clone();
                if last == "self" || last == "*" {
                    names.pop();
                }
                if last == "self" {
                    last = names.last().cloned().unwrap_or_default();
                }
                let alias = if alias.is_empty() { last } else { alias.trim().to_owned() };
                if let Some(path) = self.absolute(module, &names) {
                    found.push(Import { path, alias, is_exported: head.starts_with("pub") });
                }
            }
        }
        found
    }

    /// A path of a module from the crate's root; `None` if it leads out of the crate.
    fn absolute(&self, module: &Names, names: &[String]) -> Option<Names> {
        let mut start = module.clone();
        let mut rest = names;
        let first = rest.first()?.as_str();
        if first == "crate" {
            start.clear();
            rest = &rest[1..];
        } else if first != "self" && first != "super" {
            start.push(first.to_owned());
            return self.code.contains_key(&start).then(|| [start, rest[1..].to_vec()].concat());
        }
        while let Some(name) = rest.first().filter(|name| *name == "self" || *name == "super") {
            if name == "super" {
                start.pop();
            }
            rest = &rest[1..];
        }
        Some([start, rest.to_vec()].concat())
    }

    /// The module that defines the item at a path.
    fn definer(&self, path: &Names) -> Option<Names> {
        let mut module = Names::new();
        for (at, name) in path.iter().enumerate() {
            module.push(name.clone());
            if self.code.contains_key(&module) {
                continue;
            }
            module.pop();
            if let Some(target) = self.exports.get(&(module.clone(), name.clone())) {
                return self.definer(&target.iter().chain(&path[at + 1..]).cloned().collect());
            }
            let globs = self.globs.get(&module).into_iter().flatten();
            let mut defining = globs.filter(|glob| self.code.get(*glob).is_some_and(|code| defines(code, name)));
            return Some(defining.next().cloned().unwrap_or(module));
        }
        (!module.is_empty()).then_some(module)
    }
}

/// `sandbox/init/mod.rs` is the module `sandbox::init`, and `lib.rs` the root.
fn module_of(path: &str) -> Names {
    let mut names: Names = path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if names.last().is_some_and(|name| name == "mod") || names == ["lib"] {
        names.pop();
    }
    names
}

fn defines(code: &str, name: &str) -> bool {
    ["struct", "enum", "trait", "type", "fn", "const", "static"]
        .iter()
        .any(|kind| code.split(&format!("{kind} {name}")).skip(1).any(|rest| !rest.starts_with(is_of_name)))
}

fn is_of_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

/// Visibility and tree of each `use` declaration.
fn declarations(code: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("use ") {
        let line = rest[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let head = rest[line..at].trim();
        rest = &rest[at + 4..];
        if head.is_empty() || (head.starts_with("pub") && !head.contains([';', '{'])) {
            let end = rest.find(';').unwrap_or(rest.len());
            found.push((head, &rest[..end]));
            rest = &rest[end..];
        }
    }
    found
}

fn without_declarations(code: &str) -> String {
    let mut kept = code.to_owned();
    for (_, tree) in declarations(code) {
        kept = kept.replacen(&format!("use {tree};"), "", 1);
    }
    kept
}

/// The paths that a `use` tree stands for: `a::{b, c::d}` for `a::b` and `a::c::d`.
fn leaves(tree: &str) -> Vec<String> {
    let Some((prefix, group)) = tree.split_once('{') else { return vec![tree.trim().to_owned()] };
    let group = group.trim_end().trim_end_matches('}');
    let mut found = Vec::new();
    let (mut depth, mut start) = (0, 0);
    let ends = group.char_indices().chain([(group.len(), ',')]);
    for (at, letter) in ends {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let parts = leaves(&group[start..at]).into_iter().filter(|part| !part.is_empty());
                found.extend(parts.map(|part| format!("{}{part}", prefix.trim())));
                start = at + 1;
            }
            _ => {}
        }
    }
    found
}

/// The paths of at least two names in code.
fn paths_in(code: &str) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    let mut rest = code;
    while let Some(start) = rest.find(is_of_name) {
        rest = &rest[start..];
        let mut end = 0;
        loop {
            end += rest[end..].find(|letter| !is_of_name(letter)).unwrap_or(rest.len() - end);
            if !(rest[end..].starts_with("::") && rest[end + 2..].starts_with(is_of_name)) {
                break;
            }
            end += 2;
        }
        if rest[..end].contains("::") {
            found.insert(&rest[..end]);
        }
        rest = &rest[end..];
    }
    found
}

/// The arrows that are part of a ring: those whose end leads back to their start.
fn arrows_in_rings(arrows: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut found = Vec::new();
    for (from, ends) in arrows {
        let leads_back = ends.iter().filter(|to| reach(to, arrows).contains(from));
        found.extend(leads_back.map(|to| format!("{from} -> {to}")));
    }
    found
}

fn reach<'a>(node: &'a String, arrows: &'a BTreeMap<String, BTreeSet<String>>) -> BTreeSet<&'a String> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![node];
    while let Some(next) = waiting.pop() {
        let new: Vec<&String> = arrows.get(next).into_iter().flatten().filter(|to| found.insert(*to)).collect();
        waiting.extend(new);
    }
    found
}

#[test]
fn leaves_of_a_use_tree() {
    assert_eq!(leaves("a::b"), ["a::b"]);
    assert_eq!(leaves("a::{self, b as c, d::{e, f::*},\n}"), ["a::self", "a::b as c", "a::d::e", "a::d::f::*"]);
}

#[test]
fn rings_are_found_through_re_exports_and_relative_paths() {
    let files = [
        ("lib.rs", "mod a;\nmod b;\n"),
        ("a/mod.rs", "mod x;\nmod y;\nmod z;\npub(crate) use x::{\n    One, Other as Third,\n};\npub use z::*;\n"),
        ("a/x.rs", "use super::y::Two;\npub struct One;\n"),
        ("a/y.rs", "fn two() { crate::a::One.of(z::Four) }\n"),
        ("a/z.rs", "use super::y as why;\npub enum Four {}\nfn four() { why::two(super::w::five()) }\n"),
        ("a/w.rs", "use crate::a::Four;\nuse crate::b;\n"),
        ("b.rs", "use std::fs;\n"),
    ];
    let modules = Modules::new(files.iter().map(|(path, code)| ((*path).to_owned(), (*code).to_owned())));
    let rings = modules.rings();
    assert_eq!(rings.keys().collect::<Vec<_>>(), ["a"]);
    assert_eq!(rings["a"], ["w -> z", "x -> y", "y -> x", "z -> w"]);
}
