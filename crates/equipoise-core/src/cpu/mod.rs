//! The CPU engine: every kernel's twin, on all cores.
//!
//! One file a kernel, named as its shader: [`logits`], [`row_statistics`], [`class_candidates`].

pub mod class_candidates;
pub mod logits;
pub mod row_statistics;

use crate::engine::{Block, Candidate, Engine, Precision, RowStatistics, Scorer, boundary_scale};
use crate::{Head, Result};

/// Bytes of logits a block may fill, so that they stay in cache between kernels.
const LOGITS_BYTES: usize = 4 << 20;

/// Most classes whose scales are computed once, 256 MiB; beyond, they are computed where needed.
const TABLE_CLASSES: usize = 8192;

/// The engine of machines without a GPU: float32 products, then rayon over rows.
#[derive(Debug, Clone, Copy, Default)]
pub struct CpuEngine {
    max_rows: Option<usize>,
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
        }
    }
}

impl Engine for CpuEngine {
    fn name(&self) -> &str {
        "cpu"
    }

    fn scorer(&self, head: &Head) -> Result<Box<dyn Scorer + '_>> {
        let fits = LOGITS_BYTES / (4 * head.classes());
        Ok(Box::new(CpuScorer {
            max_rows: self.max_rows.unwrap_or(fits.clamp(64, 8192)),
            scale: ScaleTable::new(head),
            head: head.clone(),
            logits: Vec::new(),
            embeddings: Vec::new(),
        }))
    }
}

/// `1/‖W[p] − W[c]‖` for all classes, or row by row where the table would be too large.
pub struct ScaleTable {
    table: Option<Vec<f32>>,
    head: Head,
}

impl ScaleTable {
    fn new(head: &Head) -> Self {
        let classes = head.classes();
        Self {
            table: (classes <= TABLE_CLASSES).then(|| boundary_scale(head, 0..classes)),
            head: head.clone(),
        }
    }

    /// The C scales of class `p`.
    pub fn row(&self, p: usize) -> std::borrow::Cow<'_, [f32]> {
        let classes = self.head.classes();
        match &self.table {
            Some(table) => table[p * classes..(p + 1) * classes].into(),
            None => boundary_scale(&self.head, p..p + 1).into(),
        }
    }
}

struct CpuScorer {
    head: Head,
    max_rows: usize,
    scale: ScaleTable,
    logits: Vec<f32>,
    embeddings: Vec<f32>,
}

impl CpuScorer {
    fn score(&mut self, block: Block<'_>) {
        self.logits.resize(block.rows() * self.head.classes(), 0.0);
        logits::run(
            block.values,
            &self.head,
            &mut self.embeddings,
            &mut self.logits,
        );
    }
}

impl Scorer for CpuScorer {
    fn max_rows(&self) -> usize {
        self.max_rows
    }

    fn precision(&self) -> Precision {
        // IEEE 754 single precision, to nearest; the standard library's `exp` is within 1 ulp on
        // every platform we know of, and a few are allowed for.
        Precision {
            unit: 1.0 / (1u64 << 24) as f64,
            exp_constant: 8.0,
            exp_slope: 1.0,
        }
    }

    fn row_statistics(&mut self, block: Block<'_>, out: &mut [RowStatistics]) -> Result<()> {
        self.score(block);
        row_statistics::run(&self.logits, block.tolerance, &self.scale, out);
        Ok(())
    }

    fn class_candidates(
        &mut self,
        block: Block<'_>,
        thresholds: &[f32],
        out: &mut Vec<Candidate>,
    ) -> Result<bool> {
        self.score(block);
        class_candidates::run(&self.logits, block.tolerance, thresholds, &self.scale, out);
        Ok(true)
    }
}
