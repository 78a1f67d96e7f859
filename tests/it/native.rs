//! Native tools in foreign images: their products are those of the image's own tools, only sooner.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use object::{Object as _, ObjectSection as _};

use crate::support::context::{FOREIGN, NATIVE, NATIVE_TRIXIE, TRIXIE, TestContext};
use crate::support::elf::{Machine, program};
use crate::support::image::{Codec, Content, Layer, layer};
use crate::support::process::Output;

const ALL: &str =
    "'compiler', 'make', 'sh', 'bash', 'sed', 'grep', 'awk', 'coreutils', 'findutils', 'diffutils', 'tar', 'gzip'";

/// A project whose toolchain has native tools.
fn project(world: &TestContext, native: &str, tools: &str) {
    let platform = |name| format!("[toolchains.own.platform.{name}]\nimage = '{FOREIGN}'\n");
    let text = format!(
        "toolchain = 'own'\nplatform = 'linux-aarch64'\n[toolchains.own.native]\nimage = '{native}'\ntools = [{tools}]\n{}{}",
        platform("linux-aarch64"),
        platform("linux-armv5")
    );
    world.write("hermes.toml", &text);
}

fn run(world: &TestContext, options: &[&str], command: &[&str]) -> Output {
    world.hermes([&["run"], options, &["--"], command].concat()).output()
}

/// Every file in a directory.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

/// What is in an ELF file, without the compiler's package revision and what is a digest of it.
fn sections(bytes: &[u8]) -> Option<BTreeMap<String, Vec<u8>>> {
    let file = object::File::parse(bytes).ok()?;
    let sections =
        file.sections().map(|section| (section.name().unwrap().to_owned(), section.data().unwrap().to_vec()));
    Some(sections.filter(|(name, _)| name != ".comment" && name != ".note.gnu.build-id").collect())
}

/// What `script` writes into the current directory without native tools, and with them.
#[track_caller]
fn made(
    world: &TestContext,
    options: &[&str],
    sources: &[(&str, &str)],
    script: &str,
) -> [BTreeMap<String, Vec<u8>>; 2] {
    ["off", "require"].map(|accel| {
        let work = world.work().join(accel);
        fs::create_dir_all(&work).unwrap();
        for (name, text) in sources {
            fs::write(work.join(name), text).unwrap();
        }
        let options = [&["run", "--accel", accel, "--net", "none"], options, &["--", "sh", "-c", script]].concat();
        // The same directory inside: paths are part of what is made.
        let output = world.hermes(options).dir(&work).output();
        assert_eq!(output.code(), 0, "{accel}: {}{}", output.text(), output.stderr);
        let mut files = files(&work);
        files.insert("stdout".into(), output.stdout.clone());
        files
    })
}

/// Runs `script`, which writes into the current directory, with native tools and without, and compares what it wrote.
#[track_caller]
fn same(world: &TestContext, options: &[&str], sources: &[(&str, &str)], script: &str) {
    let [own, native] = made(world, options, sources, script);
    assert_eq!(own.keys().collect::<Vec<_>>(), native.keys().collect::<Vec<_>>());
    for (name, own) in &own {
        let native = &native[name];
        if let (Some(own), Some(native)) = (sections(own), sections(native)) {
            let differ: Vec<_> = own.keys().filter(|section| own.get(*section) != native.get(*section)).collect();
            assert!(differ.is_empty() && own.len() == native.len(), "{name}: {differ:?}");
            continue;
        }
        // The revision of a package may be another.
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).replace("12.2.0-14+deb12u1", "12.2.0-14");
        let [own, native] = [own, native].map(text);
        let differ = own.lines().zip(native.lines()).find(|(own, native)| own != native);
        assert!(own == native, "{name}: {differ:?}, {} and {} bytes", own.len(), native.len());
    }
}

