//! Adds up what the test runners report, so that the last line says it all.

/// Counts of tests.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
}

impl Tally {
    /// Adds what `line` reports, if it is a closing line of `cargo test` or `cargo nextest`.
    pub(crate) fn read(&mut self, line: &str) {
        let line = without_colour(line);
        let line = line.trim();
        if line.starts_with("test result:") || line.starts_with("Summary [") {
            self.passed += count_before(line, "passed");
            self.failed += count_before(line, "failed") + count_before(line, "timed out");
            self.ignored += count_before(line, "ignored") + count_before(line, "skipped");
        }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            passed,
            failed,
            ignored,
        } = self;
        write!(f, "{passed} passed, {failed} failed, {ignored} ignored")
    }
}

/// The number right before `word`, 0 where there is none.
fn count_before(line: &str, word: &str) -> u64 {
    line.split(word)
        .next()
        .filter(|before| before.len() < line.len())
        .and_then(|before| {
            before
                .trim_end()
                .rsplit(|c: char| !c.is_ascii_digit())
                .next()
        })
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}

/// `line` without terminal colours.
fn without_colour(line: &str) -> String {
    let mut parts = line.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_string();
    parts.fold(first, |plain, part| {
        plain + part.split_once('m').map_or(part, |(_, rest)| rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(lines: &[&str]) -> Tally {
        let mut tally = Tally::default();
        lines.iter().for_each(|line| tally.read(line));
        tally
    }

    #[test]
    fn adds_the_closing_lines_of_both_runners() {
        let found = tally(&[
            "running 3 tests",
            "test result: ok. 12 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "     Summary [   1.234s] 7 tests run: 5 passed (1 slow), 1 failed, 1 timed out, 4 skipped",
            "test result: FAILED. 1 passed; 3 failed; 0 ignored; 0 measured; 9 filtered out; finished in 0.01s",
        ]);
        assert_eq!(
            found,
            Tally {
                passed: 18,
                failed: 5,
                ignored: 6
            }
        );
        assert_eq!(found.to_string(), "18 passed, 5 failed, 6 ignored");
    }

    #[test]
    fn reads_through_colours_and_skips_other_lines() {
        let found = tally(&[
            "\u{1b}[32;1m     Summary\u{1b}[0m [   0.1s] \u{1b}[1m2\u{1b}[0m tests run: \u{1b}[1m2\u{1b}[0m passed, 0 skipped",
            "        PASS [   0.004s] xtask tally::tests::3 passed",
        ]);
        assert_eq!(
            found,
            Tally {
                passed: 2,
                ..Tally::default()
            }
        );
    }
}
