//! How a command fails: one line saying what and where, a hint where there is one, an exit status.

use std::fmt;
use std::path::Path;

use equipoise::core;
use equipoise::core::memory::rounded_up;

/// Result of a command.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// Exit status of a run that failed.
const FAILED: u8 = 1;
/// Exit status of wrong usage.
const USAGE: u8 = 2;

/// What goes to stderr as `error: …` and `hint: …`, and the exit status.
pub(crate) struct Failure {
    exit: u8,
    error: anyhow::Error,
    hint: Option<String>,
}

impl Failure {
    /// A run that failed.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            exit: FAILED,
            error: anyhow::Error::msg(message.into()),
            hint: None,
        }
    }

    /// A command line that cannot be meant.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            exit: USAGE,
            ..Self::new(message)
        }
    }

    /// The failure with what to do about it.
    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// The failure with the file it is about named first.
    pub(crate) fn at(self, path: &Path) -> Self {
        Self {
            error: self.error.context(path.display().to_string()),
            ..self
        }
    }

    /// What went wrong, on one line.
    pub(crate) fn message(&self) -> String {
        // Whatever a library put into its message.
        format!("{:#}", self.error).replace(['\n', '\r'], " ")
    }

    /// Whether the command line cannot be meant.
    pub(crate) fn is_usage(&self) -> bool {
        self.exit == USAGE
    }

    /// The exit status.
    pub(crate) fn exit(&self) -> u8 {
        self.exit
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        let hint = hint_for(&error);
        let wrong_usage = error.chain().any(|cause| {
            let of_pool = cause.downcast_ref();
            let of_rounds = cause.downcast_ref();
            of_pool.is_some_and(equipoise::pool::Error::is_usage)
                || of_rounds.is_some_and(equipoise::rounds::Error::is_usage)
        });
        Self {
            exit: if wrong_usage { USAGE } else { FAILED },
            error,
            hint,
        }
    }
}

/// Some libraries end their message with a hint, `; hint: …` or ` (hint: …)`: it becomes a line of its own.
fn split_hint(message: &str) -> (&str, Option<&str>) {
    if let Some((message, hint)) = message.split_once("; hint: ") {
        return (message, Some(hint));
    }
    match message
        .strip_suffix(')')
        .and_then(|message| message.split_once(" (hint: "))
    {
        Some((message, hint)) => (message, Some(hint)),
        None => (message, None),
    }
}

/// What the library, or this program for it, advises.
fn hint_for(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        if let Some(error) = cause.downcast_ref::<core::Error>() {
            return core_hint(error);
        }
        if let Some(error) = cause.downcast_ref::<equipoise::pool::Error>() {
            return error.hint();
        }
        // Transparent errors hide what they hold from the chain.
        match cause.downcast_ref::<equipoise::rounds::Error>() {
            Some(equipoise::rounds::Error::Pool(error)) => return error.hint(),
            Some(equipoise::rounds::Error::Core(error)) => return core_hint(error),
            _ => {}
        }
        if let Some(equipoise::burn::Error::Io { .. }) = cause.downcast_ref() {
            return Some("is the path right, seen from the folder you are in?".into());
        }
        None
    })
}

fn core_hint(error: &core::Error) -> Option<String> {
    let hint = match error {
        core::Error::MemoryBudget { needed, .. } => {
            let enough = rounded_up(*needed).replace(' ', "");
            return Some(format!("--memory {enough}, or a smaller head"));
        }
        core::Error::Dimension { .. } => {
            "head and pool must come from the same backbone: fit the head on this pool"
        }
        core::Error::NonFiniteRow { .. } => {
            "`--nonfinite skip` leaves such rows out and counts them"
        }
        core::Error::NonFiniteHead { .. } => "fit the head again",
        core::Error::ZeroBudget => "ask for at least one row",
        core::Error::NothingAvailable { .. } => {
            "every row is labelled or excluded: check --labelled and --exclude"
        }
        core::Error::HeadMissing { .. } => "make one with `equipoise fit`, and name it with --head",
        core::Error::TruthMissing { .. } => {
            "name a file with --labels: CSV with the columns `id` and `label`"
        }
        core::Error::ClassMissing { .. } => {
            "`--labelled` needs a column `label`; where true labels are read, `--exclude` leaves out rows without one"
        }
        core::Error::ClassUnknown { .. } => "labels must be among the head's classes",
        core::Error::Clusters { .. } => {
            "give --clusters at most as many as rows are clustered: those available, up to 10,000 of them"
        }
        core::Error::Start { .. } => "name an available row, or `--start mean`",
        core::Error::Quotas(_) => {
            "`--labelled` needs a column `label` where quotas or class order look at class counts"
        }
        core::Error::Device { .. } => {
            "`--device cpu` needs no GPU, `--fallback cpu` goes on without one; `equipoise devices` lists them"
        }
        core::Error::OutOfMemory { .. } => {
            "`--memory` bounds what is taken, `--fallback cpu` goes on without the device"
        }
        _ => return None,
    };
    Some(hint.into())
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = self.message();
        let (message, inner) = split_hint(&message);
        write!(f, "error: {message}")?;
        match inner.or(self.hint.as_deref()) {
            Some(hint) => write!(f, "\nhint: {}", hint.replace(['\n', '\r'], " ")),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn library_errors_come_with_a_hint_on_a_line_of_its_own() {
        let failure = Failure::from(core::Error::NonFiniteRow { row: 7 });
        let text = failure.to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].starts_with("error: ") && lines[0].contains("row 7"));
        assert!(lines[1].starts_with("hint: ") && lines[1].contains("--nonfinite skip"));
        assert_eq!(failure.exit(), 1);
    }

    #[test]
    fn a_file_is_named_and_a_message_of_many_lines_becomes_one() {
        let failure = Failure::new("first\nsecond").at(Path::new("a.csv"));
        assert_eq!(failure.to_string(), "error: a.csv: first second");
    }

    #[test]
    fn hints_inside_messages_are_taken_out() {
        for message in ["bad; hint: do good", "bad (hint: do good)"] {
            assert_eq!(
                Failure::new(message).to_string(),
                "error: bad\nhint: do good"
            );
        }
    }

    #[test]
    fn wrong_usage_exits_2() {
        assert_eq!(Failure::usage("x").exit(), 2);
    }
}
