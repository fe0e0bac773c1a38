//! Whole selections from a pool in memory.

use equipoise::core::engine::Task;
use equipoise::core::strategies::{Base, Margin, Mase};
use equipoise::core::{Engine, Error, Request, RowSet, Strategy};
use equipoise::gpu::ResidentPool;
use equipoise::pool::Dtype;

use super::measure::median;
use super::memory;
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
        self.selections(self.target.engine(), variant).map(Some)
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
        let copied = self.on_host(self.shape.bytes());
        if let Some(reason) = memory::lacking(copied) {
            let mut found = Found::default();
            found.leave_out("selections, resident,", reason);
            return Ok(Some(found));
        }
        match ResidentPool::new(engine, self.pool, &|_| {}) {
            Ok(resident) => self.selections(&resident, "resident").map(Some),
            Err(Error::OutOfMemory { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn selections(&self, engine: &dyn Engine, variant: &str) -> Result<Found> {
        let available = RowSet::all(self.pool.rows());
        let request = Request {
            head: Some(self.head),
            ..Request::new(self.pool, &available, self.shape.picks())
        };
        let mut found = Found::default();
        for strategy in STRATEGIES {
            let name = format!("select {}", strategy.name());
            if !self.wants(&name, variant) {
                continue;
            }
            let lists = strategy.memory(&request)?;
            let lacking = self.lacks_memory(Task::Boundaries, |_| lists);
            let measured = match lacking {
                Some(reason) => Err(reason),
                None => self.selection(engine, &request, (strategy, &name, variant))?,
            };
            match measured {
                Ok(row) => found.rows.push(row),
                Err(reason) => found.leave_out(format!("{name} {variant}"), reason),
            }
        }
        Ok(found)
    }

    /// One strategy's row, or why there is none: the device's memory is full.
    fn selection(
        &self,
        engine: &dyn Engine,
        request: &Request<'_>,
        (strategy, name, variant): (&dyn Strategy, &str, &str),
    ) -> Result<std::result::Result<Row, String>> {
        // On a GPU the first compiles shaders, and may measure them.
        let steady = matches!(self.target, Target::Cpu(_));
        let mut full = None;
        let timing = median(self.budget, steady, || {
            let selected = strategy.select(engine, request);
            if let Err(error @ Error::OutOfMemory { .. }) = &selected {
                full = Some(error.to_string());
            }
            selected?;
            Ok(())
        });
        if let Some(reason) = full {
            return Ok(Err(reason));
        }
        let work = Work {
            name,
            variant,
            shape: self.shape,
            budget: Some(request.budget),
            operations: Some(self.shape.products(self.shape.rows)),
            bytes: self.shape.bytes() as f64,
            matrices: self.shape.dtype == Dtype::F16,
            streamed: variant == "streamed",
        };
        Ok(Ok(self.device.row(work, &timing?)))
    }
}
