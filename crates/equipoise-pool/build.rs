//! Says to the tests what is here: the data beside the workspace, and a Python to read stores with.

use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(shared)");
    println!("cargo:rustc-check-cfg=cfg(python)");
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/README.md");
    println!("cargo:rerun-if-changed={}", readme.display());
    if readme.exists() {
        println!("cargo:rustc-cfg=shared");
    }
    println!("cargo:rerun-if-env-changed=EQUIPOISE_TEST_PYTHON");
    if std::env::var_os("EQUIPOISE_TEST_PYTHON").is_some_and(|python| !python.is_empty()) {
        println!("cargo:rustc-cfg=python");
    }
}
