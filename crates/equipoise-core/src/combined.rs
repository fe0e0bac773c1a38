//! Engines made of engines.

use std::time::Instant;

use crate::engine::{Answer, Engine, GradientCentres, Precision, Question, Scorer, Task};
use crate::memory::{MemoryPlan, Place, ScanShape};
use crate::turns::Turns;
use crate::{Error, Head, Pool, Result, RowSet};

/// An engine, and the one that goes on where it fails.
pub struct WithFallback<'a> {
    first: &'a dyn Engine,
    next: &'a dyn Engine,
}

impl<'a> WithFallback<'a> {
    /// `first` as long as it works, then `next`.
    pub fn new(first: &'a dyn Engine, next: &'a dyn Engine) -> Self {
        Self { first, next }
    }
}

impl Engine for WithFallback<'_> {
    fn name(&self) -> &str {
        self.first.name()
    }

    /// What the first takes, and what the next one would take beyond that: it begins when the first has gone. Where one is not able
    /// to do it at all, the other's plan.
    fn plan(&self, shape: ScanShape) -> Result<MemoryPlan> {
        let (mut plan, next) = match (self.first.plan(shape), self.next.plan(shape)) {
            (Err(Error::Device { .. } | Error::OutOfMemory { .. }), next) => return next,
            (first, Err(Error::Device { .. } | Error::OutOfMemory { .. })) => return first,
            (first, next) => {
                let mut plans = all([first, next])?;
                (plans.swap_remove(0), plans.swap_remove(0))
            }
        };
        for place in [Place::Host, Place::Device] {
            let more = next.bytes(place).saturating_sub(plan.bytes(place));
            let what = format!("more, should {} go on", self.next.name());
            plan.add(place, what, more);
        }
        Ok(plan)
    }

    fn scorer<'a>(
        &'a self,
        head: &Head,
        pool: &'a dyn Pool,
        task: Task,
    ) -> Result<Box<dyn Scorer + 'a>> {
        self.first.scorer(head, pool, task)
    }

    fn gradient_scorer<'a>(
        &'a self,
        head: &Head,
        centres: &GradientCentres,
        pool: &'a dyn Pool,
    ) -> Result<Box<dyn Scorer + 'a>> {
        self.first.gradient_scorer(head, centres, pool)
    }

    fn fallback(&self) -> Option<&dyn Engine> {
        Some(self.next)
    }
}

/// Several engines that share the blocks of one scan. Each is given as many rows as it takes to be done with the others, by how fast it
/// has been; answers are used in order, so that picks do not depend on who was faster.
pub struct Several {
    name: String,
    engines: Vec<Box<dyn Engine>>,
}

impl Several {
    /// All of `engines`, of which there is at least one. Each has its part of a budget of host memory: [`crate::CpuEngine::sharing`].
    pub fn new(engines: Vec<Box<dyn Engine>>) -> Self {
        let names: Vec<&str> = engines.iter().map(|engine| engine.name()).collect();
        Self {
            name: names.join(" + "),
            engines,
        }
    }
}

impl Engine for Several {
    fn name(&self) -> &str {
        &self.name
    }

    fn plan(&self, shape: ScanShape) -> Result<MemoryPlan> {
        let mut whole = MemoryPlan::default();
        let plans = self.engines.iter().map(|engine| engine.plan(shape));
        for (engine, plan) in self.engines.iter().zip(all(plans)?) {
            whole.rows = whole.rows.max(plan.rows);
            whole.depth += plan.depth;
            for part in plan.parts {
                whole.add(
                    part.place,
                    format!("{}: {}", engine.name(), part.what),
                    part.bytes,
                );
            }
        }
        Ok(whole)
    }

    fn scorer<'a>(
        &'a self,
        head: &Head,
        pool: &'a dyn Pool,
        task: Task,
    ) -> Result<Box<dyn Scorer + 'a>> {
        SeveralScorer::of(&self.engines, |engine| engine.scorer(head, pool, task))
    }

    fn gradient_scorer<'a>(
        &'a self,
        head: &Head,
        centres: &GradientCentres,
        pool: &'a dyn Pool,
    ) -> Result<Box<dyn Scorer + 'a>> {
        SeveralScorer::of(&self.engines, |engine| {
            engine.gradient_scorer(head, centres, pool)
        })
    }
}

/// All of some engines' plans.
///
/// # Errors
/// Where budgets are too small, that of the engine that needs most: what is named works for all.
fn all(plans: impl IntoIterator<Item = Result<MemoryPlan>>) -> Result<Vec<MemoryPlan>> {
    let mut made = Vec::new();
    let mut short: Option<(u64, Error)> = None;
    for plan in plans {
        match plan {
            Ok(plan) => made.push(plan),
            Err(error @ Error::MemoryBudget { needed, .. }) => {
                if short.as_ref().is_none_or(|(most, _)| needed > *most) {
                    short = Some((needed, error));
                }
            }
            Err(error) => return Err(error),
        }
    }
    match short {
        Some((_, error)) => Err(error),
        None => Ok(made),
    }
}

struct SeveralScorer<'a> {
    members: Vec<Box<dyn Scorer + 'a>>,
    turns: Turns,
    start: Instant,
}

impl<'a> SeveralScorer<'a> {
    /// A scorer of each engine.
    fn of(
        engines: &'a [Box<dyn Engine>],
        scorer: impl Fn(&'a dyn Engine) -> Result<Box<dyn Scorer + 'a>>,
    ) -> Result<Box<dyn Scorer + 'a>> {
        let members = engines.iter().map(|engine| scorer(&**engine));
        let members = members.collect::<Result<Vec<_>>>()?;
        let sizes = members
            .iter()
            .map(|member| (member.depth(), member.max_rows()));
        Ok(Box::new(Self {
            turns: Turns::new(sizes),
            members,
            start: Instant::now(),
        }))
    }

    /// Seconds since the beginning.
    fn now(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }
}

impl Scorer for SeveralScorer<'_> {
    fn max_rows(&self) -> usize {
        let rows = self.members.iter().map(|member| member.max_rows());
        rows.max().unwrap_or(1)
    }

    fn depth(&self) -> usize {
        self.turns.depth()
    }

    fn precision(&self) -> Precision {
        let none = Precision {
            unit: 0.0,
            exp_constant: 0.0,
            exp_slope: 0.0,
        };
        let all = self.members.iter().map(|member| member.precision());
        all.fold(none, |a, b| Precision {
            unit: a.unit.max(b.unit),
            exp_constant: a.exp_constant.max(b.exp_constant),
            exp_slope: a.exp_slope.max(b.exp_slope),
        })
    }

    fn submit(
        &mut self,
        start: usize,
        rows: usize,
        available: &RowSet,
        question: Question<'_>,
    ) -> Result<usize> {
        let depths = self.members.iter().map(|member| member.depth());
        self.turns.let_fly(depths);
        let (index, rows) = self.turns.next(rows);
        let begun = self.now();
        let taken = self.members[index].submit(start, rows, available, question)?;
        self.turns.submitted(index, taken, begun..self.now());
        Ok(taken)
    }

    fn collect(&mut self, answer: &mut Answer) -> Result<()> {
        let Some(index) = self.turns.oldest() else {
            *answer = Answer::default();
            return Ok(());
        };
        let begun = self.now();
        let collected = self.members[index].collect(answer);
        self.turns.collected(begun..self.now());
        collected
    }

    fn discard(&mut self) {
        self.turns.discard();
        self.members.iter_mut().for_each(|member| member.discard());
    }
}
