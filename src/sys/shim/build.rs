//! Compiles the shim and the trial (`main.rs` and `trial.rs` beside this), separate programs that hermes contains, and sets a
//! linker option.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    const DIRECTORY: &str = "src/sys/shim";
    println!("cargo::rerun-if-changed={DIRECTORY}");
    let variable = |name: &str| env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"));
    let target = variable("TARGET");
    for (name, source) in [("shim", "main.rs"), ("trial", "trial.rs")] {
        let out = Path::new(&variable("OUT_DIR")).join(name);
        compile(&variable("RUSTC"), &target, name, &format!("{DIRECTORY}/{source}"), &out);
    }
    if target.ends_with("-musl") {
        // The static program relocates itself at each start. Its 16,000 relative relocations take 2 KB in this format
        // (DT_RELR, which musl reads since 1.2.4) instead of 390 KB. An older linker warns and ignores the option.
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
        order_functions(&variable("RUSTC"), &variable("HOST"), &variable("CARGO_MANIFEST_DIR"));
    }
}

/// Compiles a static program without a C library.
fn compile(rustc: &str, target: &str, name: &str, source: &str, out: &Path) {
    let mut rustc = Command::new(rustc);
    rustc
        .args(["--edition=2024", "--crate-type=bin", source, "-Copt-level=s", "-Cpanic=abort"])
        .arg("--crate-name")
        .arg(name);
    rustc.args(["-Crelocation-model=static", "-Cstrip=symbols", "-Cforce-unwind-tables=no"]);
    rustc.args(
        ["-nostartfiles", "-nostdlib", "-static", "-Wl,--build-id=none"].map(|option| format!("-Clink-arg={option}")),
    );
    if target.ends_with("-musl") {
        // No C library, so none of its files either.
        rustc.arg("-Clink-self-contained=no");
    }
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.arg(format!("-Clinker={linker}"));
    }
    let status = rustc.args(["--target", target]).arg("-o").arg(out).status();
    assert!(status.is_ok_and(|status| status.success()), "{source} does not compile: see above");
}

/// Places the functions that a start executes (`src/startup-order`, written by `scripts/startup-order`) side by side, so that a start
/// touches fewer pages of the program. Rust's own linker can do so, the system's cannot, and then the program only starts more slowly.
fn order_functions(rustc: &str, host: &str, manifest: &str) {
    const ORDER: &str = "src/startup-order";
    println!("cargo::rerun-if-changed={ORDER}");
    let printed = Command::new(rustc).args(["--print", "sysroot"]).output();
    let sysroot = printed.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    let linker = Path::new(&sysroot).join("lib/rustlib").join(host).join("bin/gcc-ld");
    if !linker.join("ld.lld").exists() {
        return;
    }
    let order = Path::new(manifest).join(ORDER);
    let options = [
        format!("-B{}", linker.display()),
        "-fuse-ld=lld".to_owned(),
        format!("-Wl,--symbol-ordering-file={}", order.display()),
        "-Wl,--no-warn-symbol-ordering".to_owned(),
    ];
    for option in options {
        println!("cargo::rustc-link-arg-bins={option}");
    }
}
