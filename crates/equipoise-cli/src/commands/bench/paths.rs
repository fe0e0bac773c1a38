//! Whole selections from a pool in memory.

use equipoise::core::engine::Task;
use equipoise::core::memory::ScanShape;
use equipoise::core::strategies::{Base, Confidence, Entropy, Margin, Mase};
use equipoise::core::{Engine, Error, Request, RowSet, Strategy};
use equipoise::gpu::{Gpu, GpuEngine, LogitsChoice, ResidentPool, RowsChoice, Storage};
use equipoise::pool::Dtype;

use super::measure::median;
use super::memory;
use super::row::{Row, Work};
use super::setting::{Found, Setting};
use super::target::Target;
use crate::failure::Result;

/// What is selected with: class by class, by distance, and by probabilities: what a scan answers.
const STRATEGIES: [&dyn Strategy; 5] = [&Base, &Mase, &Margin, &Confidence, &Entropy];

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
        if !names().any(|name| self.wants(&name, variant)) {
            return Ok(Some(Found::default()));
        }
        let matrices = match self.target {
            Target::Cpu(_) => false,
            Target::Gpu { engine, .. } => self.by_matrices(engine),
        };
        let engine = self.target.engine();
        self.selections((engine, matrices), &STRATEGIES, variant)
            .map(Some)
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
        self.on_device(engine, &STRATEGIES, "resident")
    }

    /// BASE with every variant of `logits` that the device can run, named: what it takes in all, settling what a wider bound
    /// leaves in doubt included. None on a CPU.
    ///
    /// # Errors
    /// Where the device fails.
    pub(super) fn by_variant(&self) -> Result<Option<Found>> {
        let mut found = Found::default();
        let Target::Gpu { gpu, engine, .. } = self.target else {
            return Ok(Some(found));
        };
        let storage = match self.shape.dtype {
            Dtype::F16 => Storage::F16,
            Dtype::F32 => Storage::F32,
        };
        let rows = RowsChoice::from_env()?;
        for name in engine.logits_variants(self.head, storage) {
            let choice = LogitsChoice::Named(name.into());
            let engine = GpuEngine::with_variants(Gpu::clone(gpu), &choice, rows)?;
            let streamed = || {
                let of_variant = (&engine as &dyn Engine, self.by_matrices(&engine));
                let variant = format!("streamed {name}");
                self.selections(of_variant, &[&Base], &variant).map(Some)
            };
            let resident = || self.on_device(&engine, &[&Base], &format!("resident {name}"));
            for (where_from, measured) in [("streamed", streamed()), ("resident", resident())] {
                let what = format!("select base {where_from} {name}");
                match measured {
                    Ok(Some(of_one)) => found.extend(of_one),
                    Ok(None) => found.leave_out(what, "it does not fit the device's memory"),
                    // The others are measured all the same.
                    Err(failure) => found.fail(what, failure.message()),
                }
            }
        }
        Ok(Some(found))
    }

    /// Whether matrix cores multiply in the engine's scans. Where that cannot be told, selections say why.
    fn by_matrices(&self, engine: &GpuEngine) -> bool {
        let shape = ScanShape::of(self.head, self.pool, Task::Boundaries).ok();
        let told = shape.and_then(|shape| engine.by_matrices(self.head, shape).ok());
        told.unwrap_or(false)
    }

    /// From the device's memory; `None` where the pool does not fit there.
    fn on_device(
        &self,
        engine: &GpuEngine,
        strategies: &[&dyn Strategy],
        variant: &str,
    ) -> Result<Option<Found>> {
        let copied = self.on_host(self.shape.bytes());
        if let Some(reason) = memory::lacking(copied) {
            let mut found = Found::default();
            found.leave_out(format!("selections, {variant},"), reason);
            return Ok(Some(found));
        }
        match ResidentPool::new(engine, self.pool, &|_| {}) {
            Ok(resident) => {
                let matrices = self.by_matrices(engine);
                self.selections((&resident, matrices), strategies, variant)
                    .map(Some)
            }
            Err(Error::OutOfMemory { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// By every one of `strategies`; one that fails is noted. The engine says whether its matrix cores multiply.
    fn selections(
        &self,
        engine: (&dyn Engine, bool),
        strategies: &[&dyn Strategy],
        variant: &str,
    ) -> Result<Found> {
        let available = RowSet::all(self.pool.rows());
        let request = Request {
            head: Some(self.head),
            ..Request::new(self.pool, &available, self.shape.picks())
        };
        let mut found = Found::default();
        for strategy in strategies {
            let name = format!("select {}", strategy.name());
            if !self.wants(&name, variant) {
                continue;
            }
            let lists = strategy.memory(&request)?;
            let lacking = self.lacks_memory(Task::Boundaries, |_| lists);
            let measured = match lacking {
                Some(reason) => Err(reason),
                None => match self.selection(engine, &request, (*strategy, &name, variant)) {
                    Ok(measured) => measured,
                    Err(failure) => {
                        found.fail(format!("{name} {variant}"), failure.message());
                        continue;
                    }
                },
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
        (engine, matrices): (&dyn Engine, bool),
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
            matrices,
            streamed: variant.starts_with("streamed"),
        };
        Ok(Ok(self.device.row(work, &timing?)))
    }
}
