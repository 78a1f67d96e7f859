//! Properties of GCC, as the image's and the native compiler state them, and whether one can replace the other.
//!
//! A script queries the compilers once in the image; its output is stored.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Queries one compiler of the image. A line with the query precedes each answer.
const SCRIPT: &str = r#"ask() { echo "== $1"; shift; "$@" </dev/null 2>&1; echo; }
compiler() {
  ask driver echo "$1"
  ask version "$1" -v
  ask specs "$1" -dumpspecs
  include=$("$1" -print-file-name=include)
  ask install echo "${include%/include}"
  for name in cc1 cc1plus collect2 lto1 lto-wrapper; do ask "$name" "$1" -print-prog-name=$name; done
  ask headers-c "$1" -v -E -x c /dev/null
  ask headers-c++ "$1" -v -E -x c++ /dev/null
}
native() {
  compiler "$1"
  ask instead-of echo "$2"
  include=$("$2" -print-file-name=include)
  ask headers-native "$("$1" -print-prog-name=cc1)" -quiet -v -E -imultiarch "$("$2" -print-multiarch)" -iprefix "${include%include}" /dev/null
}
variants() {
  ask driver echo "$1"
  ask version "$1" -v
}
"#;

/// The script that queries the image's drivers `images`, each of the `natives` in place of each of them, and only the versions
/// of `variants` and of `others`, which are not drivers.
pub(super) fn script(images: &[PathBuf], natives: &[PathBuf], variants: &[PathBuf], others: &[PathBuf]) -> String {
    let mut script = SCRIPT.to_owned();
    for driver in images {
        let _ = writeln!(script, "compiler {}", quoted(driver));
    }
    for native in natives {
        for image in images {
            let _ = writeln!(script, "native {} {}", quoted(native), quoted(image));
        }
    }
    for driver in variants {
        let _ = writeln!(script, "variants {}", quoted(driver));
    }
    for program in others {
        let _ = writeln!(script, "ask version-of echo {0}; ask tool {0} --version", quoted(program));
    }
    script
}

/// Prefixes of options that affect offloading. `-ftree-parallelize-loops` is one of them in the specs of GCC's
/// `gcc/config/gnu-user.h`, which link `crtoffloadbegin.o`.
const OFFLOADING: [&str; 4] = ["-fopenmp", "-fopenacc", "-foffload", "-ftree-parallelize-loops"];

/// Quotes a path for `sh`.
pub(super) fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}

/// The answers of a driver.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Compiler {
    pub(super) driver: PathBuf,
    /// For a native driver: the driver of the image that it was queried in place of.
    pub(super) instead_of: PathBuf,
    /// Its target, such as `aarch64-linux-gnu`.
    pub(super) target: String,
    /// Such as `12.2.0`.
    pub(super) version: String,
    /// Such as `Debian 12.2.0-14+deb12u1`.
    pub(super) package: String,
    /// Its specs, without those that say whether it is a cross compiler.
    specs: String,
    /// Directory of its libraries and headers, such as `/usr/lib/gcc/aarch64-linux-gnu/12`.
    pub(super) install: PathBuf,
    /// Paths of its programs.
    pub(super) programs: Vec<(String, PathBuf)>,
    /// Search path for C headers.
    pub(super) headers: Vec<String>,
    /// Directories for C++ headers before that path.
    pub(super) cxx_headers: Vec<String>,
    /// Search path of the native C compiler if it is given the directory of the image's GCC.
    pub(super) native_headers: Vec<String>,
}

