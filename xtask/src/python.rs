//! A Python that can read an embedding store, for the test that does.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const PACKAGES: [&str; 2] = ["numpy", "safetensors"];

/// The interpreter of `target/python`, made where it is missing; an error says why there is none.
pub(crate) fn ensure(target: &Path) -> Result<PathBuf, String> {
    let folder = target.join("python");
    let interpreter = folder.join(match cfg!(windows) {
        true => "Scripts/python.exe",
        false => "bin/python",
    });
    let imports = format!("import {}", PACKAGES.join(", "));
    if succeeds(&interpreter, &["-c", &imports]) {
        return Ok(interpreter);
    }
    let system = ["python3", "python"]
        .into_iter()
        .find(|name| succeeds(Path::new(name), &["-c", "import venv, ensurepip"]))
        .ok_or("there is no python3 with venv (Debian, Ubuntu: apt-get install python3-venv)")?;
    eprintln!(
        "xtask: making {} with {}",
        folder.display(),
        PACKAGES.join(" and ")
    );
    run(
        Path::new(system),
        &["-m", "venv", "--clear", &folder.to_string_lossy()],
    )?;
    let mut arguments = vec![
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ];
    arguments.extend(PACKAGES);
    run(&interpreter, &arguments)?;
    Ok(interpreter)
}

fn succeeds(program: &Path, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn run(program: &Path, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run {}: {error}", program.display()))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "`{} {}` failed: {}",
            program.display(),
            arguments.join(" "),
            last_line(&output.stderr)
        )),
    }
}

fn last_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().rev().find(|line| !line.trim().is_empty());
    line.unwrap_or("no message").trim().to_string()
}
