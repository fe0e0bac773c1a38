//! The commands, as steps whose durations are printed.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::tally::Tally;
use crate::{api, chromium, python, vulkan};

type Outcome = Result<(), String>;

/// The library's features that are checked alone. Those with burn would compile it again: without `vulkan` the tests do.
const SINGLE: [&str; 4] = ["cpu", "gpu", "pool", "report"];

/// Formatting, clippy, documentation, features and public items. All in release: build scripts and procedural macros are
/// then compiled once for these steps, the program and the tests.
pub(crate) fn check() -> Outcome {
    step("format", cargo(&["fmt", "--all", "--check"]))?;
    let mut clippy = cargo(&[
        "clippy",
        "--release",
        "--workspace",
        "--all-targets",
        "--locked",
    ]);
    clippy.args(["--", "-D", "warnings"]);
    step("clippy", clippy)?;
    let mut doc = cargo(&["doc", "--release", "--workspace", "--no-deps", "--locked"]);
    doc.env("RUSTDOCFLAGS", "-D warnings");
    step("documentation", doc)?;
    for feature in SINGLE {
        let mut single = cargo(&["check", "--release", "--package", "equipoise", "--lib"]);
        single.args(["--locked", "--no-default-features", "--features", feature]);
        step(&format!("feature {feature} alone"), single)?;
    }
    api::api(&[])
}

/// What `.ci/run` does: [`check`], then the README's two commands.
pub(crate) fn ci() -> Outcome {
    check()?;
    step(
        "demo",
        cargo(&["run", "--release", "--", "demo", "--force"]),
    )?;
    test(&[])
}

/// The shaders' own tests: their build validates each, their tests translate each.
pub(crate) fn shaders() -> Outcome {
    step(
        "shaders",
        cargo(&["test", "--release", "--package", "equipoise-shaders"]),
    )
}

/// `equipoise bench`, with `arguments` for it.
pub(crate) fn bench(arguments: &[String]) -> Outcome {
    let mut command = cargo(&["run", "--release", "--package", "equipoise-cli", "--"]);
    command.arg("bench").args(arguments);
    step("benchmarks", command)
}

/// Every test of the workspace; `filter` goes to the runner as it is.
pub(crate) fn test(filter: &[String]) -> Outcome {
    let gpu = vulkan::ensure_adapter();
    let python = python::ensure(&target());
    if let Err(reason) = &python {
        eprintln!("xtask: the tests that run Python are ignored: {reason}");
    }
    let chromium = chromium::ensure();
    if let Err(reason) = &chromium {
        eprintln!("xtask: the test that opens a report in a browser is ignored: {reason}");
    }
    let prepare = |mut command: Command| {
        if !gpu {
            command.env("EQUIPOISE_TEST_GPU", "0");
        }
        if let Ok(interpreter) = &python {
            command.env("EQUIPOISE_TEST_PYTHON", interpreter);
        }
        if let Ok(program) = &chromium {
            command.env("EQUIPOISE_TEST_CHROMIUM", program);
        }
        if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
            // Mesa warns without it. It need not hold anything.
            command.env("XDG_RUNTIME_DIR", std::env::temp_dir());
        }
        command
    };
    step(
        "program",
        prepare(cargo(&["build", "--release", "--package", "equipoise-cli"])),
    )?;
    let mut tally = Tally::default();
    let mut outcome = Ok(());
    for (name, command) in runners(filter) {
        outcome = outcome.and(counted(name, prepare(command), &mut tally));
    }
    println!("{tally}");
    outcome
}

/// What runs every test: nextest where it is installed (it has no doctests), else cargo itself.
fn runners(filter: &[String]) -> Vec<(&'static str, Command)> {
    let nextest = Command::new(program())
        .args(["nextest", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    let runner: &[&str] = match nextest {
        // A filter may match doctests alone.
        true => &["nextest", "run", "--no-tests=pass"],
        false => &["test"],
    };
    let command = |words: &[&str]| {
        let mut command = cargo(words);
        command.args(["--release", "--workspace", "--no-fail-fast"]);
        if !filter.is_empty() {
            command.arg("--").args(filter);
        }
        command
    };
    let mut commands = vec![("tests", command(runner))];
    if nextest {
        commands.push(("doctests", command(&["test", "--doc"])));
    }
    if filter.is_empty() {
        // A feature that the workspace's own build leaves out; this builds without burn.
        let mut parquet = cargo(&["test", "--release", "--package", "equipoise-pool"]);
        parquet.args(["--features", "parquet", "--test", "files", "parquet::"]);
        commands.push(("Parquet", parquet));
        // burn with `fusion`, and with WGSL instead of SPIR-V: this compiles burn once more.
        let mut fusion = cargo(&["test", "--release", "--package", "equipoise-burn"]);
        fusion.args([
            "--no-default-features",
            "--features",
            "fusion",
            "--test",
            "selector",
        ]);
        commands.push(("burn's fusion", fusion));
    }
    commands
}

/// The workspace's folder.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// Where builds go.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// The cargo that runs this program.
fn program() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}

pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(arguments).current_dir(root());
    command
}

pub(crate) fn step(name: &str, mut command: Command) -> Outcome {
    timed(name, || {
        let status = command.status();
        let status = status.map_err(|error| format!("{name}: cannot run {command:?}: {error}"))?;
        verdict(name, status)
    })
}

/// As [`step`], passing on what the runner prints and counting the tests it reports.
fn counted(name: &str, mut command: Command, tally: &mut Tally) -> Outcome {
    timed(name, || {
        let spawned = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child =
            spawned.map_err(|error| format!("{name}: cannot run {command:?}: {error}"))?;
        let (output, errors) = (child.stdout.take(), child.stderr.take());
        let [from_output, from_errors] = std::thread::scope(|scope| {
            let output = scope.spawn(|| relay(output, std::io::stdout()));
            let errors = relay(errors, std::io::stderr());
            [output.join().unwrap_or_default(), errors]
        });
        for part in [from_output, from_errors] {
            tally.passed += part.passed;
            tally.failed += part.failed;
            tally.ignored += part.ignored;
        }
        let status = child.wait();
        verdict(name, status.map_err(|error| format!("{name}: {error}"))?)
    })
}

/// Copies lines from a child's pipe and counts what they report.
fn relay(from: Option<impl Read>, mut to: impl Write) -> Tally {
    let mut tally = Tally::default();
    let Some(from) = from else { return tally };
    let mut reader = BufReader::new(from);
    let mut line = Vec::new();
    while reader
        .read_until(b'\n', &mut line)
        .is_ok_and(|read| read > 0)
    {
        tally.read(&String::from_utf8_lossy(&line));
        // A closed terminal must not stop the count.
        let _ = to.write_all(&line);
        line.clear();
    }
    tally
}

fn verdict(name: &str, status: std::process::ExitStatus) -> Outcome {
    match status.success() {
        true => Ok(()),
        false => Err(format!("{name} failed ({status})")),
    }
}

fn timed(name: &str, work: impl FnOnce() -> Outcome) -> Outcome {
    eprintln!("xtask: {name}");
    let start = Instant::now();
    let outcome = work();
    eprintln!("xtask: {name} took {:.1} s", start.elapsed().as_secs_f64());
    outcome
}