/// Parses all answers: compilers in the order of the queries, and the first line of the version of other programs.
pub(super) fn parse(said: &str) -> (Vec<Compiler>, Vec<(PathBuf, String)>) {
    let (mut compilers, mut versions) = (Vec::<Compiler>::new(), Vec::new());
    for answer in said.split("\n== ").map(|text| text.strip_prefix("== ").unwrap_or(text)) {
        let (question, answer) = answer.split_once('\n').unwrap_or((answer, ""));
        let line = answer.lines().next().unwrap_or("").trim();
        match question {
            "driver" => compilers.push(Compiler { driver: line.into(), ..Compiler::default() }),
            "version-of" => versions.push((PathBuf::from(line), String::new())),
            "tool" => {
                if let Some(last) = versions.last_mut() {
                    line.clone_into(&mut last.1);
                }
            }
            _ => {
                if let Some(compiler) = compilers.last_mut() {
                    compiler.take(question, answer, line);
                }
            }
        }
    }
    (compilers, versions)
}

impl Compiler {
    fn take(&mut self, question: &str, answer: &str, line: &str) {
        match question {
            "version" => {
                for line in answer.lines() {
                    if let Some(target) = line.strip_prefix("Target: ") {
                        target.trim().clone_into(&mut self.target);
                    } else if let Some((version, package)) =
                        line.strip_prefix("gcc version ").and_then(|rest| rest.split_once(' '))
                    {
                        version.clone_into(&mut self.version);
                        package.trim().trim_matches(['(', ')']).clone_into(&mut self.package);
                    }
                }
            }
            "specs" => {
                let mut lines = answer.trim_end().lines().collect::<Vec<_>>();
                // The only setting that has to differ: its name, its value and an empty line. Empty values are empty lines too.
                if let Some(at) = lines.iter().position(|line| *line == "*cross_compile:") {
                    lines.drain(at..lines.len().min(at + 3));
                }
                self.specs = lines.iter().flat_map(|line| [line, "\n"]).chain(["\n"]).collect();
            }
            "instead-of" => self.instead_of = line.into(),
            "install" => self.install = line.into(),
            "headers-c" => self.headers = headers(answer),
            "headers-native" => self.native_headers = headers(answer),
            "headers-c++" => {
                let all = headers(answer);
                let common = self.headers.first().and_then(|first| all.iter().position(|path| path == first));
                self.cxx_headers = all.into_iter().take(common.unwrap_or(0)).collect();
            }
            program if line.starts_with('/') => self.programs.push((program.to_owned(), line.into())),
            _ => {}
        }
    }

    /// Path of its program `name`.
    pub(super) fn program(&self, name: &str) -> Option<&Path> {
        self.programs.iter().find(|(known, _)| known == name).map(|(_, path)| path.as_path())
    }

    /// A difference between the image's compiler and a native one that could affect their output; `None` if there is none.
    pub(super) fn difference(&self, native: &Self) -> Option<String> {
        let differ = |what: &str, ours: &str, theirs: &str| {
            let name =
                |text: &str| if text.is_empty() { "unknown".to_owned() } else { text.escape_default().to_string() };
            (ours != theirs || ours.is_empty())
                .then(|| format!("{what} {} in the image, {} of the native tools", name(ours), name(theirs)))
        };
        differ("gcc is", &self.version, &native.version)
            .or_else(|| differ("gcc makes programs for", &self.target, &native.target))
            .or_else(|| {
                let silent = [(self, "image"), (native, "native tools")].into_iter().find(|(gcc, _)| !gcc.has_specs());
                silent
                    .map(|(gcc, whose)| format!("gcc {} of the {whose} prints no specs (gcc -dumpspecs)", gcc.version))
            })
    }

    /// Whether the answer is specs, and no message of an error.
    fn has_specs(&self) -> bool {
        self.specs.starts_with('*')
    }

    /// The specs that make `native` call other programs as the image's compiler does; `None` where its own do.
    pub(super) fn specs_for(&self, native: &Self) -> Option<&str> {
        (self.specs != native.specs).then_some(&self.specs)
    }

