//! The CPU engine: what it is given, and what it plans.

use super::centres::Centres;
use super::plan::CpuPlan;
use super::scorer::CpuScorer;
use crate::engine::{Engine, GradientCentres, Scorer, Task};
use crate::memory::{MemoryPlan, Place, ScanShape, gives, rounded_up};
use crate::{Error, Head, Pool, Result};

/// Environment variable that names products.
const VARIABLE: &str = "EQUIPOISE_CPU_LOGITS";

/// How the CPU engine multiplies rows with a head. Picks do not depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CpuProducts {
    /// In 16-bit integers first, where the processor was faster at them in a trial, and few rows need more; else in float32.
    #[default]
    Auto,
    /// In float32.
    Float32,
    /// In 16-bit integers first, and what matters then in float32, however slow that is: for as many classes as there is memory for
    /// the scales of all to all.
    Int16,
}

impl CpuProducts {
    /// What `EQUIPOISE_CPU_LOGITS` says: `float32` or `int16`; nothing, or `auto`, means [`Self::Auto`].
    ///
    /// # Errors
    /// [`Error::Shape`] where it says something else.
    pub fn from_env() -> Result<Self> {
        Self::named(&std::env::var(VARIABLE).unwrap_or_default())
    }

    fn named(name: &str) -> Result<Self> {
        match name {
            "" | "auto" => Ok(Self::Auto),
            "float32" => Ok(Self::Float32),
            "int16" => Ok(Self::Int16),
            _ => Err(Error::Shape {
                what: VARIABLE.into(),
                expected: "auto, float32 or int16".into(),
                found: name.into(),
            }),
        }
    }
}

/// The engine of machines without a GPU: products, then rayon over rows.
#[derive(Debug, Clone, Copy)]
pub struct CpuEngine {
    max_rows: Option<usize>,
    memory: Option<u64>,
    /// Engines that share it.
    sharing: u64,
    products: CpuProducts,
}

impl Default for CpuEngine {
    fn default() -> Self {
        Self {
            max_rows: None,
            memory: None,
            sharing: 1,
            products: CpuProducts::default(),
        }
    }
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

    /// The same engine, one of so many (1 or more) that share its memory: it takes its part.
    pub fn sharing(self, engines: u64) -> Self {
        Self {
            sharing: engines.max(1),
            ..self
        }
    }

    /// The same engine with products named here, not in `EQUIPOISE_CPU_LOGITS`; [`CpuProducts::Auto`] leaves it to that.
    pub fn with_products(self, products: CpuProducts) -> Self {
        Self { products, ..self }
    }

    fn parts(&self, shape: ScanShape) -> Result<CpuPlan> {
        let own = self.memory.map(|memory| memory / self.sharing);
        self.parts_within(shape, own)?
            .map_err(|needed| Error::MemoryBudget {
                device: self.name().into(),
                budget: self.memory.unwrap_or_default(),
                needed: needed.saturating_mul(self.sharing),
            })
    }

    /// The plan within so many bytes; within, the least that would do.
    fn parts_within(
        &self,
        shape: ScanShape,
        bytes: Option<u64>,
    ) -> Result<std::result::Result<CpuPlan, u64>> {
        let products = match self.products {
            CpuProducts::Auto => CpuProducts::from_env()?,
            named => named,
        };
        Ok(CpuPlan::new(shape, self.max_rows, bytes, products))
    }

    /// [`CpuEngine::parts`] in memory that the system gives: smaller ones where it refuses. `gives` says whether it gives so
    /// many bytes.
    fn parts_given(&self, shape: ScanShape, gives: impl Fn(u64) -> bool) -> Result<CpuPlan> {
        let mut plan = self.parts(shape)?;
        loop {
            let bytes = plan.memory(shape).bytes(Place::Host);
            if gives(bytes) {
                return Ok(plan);
            }
            let less = self.parts_within(shape, Some(bytes / 2))?;
            plan = less.map_err(|_| Error::OutOfMemory {
                device: self.name().into(),
                message: format!("the system refuses {}", rounded_up(bytes)),
            })?;
        }
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
        let plan = self.parts_given(ScanShape::of(head, pool, task)?, gives)?;
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
        let plan = self.parts_given(ScanShape::of(head, pool, task)?, gives)?;
        Ok(Box::new(CpuScorer::new(
            plan,
            head,
            pool,
            task,
            Some(centres),
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_memory_is_refused_parts_are_smaller() {
        let shape = ScanShape {
            rows: 100_000,
            dim: 512,
            classes: 1000,
            width: 4,
            task: Task::Boundaries,
        };
        let (engine, all) = (CpuEngine::new(), |_| true);
        let bytes = |plan: CpuPlan| plan.memory(shape).bytes(Place::Host);
        let free = bytes(engine.parts_given(shape, all).unwrap());
        let most = free / 3;
        let small = engine.parts_given(shape, |bytes| bytes <= most).unwrap();
        assert!(bytes(small) <= most && bytes(small) > most / 4);
        let refused = engine.parts_given(shape, |_| false).unwrap_err();
        assert!(matches!(refused, Error::OutOfMemory { .. }), "{refused}");
        assert!(gives(1 << 20) && !gives(u64::MAX / 4));
    }

    #[test]
    fn products_are_known_by_name() {
        let named = |name| CpuProducts::named(name).map_err(|error| error.to_string());
        assert_eq!(named(""), Ok(CpuProducts::Auto));
        assert_eq!(named("auto"), Ok(CpuProducts::Auto));
        assert_eq!(named("float32"), Ok(CpuProducts::Float32));
        assert_eq!(named("int16"), Ok(CpuProducts::Int16));
        let wrong = "EQUIPOISE_CPU_LOGITS: expected auto, float32 or int16, found int8";
        assert_eq!(named("int8"), Err(wrong.into()));
    }
}
