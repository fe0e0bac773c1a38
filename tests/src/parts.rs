//! The same work in other parts: picks may not depend on where a chunk ends, on what is in flight, or on
//! a device that fails.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use equipoise_core::engine::{
    ALL_CLASSES, Answer, Candidate, Candidates, GradientCentres, Precision, Question, Task,
};
use equipoise_core::memory::{MemoryPlan, ScanShape};
use equipoise_core::{Chunk, Engine, Error, Head, Pool, Result, RowSet, Scorer};

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

    fn plan(&self, shape: ScanShape) -> Result<MemoryPlan> {
        self.engine.plan(shape)
    }

    fn scorer<'a>(
        &'a self,
        head: &Head,
        pool: &'a dyn Pool,
        task: Task,
    ) -> Result<Box<dyn Scorer + 'a>> {
        Ok(Box::new(SmallBlocksScorer {
            scorer: self.engine.scorer(head, pool, task)?,
            max_rows: self.max_rows,
        }))
    }

    fn gradient_scorer<'a>(
        &'a self,
        head: &Head,
        centres: &GradientCentres,
        pool: &'a dyn Pool,
    ) -> Result<Box<dyn Scorer + 'a>> {
        Ok(Box::new(SmallBlocksScorer {
            scorer: self.engine.gradient_scorer(head, centres, pool)?,
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

    fn depth(&self) -> usize {
        self.scorer.depth()
    }

    fn precision(&self) -> Precision {
        self.scorer.precision()
    }

    fn submit(
        &mut self,
        start: usize,
        rows: usize,
        available: &RowSet,
        question: Question<'_>,
    ) -> Result<usize> {
        let rows = rows.min(self.max_rows);
        self.scorer.submit(start, rows, available, question)
    }

    fn collect(&mut self, answer: &mut Answer) -> Result<()> {
        self.scorer.collect(answer)?;
        // Refuses what does not fit a small list, so that the caller's second try is tested too.
        let found: usize = answer.candidates.iter().map(Candidates::len).sum();
        if answer.rows > 1 && found > self.max_rows * 4 {
            answer.clear();
            answer.overflow = true;
        }
        Ok(())
    }

    fn discard(&mut self) {
        self.scorer.discard();
    }
}

/// An engine that lets blocks fly, as a device does: each is answered as of when it was submitted.
pub struct Queued<'a> {
    /// The engine that does the work.
    pub engine: &'a dyn Engine,
    /// Most blocks in flight, at least 1.
    pub depth: usize,
}

impl Engine for Queued<'_> {
    fn name(&self) -> &str {
        self.engine.name()
    }

    fn plan(&self, shape: ScanShape) -> Result<MemoryPlan> {
        self.engine.plan(shape)
    }

    fn scorer<'a>(
        &'a self,
        head: &Head,
        pool: &'a dyn Pool,
        task: Task,
    ) -> Result<Box<dyn Scorer + 'a>> {
        Ok(Box::new(QueuedScorer {
            scorer: self.engine.scorer(head, pool, task)?,
            depth: self.depth,
            answers: VecDeque::new(),
        }))
    }

    fn gradient_scorer<'a>(
        &'a self,
        head: &Head,
        centres: &GradientCentres,
        pool: &'a dyn Pool,
    ) -> Result<Box<dyn Scorer + 'a>> {
        Ok(Box::new(QueuedScorer {
            scorer: self.engine.gradient_scorer(head, centres, pool)?,
            depth: self.depth,
            answers: VecDeque::new(),
        }))
    }
}

struct QueuedScorer<'a> {
    scorer: Box<dyn Scorer + 'a>,
    depth: usize,
    answers: VecDeque<Answer>,
}

impl Scorer for QueuedScorer<'_> {
    fn max_rows(&self) -> usize {
        self.scorer.max_rows()
    }

    fn depth(&self) -> usize {
        self.depth
    }

    fn precision(&self) -> Precision {
        self.scorer.precision()
    }

    fn submit(
        &mut self,
        start: usize,
        rows: usize,
        available: &RowSet,
        question: Question<'_>,
    ) -> Result<usize> {
        assert!(self.answers.len() < self.depth, "too many blocks in flight");
        assert!(
            available.contains(start),
            "a block begins with a row that nobody wants"
        );
        let mut answer = Answer::default();
        let done = self.scorer.submit(start, rows, available, question);
        let done = done.and_then(|taken| {
            self.scorer.collect(&mut answer)?;
            Ok(taken)
        });
        match done {
            Ok(_) => self.answers.push_back(answer),
            Err(_) => self.answers.clear(),
        }
        done
    }

    fn collect(&mut self, answer: &mut Answer) -> Result<()> {
        *answer = self.answers.pop_front().expect("a block in flight");
        Ok(())
    }

    fn discard(&mut self) {
        self.answers.clear();
    }
}

/// An engine that claims to be exact, which none in f32 is: its bounds are their own middle.
pub struct Overconfident<'a>(pub &'a dyn Engine);

impl Engine for Overconfident<'_> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn plan(&self, shape: ScanShape) -> Result<MemoryPlan> {
        self.0.plan(shape)
    }

    fn scorer<'a>(
        &'a self,
        head: &Head,
        pool: &'a dyn Pool,
        task: Task,
    ) -> Result<Box<dyn Scorer + 'a>> {
        Ok(Box::new(OverconfidentScorer(
            self.0.scorer(head, pool, task)?,
        )))
    }

    fn gradient_scorer<'a>(
        &'a self,
        head: &Head,
        centres: &GradientCentres,
        pool: &'a dyn Pool,
    ) -> Result<Box<dyn Scorer + 'a>> {
        Ok(Box::new(OverconfidentScorer(
            self.0.gradient_scorer(head, centres, pool)?,
        )))
    }
}