const C: &str = "#include <stdio.h>\n#include <stddef.h>\n#include <limits.h>\nint main(int n, char **v) { printf(\"%d %zu\\n\", n, offsetof(struct { char a; long b; }, b)); return v == 0; }\n";
const CXX: &str = "#include <iostream>\n#include <string>\n#include <vector>\n#include <cmath>\nint main() { std::vector<std::string> v{\"a\", \"b\"}; try { throw v.size(); } catch (unsigned long n) { std::cout << n << std::sqrt(2.0) << '\\n'; } catch (unsigned n) { std::cout << n << '\\n'; } }\n";
const ASM: &str = "#define ZERO 0\n.text\n.globl f\nf:\n.word ZERO\n";

/// What a driver is asked, one question a line.
const QUESTIONS: &str = r#"
for gcc in gcc /usr/bin/cc g++-12; do
  for ask in --version -dumpversion -dumpmachine -dumpfullversion -print-search-dirs -print-multiarch -print-sysroot -v \
    -print-libgcc-file-name -print-file-name=libc.so -print-prog-name=ld -print-prog-name=cc1 "-Q --help=target" -dumpspecs; do
    echo "== $gcc $ask"; $gcc $ask 2>&1
  done
done >questions
mkdir /tmp/x; ln -s /usr/bin/gcc /tmp/x/other; /tmp/x/other -print-file-name=crt1.o
gcc; echo $?; gcc none.c; echo $?; gcc -fnone a.c; echo $?; echo 'int x = "' | gcc -x c - ; echo $?
gcc -march=native -c a.c -o native-a.o; echo $?
echo '-c a.c -o response.o' >args; gcc @args; rm args
gcc -fplugin=none a.c 2>&1 | head -1
"#;

#[test]
fn drivers_answer_as_the_images_own() {
    let Some(world) = TestContext::native() else { return };
    project(&world, NATIVE, "'compiler'");
    same(&world, &[], &[("a.c", C)], &format!("exec 2>&1; {QUESTIONS}"));
}

/// Debug information has the paths of headers and the compiler's options in it.
const PRODUCTS: &str = r#"
set -e
for o in '' '-O2 -g' '-Os -fPIC -flto -frandom-seed=1'; do
  n=$(echo "$o" | tr -c 'a-zA-Z0-9\n' _)
  gcc $o -c a.c -o "c$n.o"; gcc $o "c$n.o" -o "c$n"; ./"c$n" x >"c$n.said"; gcc $o -S a.c -o "c$n.s"
done
gcc -E a.c >c.i; gcc -M a.c >c.d; gcc -std=c99 -pedantic -D_FORTIFY_SOURCE=2 -O1 -g3 -c a.c -o c99.o
ar rcs lib.a c.o c_O2__g.o; ranlib lib.a; nm lib.a >nm; strip -o stripped c_O2__g; objcopy --only-keep-debug c_O2__g debug; rm lib.a
"#;

#[test]
fn products_are_the_same() {
    let Some(world) = TestContext::native() else { return };
    project(&world, NATIVE, "'compiler'");
    same(&world, &[], &[("a.c", C)], PRODUCTS);
}

#[test]
fn products_for_an_older_arm_are_the_same() {
    let Some(world) = TestContext::native() else { return };
    project(&world, NATIVE, ALL);
    same(&world, &["-p", "armv5"], &[("a.c", C)], PRODUCTS);
}

/// A frame with an array of variable length: where the guard of the stack protector lies in it is what CVE-2023-4039 is about.
const GUARDED: &str = "#include <stdio.h>\n#include <string.h>\n#include <alloca.h>\nint f(const char *s, unsigned n) { char *p = (char *)alloca(n); strcpy(p, s); return p[0] + p[n - 1]; }\nint g(const char *s) { char b[64]; strcpy(b, s); return b[0] + b[5]; }\nint main(int c, char **v) { printf(\"%d %d\\n\", f(v[0], 4 + c) != 0, g(\"abcdefg\")); return 0; }\n";

