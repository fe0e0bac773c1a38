//! What was asked, picked, labelled, trained and measured: a file of JSON lines that is only ever added to.
//!
//! Each line is synced before the next step begins. A line that a crash cut short is taken away when the
//! file is opened again; its step is done once more.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Error, Measures, Result};

/// Version of the ledger's format that is written, and the newest that is read.
pub const LEDGER_VERSION: u32 = 1;

/// Seconds that a round took, by what it did.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Seconds {
    /// Selecting.
    #[serde(default)]
    pub select: f64,
    /// Training.
    #[serde(default)]
    pub train: f64,
    /// Testing.
    #[serde(default)]
    pub test: f64,
}

impl Seconds {
    /// All of them.
    pub fn total(&self) -> f64 {
        self.select + self.train + self.test
    }
}

/// A line of a ledger: a step that is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Entry {
    /// The first line: whose ledger it is.
    Opened {
        /// [`LEDGER_VERSION`] of who wrote it.
        ledger: u32,
        /// Name of the strategy or variant; what it may change from round to round is told by `picked`.
        name: String,
        /// Seed of every random choice.
        seed: u64,
        /// What tells the pool's contents from others'.
        pool: String,
        /// Names of the classes in order; in a campaign they may be added to by `labelled`.
        classes: Vec<String>,
    },
    /// Rows were picked to be labelled.
    Picked {
        /// From 0: the first labels.
        round: u32,
        /// How it was picked: the name of the strategy; none for the first labels of a simulation.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        strategy: Option<String>,
        /// Rows asked for.
        asked: usize,
        /// Rows picked, in pick order: fewer where the pool had no more.
        rows: Vec<usize>,
        /// Seconds of selecting.
        seconds: f64,
    },
    /// People labelled rows.
    Labelled {
        /// The round whose picks they are.
        round: u32,
        /// Row and class.
        labels: Vec<(usize, String)>,
    },
    /// A model was trained on the labels so far, and tested where there are test rows.
    Trained {
        /// The round whose labels are the last.
        round: u32,
        /// Labelled rows.
        labels: usize,
        /// Epochs, and which one was best; 0 where training has none.
        epochs: usize,
        /// From 1.
        best_epoch: usize,
        /// Accuracy on the rows held out to choose it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        evaluation: Option<f64>,
        /// On the test rows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        measures: Option<Measures>,
        /// Seconds of this round's training and testing.
        seconds: Seconds,
    },
    /// Nothing is left to pick.
    Ended {
        /// The round that would have been next.
        round: u32,
        /// Why.
        why: String,
    },
}

/// A ledger that is open for more.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    file: File,
    length: u64,
    entries: Vec<Entry>,
}

impl Ledger {
    /// Opens or begins a ledger. One that is there must begin with the same line.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Ledger`] where it is damaged, newer or another's.
    pub fn open(path: &Path, opened: Entry) -> Result<Self> {
        let mut ledger = Self::open_any(path)?;
        match ledger.entries.first() {
            None => ledger.add(opened)?,
            Some(first) if *first == opened => {}
            Some(_) => {
                return Err(Error::Ledger {
                    path: path.into(),
                    line: 1,
                    what: "it was begun with another pool, seed, strategy or classes; hint: name \
                           another folder"
                        .into(),
                });
            }
        }
        Ok(ledger)
    }

    /// Opens a ledger, whoever's it is; one that is not there is empty.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_any(path: &Path) -> Result<Self> {
        let failed = |source| Error::io(path, source);
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(path).map_err(failed)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(failed)?;
        let (entries, length) = parse(path, &text)?;
        if length < text.len() as u64 {
            file.set_len(length).map_err(failed)?;
        }
        file.seek(SeekFrom::Start(length)).map_err(failed)?;
        Ok(Self {
            path: path.into(),
            file,
            length,
            entries,
        })
    }

    /// What a ledger holds, without a change to it.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn read(path: &Path) -> Result<Vec<Entry>> {
        let text = std::fs::read(path).map_err(|source| Error::io(path, source))?;
        Ok(parse(path, &text)?.0)
    }

    /// The steps so far.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Adds a step, and has it on disk when it returns. Where that fails the ledger is as it was.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn add(&mut self, entry: Entry) -> Result<()> {
        let failed = |source| Error::io(&self.path, source);
        let mut line = serde_json::to_vec(&entry).map_err(|error| failed(error.into()))?;
        line.push(b'\n');
        let written = self
            .file
            .write_all(&line)
            .and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // The disk may be full: what is half written goes, if it can.
            let _ = self.file.set_len(self.length);
            let _ = self.file.seek(SeekFrom::Start(self.length));
            return Err(failed(error));
        }
        self.length += line.len() as u64;
        self.entries.push(entry);
        Ok(())
    }
}

