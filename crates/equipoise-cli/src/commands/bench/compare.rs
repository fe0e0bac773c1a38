//! A run against an earlier one.

use std::path::Path;

use equipoise::report::Table;
use serde::{Deserialize, Serialize};

use super::record::{DeviceRecord, Record};
use super::row::Row;
use super::significance::{LEVEL, least_p, p_value};
use crate::console::Console;
use crate::failure::Result;

/// How many times as long something may take before it is called slower, where single measurements are not known.
const SLOWER: f64 = 1.10;

/// A difference of medians below it is not called one, however certain.
const LEAST: f64 = 0.02;

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
    /// The earlier run's device, where it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) against: Option<String>,
    pub(crate) name: String,
    pub(crate) variant: String,
    pub(crate) shape: String,
    pub(crate) dtype: String,
    pub(crate) old_ms: f64,
    pub(crate) new_ms: f64,
    /// New over old.
    pub(crate) ratio: f64,
    /// How likely chance alone is to set them so far apart (Mann–Whitney); none where a run's single measurements are
    /// not known.
    pub(crate) p: Option<f64>,
    pub(crate) verdict: Verdict,
    pub(crate) slower: bool,
    /// Whether both ran the same WGSL; none where it is not one kernel.
    pub(crate) same_shader: Option<bool>,
}

/// What the measurements say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    Slower,
    Faster,
    /// No difference that is both certain and large enough to matter.
    Same,
    /// Too few measurements to tell.
    Unsure,
}

impl Verdict {
    fn of(ratio: f64, old: &[f64], new: &[f64]) -> (Option<f64>, Self) {
        let (slow, fast) = (ratio > 1.0 + LEAST, ratio < 1.0 - LEAST);
        let verdict = match (slow, fast) {
            (true, _) => Verdict::Slower,
            (_, true) => Verdict::Faster,
            _ => Verdict::Same,
        };
        if old.is_empty() || new.is_empty() {
            let verdict = match ratio > SLOWER {
                true => Verdict::Slower,
                false => Verdict::Unsure,
            };
            return (None, verdict);
        }
        let p = p_value(old, new);
        let enough = least_p(old.len(), new.len()) < LEVEL;
        let verdict = match (p < LEVEL, enough) {
            (true, _) => verdict,
            (false, true) => Verdict::Same,
            (false, false) => Verdict::Unsure,
        };
        (Some(p), verdict)
    }

    fn text(self) -> &'static str {
        match self {
            Verdict::Slower => "slower",
            Verdict::Faster => "faster",
            Verdict::Same => "",
            Verdict::Unsure => "too few",
        }
    }
}

impl Ratio {
    fn of(old: &Row, new: &Row, against: Option<String>) -> Self {
        let ratio = new.median_ms / old.median_ms;
        let (p, verdict) = Verdict::of(ratio, &old.samples_ms, &new.samples_ms);
        Self {
            device: new.device.clone(),
            against,
            name: new.name.clone(),
            variant: new.variant.clone(),
            shape: new.shape(),
            dtype: new.dtype.clone(),
            old_ms: old.median_ms,
            new_ms: new.median_ms,
            ratio,
            p,
            verdict,
            slower: verdict == Verdict::Slower,
            same_shader: old
                .shader
                .as_ref()
                .zip(new.shader.as_ref())
                .map(|(old, new)| old == new),
        }
    }
}

/// Compares two files.
///
/// # Errors
/// Where one cannot be read, or is something else.
pub(super) fn run(old: &Path, new: &Path, console: Console) -> Result<()> {
    let (old, new) = (Record::read(old)?, Record::read(new)?);
    console.report(&compare(&old, &new), text)
}