    /// Prefixes of options with which `native` generates other code, and a driver links other files, because one of both was
    /// configured to offload computations to accelerators (`--enable-offload-targets`) and the other was not.
    pub(super) fn offloading(&self, native: &Self) -> &'static [&'static str] {
        let offloads = |compiler: &Self| compiler.specs.contains("crtoffload");
        if offloads(self) == offloads(native) { &[] } else { &OFFLOADING }
    }

    /// Directory of its programs, if it is not that of its libraries: since GCC 13 it is below `/usr/libexec`.
    pub(super) fn libexec(&self) -> Option<&Path> {
        let directory = self.programs.iter().find_map(|(_, path)| path.parent());
        directory.filter(|directory| *directory != self.install)
    }

    /// The lists of paths that make `native` search for headers where the image's compiler does: directories before its own,
    /// and `usual`, a directory that it does not search by itself.
    pub(super) fn paths_before(&self, native: &Self, is_cxx: bool) -> Paths {
        let own: BTreeSet<&String> = native.native_headers.iter().collect();
        let cxx = self.cxx_headers.iter().filter(|_| is_cxx);
        let usual = self.headers.iter().rposition(|path| !own.contains(path));
        let list =
            |last: usize| cxx.clone().chain(&self.headers[..last]).map(String::as_str).collect::<Vec<_>>().join(":");
        Paths {
            always: list(0),
            with_usual: list(usual.map_or(0, |at| at + 1)),
            usual: usual.map(|at| self.headers[at].clone()),
        }
    }
}

/// See [`Compiler::paths_before`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Paths {
    pub(super) always: String,
    pub(super) with_usual: String,
    pub(super) usual: Option<String>,
}