/// The entries, and the bytes that they take: less than all where the last line is not whole.
fn parse(path: &Path, text: &[u8]) -> Result<(Vec<Entry>, u64)> {
    let whole = text
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1);
    let wrong = |line: usize, what: String| Error::Ledger {
        path: path.into(),
        line: line + 1,
        what,
    };
    let mut entries = Vec::new();
    let lines = text[..whole].split_inclusive(|byte| *byte == b'\n');
    for (number, line) in lines.enumerate() {
        if number == 0 {
            check_version(line).map_err(|what| wrong(0, what))?;
        }
        let entry: Entry = serde_json::from_slice(line)
            .map_err(|error| wrong(number, format!("damaged: {error}")))?;
        if (number == 0) != matches!(entry, Entry::Opened { .. }) {
            return Err(wrong(
                number,
                "no line of a ledger, or one out of place".into(),
            ));
        }
        entries.push(entry);
    }
    Ok((entries, whole as u64))
}

/// Whether the first line's version is one that is known, whatever else a newer one may hold.
fn check_version(line: &[u8]) -> Result<(), String> {
    #[derive(Deserialize)]
    struct First {
        ledger: u32,
    }
    let first: First = serde_json::from_slice(line).map_err(|_| "no ledger".to_owned())?;
    match first.ledger {
        0..=LEDGER_VERSION => Ok(()),
        newer => Err(format!(
            "a ledger of version {newer}; this program reads up to {LEDGER_VERSION}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(seed: u64) -> Entry {
        Entry::Opened {
            ledger: LEDGER_VERSION,
            name: "base".into(),
            seed,
            pool: "abc".into(),
            classes: vec!["a".into()],
        }
    }

    fn picked(round: u32) -> Entry {
        Entry::Picked {
            round,
            strategy: None,
            asked: 2,
            rows: vec![5, 3],
            seconds: 0.5,
        }
    }

    #[test]
    fn a_line_cut_anywhere_is_taken_away_and_its_step_done_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l.jsonl");
        let mut ledger = Ledger::open(&path, opened(1)).unwrap();
        ledger.add(picked(0)).unwrap();
        ledger.add(picked(1)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let mut ledger = Ledger::open(&path, opened(1)).unwrap();
            for entry in [picked(0), picked(1)] {
                if !ledger.entries().contains(&entry) {
                    ledger.add(entry).unwrap();
                }
            }
            assert_eq!(std::fs::read(&path).unwrap(), whole, "{length}");
        }
        assert_eq!(
            Ledger::read(&path).unwrap(),
            [opened(1), picked(0), picked(1)]
        );
    }

    #[test]
    fn other_ledgers_newer_ones_and_damaged_ones_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l.jsonl");
        Ledger::open(&path, opened(1))
            .unwrap()
            .add(picked(0))
            .unwrap();
        assert!(
            Ledger::open(&path, opened(2))
                .unwrap_err()
                .to_string()
                .contains("another")
        );
        let text = std::fs::read_to_string(&path).unwrap();
        for (text, word) in [
            (text.replace("\"ledger\":1", "\"ledger\":2"), "version 2"),
            (text.replace("picked", "pricked"), "line 2"),
            (text.clone() + &text, "line 3"),
            ("{}\n".into(), "no ledger"),
        ] {
            std::fs::write(&path, &text).unwrap();
            let message = Ledger::read(&path).unwrap_err().to_string();
            assert!(message.contains(word), "{message}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }
}
