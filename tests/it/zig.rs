//! The catalogue's toolchain `zig`: the real wheel, over an image with make instead of Debian packages.

use std::fs;
use std::path::PathBuf;

use crate::support::context::{DEBIAN, TestContext, fixtures, tool};
use crate::support::process::Run;
use crate::support::wheel::{Index, Published};
use crate::support::{require, run};

/// What Lua and zlib are built with: variables that their own files set otherwise.
const LUA: &str = "cd lua && make -s -j2 -C src all SYSCFLAGS=-DLUA_USE_POSIX";

/// The fixture, and its name.
fn wheel() -> Option<(String, PathBuf)> {
    let found = fixtures().and_then(|fixtures| {
        let names = fs::read_dir(fixtures.join("wheels")).into_iter().flatten();
        let paths = names.map(|entry| entry.unwrap().path());
        let is_wheel = |path: &PathBuf| path.extension().is_some_and(|end| end == "whl");
        paths.filter(is_wheel).max().ok_or_else(|| "no wheel; run scripts/fixtures ziglang".to_owned())
    });
    let name = |path: PathBuf| (path.file_name().unwrap().to_str().unwrap().to_owned(), path);
    require("ziglang", found.as_ref().map(drop).map_err(Clone::clone)).then(|| name(found.unwrap()))
}

/// The catalogue's definition with an image as root.
fn definition() -> String {
    let mut zig: toml::Table = include_str!("../../toolchains/zig.toml").parse().unwrap();
    zig.remove("debian").unwrap();
    for (_, platform) in zig["platform"].as_table_mut().unwrap() {
        platform.as_table_mut().unwrap().insert("image".into(), DEBIAN.into());
    }
    let toolchains = toml::Table::from_iter([("zig".to_owned(), zig.into())]);
    let project = [("toolchain".to_owned(), "zig".into()), ("toolchains".to_owned(), toolchains.into())];
    toml::Table::from_iter(project).to_string()
}

struct World {
    context: TestContext,
    url: String,
}

impl World {
    fn hermes(&self, options: &[&str], script: &str) -> Run {
        let words = [&["--quiet", "run"], options, &["--", "sh", "-ec", script]].concat();
        self.context.hermes(words).env("PIP_INDEX_URL", &self.url)
    }
}

