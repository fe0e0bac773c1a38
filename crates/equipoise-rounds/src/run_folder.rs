//! The folder of a simulation: its settings, its runs, and who works in it.

use std::fs::File;
use std::path::{Path, PathBuf};

use equipoise_pool::OutputFile;

use crate::{Config, Error, Result, differing};

/// Name of the file that tells a run's settings.
const CONFIG: &str = "config.toml";

/// A folder of runs, held by one process.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    config: Config,
    _lock: File,
}

impl RunFolder {
    /// Makes the folder, or opens it if it is of the same experiment. Strategies, seeds and rounds may
    /// differ: what is missing is run.
    ///
    /// # Errors
    /// [`Error::OtherConfig`], [`Error::Busy`], [`Error::Io`].
    pub fn open(path: &Path, config: &Config) -> Result<Self> {
        std::fs::create_dir_all(path).map_err(|source| Error::io(path, source))?;
        let lock = lock(path)?;
        let file = path.join(CONFIG);
        let mut saved = config.clone();
        if file.is_file() {
            let text = std::fs::read_to_string(&file).map_err(|source| Error::io(&file, source))?;
            let had = Config::parse(&file, &text)?;
            let fields = differing(&identity(&had, config), &identity(config, &had))?;
            if !fields.is_empty() {
                return Err(Error::OtherConfig {
                    path: path.into(),
                    fields,
                });
            }
            add(&mut saved, had);
        }
        OutputFile::write_all_to(&file, true, saved.to_toml()?.as_bytes())?;
        Ok(Self {
            path: path.into(),
            config: saved,
            _lock: lock,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its settings, with every strategy, seed and round that it has or is asked for.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The folder of one strategy and seed.
    pub fn run(&self, name: &str, seed: u64) -> PathBuf {
        run_folder(&self.path, name, seed)
    }
}

/// The folder of one strategy and seed in a folder of runs.
pub(crate) fn run_folder(folder: &Path, name: &str, seed: u64) -> PathBuf {
    folder.join("runs").join(name).join(format!("seed-{seed}"))
}

/// Name of the ledger in a run's folder.
pub(crate) const LEDGER: &str = "ledger.jsonl";

/// Keeps other processes out for as long as the file is open.
pub(crate) fn lock(folder: &Path) -> Result<File> {
    let path = folder.join(".lock");
    let file = File::create(&path).map_err(|source| Error::io(&path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::Busy {
            path: folder.into(),
        }),
        Err(std::fs::TryLockError::Error(source)) => Err(Error::io(&path, source)),
    }
}

/// The settings that decide what a strategy and a seed come to; of variants those that `other` has too.
fn identity(config: &Config, other: &Config) -> Config {
    let mut config = config.clone();
    config.experiment.strategies.clear();
    config.experiment.seeds = 0;
    config.experiment.rounds = 0;
    // Its fields are in the others.
    config.preset = None;
    config
        .variants
        .retain(|name, _| other.variants.contains_key(name));
    config
}

/// Adds what a folder has already to what is asked for now.
fn add(config: &mut Config, had: Config) {
    for name in had.experiment.strategies {
        if !config.experiment.strategies.contains(&name) {
            config.experiment.strategies.push(name);
        }
    }
    config.experiment.seeds = config.experiment.seeds.max(had.experiment.seeds);
    config.experiment.rounds = config.experiment.rounds.max(had.experiment.rounds);
    for (name, variant) in had.variants {
        config.variants.entry(name).or_insert(variant);
    }
}
