//! Rounds with people who label: the same ledger as a simulation's, one step at a time.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use equipoise_burn::{FitOptions, fit};
use equipoise_core::Pool;
use equipoise_pool::{
    EmbeddingPool, HeadFile, LabelLine, OutputFile, Problem, SharedQuestion, read_label_lines,
};
use serde::{Deserialize, Serialize};

use crate::ledger::LEDGER_VERSION;
use crate::run_folder::{LEDGER, lock};
use crate::{Entry, Error, Ledger, Result, Seconds};

/// Name of the file that tells a campaign's pool.
const SETTINGS: &str = "campaign.toml";

/// What a campaign is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// The pool.
    embeddings: PathBuf,
    /// Seed of every random choice.
    seed: u64,
    /// Class names; empty where the labels make them.
    classes: Vec<String>,
}

/// A folder of rounds, held by one process.
#[derive(Debug)]
pub struct Campaign {
    folder: PathBuf,
    settings: Settings,
    pool: EmbeddingPool,
    ledger: Ledger,
    _lock: File,
}

/// A round of a campaign.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CampaignRound {
    /// From 0: the labels that it began with; rounds of picks count from 1.
    pub round: u32,
    /// What picked its rows; none for the labels that it began with.
    pub strategy: Option<String>,
    /// Rows that were picked.
    pub asked: Vec<usize>,
    /// How many of them have a label.
    pub labelled: usize,
    /// Accuracy on labels that were held out of the fit after it.
    pub accuracy: Option<f64>,
}

/// Where a campaign stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Standing {
    /// Round by round.
    pub rounds: Vec<CampaignRound>,
    /// Class names.
    pub classes: Vec<String>,
    /// Labels of each class.
    pub counts: Vec<usize>,
    /// Labels in all.
    pub labels: usize,
    /// Rows of the pool.
    pub rows: usize,
    /// Rows of the last round without a label.
    pub waiting: usize,
    /// Whether labels came after the last fit.
    pub stale: bool,
}

impl Campaign {
    /// Begins a campaign in a folder that holds none; `classes` are the class names, if they are known.
    ///
    /// # Errors
    /// Where the pool can't be opened or the folder holds a campaign.
    pub fn begin(
        folder: &Path,
        embeddings: &Path,
        classes: Option<Vec<String>>,
        seed: u64,
    ) -> Result<Self> {
        let pool = EmbeddingPool::open(embeddings)?;
        let settings = Settings {
            embeddings: std::path::absolute(embeddings)
                .map_err(|source| Error::io(embeddings, source))?,
            seed,
            classes: classes
                .or(pool.classes().map(<[String]>::to_vec))
                .unwrap_or_default(),
        };
        std::fs::create_dir_all(folder).map_err(|source| Error::io(folder, source))?;
        let held = lock(folder)?;
        let text = toml::to_string(&settings).map_err(|error| Error::data(error.to_string()))?;
        OutputFile::write_all_to(&folder.join(SETTINGS), false, text.as_bytes())?;
        Self::with(folder, settings, pool, held)
    }

