//! Tells the tests what is here: the data beside the repository, an adapter for the GPU tests, a browser, a Python.

use std::path::Path;

fn main() {
    println!("cargo:rustc-check-cfg=cfg(shared)");
    println!("cargo:rustc-check-cfg=cfg(no_gpu)");
    println!("cargo:rustc-check-cfg=cfg(chromium)");
    println!("cargo:rustc-check-cfg=cfg(python)");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=EQUIPOISE_TEST_GPU");
    println!("cargo:rerun-if-env-changed=EQUIPOISE_TEST_CHROMIUM");
    println!("cargo:rerun-if-env-changed=EQUIPOISE_TEST_PYTHON");
    let shared = Path::new("../../shared/README.md");
    if shared.exists() {
        // Only if it exists: cargo takes a missing file for one that always changes.
        println!("cargo:rerun-if-changed={}", shared.display());
        println!("cargo:rustc-cfg=shared");
    }
    if std::env::var("EQUIPOISE_TEST_GPU").is_ok_and(|value| value == "0") {
        println!("cargo:rustc-cfg=no_gpu");
    }
    if std::env::var_os("EQUIPOISE_TEST_CHROMIUM").is_some_and(|program| !program.is_empty()) {
        println!("cargo:rustc-cfg=chromium");
    }
    if std::env::var_os("EQUIPOISE_TEST_PYTHON").is_some_and(|python| !python.is_empty()) {
        println!("cargo:rustc-cfg=python");
    }
}
