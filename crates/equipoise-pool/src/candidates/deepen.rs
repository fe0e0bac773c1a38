//! What is asked of further scans: which classes of which shards, and how deep.

use std::collections::BTreeMap;
use std::path::Path;

use equipoise_core::strategies::Deeper;
use serde::{Deserialize, Serialize};

use super::{CANDIDATES_VERSION, SharedQuestion};
use crate::store::parse;
use crate::{Error, OutputFile, Result};

const FORMAT: &str = "equipoise-deepen";

/// Which lists are too short, as a JSON file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deepening {
    format: String,
    version: u64,
    /// What the shards were asked.
    pub question: SharedQuestion,
    /// The shards to scan again, ascending.
    pub shards: Vec<ShardDepths>,
}

/// What to scan of one shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardDepths {
    /// The shard, from 1 as in `--shard`.
    pub shard: usize,
    /// Its classes whose lists are too short.
    pub classes: Vec<ClassDepth>,
}

/// How deep to scan for a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassDepth {
    /// The class; 0 where rows have a score of their own.
    pub class: usize,
    /// How many rows to list.
    pub depth: usize,
}

impl Deepening {
    /// What `deeper` asks for.
    pub fn new(question: SharedQuestion, deeper: &[Deeper]) -> Self {
        let mut shards: BTreeMap<usize, Vec<ClassDepth>> = BTreeMap::new();
        for deeper in deeper {
            let (class, depth) = (deeper.list, deeper.depth);
            let classes = shards.entry(deeper.shard + 1).or_default();
            classes.push(ClassDepth { class, depth });
        }
        let shards = shards.into_iter();
        Self {
            format: FORMAT.into(),
            version: CANDIDATES_VERSION,
            question,
            shards: shards
                .map(|(shard, classes)| ShardDepths { shard, classes })
                .collect(),
        }
    }

    /// Per list, how deep to scan shard `shard` (from 0); 0 for those that are long enough. `None` where
    /// nothing is asked of the shard.
    pub fn depths(&self, shard: usize) -> Option<Vec<usize>> {
        let asked = self.shards.iter().find(|asked| asked.shard == shard + 1)?;
        let mut depths = vec![0; self.question.quotas.len()];
        for class in &asked.classes {
            if let Some(depth) = depths.get_mut(class.class) {
                *depth = class.depth;
            }
        }
        Some(depths)
    }

    /// What it asks for that is not there, or no depth.
    fn problem(&self) -> Option<String> {
        let (shards, lists) = (self.question.shards, self.question.quotas.len());
        if !self.shards.is_sorted_by(|a, b| a.shard < b.shard) {
            return Some("its shards do not ascend".into());
        }
        for ShardDepths { shard, classes } in &self.shards {
            if !(1..=shards).contains(shard) {
                return Some(format!("it asks for shard {shard} of {shards}"));
            }
            for ClassDepth { class, depth } in classes {
                if *class >= lists {
                    return Some(format!("it asks for class {class} of {lists}"));
                }
                if *depth == 0 {
                    return Some(format!("it asks for no row of class {class}"));
                }
            }
        }
        None
    }

    /// Reads such a file.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Newer`], [`Error::Format`].
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read(path).map_err(Error::read(path))?;
        let what = "a request for deeper candidates";
        let read: Self = parse(path, &text, what, FORMAT, CANDIDATES_VERSION)?;
        match read.question.problem().or_else(|| read.problem()) {
            Some(problem) => Err(Error::format(path, problem)),
            None => Ok(read),
        }
    }

    /// Writes it, whole or not at all; `force` replaces a file.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Write`].
    pub fn write(&self, path: &Path, force: bool) -> Result<()> {
        let text = serde_json::json!(self).to_string() + "\n";
        OutputFile::write_all_to(path, force, text.as_bytes())
    }
}