/// The compilers are of two revisions, of which one lacks the patch: hardened programs are the image's own all the same.
#[test]
fn stack_protectors_are_the_same() {
    let Some(world) = TestContext::native() else { return };
    project(&world, NATIVE, "'compiler'");
    let script = "set -e; for p in -fstack-protector -fstack-protector-strong -fstack-protector-all; do
        gcc -O2 -g -D_FORTIFY_SOURCE=2 $p -c g.c -o g$p.o; done
        gcc -O2 g-fstack-protector-strong.o -o g; ./g; echo -O2 -fstack-protector-strong -c g.c -o response.o >args; gcc @args
        gcc -O2 -fstack-protector-strong -flto -frandom-seed=1 g.c -o lto; ./lto; g++ -O2 -fstack-protector-strong -x c++ -c g.c -o gxx.o";
    same(&world, &[], &[("g.c", GUARDED)], script);
    same(&world, &["-p", "armv5"], &[("g.c", GUARDED)], "gcc -O2 -g -fstack-protector-strong -c g.c -o g.o");
}

/// Packages that say of both compilers that they are built from the sources without the patch: the image's own has it all the same.
#[test]
fn a_difference_that_packages_hide_is_found() {
    let Some(world) = TestContext::native() else { return };
    project(&world, NATIVE, "'compiler'");
    let status = run(&world, &["--accel", "off"], &["cat", "/var/lib/dpkg/status"]).exits(0).text();
    let status = status.replace("12.2.0-14+deb12u1", "12.2.0-14") + "\n";
    let inspected = world.json(&["inspect", FOREIGN, "-p", "arm64"]);
    let own = inspected["layers"].as_array().unwrap().iter().map(|layer| {
        let descriptor = serde_json::from_value(layer["blob"].clone()).unwrap();
        Layer::known(descriptor, layer["diff-id"].as_str().unwrap().parse().unwrap())
    });
    let layers: Vec<_> = own.chain([layer(Codec::Zstd, &[("var/lib/dpkg/status", status.as_bytes())])]).collect();
    let mut content = Content::default();
    let set = serde_json::json!({ "Env": ["PATH=/usr/local/bin:/usr/bin:/bin"] });
    let manifest = content.image_with(("linux", "arm64", None), &layers, &set);
    let reference = "docker.io/test/untold:1";
    let _ = world.import(&content.tag("1", &manifest), reference);
    let text = world.read("hermes.toml").replace(FOREIGN, reference);
    world.write("hermes.toml", &text);
    let what = [
        "self-test of the native compilers",
        "unit a",
        "-fstack-protector-strong",
        ".text.unit_a",
        "hint: --accel off",
    ];
    run(&world, &["--accel", "require"], &["true"]).refused(125, &what);
    // That is kept, and builds go on without native compilers.
    let output = run(&world, &[], &["gcc", "-dumpversion"]);
    assert_eq!(output.exits(0).text(), "12");
    assert!(
        output.stderr.contains("all programs are emulated") && !output.stderr.contains(TESTING),
        "{}",
        output.stderr
    );
}

/// What is said when the self-test begins.
const TESTING: &str = "comparing the output of the native compilers";

#[test]
fn native_compilers_are_tested_once() {
    let Some(world) = TestContext::native() else { return };
    project(&world, NATIVE, "'compiler'");
    for platform in ["arm64", "armv5"] {
        // Another test may have been first.
        run(&world, &["--accel", "require", "-p", platform], &["true"]).exits(0);
        let tested = |world: &TestContext| {
            let roots = world.stored("roots").into_iter().map(|root| format!("roots/{root}"));
            roots.flat_map(|root| world.stored(&root)).filter(|name| name.starts_with("tested-")).collect::<Vec<_>>()
        };
        assert!(!tested(&world).is_empty());
        let output = run(&world, &["--accel", "require", "-p", platform], &["gcc", "-dumpversion"]);
        assert!(!output.stderr.contains(TESTING), "{}", output.stderr);
        // Tools beside the compiler are no other compiler.
        project(&world, NATIVE, "'make', 'compiler'");
        let output = run(&world, &["--accel", "require", "-p", platform], &["gcc", "-dumpversion"]);
        assert!(!output.exits(0).stderr.contains(TESTING), "{}", output.stderr);
    }
}

