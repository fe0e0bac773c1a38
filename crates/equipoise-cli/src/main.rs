//! The command line of Equipoise.

mod cli;
mod commands;
mod console;
mod demo;
mod device;
mod failure;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use console::Console;
use failure::{Failure, Result};

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(failure.exit())
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    let console = Console {
        json: cli.global.json,
        quiet: cli.global.quiet,
    };
    if let Some(threads) = cli.global.threads {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads as usize)
            .build_global()
            .map_err(|error| Failure::new(format!("--threads {threads}: {error}")))?;
    }
    let wish = cli.global.device;
    match cli.command {
        Command::Devices => commands::devices::main(wish, console),
        Command::Demo(arguments) => commands::demo::main(&arguments.meant()?, wish, console),
        Command::Embed(arguments) => commands::embed::main(&arguments.meant()?, wish, console),
        Command::Fit(arguments) => commands::fit::main(&arguments.meant()?, console),
        Command::Select(arguments) => commands::select::main(&arguments.meant()?, wish, console),
        Command::Strategies => commands::about::strategies(console),
        Command::Completions { shell } => commands::about::completions(shell),
        Command::Man { out } => commands::about::man(out.as_deref()),
    }
}
