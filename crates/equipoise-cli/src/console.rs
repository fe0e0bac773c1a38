//! Where a command speaks: data to stdout, the rest to stderr.

use std::io::{self, BufWriter, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::failure::Result;

/// How much to say, and in which form.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Console {
    /// One JSON object on stdout instead of text.
    pub json: bool,
    /// Neither progress nor summary.
    pub quiet: bool,
}

impl Console {
    /// A bar on stderr with rate and time left; hidden where stderr is no terminal.
    pub(crate) fn bar(self, total: u64, what: &str) -> ProgressBar {
        let target = if self.quiet {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let template = "{msg:>10} [{bar:32}] {human_pos}/{human_len} {per_sec} {eta} left";
        let bar = ProgressBar::with_draw_target(Some(total), target).with_message(what.to_owned());
        match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style.progress_chars("=> ")),
            Err(_) => bar,
        }
    }

    /// A sign of life on stderr for work whose length is not known.
    pub(crate) fn spinner(self, what: &str) -> ProgressBar {
        let target = if self.quiet {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let spinner = ProgressBar::with_draw_target(None, target).with_message(what.to_owned());
        spinner.enable_steady_tick(std::time::Duration::from_millis(120));
        spinner
    }

    /// A line of summary on stderr.
    pub(crate) fn note(self, text: impl AsRef<str>) {
        if !self.quiet {
            say(text.as_ref());
        }
    }

    /// A line on stderr that `--quiet` does not hide.
    pub(crate) fn warn(self, text: impl AsRef<str>) {
        say(&format!("warning: {}", text.as_ref()));
    }

    /// Prints `report`: as JSON if asked for, else by `text`.
    ///
    /// # Errors
    /// Where stdout cannot be written.
    pub(crate) fn report<T: Serialize>(
        self,
        report: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<()> {
        if self.json {
            // Piece by piece: it may list more rows than there is memory for.
            let mut stdout = BufWriter::new(io::stdout().lock());
            let written = serde_json::to_writer(&mut stdout, report).map_err(io::Error::from);
            unless_gone(
                written
                    .and_then(|()| writeln!(stdout))
                    .and_then(|()| stdout.flush()),
            )
        } else {
            print(&text(report))
        }
    }
}

/// Writes a line to stderr. If nobody reads it, nothing is lost.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Writes to stdout. A reader that has gone away, as in `| head`, is no failure.
///
/// # Errors
/// Where stdout cannot be written.
pub(crate) fn print(text: &str) -> Result<()> {
    print_bytes(text.as_bytes())
}

/// As [`print()`], for bytes.
///
/// # Errors
/// Where stdout cannot be written.
pub(crate) fn print_bytes(bytes: &[u8]) -> Result<()> {
    let mut stdout = io::stdout().lock();
    unless_gone(stdout.write_all(bytes).and_then(|()| stdout.flush()))
}

/// What came of writing to stdout, whose reader may have gone away.
fn unless_gone(written: io::Result<()>) -> Result<()> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1000), "1,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