/// Debian 13, whose compilers are of one revision.
fn trixie() -> Option<TestContext> {
    let world = TestContext::native_trixie()?;
    project(&world, NATIVE_TRIXIE, "'compiler'");
    let text = world.read("hermes.toml").replace(FOREIGN, TRIXIE);
    world.write("hermes.toml", &text);
    Some(world)
}

/// Its GCC is version 14, whose programs are in another directory than its libraries.
#[test]
fn products_of_debian_13_are_identical() {
    let Some(world) = trixie() else { return };
    let script = r#"
set -e
hardened='-O2 -g -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fstack-clash-protection -mbranch-protection=standard'
for o in '' "$hardened" '-Os -fPIC -flto -frandom-seed=1'; do
  n=$(echo "$o" | tr -c 'a-zA-Z0-9\n' _)
  gcc $o -c g.c -o "c$n.o"; gcc $o "c$n.o" -o g; ./g; mv g "c$n"; gcc $o -S g.c -o "c$n.s"
  g++ $o -c b.cc -o "cxx$n.o"; g++ $o "cxx$n.o" -o "cxx$n"; ./"cxx$n" >"cxx$n.said"
done
gcc -E g.c >c.i; gcc -M g.c >c.d; gcc -c a.S -o a.S.o; ar rcs lib.a c.o; COMPILER_PATH=/none gcc -O2 -pipe g.c -o path
gcc -print-prog-name=cc1; gcc -fnone g.c 2>&1 || echo $?; gcc -fnone c.o 2>&1 || echo $?; gcc -dumpspecs >specs
"#;
    let [own, native] = made(&world, &[], &[("g.c", GUARDED), ("b.cc", CXX), ("a.S", ASM)], script);
    let differ: Vec<_> = own.keys().filter(|name| own.get(*name) != native.get(*name)).collect();
    // Everything, even the compiler's marks.
    assert!(differ.is_empty() && own.len() == native.len(), "{differ:?}");
    assert!(String::from_utf8_lossy(&own["stdout"]).contains("/usr/libexec/gcc/"));
}

/// The image's GCC is configured to offload to accelerators, the native one is not.
#[test]
fn compilers_that_were_configured_otherwise_make_the_same() {
    let Some(world) = trixie() else { return };
    let sum = "#include <stdio.h>\nint main(void) { double s = 0;\n#pragma omp target teams distribute parallel for map(tofrom: s) reduction(+: s)\nfor (int i = 0; i < 1000; i++) s += i; printf(\"%g\\n\", s); return 0; }\n";
    let script = "set -e; for o in -fopenmp -fopenacc -ftree-parallelize-loops=2; do
        gcc -O2 $o -frandom-seed=1 -c sum.c -o sum$o.o; gcc -O2 $o sum$o.o -o sum$o; ./sum$o
        gcc -O2 $o -frandom-seed=1 -flto sum.c -o lto$o; done";
    let [own, native] = made(&world, &[], &[("sum.c", sum)], script);
    assert!(own == native, "{:?}", own.keys().filter(|name| own.get(*name) != native.get(*name)).collect::<Vec<_>>());
    // The native driver has the specs of the image's: it links what its own do not name.
    let script = "gcc -fopenmp -### g.o 2>&1; /.hermes/native/usr/bin/aarch64-linux-gnu-gcc-14 -fopenmp -### g.o 2>&1";
    let said = run(&world, &["--accel", "require"], &["sh", "-c", script]).exits(0).text();
    assert_eq!(said.matches("crtoffloadbegin.o").count(), 2, "{said}");
}

#[test]
fn products_of_c_plus_plus_are_the_same() {
    let Some(world) = TestContext::native() else { return };
    project(&world, NATIVE, "'compiler'");
    let script = "set -e; g++ -O2 -g -c b.cc; g++ -O2 -g b.o -o b; ./b >said; g++ -E b.cc >b.ii; g++ -nostdinc++ -E b.cc >none 2>&1 || echo $?";
    same(&world, &[], &[("b.cc", CXX)], script);
}

