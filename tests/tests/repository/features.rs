//! What each feature of the library brings along: as its documentation says, and no more.

use std::collections::BTreeSet;
use std::process::Command;

use crate::{root, text};

/// How far the number of crates may be from the documented one: others' releases move it.
const SLACK: usize = 8;

/// Names of all crates that `equipoise` with some features is built from, on this platform, itself included.
fn crates_with(features: &str) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--package", "equipoise", "--no-default-features"])
        .args([
            "--features",
            features,
            "--edges",
            "normal",
            "--prefix",
            "none",
        ])
        .args(["--format", "{p}", "--offline", "--locked"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let (lines, said) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{features}: {said}");
    let crates = lines.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some(format!("{} {}", words.next()?, words.next()?))
    });
    crates.collect()
}

/// The documented number of crates with a feature.
fn documented(feature: &str) -> usize {
    let page = text("crates/equipoise/src/lib.rs");
    let row = page.lines().find(|line| {
        line.starts_with("//! | ")
            && line
                .split('|')
                .nth(1)
                .is_some_and(|cell| cell.contains(&format!("`{feature}`")))
    });
    let cell = row
        .and_then(|row| row.split('|').nth(3))
        .unwrap_or_default();
    let number = cell
        .trim()
        .strip_prefix("about ")
        .and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| panic!("no number of crates for `{feature}`"))
}

#[test]
fn features_bring_no_more_than_is_said() {
    // What must not be there.
    let cases: [(&str, &[&str]); 7] = [
        ("cpu", &["wgpu", "burn", "naga", "image"]),
        ("gpu", &["burn", "cubecl", "image"]),
        ("burn", &["image", "plotters", "csv"]),
        ("vulkan", &["image", "parquet"]),
        ("pool", &["wgpu", "burn", "parquet"]),
        ("report", &["wgpu", "burn", "image"]),
        ("rounds", &["parquet", "clap"]),
    ];
    for (feature, without) in cases {
        let crates = crates_with(feature);
        let (count, expected) = (crates.len(), documented(feature));
        println!("{feature}: {count} crates, about {expected} documented");
        let listed: Vec<&str> = crates.iter().map(String::as_str).collect();
        assert!(
            count.abs_diff(expected) <= SLACK,
            "{feature}: {count}: {listed:#?}"
        );
        for name in without {
            let named = format!("{name} v");
            assert!(
                !crates.iter().any(|found| found.starts_with(&named)),
                "{feature} brings {name}"
            );
        }
    }
}
