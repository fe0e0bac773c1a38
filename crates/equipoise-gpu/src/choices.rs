//! The choices made before, in a file under the user's cache directory.
//!
//! It saves time and nothing else: a file that cannot be read, or written, is none.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use equipoise_shaders::ALL;
use etcetera::BaseStrategy;
use serde::{Deserialize, Serialize};

/// Of the file's layout.
const VERSION: u32 = 1;

/// Where choices are remembered.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    file: Option<PathBuf>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Contents {
    version: u32,
    /// Of the shaders that were measured.
    shaders: u64,
    /// Device and class of requests, and the variant chosen.
    choices: BTreeMap<String, String>,
}

impl Contents {
    fn empty() -> Self {
        let mut hasher = DefaultHasher::new();
        ALL.iter()
            .for_each(|shader| shader.source.hash(&mut hasher));
        Self {
            version: VERSION,
            shaders: hasher.finish(),
            choices: BTreeMap::new(),
        }
    }

    /// What `file` holds, if it is of this version and these shaders.
    fn read(file: &Path) -> Self {
        let empty = Self::empty();
        let text = std::fs::read(file).unwrap_or_default();
        match serde_json::from_slice::<Self>(&text) {
            Ok(found) if (found.version, found.shaders) == (VERSION, empty.shaders) => found,
            _ => empty,
        }
    }
}

impl Cache {
    /// That of the user: `equipoise/kernels.json` in `XDG_CACHE_HOME` or what the platform has.
    pub(crate) fn of_user() -> Self {
        let folder = etcetera::choose_base_strategy().ok();
        Self {
            file: folder.map(|folder| folder.cache_dir().join("equipoise").join("kernels.json")),
        }
    }

    /// One that remembers nothing.
    pub(crate) fn none() -> Self {
        Self { file: None }
    }

    #[cfg(test)]
    pub(crate) fn at(file: PathBuf) -> Self {
        Self { file: Some(file) }
    }

    /// The variant chosen for `key`.
    pub(crate) fn get(&self, key: &str) -> Option<String> {
        let contents = Contents::read(self.file.as_ref()?);
        contents.choices.get(key).cloned()
    }

    /// Remembers a choice.
    pub(crate) fn put(&self, key: &str, variant: &str) {
        // Without a file, the next process measures again.
        let _ = self.written(key, variant);
    }

    fn written(&self, key: &str, variant: &str) -> std::io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let mut contents = Contents::read(file);
        contents.choices.insert(key.into(), variant.into());
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        // Aside and renamed: another process may be reading.
        let aside = file.with_extension(format!("{}.tmp", std::process::id()));
        std::fs::write(&aside, serde_json::to_vec_pretty(&contents)?)?;
        std::fs::rename(&aside, file)
    }
}
