//! Which crate may use which, and what each keeps out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::{root, text};

const LIBRARIES: [&str; 7] = [
    "equipoise-core",
    "equipoise-pool",
    "equipoise-shaders",
    "equipoise-gpu",
    "equipoise-burn",
    "equipoise-report",
    "equipoise-rounds",
];

/// Crates that may use any other of ours.
const ALL: [&str; 2] = ["equipoise-tests", "equipoise-benches"];

/// Which of our crates a crate may use.
const MAY_USE: [(&str, &[&str]); 10] = [
    ("equipoise-core", &[]),
    ("equipoise-pool", &["equipoise-core"]),
    ("equipoise-shaders", &[]),
    ("equipoise-gpu", &["equipoise-core", "equipoise-shaders"]),
    ("equipoise-burn", &["equipoise-core", "equipoise-gpu"]),
    ("equipoise-report", &["equipoise-core"]),
    (
        "equipoise-rounds",
        &[
            "equipoise-core",
            "equipoise-pool",
            "equipoise-burn",
            "equipoise-report",
        ],
    ),
    ("equipoise", &LIBRARIES),
    ("equipoise-cli", &["equipoise"]),
    ("xtask", &[]),
];

/// Crate and what it names of ours, for building, running or testing it.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo's metadata");
    let packages = metadata["packages"].as_array().expect("packages");
    let name = |value: &Value| value["name"].as_str().expect("a name").to_string();
    let ours: BTreeSet<String> = packages.iter().map(name).collect();
    let uses = |package: &Value| {
        let all = package["dependencies"].as_array().expect("dependencies");
        all.iter()
            .map(name)
            .filter(|name| ours.contains(name))
            .collect()
    };
    packages
        .iter()
        .map(|package| (name(package), uses(package)))
        .collect()
}

#[test]
fn crates_use_only_what_they_may() {
    let dependencies = dependencies();
    for (name, uses) in &dependencies {
        if ALL.contains(&name.as_str()) {
            continue;
        }
        let (_, may) = MAY_USE
            .iter()
            .find(|(known, _)| known == name)
            .unwrap_or_else(|| panic!("{name} is not in the table of crates"));
        for used in uses {
            assert!(
                may.contains(&&**used),
                "{name} uses {used}, it may use {may:?}"
            );
        }
    }
    assert_eq!(dependencies.len(), MAY_USE.len() + ALL.len());
}

/// Rows of the table of crates: name and the last column.
fn documented() -> BTreeMap<String, String> {
    let page = text("docs/ARCHITECTURE.md");
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    rows.filter_map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, _folder, _job, may] = cells[..] else {
            return None;
        };
        Some((name.trim_matches('`').to_string(), may.to_string()))
    })
    .collect()
}

#[test]
fn architecture_page_says_the_same() {
    let documented = documented();
    let page: BTreeSet<&str> = documented.keys().map(String::as_str).collect();
    let known = MAY_USE.iter().map(|(name, _)| *name).chain(ALL);
    assert_eq!(page, known.collect());
    for (name, may) in MAY_USE {
        let expected = match may {
            [] => "nothing of ours".to_string(),
            may if may == LIBRARIES => "all libraries".to_string(),
            may => {
                let quoted: Vec<String> = may.iter().map(|name| format!("`{name}`")).collect();
                quoted.join(", ")
            }
        };
        assert_eq!(documented[name], expected, "{name}");
    }
    for name in ALL {
        assert_eq!(documented[name], "all", "{name}");
    }
}

/// A package of the lock file: name, version and the names it depends on.
struct Locked {
    name: String,
    version: String,
    uses: Vec<String>,
}

