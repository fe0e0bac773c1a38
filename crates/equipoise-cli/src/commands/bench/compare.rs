//! A run against an earlier one.

use equipoise::report::Table;
use serde::{Deserialize, Serialize};

use super::record::{Record, Row};

/// How many times as long something may take before it is called slower.
const SLOWER: f64 = 1.10;

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Comparison {
    /// When the earlier run began.
    pub(crate) date: String,
    pub(crate) rows: Vec<Ratio>,
    /// Measurements that one of the runs does not have.
    pub(crate) unmatched: usize,
}

/// A measurement in both.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ratio {
    pub(crate) device: String,
    pub(crate) name: String,
    pub(crate) variant: String,
    pub(crate) shape: String,
    pub(crate) dtype: String,
    pub(crate) old_ms: f64,
    pub(crate) new_ms: f64,
    /// New over old.
    pub(crate) ratio: f64,
    pub(crate) slower: bool,
}

impl Ratio {
    fn of(old: &Row, new: &Row) -> Self {
        let ratio = new.median_ms / old.median_ms;
        Self {
            device: new.device.clone(),
            name: new.name.clone(),
            variant: new.variant.clone(),
            shape: new.shape(),
            dtype: new.dtype.clone(),
            old_ms: old.median_ms,
            new_ms: new.median_ms,
            ratio,
            slower: ratio > SLOWER,
        }
    }
}

/// Compares what both have.
pub(super) fn compare(old: &Record, new: &Record) -> Comparison {
    let pairs = new.rows.iter().filter_map(|new| {
        let old = old.rows.iter().find(|old| old.is_of(new))?;
        Some(Ratio::of(old, new))
    });
    let rows: Vec<Ratio> = pairs.collect();
    Comparison {
        date: old.date.clone(),
        unmatched: old.rows.len() + new.rows.len() - 2 * rows.len(),
        rows,
    }
}

/// The comparison as a table.
pub(super) fn text(comparison: &Comparison) -> String {
    let mut table = Table::new([
        "against the earlier run",
        "variant",
        "shape",
        "type",
        "old ms",
        "new ms",
        "ratio",
        "",
    ]);
    let mut device = None;
    for row in &comparison.rows {
        if device != Some(&row.device) {
            device = Some(&row.device);
            table.row([row.device.clone()]);
        }
        table.row([
            format!("  {}", row.name),
            row.variant.clone(),
            row.shape.clone(),
            row.dtype.clone(),
            format!("{:.3}", row.old_ms),
            format!("{:.3}", row.new_ms),
            format!("{:.2}", row.ratio),
            if row.slower { "slower" } else { "" }.into(),
        ]);
    }
    let slower = comparison.rows.iter().filter(|row| row.slower).count();
    format!(
        "{table}{slower} of {} more than {SLOWER:.2} times as slow as on {}; {} measurements are in one run only\n",
        comparison.rows.len(),
        comparison.date,
        comparison.unmatched,
    )
}

#[cfg(test)]
mod tests {
    use super::super::record::{Ceilings, DeviceRecord, Timing, Work};
    use super::*;

    fn record(times: &[(&str, f64)]) -> Record {
        let device = DeviceRecord {
            device: "cpu".into(),
            name: "a processor".into(),
            driver: None,
            backend: None,
            software: false,
            ceilings: Some(Ceilings {
                fma_gflops: 100.0,
                matrix_gflops: None,
                copy_gbytes: 10.0,
                upload_gbytes: None,
                device_clock: false,
            }),
        };
        let row = |(name, seconds): &(&str, f64)| {
            let work = Work {
                name,
                variant: "alone",
                shape: "10,20,30".parse().unwrap(),
                budget: None,
                operations: Some(1e9),
                bytes: 1e9,
                matrices: true,
                streamed: true,
            };
            let (seconds, runs) = (*seconds, 3);
            device.row(work, Timing { seconds, runs })
        };
        let mut record = Record::begin();
        record.rows = times.iter().map(row).collect();
        record
    }

    #[test]
    fn ratios_are_of_what_both_have() {
        let old = record(&[("a", 1.0), ("b", 1.0), ("c", 1.0)]);
        let new = record(&[("b", 1.2), ("a", 1.05), ("d", 9.0)]);
        let found = compare(&old, &new);
        let rows: Vec<_> = found
            .rows
            .iter()
            .map(|row| (&*row.name, row.slower))
            .collect();
        assert_eq!(
            (rows, found.unmatched),
            (vec![("b", true), ("a", false)], 2)
        );
        let text = text(&found);
        assert!(
            text.contains("1.20  slower") && text.contains("1 of 2"),
            "{text}"
        );
    }

    #[test]
    fn shares_are_of_the_ceiling_that_the_device_has() {
        let row = &record(&[("a", 0.1)]).rows[0];
        assert_eq!((row.gflops, row.compute_share), (Some(10.0), Some(0.1)));
        assert_eq!(row.compute_ceiling.as_deref(), Some("fma"));
        assert_eq!((row.gbytes, row.bandwidth_share), (Some(10.0), Some(1.0)));
        assert_eq!(row.bandwidth_ceiling.as_deref(), Some("copy"));
    }
}
