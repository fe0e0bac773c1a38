//! A Chromium without a window, for the test that opens a report.

use std::path::PathBuf;

use crate::apt;

const NAMES: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

/// The program, installed where it is missing; an error says why there is none.
pub(crate) fn ensure() -> Result<PathBuf, String> {
    if let Some(program) = std::env::var_os("EQUIPOISE_TEST_CHROMIUM") {
        return Ok(program.into());
    }
    if let Some(program) = found() {
        return Ok(program);
    }
    apt::install(&["chromium"])?;
    found().ok_or_else(|| "the package `chromium` holds no such program here".into())
}

fn found() -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    let programs =
        std::env::split_paths(&folders).flat_map(|folder| NAMES.map(|name| folder.join(name)));
    programs.into_iter().find(|program| program.is_file())
}
