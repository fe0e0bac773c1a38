//! What a run leaves: the JSON that `--json FILE` and `--out` write, and `--compare` reads.

use std::collections::BTreeMap;
use std::path::Path;

use equipoise::gpu::shaders::ALL;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::compare::Comparison;
use super::date::now;
use super::row::{Row, digest};
use crate::failure::{Failure, Result};

/// How such a file says what it is.
const FORMAT: &str = "equipoise-bench";

/// Version of its layout: the only one that is read.
const VERSION: u64 = 1;

/// What to do about any other file.
const WRITER: &str = "`equipoise bench --out FILE` writes what --compare reads";

/// One run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    format: String,
    version: u64,
    /// Version of the program.
    pub(crate) equipoise: String,
    /// Whether it came to its end.
    pub(crate) complete: bool,
    /// When it began, in UTC.
    pub(crate) date: String,
    /// Name of the processor.
    pub(crate) cpu: String,
    /// Threads used of it.
    pub(crate) threads: usize,
    /// A digest of all our shaders.
    #[serde(default)]
    pub(crate) shaders: String,
    pub(crate) devices: Vec<DeviceRecord>,
    /// What `--check` found.
    pub(crate) checks: Vec<Check>,
    pub(crate) rows: Vec<Row>,
    /// What was not measured.
    pub(crate) omitted: Vec<Omission>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) comparison: Option<Comparison>,
}

/// A device and what it can do at most.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DeviceRecord {
    /// What rows call it.
    pub(crate) device: String,
    /// The adapter's name, or the processor's.
    pub(crate) name: String,
    pub(crate) driver: Option<String>,
    pub(crate) backend: Option<String>,
    /// Whether it is an adapter in software.
    pub(crate) software: bool,
    /// Of wgpu, that the device was opened with.
    #[serde(default)]
    pub(crate) features: Vec<String>,
    /// Those that compute shaders meet.
    #[serde(default)]
    pub(crate) limits: BTreeMap<String, u64>,
    /// None where they could not be measured.
    pub(crate) ceilings: Option<Ceilings>,
}

/// Most a second, in 10⁹.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ceilings {
    /// f32 operations by multiply-adds.
    pub(crate) fma_gflops: f64,
    /// f16 operations by matrix cores.
    pub(crate) matrix_gflops: Option<f64>,
    /// Bytes read plus written by a copy in the device's memory.
    pub(crate) copy_gbytes: f64,
    /// Bytes from host memory to the device's.
    pub(crate) upload_gbytes: Option<f64>,
    /// Bytes read plus written by a copy, by the bytes that a lane loads at once.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) copy_by_width: BTreeMap<u64, f64>,
    /// Whether the device's clock timed the first three.
    pub(crate) device_clock: bool,
}

/// One thing that was checked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Check {
    pub(crate) device: String,
    /// What.
    pub(crate) name: String,
    /// Whether it is as it should be; none where the device cannot do it at all.
    pub(crate) passed: Option<bool>,
    /// What is wrong, or why not.
    pub(crate) message: String,
}

/// Something that was not measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Omission {
    pub(crate) device: String,
    pub(crate) what: String,
    pub(crate) reason: String,
    /// Whether it failed, and was not left out on purpose.
    pub(crate) failed: bool,
}

impl Record {
    /// A run that begins now.
    pub(super) fn begin() -> Self {
        Self {
            format: FORMAT.into(),
            version: VERSION,
            equipoise: env!("CARGO_PKG_VERSION").into(),
            complete: false,
            date: now(),
            cpu: processor(),
            threads: rayon::current_num_threads(),
            shaders: digest(ALL.iter().map(|shader| shader.source)),
            devices: Vec::new(),
            checks: Vec::new(),
            rows: Vec::new(),
            omitted: Vec::new(),
            comparison: None,
        }
    }

    /// An earlier run.
    ///
    /// # Errors
    /// Where the file cannot be read, is something else or of another version.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text =
            std::fs::read(path).map_err(|error| Failure::from(error).at(path).with_hint(WRITER))?;
        let other = |message: String| Failure::new(message).at(path);
        let value: Value = serde_json::from_slice(&text).map_err(|error| {
            other(format!("no JSON of `equipoise bench`: {error}")).with_hint(WRITER)
        })?;
        if value["format"] != FORMAT {
            let failure = other("JSON, but not of `equipoise bench`".into());
            return Err(failure.with_hint(WRITER));
        }
        if value["version"] != VERSION {
            return Err(other(format!(
                "its format version is {}, this program reads {VERSION}",
                value["version"]
            ))
            .with_hint("measure again with this program"));
        }
        serde_json::from_value(value)
            .map_err(|error| other(format!("a damaged JSON of `equipoise bench`: {error}")))
    }
}

/// The processor's name, as far as the system tells.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    match model {
        Some((_, name)) => name.trim().into(),
        None => std::env::consts::ARCH.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        let record = Record::begin();
        std::fs::write(&path, serde_json::to_vec(&record).unwrap()).unwrap();
        let read = Record::read(&path).unwrap();
        assert_eq!((read.date, read.cpu), (record.date, record.cpu));
        let newer = serde_json::to_string(&Record::begin()).unwrap();
        let newer = newer.replace("\"version\":1", "\"version\":2");
        std::fs::write(&path, newer).unwrap();
        let message = Record::read(&path).unwrap_err().to_string();
        assert!(message.contains("version is 2"), "{message}");
    }
}
