//! Reports the tests that need an adapter as ignored where `EQUIPOISE_TEST_GPU=0` says there is none, and
//! those that need matrix cores unless `EQUIPOISE_TEST_MATRICES=1` says there are.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=EQUIPOISE_TEST_GPU");
    println!("cargo::rustc-check-cfg=cfg(no_gpu)");
    if std::env::var("EQUIPOISE_TEST_GPU").is_ok_and(|value| value == "0") {
        println!("cargo::rustc-cfg=no_gpu");
    }
    println!("cargo::rerun-if-env-changed=EQUIPOISE_TEST_MATRICES");
    println!("cargo::rustc-check-cfg=cfg(matrix_cores)");
    if std::env::var("EQUIPOISE_TEST_MATRICES").is_ok_and(|value| value == "1") {
        println!("cargo::rustc-cfg=matrix_cores");
    }
}
