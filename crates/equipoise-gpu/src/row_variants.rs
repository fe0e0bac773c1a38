//! The row kernels' variants, and which is taken.
//!
//! Lanes that share a row join what they found through workgroup memory (`plain`), or by subgroups, where
//! the device has them, of 4 lanes at least. `EQUIPOISE_SUBGROUPS` decides: `0` means plain, `1` subgroups.
//! Without it, or with `auto`, both are timed once on rows at hand, and the faster is remembered in the user's cache, by
//! adapter, driver and number of classes. A software adapter is not measured: it takes subgroups.

use std::sync::Mutex;

use crate::GpuError;
use crate::choices::Cache;
use crate::device::Context;
use crate::facts::Facts;
use crate::kernels::class_candidates::ClassCandidates;
use crate::kernels::gradients::Gradients;
use crate::kernels::nearest::Nearest;
use crate::kernels::nearest_gradient::NearestGradient;
use crate::kernels::row_statistics::RowStatistics;

/// Environment variable that decides.
const VARIABLE: &str = "EQUIPOISE_SUBGROUPS";

/// Who chooses the variant of the row kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RowsChoice {
    /// The faster on the device.
    #[default]
    Auto,
    /// Workgroup memory.
    Plain,
    /// Subgroups; workgroup memory where the device has none of 4 lanes.
    Subgroups,
}

impl RowsChoice {
    /// What `EQUIPOISE_SUBGROUPS` says: `0` and `1` decide; nothing, or `auto`, means [`Self::Auto`].
    ///
    /// # Errors
    /// [`GpuError::UnknownRowKernels`] where it says something else.
    pub fn from_env() -> Result<Self, GpuError> {
        Self::named(
            &std::env::var_os(VARIABLE)
                .unwrap_or_default()
                .to_string_lossy(),
        )
    }

    fn named(name: &str) -> Result<Self, GpuError> {
        match name {
            "" | "auto" => Ok(Self::Auto),
            "0" => Ok(Self::Plain),
            "1" => Ok(Self::Subgroups),
            _ => Err(GpuError::UnknownRowKernels {
                variable: VARIABLE,
                found: name.into(),
            }),
        }
    }
}

/// The row kernels in one variant, compiled.
#[derive(Debug)]
pub(crate) struct RowKernels {
    /// As that of the shaders.
    pub(crate) variant: &'static str,
    pub(crate) row_statistics: RowStatistics,
    pub(crate) class_candidates: ClassCandidates,
    pub(crate) nearest: Nearest,
    pub(crate) gradients: Gradients,
    pub(crate) nearest_gradient: NearestGradient,
}

impl RowKernels {
    fn new(context: &Context, subgroups: bool) -> Self {
        Self {
            variant: if subgroups { "subgroup" } else { "plain" },
            row_statistics: RowStatistics::new(context, subgroups),
            class_candidates: ClassCandidates::new(context, subgroups),
            nearest: Nearest::new(context, subgroups),
            gradients: Gradients::new(context, subgroups),
            nearest_gradient: NearestGradient::new(context, subgroups),
        }
    }
}

/// Those of one device.
#[derive(Debug)]
pub(crate) struct RowVariants {
    /// At least one; subgroups come last.
    all: Vec<RowKernels>,
    facts: Facts,
    cache: Cache,
    /// Held while measuring, so that measurements do not disturb each other.
    measuring: Mutex<()>,
}

impl RowVariants {
    /// Those that the device can run, and `choice` leaves.
    pub(crate) fn new(context: &Context, facts: Facts, choice: RowsChoice, cache: Cache) -> Self {
        let subgroups: &[bool] = match (facts.has_subgroups(), choice) {
            (false, _) | (true, RowsChoice::Plain) => &[false],
            (true, RowsChoice::Subgroups) => &[true],
            (true, RowsChoice::Auto) => &[false, true],
        };
        let all = subgroups.iter();
        Self {
            all: all.map(|with| RowKernels::new(context, *with)).collect(),
            facts,
            cache,
            measuring: Mutex::new(()),
        }
    }

    pub(crate) fn all(&self) -> &[RowKernels] {
        &self.all
    }

    /// The variant for `classes` classes. `measure` is asked for the seconds of each, where nobody knows;
    /// if it cannot tell, the first is taken.
    pub(crate) fn fastest(
        &self,
        classes: usize,
        measure: impl FnOnce(&[RowKernels]) -> Option<Vec<f64>>,
    ) -> &RowKernels {
        let last = self.all.len() - 1;
        if last == 0 || self.facts.software {
            return &self.all[last];
        }
        let alone = self.measuring.lock();
        let _alone = alone.unwrap_or_else(|poisoned| poisoned.into_inner());
        let key = format!(
            "{} | row kernels | classes {}",
            self.facts.identity(),
            classes.next_power_of_two()
        );
        let known = self.cache.get(&key);
        let known = known.and_then(|name| self.all.iter().find(|found| found.variant == name));
        if let Some(known) = known {
            return known;
        }
        let Some(seconds) = measure(&self.all) else {
            return &self.all[0];
        };
        let timed = self.all.iter().zip(seconds);
        let best = timed.min_by(|(_, a), (_, b)| a.total_cmp(b));
        let best = best.map_or(&self.all[0], |(best, _)| best);
        self.cache.put(&key, best.variant);
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DeviceChoice, Gpu};

    #[test]
    fn variants_are_chosen_by_name() {
        let named = |name| RowsChoice::named(name).map_err(|error| error.to_string());
        assert_eq!(named(""), Ok(RowsChoice::Auto));
        assert_eq!(named("auto"), Ok(RowsChoice::Auto));
        assert_eq!(named("0"), Ok(RowsChoice::Plain));
        assert_eq!(named("1"), Ok(RowsChoice::Subgroups));
        let wrong = "EQUIPOISE_SUBGROUPS: expected auto, 0 or 1, found yes";
        assert_eq!(named("yes"), Err(wrong.into()));
    }

    #[test]
    #[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
    fn the_faster_is_measured_once_and_remembered() {
        let gpu = Gpu::open(&DeviceChoice::Any).expect("an adapter: see README, cargo xtask test");
        let mut facts = Facts::of(&gpu.adapter, &gpu.device);
        facts.software = false;
        let context = Context::new(gpu.device, gpu.queue);
        let folder = tempfile::tempdir().expect("a folder");
        let variants = || RowVariants {
            all: vec![
                RowKernels::new(&context, false),
                RowKernels {
                    variant: "subgroup",
                    ..RowKernels::new(&context, false)
                },
            ],
            facts: facts.clone(),
            cache: Cache::at(folder.path().join("kernels.json")),
            measuring: Mutex::new(()),
        };
        let unknown = variants().fastest(100, |_| None).variant;
        assert_eq!(unknown, "plain");
        let measured = variants().fastest(100, |_| Some(vec![2.0, 1.0])).variant;
        assert_eq!(measured, "subgroup");
        // As many classes, to the same power of two; then others.
        let known = variants()
            .fastest(128, |_| panic!("measured twice"))
            .variant;
        assert_eq!(known, "subgroup");
        let other = variants().fastest(129, |_| Some(vec![1.0, 2.0])).variant;
        assert_eq!(other, "plain");
    }
}