/// Compares what both have: of several measurements of the same, the first with the first.
pub(super) fn compare(old: &Record, new: &Record) -> Comparison {
    let pairs = pairs(old, new);
    let mut left: Vec<&Row> = old.rows.iter().collect();
    let ratios = new.rows.iter().filter_map(|row| {
        let pair = pairs.iter().find(|pair| pair.new == row.device);
        let same = |old: &&Row| {
            let device = pair.map_or(&row.device, |pair| &pair.old);
            old.device == *device && old.is_alike(row)
        };
        let place = left.iter().position(same)?;
        let against = pair.map(|pair| pair.against.clone());
        Some(Ratio::of(left.remove(place), row, against))
    });
    let rows: Vec<Ratio> = ratios.collect();
    Comparison {
        date: old.date.clone(),
        unmatched: left.len() + new.rows.len() - rows.len(),
        rows,
    }
}

/// Two different devices whose measurements are compared.
struct Pair {
    /// What their rows call them.
    old: String,
    new: String,
    /// What the earlier one is called where it stands next to the later one.
    against: String,
}

/// The CPUs, and the GPUs where each run has one: whatever their names, they are held against each other.
fn pairs(old: &Record, new: &Record) -> Vec<Pair> {
    let of_kind = |record: &'_ Record, cpu: bool| -> Option<DeviceRecord> {
        let devices = record.devices.iter();
        let mut devices = devices.filter(|device| device.backend.is_none() == cpu);
        let first = devices.next()?;
        devices.next().is_none().then(|| first.clone())
    };
    let pair = |cpu| {
        let (old, new) = (of_kind(old, cpu)?, of_kind(new, cpu)?);
        let against = match cpu {
            true => old.name.clone(),
            false => old.device.clone(),
        };
        let same = old.device == new.device && old.name == new.name;
        (!same).then_some(Pair {
            old: old.device,
            new: new.device,
            against,
        })
    };
    [true, false].into_iter().filter_map(pair).collect()
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
        "p",
        "",
    ]);
    let mut device = None;
    for row in &comparison.rows {
        if device != Some(&row.device) {
            device = Some(&row.device);
            table.row([match &row.against {
                Some(other) => format!("{} against {other}, another device", row.device),
                None => row.device.clone(),
            }]);
        }
        table.row([
            format!("  {}", row.name),
            row.variant.clone(),
            row.shape.clone(),
            row.dtype.clone(),
            format!("{:.3}", row.old_ms),
            format!("{:.3}", row.new_ms),
            format!("{:.2}", row.ratio),
            row.p.map_or_else(String::new, |p| match p < 0.001 {
                true => "<0.001".into(),
                false => format!("{p:.3}"),
            }),
            match row.same_shader {
                Some(false) => format!("{} (another shader)", row.verdict.text())
                    .trim_start()
                    .into(),
                _ => row.verdict.text().into(),
            },
        ]);
    }
    let count = |verdict| {
        let rows = comparison.rows.iter();
        rows.filter(|row| row.verdict == verdict).count()
    };
    format!(
        "{table}{} slower and {} faster of {} than on {} (Mann–Whitney, p < {LEVEL}, and {:.0}% at least); {} could not be told, \
         {} measurements are in one run only\n",
        count(Verdict::Slower),
        count(Verdict::Faster),
        comparison.rows.len(),
        comparison.date,
        100.0 * LEAST,
        count(Verdict::Unsure),
        comparison.unmatched,
    )
}

#[cfg(test)]
mod tests {
    use super::super::record::Ceilings;
    use super::super::row::{Timing, Work};
    use super::*;

    fn device(name: &str, backend: Option<&str>) -> DeviceRecord {
        DeviceRecord {
            device: match backend {
                Some(_) => name.into(),
                None => "cpu".into(),
            },
            name: name.into(),
            driver: None,
            backend: backend.map(String::from),
            software: false,
            features: Vec::new(),
            limits: Default::default(),
            ceilings: Some(Ceilings {
                fma_gflops: 100.0,
                matrix_gflops: None,
                copy_gbytes: 10.0,
                upload_gbytes: None,
                copy_by_width: Default::default(),
                device_clock: false,
            }),
        }
    }

    fn record(times: &[(&str, f64)]) -> Record {
        record_of(&device("a processor", None), times)
    }

