//! The CPU engine: what it is given, and what it plans.

use super::centres::Centres;
use super::plan::CpuPlan;
use super::scorer::CpuScorer;
use crate::engine::{Engine, GradientCentres, Scorer, Task};
use crate::memory::{MemoryPlan, ScanShape};
use crate::{Error, Head, Pool, Result};

/// The engine of machines without a GPU: float32 products, then rayon over rows.
#[derive(Debug, Clone, Copy, Default)]
pub struct CpuEngine {
    max_rows: Option<usize>,
    memory: Option<u64>,
}

impl CpuEngine {
    /// An engine on rayon's current thread pool.
    pub fn new() -> Self {
        Self::default()
    }

    /// Scores at most `rows` rows at a time. Picks do not depend on it.
    pub fn with_max_rows(rows: usize) -> Self {
        Self {
            max_rows: Some(rows.max(1)),
            ..Self::default()
        }
    }

    /// Takes at most `bytes` of memory for head, scales, blocks and candidates. Picks do not depend on it.
    pub fn with_memory(bytes: u64) -> Self {
        Self {
            memory: Some(bytes),
            ..Self::default()
        }
    }

    fn parts(&self, shape: ScanShape) -> Result<CpuPlan> {
        CpuPlan::new(shape, self.max_rows, self.memory).map_err(|needed| Error::MemoryBudget {
            device: self.name().into(),
            budget: self.memory.unwrap_or_default(),
            needed,
        })
    }
}

impl Engine for CpuEngine {
    fn name(&self) -> &str {
        "cpu"
    }

    fn plan(&self, shape: ScanShape) -> Result<MemoryPlan> {
        Ok(self.parts(shape)?.memory(shape))
    }

    fn scorer<'a>(
        &'a self,
        head: &Head,
        pool: &'a dyn Pool,
        task: Task,
    ) -> Result<Box<dyn Scorer + 'a>> {
        let plan = self.parts(ScanShape::of(head, pool, task)?)?;
        Ok(Box::new(CpuScorer::new(plan, head, pool, task, None)))
    }

    fn gradient_scorer<'a>(
        &'a self,
        head: &Head,
        centres: &GradientCentres,
        pool: &'a dyn Pool,
    ) -> Result<Box<dyn Scorer + 'a>> {
        let task = Task::NearestGradient {
            centres: centres.embeddings.classes(),
        };
        let centres = Centres::new(head, centres)?;
        let plan = self.parts(ScanShape::of(head, pool, task)?)?;
        Ok(Box::new(CpuScorer::new(
            plan,
            head,
            pool,
            task,
            Some(centres),
        )))
    }
}
