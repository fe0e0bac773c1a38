//! Engines made of engines.

use std::collections::VecDeque;

use crate::engine::{Answer, Engine, GradientCentres, Precision, Question, Scorer, Task};
use crate::memory::{MemoryPlan, ScanShape};
use crate::{Head, Pool, Result, RowSet};

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

    fn plan(&self, shape: ScanShape) -> Result<MemoryPlan> {
        self.first.plan(shape)
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

/// Several engines that share the blocks of one scan: each takes the next one as soon as it has
/// room, and answers are used in order, so that picks do not depend on who was faster.
pub struct Several {
    name: String,
    engines: Vec<Box<dyn Engine>>,
}

impl Several {
    /// All of `engines`, of which there is at least one.
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
        let mut all = MemoryPlan::default();
        for engine in &self.engines {
            let plan = engine.plan(shape)?;
            all.rows = all.rows.max(plan.rows);
            all.depth += plan.depth;
            for part in plan.parts {
                all.add(
                    part.place,
                    format!("{}: {}", engine.name(), part.what),
                    part.bytes,
                );
            }
        }
        Ok(all)
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

struct SeveralScorer<'a> {
    members: Vec<Member<'a>>,
    /// Whose the blocks in flight are, oldest first.
    flying: VecDeque<usize>,
}

struct Member<'a> {
    scorer: Box<dyn Scorer + 'a>,
    /// Its blocks in flight.
    flying: usize,
}

impl<'a> SeveralScorer<'a> {
    /// A scorer of each engine.
    fn of(
        engines: &'a [Box<dyn Engine>],
        scorer: impl Fn(&'a dyn Engine) -> Result<Box<dyn Scorer + 'a>>,
    ) -> Result<Box<dyn Scorer + 'a>> {
        let members = engines.iter().map(|engine| {
            Ok(Member {
                scorer: scorer(&**engine)?,
                flying: 0,
            })
        });
        Ok(Box::new(Self {
            members: members.collect::<Result<_>>()?,
            flying: VecDeque::new(),
        }))
    }

    /// The member with the least to do for its depth.
    fn next(&self) -> usize {
        let load = |member: &Member<'_>| member.flying as f64 / member.scorer.depth() as f64;
        let members = (0..self.members.len()).filter(|index| {
            let member = &self.members[*index];
            member.flying < member.scorer.depth()
        });
        let by_load =
            |a: &usize, b: &usize| load(&self.members[*a]).total_cmp(&load(&self.members[*b]));
        members.min_by(by_load).unwrap_or(0)
    }
}

impl Scorer for SeveralScorer<'_> {
    fn max_rows(&self) -> usize {
        let rows = self.members.iter().map(|member| member.scorer.max_rows());
        rows.max().unwrap_or(1)
    }

    fn depth(&self) -> usize {
        self.members
            .iter()
            .map(|member| member.scorer.depth())
            .sum()
    }

    fn precision(&self) -> Precision {
        let none = Precision {
            unit: 0.0,
            exp_constant: 0.0,
            exp_slope: 0.0,
        };
        let all = self.members.iter().map(|member| member.scorer.precision());
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
        let index = self.next();
        let member = &mut self.members[index];
        let taken = member.scorer.submit(start, rows, available, question)?;
        member.flying += 1;
        self.flying.push_back(index);
        Ok(taken)
    }

    fn collect(&mut self, answer: &mut Answer) -> Result<()> {
        let Some(index) = self.flying.pop_front() else {
            *answer = Answer::default();
            return Ok(());
        };
        let member = &mut self.members[index];
        member.flying -= 1;
        member.scorer.collect(answer)
    }

    fn discard(&mut self) {
        self.flying.clear();
        for member in &mut self.members {
            member.scorer.discard();
            member.flying = 0;
        }
    }
}
