//! Says to the tests what is here: the data beside the workspace, and whether GPU tests may run.

use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(shared)");
    println!("cargo:rustc-check-cfg=cfg(no_gpu)");
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/README.md");
    println!("cargo:rerun-if-changed={}", readme.display());
    if readme.exists() {
        println!("cargo:rustc-cfg=shared");
    }
    println!("cargo:rerun-if-env-changed=EQUIPOISE_TEST_GPU");
    if std::env::var("EQUIPOISE_TEST_GPU").is_ok_and(|value| value == "0") {
        println!("cargo:rustc-cfg=no_gpu");
    }
}
