//! `cargo xtask fuzz`: the targets of fuzz/, by libFuzzer, with any toolchain.

use std::path::Path;
use std::process::Command;

/// What there is to fuzz; each has its corpus in fuzz/corpus.
const TARGETS: [&str; 4] = ["image", "tar", "store", "head"];

/// Runs of each target, where none are asked for.
const RUNS: &str = "100000";

/// What makes the compiler count which edges are taken, and what is compared: stable names of what
/// cargo-fuzz passes too, but for the sanitizers, which need a nightly one.
const FLAGS: &str = "--cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Fuzzes `arguments`: a target or `all`, and a number of runs. New inputs go into fuzz/corpus; one
/// that fails stays in fuzz/artifacts and belongs into the corpus once it is mended.
pub(crate) fn fuzz(arguments: &[String]) -> Result<(), String> {
    let wanted = arguments.first().map_or("all", String::as_str);
    let runs = arguments.get(1).map_or(RUNS, String::as_str);
    let targets: Vec<&str> = match wanted {
        "all" => TARGETS.to_vec(),
        _ => TARGETS.into_iter().filter(|name| *name == wanted).collect(),
    };
    if targets.is_empty() || runs.parse::<u64>().is_err() {
        let known = TARGETS.join(", ");
        return Err(format!("cargo xtask fuzz [all|{known}] [RUNS]"));
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let host = host()?;
    let mut build = Command::new("cargo");
    // With a target named, build scripts and macros are not instrumented.
    build.args(["build", "--release", "--target", &host]);
    build.env("RUSTFLAGS", FLAGS).env_remove("CARGO_TARGET_DIR");
    run(build.current_dir(&folder))?;
    let artifacts = folder.join("artifacts");
    std::fs::create_dir_all(&artifacts).map_err(|error| error.to_string())?;
    for target in targets {
        let program = folder
            .join("target")
            .join(&host)
            .join("release")
            .join(target);
        let mut command = Command::new(program);
        command.arg(folder.join("corpus").join(target));
        command.arg(format!("-runs={runs}"));
        command.arg(format!(
            "-artifact_prefix={}/{target}-",
            artifacts.display()
        ));
        command.args([
            "-max_len=8192",
            "-rss_limit_mb=4096",
            "-timeout=30",
            "-print_final_stats=1",
        ]);
        run(&mut command)?;
    }
    Ok(())
}

fn host() -> Result<String, String> {
    let output = Command::new("rustc").arg("-vV").output();
    let output = output.map_err(|error| format!("rustc: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or("rustc names no host".into())
}

fn run(command: &mut Command) -> Result<(), String> {
    let status = command.status();
    let status = status.map_err(|error| format!("{:?}: {error}", command.get_program()))?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("{:?} failed: {status}", command.get_program())),
    }
}
