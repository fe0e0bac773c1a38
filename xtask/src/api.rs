//! `cargo xtask api`: the public items of the libraries, compared with those in docs/api.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use crate::steps::{cargo, root, step, target};

/// Tells this program, run in rustdoc's place, that it is.
const AS_RUSTDOC: &str = "EQUIPOISE_XTASK_AS_RUSTDOC";

/// What stands above each list.
const HEADER: &str = "# Public items; `cargo xtask api --write` makes this file.\n";

/// The libraries, by the names of their crates.
const LIBRARIES: [&str; 8] = [
    "equipoise",
    "equipoise-burn",
    "equipoise-core",
    "equipoise-gpu",
    "equipoise-pool",
    "equipoise-report",
    "equipoise-rounds",
    "equipoise-shaders",
];

/// Compares the libraries' public items with the lists in docs/api; `--write` makes the lists anew.
pub(crate) fn api(arguments: &[String]) -> Result<(), String> {
    let write = match arguments {
        [] => false,
        [only] if only == "--write" => true,
        _ => return Err("cargo xtask api [--write]".into()),
    };
    document()?;
    let tool = tool()?;
    let folder = root().join("docs/api");
    if write {
        std::fs::create_dir_all(&folder).map_err(|error| format!("docs/api: {error}"))?;
    }
    let mut changed = Vec::new();
    for library in LIBRARIES {
        let found = format!("{HEADER}{}", items(&tool, library)?);
        let path = folder.join(format!("{library}.txt"));
        let known = std::fs::read_to_string(&path).unwrap_or_default();
        if found == known {
            continue;
        }
        if write {
            std::fs::write(&path, found).map_err(|error| format!("{}: {error}", path.display()))?;
            eprintln!("xtask: wrote docs/api/{library}.txt");
            continue;
        }
        for line in differences(&known, &found) {
            eprintln!("{library} {line}");
        }
        changed.push(library);
    }
    match changed.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "the public items of {} are not those of docs/api: if that is meant, \
             `cargo xtask api --write` and say in the change what users have to do",
            changed.join(", ")
        )),
    }
}

/// Lines of one text that the other lacks, in order: `- ` those gone, `+ ` those new.
fn differences(known: &str, found: &str) -> Vec<String> {
    let of = |from: &str, other: &str, sign: char| -> Vec<String> {
        let other: std::collections::BTreeSet<&str> = other.lines().collect();
        let lines = from.lines().filter(|line| !other.contains(line));
        lines.map(|line| format!("{sign} {line}")).collect()
    };
    [of(known, found, '-'), of(found, known, '+')].concat()
}

/// rustdoc's JSON of the workspace. The format is not stable, so rustdoc has to be told that we know; only it, since cargo
/// would compile dependencies anew that ask for it.
fn document() -> Result<(), String> {
    let this = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
    let mut doc = cargo(&["doc", "--release", "--workspace", "--no-deps", "--locked"]);
    doc.env("RUSTDOC", this).env(AS_RUSTDOC, "1");
    doc.env("RUSTDOCFLAGS", "-Z unstable-options --output-format json");
    step("public items", doc)
}

/// Builds the program that reads the JSON.
fn tool() -> Result<PathBuf, String> {
    let folder = target().join("api");
    let manifest = root().join("xtask/api/Cargo.toml");
    let mut build = cargo(&["build", "--quiet", "--locked", "--manifest-path"]);
    build.arg(manifest).arg("--target-dir").arg(&folder);
    step("what lists them", build)?;
    Ok(folder.join("debug/equipoise-api"))
}

fn items(tool: &Path, library: &str) -> Result<String, String> {
    let json = target().join(format!("doc/{}.json", library.replace('-', "_")));
    let output = Command::new(tool)
        .arg(&json)
        .stderr(Stdio::inherit())
        .output();
    let output = output.map_err(|error| format!("{}: {error}", tool.display()))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!(
            "{library}: its public items cannot be read: is this Rust 1.95?"
        )),
    }
}

/// Where this program runs in rustdoc's place: what it does then.
pub(crate) fn as_rustdoc() -> Option<ExitCode> {
    std::env::var_os(AS_RUSTDOC)?;
    let status = Command::new("rustdoc")
        .args(std::env::args_os().skip(1))
        .env_remove(AS_RUSTDOC)
        .env("RUSTC_BOOTSTRAP", "1")
        .status();
    Some(match status {
        Ok(status) => ExitCode::from(status.code().unwrap_or(1).clamp(0, 255) as u8),
        Err(error) => {
            eprintln!("error: cannot run rustdoc: {error}");
            ExitCode::FAILURE
        }
    })
}
