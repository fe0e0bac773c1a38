//! The examples run, and are as short as examples should be. Cargo builds them together with this test.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Fewer lines than this.
const LINES: usize = 100;

/// Where cargo put an example: beside the folder of the tests.
fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test's path");
    let profile = test.ancestors().nth(2).expect("target/release");
    profile
        .join("examples")
        .join(name)
        .with_extension(std::env::consts::EXE_EXTENSION)
}

/// What an example prints.
fn run(name: &str, arguments: &[&str]) -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples")
        .join(name);
    let text = std::fs::read_to_string(source.with_extension("rs")).expect("its source");
    let lines = text.lines().count();
    assert!(lines < LINES, "{name} has {lines} lines");
    let output = Command::new(built(name)).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{name}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{name}: {}: {errors}",
        output.status
    );
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn an_active_learning_loop() {
    let printed = run("active_learning", &[]);
    let last = printed.lines().last().expect("rounds");
    assert!(
        printed.lines().count() == 4 && last.starts_with("round 3: 60 labels"),
        "{printed}"
    );
    let right = last
        .split(", ")
        .last()
        .and_then(|share| share.strip_suffix("% right"));
    let right: f64 = right.expect("a share").parse().expect("a number");
    // Whoever knew nothing would be right for less than half of the images.
    assert!(right > 80.0, "{printed}");
}

#[test]
fn a_stream() {
    let printed = run("stream", &[]);
    assert!(printed.starts_with("16384 images went by"), "{printed}");
    assert_eq!(
        printed
            .lines()
            .filter(|line| line.starts_with("image "))
            .count(),
        20
    );
}

#[test]
#[ignore = "Mesa 22's software driver crashes in burn's SPIR-V matmul: on a GPU, run it with --run-ignored all"]
fn a_stream_on_a_gpu() {
    let printed = run("stream", &["gpu"]);
    assert_eq!(
        printed
            .lines()
            .filter(|line| line.starts_with("image "))
            .count(),
        20
    );
    let came = printed.lines().last().expect("bytes");
    let bytes: Vec<u64> = came
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect();
    assert!(bytes[0] < bytes[1] / 4, "{came}");
}

#[test]
fn a_custom_strategy() {
    let printed = run("custom_strategy", &[]);
    let rows = printed.lines().filter(|line| line.starts_with("row "));
    assert_eq!(rows.count(), 12);
    assert!(!printed.contains("picks others"), "{printed}");
    if cfg!(not(no_gpu)) {
        assert!(printed.contains("picks the same"), "{printed}");
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn plain_wgpu() {
    let printed = run("plain_wgpu", &[]);
    let rows = printed.lines().filter(|line| line.starts_with("row "));
    assert_eq!(rows.count(), 12, "{printed}");
}