    fn record_of(device: &DeviceRecord, times: &[(&str, f64)]) -> Record {
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
            // Five measurements around it.
            let samples = (0..5).map(|i| seconds * (1.0 + 0.002 * f64::from(i - 2)));
            let timing = Timing {
                samples: samples.collect(),
                runs: 5,
                on_device: true,
            };
            device.row(work, &timing)
        };
        let mut record = Record::begin();
        record.rows = times.iter().map(row).collect();
        record.devices = vec![device.clone()];
        record
    }

    #[test]
    fn one_card_is_held_against_another() {
        let of = |name: &str, seconds| {
            record_of(&device(name, Some("vulkan")), &[("a", seconds), ("b", 1.0)])
        };
        let (old, mut new) = (of("a card", 1.0), of("another card", 2.0));
        let found = compare(&old, &new);
        assert_eq!((found.rows.len(), found.unmatched), (2, 0));
        assert_eq!(found.rows[0].verdict, Verdict::Slower);
        let said = text(&found);
        assert!(
            said.contains("another card against a card, another device"),
            "{said}"
        );
        // With two cards in a run nobody knows which is meant.
        new.devices.push(device("a third card", Some("vulkan")));
        assert_eq!(compare(&old, &new).rows.len(), 0);
        // The same card is not called another.
        let same = compare(&old, &of("a card", 1.0));
        assert!(same.rows.iter().all(|row| row.against.is_none()));
        // Processors are all called cpu.
        let cpus =
            ["a processor", "another"].map(|name| record_of(&device(name, None), &[("a", 1.0)]));
        let found = compare(&cpus[0], &cpus[1]);
        assert_eq!(found.rows[0].against.as_deref(), Some("a processor"));
    }

    #[test]
    fn ratios_are_of_what_both_have() {
        let old = record(&[("a", 1.0), ("b", 1.0), ("c", 1.0), ("e", 1.0)]);
        let mut new = record(&[("b", 1.2), ("a", 1.01), ("d", 9.0), ("e", 0.5)]);
        new.rows[1].shader = Some("1".into());
        let found = compare(&old, &new);
        let rows: Vec<_> = found
            .rows
            .iter()
            .map(|row| (&*row.name, row.verdict))
            .collect();
        let expected = [
            ("b", Verdict::Slower),
            ("a", Verdict::Same),
            ("e", Verdict::Faster),
        ];
        assert_eq!((rows, found.unmatched), (expected.to_vec(), 2));
        let text = text(&found);
        assert!(text.contains("1.20  0.008  slower"), "{text}");
        assert!(text.contains("1 slower and 1 faster of 3"), "{text}");
    }

    #[test]
    fn what_was_measured_twice_is_compared_once_each() {
        let (once, twice) = (record(&[("a", 1.0)]), record(&[("a", 1.0), ("a", 3.0)]));
        for (old, new) in [(&once, &twice), (&twice, &once)] {
            let found = compare(old, new);
            assert_eq!((found.rows.len(), found.unmatched), (1, 1));
        }
        let ratios: Vec<f64> = compare(&twice, &twice)
            .rows
            .iter()
            .map(|row| row.ratio)
            .collect();
        assert_eq!(ratios, [1.0, 1.0]);
    }

    #[test]
    fn what_chance_may_explain_is_no_difference() {
        let samples = |from: f64| (0..20).map(|i| from + f64::from(i)).collect::<Vec<_>>();
        let verdict = |ratio, old: &[f64], new: &[f64]| Verdict::of(ratio, old, new).1;
        assert_eq!(verdict(1.05, &samples(20.0), &samples(21.0)), Verdict::Same);
        assert_eq!(
            verdict(1.4, &samples(20.0), &samples(32.0)),
            Verdict::Slower
        );
        assert_eq!(verdict(9.0, &[1.0, 1.1], &[9.0, 9.9]), Verdict::Unsure);
        // Of an earlier program's record the medians are all there is.
        assert_eq!(verdict(1.2, &[], &[1.0]), Verdict::Slower);
        assert_eq!(verdict(1.05, &[], &[1.0]), Verdict::Unsure);
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
