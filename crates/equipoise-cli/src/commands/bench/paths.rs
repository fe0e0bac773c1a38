//! Whole selections from a pool in memory.

use equipoise::core::strategies::{Base, Margin, Mase};
use equipoise::core::{Engine, Error, Request, RowSet, Strategy};
use equipoise::gpu::ResidentPool;
use equipoise::pool::Dtype;

use super::measure::median;
use super::row::{Row, Work};
use super::setting::{Found, Setting};
use super::target::Target;
use crate::failure::Result;

/// What is selected with: class by class, by distance, and by probability.
const STRATEGIES: [&dyn Strategy; 3] = [&Base, &Mase, &Margin];

/// Names of the selections that are measured.
pub(super) fn names() -> impl Iterator<Item = String> {
    STRATEGIES
        .iter()
        .map(|strategy| format!("select {}", strategy.name()))
}

impl Setting<'_> {
    /// Every strategy, from host memory.
    ///
    /// # Errors
    /// Where the device fails.
    pub(super) fn streamed(&self) -> Result<Option<Found>> {
        let variant = match self.target {
            Target::Cpu(_) => "in memory",
            Target::Gpu { .. } => "streamed",
        };
        let rows = self.selections(self.target.engine(), variant)?;
        Ok(Some(rows.into()))
    }

    /// Every strategy, from the device's memory; none on a CPU, which has no other. `None` where the pool
    /// does not fit there.
    ///
    /// # Errors
    /// Where the device fails.
    pub(super) fn resident(&self) -> Result<Option<Found>> {
        let Target::Gpu { engine, .. } = self.target else {
            return Ok(Some(Found::default()));
        };
        if !names().any(|name| self.wants(&name, "resident")) {
            return Ok(Some(Found::default()));
        }
        match ResidentPool::new(engine, self.pool, &|_| {}) {
            Ok(resident) => Ok(Some(self.selections(&resident, "resident")?.into())),
            Err(Error::OutOfMemory { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn selections(&self, engine: &dyn Engine, variant: &str) -> Result<Vec<Row>> {
        let available = RowSet::all(self.pool.rows());
        let budget = self.shape.picks();
        let request = Request {
            head: Some(self.head),
            ..Request::new(self.pool, &available, budget)
        };
        // On a GPU the first compiles shaders, and may measure them.
        let steady = matches!(self.target, Target::Cpu(_));
        let wanted = STRATEGIES.iter().filter(|strategy| {
            let name = format!("select {}", strategy.name());
            self.wants(&name, variant)
        });
        let time = |strategy: &&dyn Strategy| {
            let timing = median(self.budget, steady, || {
                strategy.select(engine, &request)?;
                Ok(())
            })?;
            let work = Work {
                name: &format!("select {}", strategy.name()),
                variant,
                shape: self.shape,
                budget: Some(budget),
                operations: Some(self.shape.products(self.shape.rows)),
                bytes: self.shape.bytes() as f64,
                matrices: self.shape.dtype == Dtype::F16,
                streamed: variant == "streamed",
            };
            Ok(self.device.row(work, &timing))
        };
        wanted.map(time).collect()
    }
}
