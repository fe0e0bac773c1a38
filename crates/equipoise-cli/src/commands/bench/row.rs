//! One measurement, and what it comes to.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Shape;
use super::record::{Ceilings, DeviceRecord};

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
    /// Rows of the pool, of which a block may have a part; 0 in an earlier program's record.
    #[serde(default)]
    pub(crate) pool_rows: usize,
    pub(crate) dim: usize,
    pub(crate) classes: usize,
    /// Rows picked.
    pub(crate) budget: Option<usize>,
    pub(crate) dtype: String,
    pub(crate) median_ms: f64,
    /// A quarter of the measurements took less, a quarter more.
    #[serde(default)]
    pub(crate) quartiles_ms: [f64; 2],
    /// Each measurement, in the order they were made.
    #[serde(default)]
    pub(crate) samples_ms: Vec<f64>,
    pub(crate) runs: usize,
    /// Whose clock: `device` or `host`.
    #[serde(default)]
    pub(crate) clock: String,
    /// A digest of the WGSL, where it is one kernel.
    #[serde(default)]
    pub(crate) shader: Option<String>,
    /// Operations a second, in 10⁹: 2 N M C for what has logits in it, for row kernels as counted in their WGSL.
    pub(crate) gflops: Option<f64>,
    /// Bytes a second that must at least be read and written, in 10⁹.
    pub(crate) gbytes: Option<f64>,
    /// Operations for each of those bytes.
    #[serde(default)]
    pub(crate) intensity: Option<f64>,
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
    /// Operations.
    pub(super) operations: Option<f64>,
    /// Bytes read and written at least.
    pub(super) bytes: f64,
    /// Whether matrix cores multiply.
    pub(super) matrices: bool,
    /// Whether the bytes come from host memory.
    pub(super) streamed: bool,
}

/// Measurements of one thing.
#[derive(Debug, Clone, Default)]
pub(super) struct Timing {
    /// Seconds, in the order they were measured; at least one.
    pub(super) samples: Vec<f64>,
    pub(super) runs: usize,
    /// Whether the device's clock timed them, and not the host's.
    pub(super) on_device: bool,
}

impl Timing {
    /// The sample that a share of the others is below.
    fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        let place = (share * sorted.len() as f64) as usize;
        sorted
            .get(place.min(sorted.len().saturating_sub(1)))
            .copied()
            .unwrap_or_default()
    }

    pub(super) fn median(&self) -> f64 {
        self.quantile(0.5)
    }
}

impl DeviceRecord {
    /// The row of some work that took so long.
    pub(super) fn row(&self, work: Work<'_>, timing: &Timing) -> Row {
        let seconds = timing.median();
        let rate = |amount: f64| 1e-9 * amount / seconds.max(1e-12);
        let milliseconds = |seconds: f64| seconds * 1e3;
        let gflops = work.operations.map(rate);
        let gbytes = Some(rate(work.bytes));
        let compute = |ceilings: &Ceilings| match (work.matrices, ceilings.matrix_gflops) {
            (true, Some(most)) => ("matrix", most),
            _ => ("fma", ceilings.fma_gflops),
        };
        let bandwidth = |ceilings: &Ceilings| match (work.streamed, ceilings.upload_gbytes) {
            (true, Some(most)) => ("upload", most),
            _ => ("copy", ceilings.copy_gbytes),
        };
        let compute = gflops.zip(self.ceilings.as_ref().map(compute));
        let bandwidth = gbytes.zip(self.ceilings.as_ref().map(bandwidth));
        Row {
            device: self.device.clone(),
            name: work.name.into(),
            variant: work.variant.into(),
            rows: work.shape.rows,
            pool_rows: work.shape.rows,
            dim: work.shape.dim,
            classes: work.shape.classes,
            budget: work.budget,
            dtype: work.shape.dtype.to_string(),
            median_ms: milliseconds(seconds),
            quartiles_ms: [0.25, 0.75].map(|share| milliseconds(timing.quantile(share))),
            samples_ms: timing.samples.iter().copied().map(milliseconds).collect(),
            runs: timing.runs,
            clock: if timing.on_device { "device" } else { "host" }.into(),
            shader: None,
            intensity: work
                .operations
                .map(|operations| operations / work.bytes.max(1.0)),
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

    /// Whether `other` measured the same on the same device.
    pub(super) fn is_of(&self, other: &Row) -> bool {
        self.device == other.device && self.is_alike(other)
    }

    /// Whether `other` measured the same, on whatever device.
    pub(super) fn is_alike(&self, other: &Row) -> bool {
        let key = |row: &Row| {
            (
                row.name.clone(),
                row.variant.clone(),
                row.shape(),
                row.dtype.clone(),
            )
        };
        key(self) == key(other)
    }
}

/// The first digits of the SHA-256 of some texts.
pub(super) fn digest<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hasher = Sha256::new();
    texts
        .into_iter()
        .for_each(|text| hasher.update(text.as_bytes()));
    let digits = hasher.finalize();
    digits
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_are_of_sorted_samples() {
        let timing = Timing {
            samples: vec![5.0, 1.0, 4.0, 2.0, 3.0],
            ..Timing::default()
        };
        let quantiles = [0.0, 0.25, 0.5, 0.75, 1.0].map(|share| timing.quantile(share));
        assert_eq!(quantiles, [1.0, 2.0, 3.0, 4.0, 5.0]);
    }

    #[test]
    fn digests_tell_shaders_apart() {
        assert_eq!(digest(["abc"]), "ba7816bf8f01");
        assert_eq!(digest(["a", "bc"]), digest(["abc"]));
    }
}
