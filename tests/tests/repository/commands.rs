//! What the README and the pages in `docs` say is there.

use std::path::{Path, PathBuf};

use equipoise_core::strategies;

use crate::{root, text};

/// The README's section of that title.
fn readme_section(title: &str) -> String {
    let readme = text("README.md");
    let section = readme.split(&format!("\n## {title}\n")).nth(1);
    let section = section.unwrap_or_else(|| panic!("the README has no section `{title}`"));
    section.split("\n## ").next().unwrap_or_default().into()
}

/// The README's first and second command: the first line of each block under `## Two commands`.
fn readme_commands() -> Vec<String> {
    let section = readme_section("Two commands");
    let blocks = section.split("```sh\n").skip(1);
    blocks
        .map(|block| block.lines().next().unwrap_or_default().to_string())
        .collect()
}

#[test]
fn the_readme_gives_two_commands() {
    assert_eq!(
        readme_commands(),
        ["cargo run --release -- demo", "cargo xtask test"]
    );
}

#[test]
fn ci_runs_the_readmes_commands() {
    let script = text(".ci/run");
    let steps: Vec<&str> = script
        .lines()
        .filter_map(|line| line.strip_prefix("step "))
        .filter_map(|line| line.split_once(' '))
        .map(|(_, command)| command)
        .collect();
    for command in readme_commands() {
        assert!(
            steps.contains(&&*command),
            "`{command}` is not in {steps:?}"
        );
    }
}

#[test]
fn the_readme_lists_every_strategy() {
    let section = readme_section("Strategies");
    let listed: Vec<&str> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    let known: Vec<&str> = strategies::all().iter().map(|s| s.name()).collect();
    assert_eq!(listed, known);
}

/// The documents a reader meets first.
fn documents() -> Vec<PathBuf> {
    let docs = std::fs::read_dir(root().join("docs")).expect("the docs");
    let docs = docs.map(|entry| Path::new("docs").join(entry.expect("a page").file_name()));
    ["README.md", "CONTRIBUTING.md"]
        .into_iter()
        .map(PathBuf::from)
        .chain(docs.filter(|page| page.extension().is_some_and(|end| end == "md")))
        .collect()
}

#[test]
fn links_lead_somewhere() {
    for document in documents() {
        let folder = root().join(document.parent().unwrap_or(Path::new("")));
        let page = text(&document.to_string_lossy());
        for link in page.split("](").skip(1) {
            let link = link.split([')', '#']).next().unwrap_or_default();
            let outside = link.is_empty() || link.contains("://");
            assert!(
                outside || folder.join(link).exists(),
                "{}: there is no {link}",
                document.display()
            );
        }
    }
}
