//! What a run leaves: the JSON that `--json FILE` and `--out` write, and `--compare` reads.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Shape;
use super::compare::Comparison;
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
    /// None where they could not be measured.
    pub(crate) ceilings: Option<Ceilings>,
}

/// Most a second, in 10⁹.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Ceilings {
    /// f32 operations by multiply-adds.
    pub(crate) fma_gflops: f64,
    /// f16 operations by matrix cores.
    pub(crate) matrix_gflops: Option<f64>,
    /// Bytes read plus written by a copy in the device's memory.
    pub(crate) copy_gbytes: f64,
    /// Bytes from host memory to the device's.
    pub(crate) upload_gbytes: Option<f64>,
    /// Whether the device's clock timed the first three.
    pub(crate) device_clock: bool,
}

/// One measurement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) device: String,
    /// Of a kernel, or `select` and a strategy.
    pub(crate) name: String,
    /// Of the kernel, or where the pool is.
    pub(crate) variant: String,
    /// Rows: of the block, or the pool.
    pub(crate) rows: usize,
    pub(crate) dim: usize,
    pub(crate) classes: usize,
    /// Rows picked.
    pub(crate) budget: Option<usize>,
    pub(crate) dtype: String,
    pub(crate) median_ms: f64,
    pub(crate) runs: usize,
    /// Multiplications and additions a second, in 10⁹: 2 N M C for what has logits in it.
    pub(crate) gflops: Option<f64>,
    /// Bytes a second that must at least be read and written, in 10⁹.
    pub(crate) gbytes: Option<f64>,
    /// Which ceiling `compute_share` is of: `fma` or `matrix`.
    pub(crate) compute_ceiling: Option<String>,
    pub(crate) compute_share: Option<f64>,
    /// Which ceiling `bandwidth_share` is of: `copy` or `upload`.
    pub(crate) bandwidth_ceiling: Option<String>,
    pub(crate) bandwidth_share: Option<f64>,
}

/// What a measurement was of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work<'a> {
    pub(super) name: &'a str,
    pub(super) variant: &'a str,
    /// With the rows that were worked on.
    pub(super) shape: Shape,
    pub(super) budget: Option<usize>,
    /// Multiplications and additions, where they are what takes the time.
    pub(super) operations: Option<f64>,
    /// Bytes read and written at least.
    pub(super) bytes: f64,
    /// Whether matrix cores multiply.
    pub(super) matrices: bool,
    /// Whether the bytes come from host memory.
    pub(super) streamed: bool,
}

/// A median.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    pub(super) seconds: f64,
    pub(super) runs: usize,
}

impl DeviceRecord {
    /// The row of some work that took so long.
    pub(super) fn row(&self, work: Work<'_>, timing: Timing) -> Row {
        let rate = |amount: f64| 1e-9 * amount / timing.seconds.max(1e-12);
        let gflops = work.operations.map(rate);
        let gbytes = Some(rate(work.bytes));
        let compute = |ceilings: Ceilings| match (work.matrices, ceilings.matrix_gflops) {
            (true, Some(most)) => ("matrix", most),
            _ => ("fma", ceilings.fma_gflops),
        };
        let bandwidth = |ceilings: Ceilings| match (work.streamed, ceilings.upload_gbytes) {
            (true, Some(most)) => ("upload", most),
            _ => ("copy", ceilings.copy_gbytes),
        };
        let compute = gflops.zip(self.ceilings.map(compute));
        let bandwidth = gbytes.zip(self.ceilings.map(bandwidth));
        Row {
            device: self.device.clone(),
            name: work.name.into(),
            variant: work.variant.into(),
            rows: work.shape.rows,
            dim: work.shape.dim,
            classes: work.shape.classes,
            budget: work.budget,
            dtype: work.shape.dtype.to_string(),
            median_ms: timing.seconds * 1e3,
            runs: timing.runs,
            gflops,
            gbytes,
            compute_ceiling: compute.map(|(_, (ceiling, _))| ceiling.into()),
            compute_share: compute.map(|(rate, (_, most))| rate / most),
            bandwidth_ceiling: bandwidth.map(|(_, (ceiling, _))| ceiling.into()),
            bandwidth_share: bandwidth.map(|(rate, (_, most))| rate / most),
        }
    }
}

impl Row {
    /// `50000x512x100`, with the rows picked where there are any.
    pub(super) fn shape(&self) -> String {
        let size = format!("{}x{}x{}", self.rows, self.dim, self.classes);
        match self.budget {
            Some(budget) => format!("{size} B={budget}"),
            None => size,
        }
    }

    /// Whether `other` measured the same.
    pub(super) fn is_of(&self, other: &Row) -> bool {
        let key = |row: &Row| {
            (
                row.device.clone(),
                row.name.clone(),
                row.variant.clone(),
                row.shape(),
                row.dtype.clone(),
            )
        };
        key(self) == key(other)
    }
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

/// The time in UTC, as ISO 8601 writes it, to the second.
fn now() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    iso(now.map_or(0, |since| since.as_secs()))
}

/// `seconds` since 1970. The calendar's days are counted in eras of 400 years from March on, so that the
/// leap day comes last (Hinnant, *chrono-compatible low-level date algorithms*).
fn iso(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = match month < 10 {
        true => (era * 400 + year, month + 3),
        false => (era * 400 + year + 1, month - 9),
    };
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_turn_into_dates() {
        for (seconds, date) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_583_020_799, "2020-02-29T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(iso(seconds), date);
        }
    }

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