/// The search path that `-v` prints.
fn headers(answer: &str) -> Vec<String> {
    let lines = answer.lines().skip_while(|line| !line.starts_with("#include <...>")).skip(1);
    lines.take_while(|line| line.starts_with(' ')).map(|line| line.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sample answers of a compiler; `T` stands for the target.
    fn said(driver: &str, version: &str, cross: u8, headers: &[&str], cxx: &[&str]) -> String {
        let list = |paths: &[&str]| {
            let lines = paths.iter().map(|path| format!(" {path}\n")).collect::<Vec<_>>().concat();
            format!(
                "ignoring nonexistent directory \"/none\"\n#include \"...\" search starts here:\n#include <...> search starts here:\n{lines}End of search list.\n# 0 \"/dev/null\"\n"
            )
        };
        format!(
            "== driver\n{driver}\n\n== version\nUsing built-in specs.\nTarget: T\ngcc version {version} (Debian 12.2.0-14) \n\n\
             == specs\n*asm:\n-EL\n\n*cross_compile:\n{cross}\n\n*link:\n-X\n\n\n== install\n/usr/lib/gcc/T/12\n\n\
             == cc1\n/usr/lib/gcc/T/12/cc1\n\n== cc1plus\ncc1plus\n\n== headers-c\n{}\n== headers-c++\n{}\n",
            list(headers),
            list(&[cxx, headers].concat()),
        )
    }

    const HEADERS: [&str; 4] = ["/usr/lib/gcc/T/12/include", "/usr/local/include", "/usr/include/T", "/usr/include"];
    const CXX: [&str; 2] = ["/usr/include/c++/12", "/usr/include/c++/12/backward"];

    fn pair(version: &str) -> (Compiler, Compiler) {
        let native = said("/n/T-gcc-12", version, 1, &["/n/include"], &[]);
        let without_local = [HEADERS[0], HEADERS[2], HEADERS[3]].map(|path| format!(" {path}\n")).concat();
        let text = format!(
            "{}{native}\n== instead-of\n/usr/bin/gcc\n\n== headers-native\n#include <...> search starts here:\n{without_local}End of search list.\n\n== version-of\n/usr/bin/as\n== tool\nGNU assembler 2.40\nmore\n",
            said("/usr/bin/gcc", "12.2.0", 0, &HEADERS, &CXX)
        );
        let (compilers, versions) = parse(&text);
        assert_eq!(versions, [("/usr/bin/as".into(), "GNU assembler 2.40".to_owned())]);
        let [image, native] = compilers.try_into().unwrap();
        (image, native)
    }

    #[test]
    fn answers_are_understood() {
        let (image, native) = pair("12.2.0");
        assert_eq!(
            (image.target.as_str(), image.version.as_str(), image.package.as_str()),
            ("T", "12.2.0", "Debian 12.2.0-14")
        );
        assert_eq!(image.install, Path::new("/usr/lib/gcc/T/12"));
        assert_eq!((image.program("cc1"), image.program("cc1plus")), (Some(Path::new("/usr/lib/gcc/T/12/cc1")), None));
        assert_eq!(
            (image.headers.as_slice(), image.cxx_headers.as_slice()),
            (&HEADERS.map(str::to_owned)[..], &CXX.map(str::to_owned)[..])
        );
        assert_eq!(native.instead_of, Path::new("/usr/bin/gcc"));
        assert_eq!(native.native_headers.len(), 3);
        // Other text is ignored.
        for text in ["", "== ", "sh: not found", "== version\nTarget: x\n", "== driver\n", "\n== \n== tool\n=="] {
            let (compilers, _) = parse(text);
            assert!(compilers.iter().all(|compiler| compiler.difference(&native).is_some()), "{text:?}");
        }
    }

    #[test]
    fn differences_are_named() {
        let (image, native) = pair("12.2.0");
        assert_eq!(image.difference(&native), None);
        let (image, native) = pair("10.2.1");
        assert_eq!(image.difference(&native).unwrap(), "gcc is 12.2.0 in the image, 10.2.1 of the native tools");
        let (image, mut native) = pair("12.2.0");
        native.target = "arm-linux-gnueabi".into();
        assert!(image.difference(&native).unwrap().contains("T in the image, arm-linux-gnueabi of"));
        let (image, mut native) = pair("12.2.0");
        native.specs = "sh: gcc: not found".into();
        assert!(image.difference(&native).unwrap().contains("12.2.0 of the native tools prints no specs"));
        native.specs = String::new();
        assert!(native.difference(&image).unwrap().contains("12.2.0 of the image prints no specs"));
    }

    #[test]
    fn specs_are_made_equal() {
        let (image, mut native) = pair("12.2.0");
        assert_eq!(image.specs_for(&native), None);
        native.specs.push_str("*link:\n-Y\n\n");
        assert_eq!(image.specs_for(&native), Some("*asm:\n-EL\n\n*link:\n-X\n\n"));
        assert!(image.offloading(&native).is_empty());
        // The same whichever of both offloads.
        native.specs.push_str("*startfile:\n%{fopenacc|fopenmp:crtoffloadbegin%O%s}\n\n");
        assert!(image.offloading(&native).contains(&"-fopenmp") && native.offloading(&image).contains(&"-fopenacc"));
        assert!(native.offloading(&native.clone()).is_empty());
    }

    #[test]
    fn programs_beside_the_libraries_or_elsewhere() {
        let (mut image, native) = pair("12.2.0");
        assert_eq!(image.libexec(), None);
        image.programs = vec![("cc1".into(), "/usr/libexec/gcc/T/14/cc1".into())];
        assert_eq!(image.libexec(), Some(Path::new("/usr/libexec/gcc/T/14")));
        assert_eq!(Compiler { programs: Vec::new(), ..native }.libexec(), None);
    }

    #[test]
    fn headers_are_looked_for_in_the_same_order() {
        let (mut image, native) = pair("12.2.0");
        let paths = |image: &Compiler, is_cxx| {
            let Paths { always, with_usual, usual } = image.paths_before(&native, is_cxx);
            (always, with_usual, usual)
        };
        let local = Some("/usr/local/include".to_owned());
        let c = "/usr/lib/gcc/T/12/include:/usr/local/include";
        let cxx = "/usr/include/c++/12:/usr/include/c++/12/backward";
        assert_eq!(paths(&image, false), (String::new(), c.into(), local.clone()));
        assert_eq!(paths(&image, true), (cxx.into(), format!("{cxx}:{c}"), local));
        image.headers.remove(1);
        assert_eq!(paths(&image, true), (cxx.into(), cxx.into(), None));
    }
}