    /// Opens the campaign in a folder.
    ///
    /// # Errors
    /// Where there is none, the pool has changed, or another process works on it.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(SETTINGS);
        let text = std::fs::read_to_string(&path).map_err(|source| Error::io(&path, source))?;
        let settings: Settings =
            toml::from_str(&text).map_err(|error| Error::config_file(&path, &text, &error))?;
        let pool = EmbeddingPool::open(&settings.embeddings)?;
        let held = lock(folder)?;
        Self::with(folder, settings, pool, held)
    }

    /// Whether a folder holds a campaign.
    pub fn is_in(folder: &Path) -> bool {
        folder.join(SETTINGS).is_file()
    }

    fn with(folder: &Path, settings: Settings, pool: EmbeddingPool, held: File) -> Result<Self> {
        let opened = Entry::Opened {
            ledger: LEDGER_VERSION,
            name: "campaign".into(),
            seed: settings.seed,
            pool: SharedQuestion::pool_digest(&pool)?,
            classes: settings.classes.clone(),
        };
        Ok(Self {
            ledger: Ledger::open(&folder.join(LEDGER), opened)?,
            folder: folder.into(),
            settings,
            pool,
            _lock: held,
        })
    }

    /// The pool.
    pub fn pool(&self) -> &EmbeddingPool {
        &self.pool
    }

    /// Where the pool is.
    pub fn embeddings(&self) -> &Path {
        &self.settings.embeddings
    }

    /// Seed of every random choice.
    pub fn seed(&self) -> u64 {
        self.settings.seed
    }

    /// Where the head of the last fit is; there is one after a fit.
    pub fn head(&self) -> PathBuf {
        self.folder.join("head.safetensors")
    }

    /// Where all labels so far are, for other commands.
    pub fn labels(&self) -> PathBuf {
        self.folder.join("labels.csv")
    }

    /// The folder of a round's files, made where it is missing.
    ///
    /// # Errors
    /// Where it can't be made.
    pub fn round_folder(&self, round: u32) -> Result<PathBuf> {
        let folder = self.folder.join(format!("round-{round:03}"));
        std::fs::create_dir_all(&folder).map_err(|source| Error::io(&folder, source))?;
        Ok(folder)
    }

    /// Where it stands.
    pub fn standing(&self) -> Standing {
        let mut rounds: Vec<CampaignRound> = Vec::new();
        let mut stale = false;
        let labelled = self.labelled();
        for entry in self.ledger.entries() {
            match entry {
                Entry::Picked {
                    round,
                    strategy,
                    rows,
                    ..
                } => rounds.push(CampaignRound {
                    round: *round,
                    strategy: strategy.clone(),
                    labelled: rows.iter().filter(|row| labelled.contains_key(row)).count(),
                    asked: rows.clone(),
                    accuracy: None,
                }),
                Entry::Labelled { .. } => stale = true,
                Entry::Trained { evaluation, .. } => {
                    stale = false;
                    if let Some(last) = rounds.last_mut() {
                        last.accuracy = *evaluation;
                    }
                }
                Entry::Opened { .. } | Entry::Ended { .. } => {}
            }
        }
        let classes = self.classes(&labelled);
        let mut counts = vec![0; classes.len()];
        for label in labelled.values() {
            if let Some(class) = classes.iter().position(|name| name == label) {
                counts[class] += 1;
            }
        }
        Standing {
            waiting: rounds
                .last()
                .map_or(0, |round| round.asked.len() - round.labelled),
            rows: self.pool.rows(),
            labels: labelled.len(),
            rounds,
            classes,
            counts,
            stale,
        }
    }

    /// The classes that are known, or else the labels so far, sorted, as numbers if all are whole numbers.
    fn classes(&self, labelled: &BTreeMap<usize, String>) -> Vec<String> {
        if !self.settings.classes.is_empty() {
            return self.settings.classes.clone();
        }
        let mut names: Vec<String> = labelled.values().cloned().collect();
        let number = |name: &String| name.parse::<u64>().ok();
        match names.iter().all(|name| number(name).is_some()) {
            true => names.sort_by_key(number),
            false => names.sort(),
        }
        names.dedup();
        names
    }

    /// Row and label, of all that have one.
    fn labelled(&self) -> BTreeMap<usize, String> {
        let entries = self.ledger.entries().iter();
        let labels = entries.filter_map(|entry| match entry {
            Entry::Labelled { labels, .. } => Some(labels),
            _ => None,
        });
        labels.flatten().cloned().collect()
    }

    /// Takes labels that are there before the first round. Any row may have one.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn begin_with(&mut self, path: &Path) -> Result<usize> {
        let lines = self.checked(path, None)?;
        self.ledger.add(Entry::Picked {
            round: 0,
            strategy: None,
            asked: lines.len(),
            rows: lines.iter().map(|line| line.row).collect(),
            seconds: 0.0,
        })?;
        self.add_labels(0, lines)
    }

    /// Writes down that rows were picked for the next round.
    ///
    /// # Errors
    /// Where the ledger can't be written.
    pub fn ask(
        &mut self,
        round: u32,
        strategy: &str,
        asked: usize,
        rows: Vec<usize>,
        seconds: f64,
    ) -> Result<()> {
        self.ledger.add(Entry::Picked {
            round,
            strategy: Some(strategy.into()),
            asked,
            rows,
            seconds,
        })
    }

    /// Takes a file of labels in; how many of them are new.
    ///
    /// # Errors
    /// With the line: a row that was never asked for, a label that contradicts an earlier one, an unknown
    /// class. Nothing of the file is taken then.
    pub fn take(&mut self, path: &Path) -> Result<usize> {
        let rounds = self.standing().rounds;
        let round = rounds.last().map_or(0, |round| round.round);
        let asked: Vec<usize> = rounds.into_iter().flat_map(|round| round.asked).collect();
        let lines = self.checked(path, Some(&asked))?;
        self.add_labels(round, lines)
    }

    /// The lines of a file that tell something new. `asked` are the rows that may have a label.
    fn checked(&self, path: &Path, asked: Option<&[usize]>) -> Result<Vec<LabelLine>> {
        let ids = self.pool.ids();
        let mut known = self.labelled();
        let mut new = Vec::new();
        let asked: Option<std::collections::HashSet<&usize>> =
            asked.map(|rows| rows.iter().collect());
        for line in read_label_lines(path, ids)? {
            let id = || ids.id(line.row).into_owned();
            let wrong = |problem| equipoise_pool::Error::Line {
                path: path.into(),
                line: line.line,
                problem,
            };
            let classes = &self.settings.classes;
            if !classes.is_empty() && !classes.contains(&line.label) {
                return Err(wrong(Problem::UnknownLabel {
                    label: line.label,
                    classes: classes.len(),
                })
                .into());
            }
            if asked
                .as_ref()
                .is_some_and(|asked| !asked.contains(&line.row))
            {
                return Err(wrong(Problem::NotAsked(id())).into());
            }
            match known.get(&line.row) {
                Some(first) if *first != line.label => {
                    return Err(wrong(Problem::Contradiction {
                        id: id(),
                        first: first.clone(),
                        second: line.label,
                    })
                    .into());
                }
                Some(_) => {}
                None => {
                    known.insert(line.row, line.label.clone());
                    new.push(line);
                }
            }
        }
        Ok(new)
    }

    fn add_labels(&mut self, round: u32, lines: Vec<LabelLine>) -> Result<usize> {
        let count = lines.len();
        if count > 0 {
            self.ledger.add(Entry::Labelled {
                round,
                labels: lines
                    .into_iter()
                    .map(|line| (line.row, line.label))
                    .collect(),
            })?;
        }
        self.write_labels()?;
        Ok(count)
    }

    /// Writes every label so far, as `row,id,label`.
    fn write_labels(&self) -> Result<()> {
        let mut text = String::from("row,id,label\n");
        let quoted = |field: &str| match field.contains([',', '"', '\n', '\r']) {
            true => format!("\"{}\"", field.replace('"', "\"\"")),
            false => field.to_owned(),
        };
        for (row, label) in self.labelled() {
            let id = self.pool.ids().id(row);
            text += &format!("{row},{},{}\n", quoted(&id), quoted(&label));
        }
        Ok(OutputFile::write_all_to(
            &self.labels(),
            true,
            text.as_bytes(),
        )?)
    }

    /// Fits a head to the labels so far; `None` where they are of fewer than two classes.
    ///
    /// # Errors
    /// Where the fit or the storage fails.
    pub fn refit(&mut self) -> Result<Option<f64>> {
        let started = std::time::Instant::now();
        self.write_labels()?;
        let labelled = self.labelled();
        let standing = self.standing();
        if standing.counts.iter().filter(|count| **count > 0).count() < 2 {
            return Ok(None);
        }
        let dim = self.pool.dim();
        let mut values = vec![0.0; labelled.len() * dim];
        let mut classes = Vec::with_capacity(labelled.len());
        for ((row, label), out) in labelled.iter().zip(values.chunks_exact_mut(dim)) {
            self.pool.chunk(*row, 1)?.values.widen(out);
            let class = standing.classes.iter().position(|name| name == label);
            classes.extend(class.map(|class| class as u32));
        }
        let options = FitOptions {
            seed: self.settings.seed,
            ..FitOptions::default()
        };
        let fitted = fit(&values, dim, &classes, standing.classes.len(), &options)?;
        let accuracy = fitted.validation_accuracy;
        let file = HeadFile::for_pool(fitted.head, standing.classes, &self.pool);
        file.write(&self.head(), true)?;
        self.ledger.add(Entry::Trained {
            round: standing.rounds.last().map_or(0, |round| round.round),
            labels: labelled.len(),
            epochs: 0,
            best_epoch: 0,
            evaluation: accuracy,
            measures: None,
            seconds: Seconds {
                train: started.elapsed().as_secs_f64(),
                ..Seconds::default()
            },
        })?;
        Ok(accuracy)
    }
}