struct OverconfidentScorer<'a>(Box<dyn Scorer + 'a>);

impl Scorer for OverconfidentScorer<'_> {
    fn max_rows(&self) -> usize {
        self.0.max_rows()
    }

    fn depth(&self) -> usize {
        self.0.depth()
    }

    fn precision(&self) -> Precision {
        Precision {
            unit: 0.0,
            exp_constant: 0.0,
            exp_slope: 0.0,
        }
    }

    fn submit(
        &mut self,
        start: usize,
        rows: usize,
        available: &RowSet,
        question: Question<'_>,
    ) -> Result<usize> {
        self.0.submit(start, rows, available, question)
    }

    fn collect(&mut self, answer: &mut Answer) -> Result<()> {
        self.0.collect(answer)?;
        for row in answer
            .statistics
            .iter_mut()
            .filter(|row| row.tolerance >= 0.0)
        {
            let middle = row.mase_lower / 2.0 + row.mase_upper / 2.0;
            (row.tolerance, row.mase_lower, row.mase_upper) = (0.0, middle, middle);
        }
        for part in &mut answer.candidates {
            let candidates = part.iter().map(|candidate| {
                let middle = candidate.lower / 2.0 + candidate.upper / 2.0;
                Candidate {
                    lower: middle,
                    upper: middle,
                    ..candidate
                }
            });
            let candidates: Vec<Candidate> = candidates.collect();
            let classes = candidates
                .iter()
                .map(|c| c.class)
                .filter(|c| *c != ALL_CLASSES);
            *part = Candidates::of(&candidates, classes.max().map_or(0, |c| c as usize + 1));
        }
        Ok(())
    }

    fn discard(&mut self) {
        self.0.discard();
    }
}

/// How an engine fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It is out of memory with more rows than this.
    Memory(usize),
    /// So it is when a block is collected with more rows than this in flight.
    MemoryLate(usize),
    /// It cannot do it at all, and says so when it is planned.
    Unable,
    /// It is lost after so many calls.
    Lost(usize),
}

/// An engine that fails, and the one it falls back on.
pub struct Failing<'a> {
    /// The engine that does the work.
    pub engine: &'a dyn Engine,
    /// When it fails.
    pub failure: Failure,
    /// Where it goes on.
    pub fallback: Option<&'a dyn Engine>,
    /// Calls so far.
    pub calls: AtomicUsize,
}

impl Engine for Failing<'_> {
    fn name(&self) -> &str {
        "failing"
    }

    fn plan(&self, shape: ScanShape) -> Result<MemoryPlan> {
        self.able()?;
        self.engine.plan(shape)
    }

    fn scorer<'a>(
        &'a self,
        head: &Head,
        pool: &'a dyn Pool,
        task: Task,
    ) -> Result<Box<dyn Scorer + 'a>> {
        self.able()?;
        Ok(Box::new(FailingScorer {
            scorer: self.engine.scorer(head, pool, task)?,
            engine: self,
            flying: VecDeque::new(),
        }))
    }

    fn gradient_scorer<'a>(
        &'a self,
        head: &Head,
        centres: &GradientCentres,
        pool: &'a dyn Pool,
    ) -> Result<Box<dyn Scorer + 'a>> {
        Ok(Box::new(FailingScorer {
            scorer: self.engine.gradient_scorer(head, centres, pool)?,
            engine: self,
            flying: VecDeque::new(),
        }))
    }

    fn fallback(&self) -> Option<&dyn Engine> {
        self.fallback
    }
}

impl Failing<'_> {
    fn able(&self) -> Result<()> {
        let (device, message) = ("failing".into(), "as asked".into());
        match self.failure {
            Failure::Unable => Err(Error::Device { device, message }),
            _ => Ok(()),
        }
    }
}

struct FailingScorer<'a> {
    scorer: Box<dyn Scorer + 'a>,
    engine: &'a Failing<'a>,
    /// Rows of the blocks in flight, oldest first.
    flying: VecDeque<usize>,
}

impl FailingScorer<'_> {
    fn check(&mut self, rows: usize, late: bool) -> Result<()> {
        let calls = self.engine.calls.fetch_add(1, Ordering::Relaxed);
        let (device, message) = ("failing".into(), "as asked".into());
        let failed = match self.engine.failure {
            Failure::Memory(most) if !late && rows > most => {
                Err(Error::OutOfMemory { device, message })
            }
            Failure::MemoryLate(most) if late && rows > most => {
                Err(Error::OutOfMemory { device, message })
            }
            Failure::Lost(after) if calls >= after => Err(Error::Device { device, message }),
            _ => Ok(()),
        };
        if failed.is_err() {
            self.discard();
        }
        failed
    }
}

impl Scorer for FailingScorer<'_> {
    fn max_rows(&self) -> usize {
        self.scorer.max_rows()
    }

    fn depth(&self) -> usize {
        self.scorer.depth()
    }

    fn precision(&self) -> Precision {
        self.scorer.precision()
    }

    fn submit(
        &mut self,
        start: usize,
        rows: usize,
        available: &RowSet,
        question: Question<'_>,
    ) -> Result<usize> {
        self.check(rows, false)?;
        let taken = self.scorer.submit(start, rows, available, question)?;
        self.flying.push_back(taken);
        Ok(taken)
    }

    fn collect(&mut self, answer: &mut Answer) -> Result<()> {
        let rows = self.flying.iter().sum();
        self.flying.pop_front();
        self.check(rows, true)?;
        self.scorer.collect(answer)
    }

    fn discard(&mut self) {
        self.flying.clear();
        self.scorer.discard();
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