#[test]
fn ways_of_calling_a_compiler_end_the_same() {
    let Some(world) = TestContext::native() else { return };
    project(&world, NATIVE, "'compiler'");
    let script = r#"
set -e
gcc -c a.S -o a.S.o; cpp a.c >cpp.i; gcc -static a.c -o static; gcc -shared -fPIC a.c -o shared.so
gcc -pipe -fuse-ld=gold a.c -o gold; gcc -save-temps -c a.c -o saved.o; gcc -nostdinc -E a.c >nostdinc 2>&1 || :
gcc -O2 -flto -frandom-seed=1 -c a.c -o l.o; gcc-ar rcs l.a l.o; gcc -O2 -flto -frandom-seed=1 l.a -o from-lto; ./from-lto; rm l.a
mkdir -p /tmp/i /tmp/j; echo '#define X 1' >/tmp/i/x.h; echo '#define X 2' >/tmp/j/x.h
printf '#include <x.h>\nint x = X;\n' >/tmp/x.c
for v in CPATH=/tmp/i C_INCLUDE_PATH=/tmp/i 'C_INCLUDE_PATH=/tmp/i:/tmp/j CPATH=/tmp/j' LIBRARY_PATH=/tmp/i; do
  for o in -I -isystem -idirafter; do echo "$v $o"; env $v gcc $o /tmp/j -E /tmp/x.c; done
  env $v gcc a.c -o /tmp/y
done >variables
"#;
    same(&world, &[], &[("a.c", C), ("a.S", ASM)], script);
}

#[test]
fn headers_in_usr_local_come_where_they_do_in_the_image() {
    let Some(world) = TestContext::native() else { return };
    project(&world, NATIVE, "'compiler'");
    // The volume stands for what 'make install' of another project would have put there.
    fs::create_dir_all(world.work().join("include")).unwrap();
    for name in ["stddef.h", "stdio.h", "cmath"] {
        fs::write(world.work().join("include").join(name), "#warning this one\n#include_next <stdlib.h>\n").unwrap();
    }
    let volume = format!("{}:/usr/local/include:ro", world.work().join("include").display());
    let script = "for l in c c++; do for h in stddef.h stdio.h cmath; do echo \"== $l $h\"; echo \"#include <$h>\" | gcc -E -x $l - 2>&1 | sed 's/ 3 4$/ 3/'; done; done";
    // The last number on such a line says that a header is C's own: nothing but AIX goes by it.
    same(&world, &["-v", &volume], &[], script);
}

#[test]
fn cmake_sees_what_it_sees_in_the_image() {
    let Some(world) = TestContext::native() else { return };
    project(&world, NATIVE, ALL);
    let lists = "cmake_minimum_required(VERSION 3.20)\nproject(x C)\ninclude(CheckIncludeFile)\ncheck_include_file(sys/auxv.h HAS_AUXV)\nmessage(STATUS \"${CMAKE_SYSTEM_PROCESSOR} ${CMAKE_C_IMPLICIT_INCLUDE_DIRECTORIES} ${CMAKE_C_IMPLICIT_LINK_DIRECTORIES} ${CMAKE_C_IMPLICIT_LINK_LIBRARIES} ${CMAKE_C_COMPILER_VERSION} ${CMAKE_SIZEOF_VOID_P} ${CMAKE_CROSSCOMPILING} ${CMAKE_LIBRARY_ARCHITECTURE} ${HAS_AUXV}\")\nadd_executable(a a.c)\n";
    let script = "set -e; cmake -S . -B /tmp/c | grep -v 's)$' >said; make -s -C /tmp/c >/dev/null; cp /tmp/c/a .; ./a; uname -m; arch";
    same(&world, &[], &[("a.c", C), ("CMakeLists.txt", lists)], script);
}

