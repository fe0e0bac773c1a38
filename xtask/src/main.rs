//! Everything CI runs, as one command: `cargo xtask help` lists what it does.

mod api;
mod apt;
mod chromium;
mod fuzz;
mod python;
mod steps;
mod tally;
mod vulkan;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  test [FILTER]  build the program and run every test, in release; on a machine without a GPU
                 bring up a software Vulkan driver first
  check          formatting, clippy and documentation, warnings denied, and the public items
  api [--write]  compare the libraries' public items with docs/api, or write them there
  ci             check, then the README's two commands
  shaders        validate the shaders and translate them for every backend
  fuzz [TARGET [RUNS]]
                 feed made-up files to what reads files: image, tar, store, head, or all
  bench [ARGS]   build the program and run `equipoise bench`
";

fn main() -> ExitCode {
    if let Some(code) = api::as_rustdoc() {
        return code;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", &[][..]),
    };
    let outcome = match command {
        "test" => steps::test(rest),
        "check" => steps::check(),
        "api" => api::api(rest),
        "ci" => steps::ci(),
        "shaders" => steps::shaders(),
        "fuzz" => fuzz::fuzz(rest),
        "bench" => steps::bench(rest),
        vulkan::PROBE => return vulkan::probe(),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        other => {
            eprint!("error: there is no command `{other}`\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
