//! The Python scripts of the benchmarks, as far as they go without PyTorch.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{root, text};

/// Fails at the first file named that is not Python.
const PARSE: &str = "import ast, sys\n\
                     for name in sys.argv[1:]:\n    ast.parse(open(name, encoding='utf-8').read(), name)\n";

/// What is in a folder, as paths from the workspace's.
fn entries(folder: &str) -> Vec<PathBuf> {
    let found = std::fs::read_dir(root().join(folder)).expect("a folder of benchmarks");
    let names = found.map(|entry| entry.expect("an entry").file_name());
    names.map(|name| Path::new(folder).join(name)).collect()
}

/// The scripts and the modules that they share, in the folders of `benches`.
fn scripts() -> Vec<String> {
    let mut scripts: Vec<String> = entries("benches")
        .iter()
        .filter(|path| root().join(path).is_dir())
        .flat_map(|path| entries(&path.to_string_lossy()))
        .filter(|path| path.extension().is_some_and(|end| end == "py"))
        .map(|path| path.to_string_lossy().into_owned())
        .collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    scripts
}

/// Runs Python in a folder of the workspace, where it leaves no compiled files; returns what it prints.
fn python(folder: &str, arguments: &[&str]) -> String {
    let Some(program) = option_env!("EQUIPOISE_TEST_PYTHON") else {
        panic!("EQUIPOISE_TEST_PYTHON was not set when this was built");
    };
    let output = Command::new(program)
        .arg("-B")
        .args(arguments)
        .current_dir(root().join(folder))
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
#[cfg_attr(
    not(python),
    ignore = "needs EQUIPOISE_TEST_PYTHON, a Python with numpy and safetensors: see cargo xtask test"
)]
fn scripts_are_python() {
    let scripts = scripts();
    let mut arguments = vec!["-c", PARSE];
    arguments.extend(scripts.iter().map(String::as_str));
    python("", &arguments);
}

#[test]
#[cfg_attr(
    not(python),
    ignore = "needs EQUIPOISE_TEST_PYTHON, a Python with numpy and safetensors: see cargo xtask test"
)]
fn scripts_explain_themselves_without_packages() {
    let scripts = scripts();
    let programs: Vec<&String> = scripts
        .iter()
        .filter(|script| text(script).contains("\nif __name__ == \"__main__\":\n"))
        .collect();
    assert!(!programs.is_empty(), "no program among {scripts:?}");
    for program in programs {
        // Neither numpy nor PyTorch is found with -S, wherever they are installed.
        let said = python("", &["-E", "-S", program, "--help"]);
        let file = Path::new(program).file_name().expect("a file");
        let usage = format!("usage: {} ", file.to_string_lossy());
        assert!(said.starts_with(&usage), "{program}: {said}");
    }
}

#[test]
#[cfg_attr(
    not(python),
    ignore = "needs EQUIPOISE_TEST_PYTHON, a Python with numpy and safetensors: see cargo xtask test"
)]
fn comparisons_conclude_what_they_should() {
    python("benches/peers", &["-m", "unittest", "test_peers"]);
}