#[test]
fn meson_and_make_see_what_they_see_in_the_image() {
    let Some(world) = TestContext::native() else { return };
    project(&world, NATIVE, ALL);
    let build = "project('x', 'c')\ncc = meson.get_compiler('c')\nmessage(host_machine.cpu_family(), host_machine.cpu(), cc.version(), cc.sizeof('long'), meson.is_cross_build(), cc.find_library('m').found())\nexecutable('m', 'a.c')\n";
    let script = "set -e; meson setup /tmp/m | grep -v -e Version: -e inja >said; ninja -C /tmp/m >/dev/null; cp /tmp/m/m .; ./m\n\
        make -pn 2>/dev/null | grep -E '^(CC|CXX|LD|AR|COMPILE.c) '";
    same(&world, &[], &[("a.c", C), ("meson.build", build)], script);
}

#[test]
fn mixed_programs_run_each_other() {
    let Some(world) = TestContext::native() else { return };
    project(&world, NATIVE, ALL);
    world.write("a.c", C);
    // Native make starts native sh, that emulated perl, that native bash, and that an emulated product.
    world.write(
        "Makefile",
        "all: a\n\tperl -e 'exit system(q(bash), q(-c), q(./a x; uname -m; exit 3)) >> 8'\na: a.c\n\tcc -o a a.c\n",
    );
    let output = run(&world, &[], &["make", "-s"]);
    assert_eq!(output.text(), "2 8\naarch64");
    assert!(output.exits(2).stderr.contains("Error 3"), "{}", output.stderr);
    // On a root that is no overlay, too.
    fs::remove_file(world.work().join("a")).unwrap();
    assert_eq!(run(&world, &["--rootfs", "merged"], &["make", "-s"]).text(), "2 8\naarch64");
}