/// The packages of `Cargo.lock`, whatever the platform and the feature they are for.
fn locked() -> Vec<Locked> {
    let lock = text("Cargo.lock");
    let blocks = lock.split("[[package]]\n").skip(1);
    blocks
        .map(|block| {
            let field = |name: &str| {
                let line = block.lines().find_map(|line| line.strip_prefix(name));
                let value = line.and_then(|line| line.strip_prefix(" = "));
                value.unwrap_or_default().trim_matches('"').to_string()
            };
            let uses = block
                .lines()
                .skip_while(|line| !line.starts_with("dependencies"))
                .filter_map(|line| line.trim().strip_prefix('"'))
                .filter_map(|line| line.split(['"', ' ']).next().map(String::from));
            Locked {
                name: field("name"),
                version: field("version"),
                uses: uses.collect(),
            }
        })
        .collect()
}

/// Everything `name` builds on, at any depth.
fn tree(name: &str, locked: &[Locked]) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut open = vec![name.to_string()];
    while let Some(name) = open.pop() {
        if seen.insert(name.clone()) {
            let packages = locked.iter().filter(|package| package.name == name);
            open.extend(packages.flat_map(|package| package.uses.clone()));
        }
    }
    seen
}

#[test]
fn core_pool_and_gpu_build_without_burn() {
    let locked = locked();
    for name in [
        "equipoise-core",
        "equipoise-pool",
        "equipoise-gpu",
        "equipoise-report",
    ] {
        let burn: Vec<String> = tree(name, &locked)
            .into_iter()
            .filter(|used| used.starts_with("burn") || used.starts_with("cubecl"))
            .collect();
        assert!(burn.is_empty(), "{name} builds {burn:?}");
    }
    // The search would find it where it is.
    assert!(tree("equipoise-burn", &locked).contains("burn"));
}

#[test]
fn core_knows_no_gpu_and_no_images() {
    let tree = tree("equipoise-core", &locked());
    for kept_out in ["wgpu", "naga", "image", "memmap2", "safetensors", "tar"] {
        assert!(!tree.contains(kept_out), "equipoise-core builds {kept_out}");
    }
}

#[test]
fn there_is_one_wgpu_and_one_naga() {
    let locked = locked();
    for name in ["wgpu", "wgpu-core", "wgpu-hal", "naga"] {
        let versions: Vec<&str> = locked
            .iter()
            .filter(|package| package.name == name)
            .map(|package| package.version.as_str())
            .collect();
        assert!(
            matches!(versions[..], [one] if one.starts_with("30.")),
            "{name}: {versions:?}"
        );
    }
}

#[test]
fn every_crate_has_a_readme() {
    let metadata = dependencies();
    let folders = ["shaders", "tests", "benches", "xtask"].map(String::from);
    let crates = std::fs::read_dir(root().join("crates")).expect("the crates");
    let crates = crates.map(|entry| {
        let name = entry.expect("a crate").file_name();
        Path::new("crates")
            .join(name)
            .to_string_lossy()
            .into_owned()
    });
    let folders: Vec<String> = crates.chain(folders).collect();
    assert_eq!(folders.len(), metadata.len(), "{folders:?}");
    for folder in folders {
        text(&format!("{folder}/README.md"));
    }
}

/// Names of the files with `extension` in `folder`, and of the folders that hold the variants of one
/// kernel, without those in `except`.
fn stems(folder: &str, extension: &str, except: &[&str]) -> BTreeSet<String> {
    let files = std::fs::read_dir(root().join(folder)).expect("a folder of kernels");
    let paths = files.map(|file| file.expect("a file").path());
    paths
        .filter(|path| path.is_dir() || path.extension().is_some_and(|end| end == extension))
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .filter(|stem| !except.contains(&stem.as_str()))
        .collect()
}

#[test]
fn every_kernel_has_a_shader_a_wrapper_and_a_twin() {
    // `peak` measures the device and has nothing to compute on a CPU.
    let shaders = stems("shaders/wgsl", "wgsl", &["import", "peak"]);
    assert!(!shaders.is_empty());
    assert_eq!(
        stems(
            "crates/equipoise-core/src/cpu",
            "rs",
            &[
                "mod", "centres", "engine", "plan", "rough", "row", "scorer", "strip", "tile",
                "twins"
            ]
        ),
        shaders
    );
    assert_eq!(
        stems("crates/equipoise-gpu/src/kernels", "rs", &["mod"]),
        shaders
    );
}
