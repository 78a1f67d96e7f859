//! Builds for old ARM processors: the ELF attributes of what a compiler in an emulated image produces.

use std::fs;
use std::path::Path;

use object::LittleEndian;
use object::elf::FileHeader32;
use object::read::elf::{FileHeader as _, SectionHeader as _};

use crate::support::context::{TestContext, fixtures};
use crate::support::{kernel, require};

/// Debian for arm64 and arm/v5, with compilers.
const FOREIGN: &str = "docker.io/library/gcc:12";

/// Addenda to the ABI for the Arm architecture, "Build attributes": public tags.
const CPU_ARCH: u64 = 6;
const ADVANCED_SIMD_ARCH: u64 = 12;
/// Values of `Tag_CPU_arch` up to `ARMv6`: before v4, v4, v4T, v5T, v5TE, v5TEJ, v6, v6KZ, v6K. 8 is v6T2, which has Thumb-2.
const UP_TO_V6: [u64; 9] = [0, 1, 2, 3, 4, 5, 6, 7, 9];

/// `Tag_CPU_arch` and `Tag_Advanced_SIMD_arch` of a program.
fn attributes(program: &Path) -> (u64, u64) {
    let data = fs::read(program).unwrap();
    let header = FileHeader32::<LittleEndian>::parse(&data[..]).unwrap();
    let sections = header.sections(LittleEndian, &data[..]).unwrap();
    let (_, section) = sections.section_by_name(LittleEndian, b".ARM.attributes").expect("no .ARM.attributes");
    let mut found = (0, 0);
    let mut subsections = section.attributes(LittleEndian, &data[..]).unwrap().subsections().unwrap();
    while let Some(subsection) = subsections.next().unwrap() {
        assert_eq!(subsection.vendor(), b"aeabi");
        let mut parts = subsection.subsubsections();
        while let Some(part) = parts.next().unwrap() {
            let mut reader = part.attributes();
            while let Some(tag) = reader.read_tag().unwrap() {
                match tag {
                    CPU_ARCH => found.0 = reader.read_integer().unwrap(),
                    ADVANCED_SIMD_ARCH => found.1 = reader.read_integer().unwrap(),
                    32 => {
                        let _ = (reader.read_integer().unwrap(), reader.read_string().unwrap());
                    }
                    // Names of processors; above 32, odd tags have strings.
                    4 | 5 => drop(reader.read_string().unwrap()),
                    tag if tag > 32 && tag % 2 == 1 => drop(reader.read_string().unwrap()),
                    _ => drop(reader.read_integer().unwrap()),
                }
            }
        }
    }
    found
}

/// A context in which there is an image for arm/v5 with a compiler.
fn with_compiler() -> Option<TestContext> {
    let world = TestContext::foreign()?;
    let layout = fixtures().map(|path| path.join("images/foreign"));
    let there = layout.clone().and_then(|path| if path.exists() { Ok(()) } else { Err("no images/foreign".into()) });
    if !require("foreign-image", there) {
        return None;
    }
    if !world.hermes(["images"]).ok().contains(FOREIGN) {
        world.hermes(["import"]).args([layout.unwrap()]).ok();
    }
    Some(world)
}

#[test]
fn an_armv6_product_runs_on_an_armv6() {
    let Some(world) = with_compiler() else { return };
    world.write(
        "sum.c",
        "#include <stdio.h>\n\
         float a[64], b[64];\n\
         int main(int n, char **v) {\n\
           float sum = 0;\n\
           for (int i = 0; i < 64; i++) { a[i] = a[i] * 2 + b[i] + n; sum += a[i]; }\n\
           printf(\"%.0f\\n\", sum);\n\
           return 0;\n\
         }\n",
    );
    let run = |script: &str| {
        world.hermes([
            "--offline",
            "run",
            "--accel",
            "off",
            "-p",
            "armv6",
            "--image",
            FOREIGN,
            "--",
            "sh",
            "-c",
            script,
        ])
    };
    let script = "gcc -O3 -ffast-math -o v6 sum.c && ./v6 && gcc -O3 -static -o v6-static sum.c && ./v6-static";
    assert_eq!(run(script).ok(), "64\n64");
    for name in ["v6", "v6-static"] {
        let (architecture, neon) = attributes(&world.work().join(name));
        assert!(UP_TO_V6.contains(&architecture) && neon == 0, "{name}: {architecture} {neon}");
    }
    // What is asked for more is seen here, and cannot be run: the emulated processor is an ARMv6.
    let script = "gcc -O3 -ffast-math -march=armv7-a -mfpu=neon -mfloat-abi=softfp -o v7 sum.c && ./v7";
    let output = run(script).output();
    assert_eq!(attributes(&world.work().join("v7")), (10, 1));
    assert!(output.exits(132).stderr.contains("SIGILL"), "{}", output.stderr);
}

/// A program without large file support has 31 bits for a position in a directory, and the emulator is given 63 by ext4.
#[test]
fn directories_are_read_by_32_bit_programs() {
    let Some(world) = with_compiler() else { return };
    world.write("directories.c", include_str!("../directories.c"));
    let run = |platform: &str, options: &[&str], script: &str| {
        let words = ["--offline", "run", "--accel", "off", "-p", platform, "--image", FOREIGN];
        world.hermes([&words, options, &["--", "sh", "-c", script]].concat())
    };
    run("armv5", &[], "gcc -O1 -pthread -o directories directories.c").ok();
    // In /work, and in the root, which lies in memory or, as its first layer does, on the store's file system.
    let everywhere = "./directories 500 && ls -U /usr/share >in-the-image && cd /var/tmp && /work/directories 500";
    for platform in ["armv5", "armv6", "armv7"] {
        assert_eq!(run(platform, &[], everywhere).ok(), "", "{platform}");
        assert!(world.read("in-the-image").lines().count() > 10);
    }
    let many = "./directories 20000";
    assert_eq!(run("armv6", &[], many).ok(), "");
    for options in [&["--root"][..], &["--explain"], &["--emulation", "ptrace"]] {
        assert_eq!(run("armv6", options, everywhere).ok(), "", "{options:?}");
    }
}

/// A kernel that does not share descriptors gives the positions that it has, and the run goes on.
#[test]
fn an_old_kernel_reads_directories_itself() {
    for host in ["4.18", "4.18 no-overlay"] {
        let Some(world) = with_compiler().filter(|_| kernel::available()) else { return };
        let world = world.on(host);
        let words =
            ["--offline", "run", "-p", "armv6", "--image", FOREIGN, "--", "sh", "-c", "ls /usr/share; uname -m"];
        let output = world.hermes(words).output();
        assert!(output.exits(0).text().ends_with("armv6l"), "{host}: {}", output.stderr);
    }
}