#[test]
fn lua_and_zlib_for_armv6_with_hard_float() {
    let Some((name, path)) = wheel() else { return };
    if !tool("readelf") || !tool("qemu-arm-static") {
        return;
    }
    let Some(context) = TestContext::fixtures() else { return };
    let index = Index::named("ziglang", vec![Published::new(&name, fs::read(path).unwrap())]);
    let server = index.serve();
    context.write("hermes.toml", &definition());
    let world = World { url: Index::url(&server), context };
    let work = world.context.work();
    let sources = fixtures().unwrap().join("src");
    for name in ["lua", "zlib"] {
        run("cp", &["-r", sources.join(name).to_str().unwrap(), "."], &work);
    }
    fs::create_dir(world.context.path().join("cache")).unwrap();
    let cache = format!("{}:/tmp/zig", world.context.path().join("cache").display());
    let armv6 = ["-p", "linux-armv6"];
    // zlib for glibc.
    let zlib = "cd zlib && ./configure --static >/dev/null && make -s -j2 libz.a example && cp example ../zlib-gnu";
    world.hermes(&[&armv6[..], &["-v", &cache]].concat(), zlib).ok();
    let attributes = |file: &str| run("readelf", &["-A", file], &work);
    let is_v6 = |file: &str| {
        let text = attributes(file);
        let has = |line: &str| text.lines().any(|found| found.trim() == line);
        assert!(has("Tag_CPU_arch: v6") || has("Tag_CPU_arch: v6KZ"), "{file}: {text}");
        assert!(has("Tag_FP_arch: VFPv2"), "{file}: {text}");
        assert!(!text.contains("Advanced_SIMD"), "{file}: {text}");
    };
    is_v6("zlib-gnu");
    assert!(run("readelf", &["-h", "zlib-gnu"], &work).contains("hard-float ABI"));
    // The chosen glibc is the newest that is needed.
    let versions = run("readelf", &["-V", "zlib-gnu"], &work);
    let newest = versions
        .split("GLIBC_2.")
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u32>().ok());
    assert!(newest.max().is_some_and(|minor| minor <= 28), "{versions}");
    // Lua for musl, which runs here.
    let musl = [&armv6[..], &["-e", "CROSS_LIBC=musl", "-v", &cache]].concat();
    world.context.write("seven.c", "int main(void) { return 7; }\n");
    // What is compiled of the library stays in the cache, so that on a slow machine it goes on where it was.
    let seven = || world.hermes(&musl, "timeout 100 cc -static -O2 -o seven seven.c").output();
    let tries: Vec<_> = (0..5).map(|_| seven()).take_while(|output| output.code() == 124).collect();
    assert!(tries.len() < 5, "musl is not compiled in 500 s");
    seven().exits(0);
    world.hermes(&musl, &format!("{LUA} MYLDFLAGS=-static")).ok();
    is_v6("lua/src/lua");
    let arm1176 = |words: &[&str]| run("qemu-arm-static", &[&["-cpu", "arm1176"], words].concat(), &work);
    assert_eq!(arm1176(&["lua/src/lua", "-e", "print(2^53, 10//3, ('x'):rep(3))"]), "9.007199254741e+15\t3\txxx\n");
    // Neither the cache nor its place shows in a product.
    let product = fs::read(work.join("lua/src/lua")).unwrap();
    assert!(!product.windows(8).any(|window| window == b"/tmp/zig"), "the product has a path of the cache");
    fs::rename(work.join("seven"), work.join("with-cache")).unwrap();
    let other = format!("{}:/tmp/other", world.context.path().join("cache").display());
    let moved = ["-e", "ZIG_LOCAL_CACHE_DIR=/tmp/other", "-e", "ZIG_GLOBAL_CACHE_DIR=/tmp/other", "-v", &other];
    world.hermes(&[&armv6[..], &["-e", "CROSS_LIBC=musl"], &moved].concat(), "cc -static -O2 -o seven seven.c").ok();
    assert_eq!(fs::read(work.join("seven")).unwrap(), fs::read(work.join("with-cache")).unwrap());
}

#[test]
fn objects_for_all_platforms() {
    let Some((name, path)) = wheel() else { return };
    if !tool("readelf") {
        return;
    }
    let Some(context) = TestContext::fixtures() else { return };
    let index = Index::named("ziglang", vec![Published::new(&name, fs::read(path).unwrap())]);
    let server = index.serve();
    context.write("hermes.toml", &definition());
    context.write("a.c", "#include <stdio.h>\nint main(void) { puts(\"hello\"); return 0; }\n");
    let world = World { url: Index::url(&server), context };
    for (platform, class, machine, flags) in [
        ("linux-x86_64", "ELF64", "Advanced Micro Devices X86-64", ""),
        ("linux-i686", "ELF32", "Intel 80386", ""),
        ("linux-aarch64", "ELF64", "AArch64", ""),
        ("linux-armv7", "ELF32", "ARM", "Version5 EABI, hard-float ABI"),
        ("linux-armv6", "ELF32", "ARM", "Version5 EABI, hard-float ABI"),
        ("linux-riscv64", "ELF64", "RISC-V", "double-float ABI"),
        ("linux-ppc64le", "ELF64", "PowerPC64", "abiv2"),
        ("linux-s390x", "ELF64", "IBM S/390", ""),
    ] {
        world.hermes(&["-p", platform], "gcc -O2 -c a.c && test -n \"$CROSS_TRIPLE\" && ar rcs liba.a a.o").ok();
        let header = run("readelf", &["-h", "a.o"], &world.context.work());
        for text in [class, machine, flags] {
            assert!(header.contains(text), "{platform}: no {text} in {header}");
        }
    }
}
