//! What can go wrong with an experiment or a campaign.

use std::path::{Path, PathBuf};

/// A failure of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("cannot read or write {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A configuration is no TOML, or has a field that is unknown or of another type.
    #[error(
        "{path}, line {line}: {what}; hint: `equipoise simulate --template` prints every field"
    )]
    ConfigFile {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// What the reader said.
        what: String,
    },
    /// A field's value is out of its range.
    #[error("{field}: {what}")]
    Config {
        /// `section.field`.
        field: String,
        /// What is wrong.
        what: String,
    },
    /// The run's folder is of another experiment.
    #[error(
        "{path}: a run of another experiment: {}; hint: name another folder with --out",
        listed(fields)
    )]
    OtherConfig {
        /// The folder.
        path: PathBuf,
        /// Field, its value in the folder, its value now.
        fields: Vec<(String, String, String)>,
    },
    /// A ledger is damaged, or of a newer format.
    #[error("{path}, line {line}: {what}")]
    Ledger {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// Another process works in the folder.
    #[error(
        "{path}: another process works in this folder; hint: wait for it, or name another with --out"
    )]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// Labels or data sets don't fit each other.
    #[error("{what}")]
    Data {
        /// What does not fit.
        what: String,
    },
    /// Selecting failed.
    #[error(transparent)]
    Core(#[from] equipoise_core::Error),
    /// A file of the pool, of labels or a head.
    #[error(transparent)]
    Pool(#[from] equipoise_pool::Error),
    /// Training failed.
    #[error(transparent)]
    Burn(#[from] equipoise_burn::Error),
}

impl Error {
    /// Whether the question was put wrongly: nothing was tried.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Config { .. } | Self::ConfigFile { .. } => true,
            Self::Pool(error) => error.is_usage(),
            _ => false,
        }
    }

    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            path: path.into(),
            source,
        }
    }

    pub(crate) fn config(field: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Config {
            field: field.into(),
            what: what.into(),
        }
    }

    pub(crate) fn config_file(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let before = error.span().map_or(0, |span| span.start).min(text.len());
        Self::ConfigFile {
            path: path.into(),
            line: text.as_bytes()[..before]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count()
                + 1,
            what: error.message().replace('\n', " "),
        }
    }

    pub(crate) fn data(what: impl Into<String>) -> Self {
        Self::Data { what: what.into() }
    }
}

fn listed(fields: &[(String, String, String)]) -> String {
    let field =
        |(name, had, has): &(String, String, String)| format!("{name} was {had} and is {has}");
    fields.iter().map(field).collect::<Vec<_>>().join("; ")
}
