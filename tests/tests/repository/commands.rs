//! The README's commands are the ones CI runs.

use crate::text;

/// The README's first and second command: the first line of each block under `## Two commands`.
fn readme_commands() -> Vec<String> {
    let readme = text("README.md");
    let section = readme
        .split_once("\n## Two commands\n")
        .expect("the README has a section `Two commands`")
        .1;
    let section = section.split("\n## ").next().unwrap_or_default();
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
