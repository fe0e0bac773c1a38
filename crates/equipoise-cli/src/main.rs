//! The command line of Equipoise.

mod allocator;
mod cli;
mod commands;
mod console;
mod demo;
mod device;
mod failure;
mod free_memory;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use console::Console;
use failure::{Failure, Result};

#[global_allocator]
static ALLOCATOR: allocator::Counting = allocator::Counting;

fn main() -> ExitCode {
    quiet_mesa();
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(failure.exit())
        }
    }
}

/// Mesa's Vulkan drivers print `error: XDG_RUNTIME_DIR is invalid` for each adapter where the
/// variable is not set (in containers, by ssh), though compute needs nothing of it.
fn quiet_mesa() {
    if cfg!(unix) && std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: the program has no other thread yet that could read the environment.
        unsafe { std::env::set_var("XDG_RUNTIME_DIR", std::env::temp_dir()) };
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
    let wish = &cli.global.device;
    match cli.command {
        Command::Devices => commands::devices::main(wish, console),
        Command::Demo(arguments) => commands::demo::main(&arguments.meant()?, wish, console),
        Command::Inspect(arguments) => commands::inspect::main(&arguments.meant()?, console),
        Command::Embed(arguments) => commands::embed::main(&arguments.meant()?, wish, console),
        Command::Join(arguments) => commands::join::main(&arguments.meant(), console),
        Command::Fit(arguments) => commands::fit::main(&arguments.meant()?, console),
        Command::Select(arguments) => commands::select::main(&arguments.meant()?, wish, console),
        Command::Compare(arguments) => commands::compare::main(&arguments.meant()?, wish, console),
        Command::Simulate(arguments) => {
            commands::simulate::main(&arguments.meant()?, wish, console)
        }
        Command::Round(arguments) => commands::round::main(&arguments.meant()?, wish, console),
        Command::Bench(arguments) => commands::bench::main(&arguments.meant()?, wish, console),
        Command::Scan(arguments) => commands::scan::main(&arguments.meant()?, wish, console),
        Command::Merge(arguments) => commands::merge::main(&arguments.meant(), console),
        Command::Strategies => commands::about::strategies(console),
        Command::Completions { shell } => commands::about::completions(shell),
        Command::Man { out } => commands::about::man(out.as_deref()),
    }
}
