//! The CPU engine: what it is given, and what it plans.

use super::centres::Centres;
use super::plan::CpuPlan;
use super::scorer::CpuScorer;
use crate::engine::{Engine, GradientCentres, Scorer, Task};
use crate::memory::{MemoryPlan, ScanShape};
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
#[derive(Debug, Clone, Copy, Default)]
pub struct CpuEngine {
    max_rows: Option<usize>,
    memory: Option<u64>,
    products: CpuProducts,
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

    /// The same engine with products named here, not in `EQUIPOISE_CPU_LOGITS`; [`CpuProducts::Auto`] leaves it to that.
    pub fn with_products(self, products: CpuProducts) -> Self {
        Self { products, ..self }
    }

    fn parts(&self, shape: ScanShape) -> Result<CpuPlan> {
        let products = match self.products {
            CpuProducts::Auto => CpuProducts::from_env()?,
            named => named,
        };
        CpuPlan::new(shape, self.max_rows, self.memory, products).map_err(|needed| {
            Error::MemoryBudget {
                device: self.name().into(),
                budget: self.memory.unwrap_or_default(),
                needed,
            }
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

#[cfg(test)]
mod tests {
    use super::*;

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