#[test]
fn what_was_native_is_recorded() {
    let Some(world) = TestContext::native() else { return };
    project(&world, NATIVE, "'compiler', 'make', 'python'");
    let marker = world.work().display().to_string();
    run(&world, &["--accel", "require"], &["true", &marker]).exits(0);
    run(&world, &["--accel", "off"], &["true", &marker]).exits(0);
    let records = world.records();
    let records: Vec<serde_json::Value> =
        records.lines().filter(|line| line.contains(&marker)).map(|line| serde_json::from_str(line).unwrap()).collect();
    let tools: Vec<_> = records.iter().map(|record| record["native"]["tools"].to_string()).collect();
    assert_eq!(tools, [r#"["gcc 12.2.0 (aarch64-linux-gnu)","make","python"]"#, "null"]);
}

/// An image for this host in which these are.
fn natives(world: &TestContext, name: &str, files: &[(&str, &[u8])]) {
    let mut content = Content::default();
    let image = content.image(("linux", "amd64", None), &[layer(Codec::Zstd, files)]);
    let index = content.index(&[image]);
    let _ = world.import(&content.tag("1", &index), name);
}

#[test]
fn tools_that_do_not_fit_are_refused() {
    let Some(world) = TestContext::native() else { return };
    let amd64 = |text: &str| program(Machine::Amd64, text, 0);
    let said = |target: &str, version: &str| amd64(&format!("Target: {target}\ngcc version {version} (Other 1) \n"));
    let (older, other) = (said("aarch64-linux-gnu", "10.2.1"), said("arm-linux-gnueabi", "12.2.0"));
    let arm64 = program(Machine::Arm64, "x", 0);
    let same = said("aarch64-linux-gnu", "12.2.0");
    let gcc = "usr/bin/aarch64-linux-gnu-gcc";
    for (name, path, tool, why) in [
        ("older", gcc, &older, "gcc is 12.2.0 in the image, 10.2.1 of the native tools"),
        ("other", "usr/bin/arm-linux-gnueabi-gcc-12", &other, "aarch64-linux-gnu in the image, arm-linux-gnueabi of"),
        ("same", gcc, &same, "gcc 12.2.0 of the native tools prints no specs"),
        ("none", "usr/bin/gcc", &same, "no cross compiler"),
        ("foreign", gcc, &arm64, "no cross compiler"),
    ] {
        let reference = format!("docker.io/test/{name}:1");
        natives(&world, &reference, &[(path, tool), ("usr/bin/make", &same)]);
        project(&world, &reference, "'compiler'");
        let output = run(&world, &["--accel", "require"], &["gcc", "-dumpversion"]);
        output.refused(125, &[&format!("cannot use the native tools of {reference}"), why, "hint: --accel off"]);
        // Else the build goes on, and says so.
        let output = run(&world, &[], &["gcc", "-dumpversion"]);
        assert_eq!(output.exits(0).text(), "12", "{name}");
        assert!(
            output.stderr.contains(why) && output.stderr.contains("all programs are emulated"),
            "{}",
            output.stderr
        );
    }
    // A tool that is in one of both only is left as it is.
    project(&world, "docker.io/test/none:1", "'make', 'bash'");
    assert!(run(&world, &["--accel", "require"], &["make", "--version"]).exits(0).text().contains("12.2.0"));
    project(&world, NATIVE, "'compiler', 'gcc'");
    run(&world, &["--accel", "require"], &["true"]).refused(125, &["unknown native tool 'gcc'", "compiler, make"]);
}

#[test]
fn where_native_tools_cannot_be_had() {
    let Some(world) = TestContext::native() else { return };
    project(&world, NATIVE, "'compiler'");
    run(&world, &["--root", "--accel", "require"], &["true"]).refused(125, &["--accel require", "--root"]);
    assert_eq!(run(&world, &["--root"], &["gcc", "-dumpversion"]).exits(0).text(), "12");
    let words = ["run", "-p", "arm64", "--image", FOREIGN, "--accel", "require", "--", "true"];
    world.hermes(words).output().refused(125, &["only toolchains have native tools", "hint:"]);
    // What an image has where the native tools' libraries would be is not covered.
    let mut content = Content::default();
    let tool = program(Machine::Arm64, "own\n", 0);
    let files: [(&str, &[u8]); 2] = [("usr/lib/x86_64-linux-gnu/own", b"x"), ("bin/make", &tool)];
    let image = content.image(("linux", "arm64", None), &[layer(Codec::Zstd, &files)]);
    let index = content.index(&[image]);
    let _ = world.import(&content.tag("1", &index), "docker.io/test/multi:1");
    let text = world.read("hermes.toml").replace(FOREIGN, "docker.io/test/multi:1");
    world.write("hermes.toml", &text.replace("'compiler'", "'make'"));
    run(&world, &["--accel", "require"], &["make"]).refused(125, &["the image has its own /usr/lib/x86_64-linux-gnu"]);
    assert_eq!(run(&world, &[], &["make"]).exits(0).text(), "own");
}

#[test]
fn a_rebuild_with_and_without_them_is_the_same() {
    let Some(world) = TestContext::native() else { return };
    project(&world, NATIVE, "'compiler'");
    world.write("a.c", C);
    world.write("Makefile", "a: a.o\n\tgcc -o $@ $<\n%.o: %.c\n\tgcc -g -O2 -c -o $@ $<\n");
    let words =
        ["rebuild", "--check", "--vary", "accel", "--output", "a", "--output", "a.o", "--json", "--", "make", "-s"];
    let output = world.hermes(words).output();
    let compared: serde_json::Value = serde_json::from_slice(&output.exits(0).stdout).unwrap();
    assert_eq!(compared["compared"], 2, "{compared}");
    // Debian's compilers are of two revisions.
    assert_eq!(compared["compiler-marks"], 2, "{compared}");
    // A build that looks whether its compiler is native is caught.
    let native = "if [ -e /.hermes/native ]; then echo native >a.c; fi; touch a";
    let words = ["rebuild", "--check", "--vary", "accel", "--output", "a.c", "--", "sh", "-c", native];
    assert!(world.hermes(words).output().exits(1).text().contains("a.c"));
}
