//! The same work in other parts: picks may not depend on where a chunk ends.

use equipoise_core::engine::{Precision, RowStatistics};
use equipoise_core::{Block, Candidate, Chunk, Engine, Head, Pool, Result, Scorer};

/// An engine that takes at most so many rows at a time.
pub struct SmallBlocks<'a> {
    /// The engine that does the work.
    pub engine: &'a dyn Engine,
    /// Most rows of a block, at least 1.
    pub max_rows: usize,
}

impl Engine for SmallBlocks<'_> {
    fn name(&self) -> &str {
        self.engine.name()
    }

    fn scorer(&self, head: &Head) -> Result<Box<dyn Scorer + '_>> {
        Ok(Box::new(SmallBlocksScorer {
            scorer: self.engine.scorer(head)?,
            max_rows: self.max_rows,
        }))
    }
}

struct SmallBlocksScorer<'a> {
    scorer: Box<dyn Scorer + 'a>,
    max_rows: usize,
}

impl Scorer for SmallBlocksScorer<'_> {
    fn max_rows(&self) -> usize {
        self.max_rows.min(self.scorer.max_rows())
    }

    fn precision(&self) -> Precision {
        self.scorer.precision()
    }

    fn row_statistics(&mut self, block: Block<'_>, out: &mut [RowStatistics]) -> Result<()> {
        self.scorer.row_statistics(block, out)
    }

    fn class_candidates(
        &mut self,
        block: Block<'_>,
        thresholds: &[f32],
        out: &mut Vec<Candidate>,
    ) -> Result<bool> {
        // Refuses what does not fit a small list, so that the caller's second try is tested too.
        let most = self.max_rows * 4;
        let before = out.len();
        let done = self.scorer.class_candidates(block, thresholds, out)?;
        if done && block.rows() > 1 && out.len() - before > most {
            out.truncate(before);
            return Ok(false);
        }
        Ok(done)
    }
}

/// An engine that claims to be exact, which none in f32 is.
pub struct Overconfident<'a>(pub &'a dyn Engine);

impl Engine for Overconfident<'_> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn scorer(&self, head: &Head) -> Result<Box<dyn Scorer + '_>> {
        Ok(Box::new(OverconfidentScorer(self.0.scorer(head)?)))
    }
}

struct OverconfidentScorer<'a>(Box<dyn Scorer + 'a>);

impl Scorer for OverconfidentScorer<'_> {
    fn max_rows(&self) -> usize {
        self.0.max_rows()
    }

    fn precision(&self) -> Precision {
        Precision {
            unit: 0.0,
            exp_constant: 0.0,
            exp_slope: 0.0,
        }
    }

    fn row_statistics(&mut self, block: Block<'_>, out: &mut [RowStatistics]) -> Result<()> {
        self.0.row_statistics(block, out)
    }

    fn class_candidates(
        &mut self,
        block: Block<'_>,
        thresholds: &[f32],
        out: &mut Vec<Candidate>,
    ) -> Result<bool> {
        self.0.class_candidates(block, thresholds, out)
    }
}

/// A pool that breaks every so many rows, as one of shards does.
pub struct Sharded<'a> {
    /// The rows.
    pub pool: &'a dyn Pool,
    /// Rows of a shard, at least 1.
    pub shard: usize,
}

impl Pool for Sharded<'_> {
    fn rows(&self) -> usize {
        self.pool.rows()
    }

    fn dim(&self) -> usize {
        self.pool.dim()
    }

    fn chunk(&self, start: usize, max_rows: usize) -> Result<Chunk<'_>> {
        let left = self.shard - start % self.shard;
        self.pool.chunk(start, max_rows.min(left))
    }
}
