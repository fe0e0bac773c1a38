//! `strategies`, `completions` and `man`: what the program says about itself.

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;
use equipoise::core::strategies;
use serde::Serialize;

use crate::cli::Cli;
use crate::console::{Console, print_bytes};
use crate::failure::{Failure, Result};

/// One strategy, for `--json`.
#[derive(Serialize)]
struct About {
    name: &'static str,
    summary: &'static str,
    source: &'static str,
    needs_head: bool,
    /// Whether it reads true labels: a baseline.
    oracle: bool,
}

/// Lists the strategies.
///
/// # Errors
/// Where stdout cannot be written.
pub(crate) fn strategies(console: Console) -> Result<()> {
    let list: Vec<About> = strategies::all()
        .iter()
        .map(|strategy| About {
            name: strategy.name(),
            summary: strategy.summary(),
            source: strategy.source(),
            needs_head: strategy.needs_head(),
            oracle: strategy.is_oracle(),
        })
        .collect();
    console.report(&serde_json::json!({ "strategies": list }), |_| {
        let width = list.iter().map(|about| about.name.len()).max().unwrap_or(0);
        let lines = list.iter().map(|about| {
            let oracle = match about.oracle {
                true => " (an oracle: reads true labels)",
                false => "",
            };
            format!(
                "{:<width$}  {}{oracle} [{}]\n",
                about.name, about.summary, about.source
            )
        });
        lines.collect()
    })
}

/// Prints a completion script.
///
/// # Errors
/// Where stdout cannot be written.
pub(crate) fn completions(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "equipoise", &mut script);
    print_bytes(&script)
}

/// Writes the manual pages to `folder`, or the main page to stdout.
///
/// # Errors
/// Where a file or stdout cannot be written.
pub(crate) fn man(folder: Option<&Path>) -> Result<()> {
    match folder {
        Some(folder) => {
            std::fs::create_dir_all(folder).map_err(|error| Failure::from(error).at(folder))?;
            clap_mangen::generate_to(Cli::command(), folder)
                .map_err(|error| Failure::from(error).at(folder))
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page)?;
            print_bytes(&page)
        }
    }
}
