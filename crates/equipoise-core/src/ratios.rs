//! Which row has the least ratio of squared distances: from one class's mean, over from the nearest (or the
//! farthest) of some classes' means, while rows join classes and move their means.

use rayon::prelude::*;

use crate::class_means::ClassMeans;
use crate::distances::Distances;
use crate::imbalance::Imbalance;
use crate::strategies::{Request, Selection};
use crate::vectors::Side;
use crate::{Engine, Pick, Result, RowSet};

/// Of how many rows one may be settled for a pick, before bounds are made anew; and how many at least.
const ONE_OF: usize = 512;
const FEWEST: usize = 64;

/// See the module.
pub(crate) struct Ratios<'a> {
    rarest: Followed<'a>,
    majority: Followed<'a>,
    settled: u64,
}

impl<'a> Ratios<'a> {
    /// Over distances from the nearest or the farthest majority mean, as `side` says. `squares` are those of
    /// [`crate::vectors::squares`].
    pub(crate) fn new(
        engine: &'a dyn Engine,
        request: &Request<'a>,
        squares: &'a [f64],
        side: Side,
    ) -> Self {
        let followed = |side| Followed {
            distances: Distances::new(engine, request, squares, side),
            classes: Vec::new(),
        };
        Self {
            rarest: followed(Side::Nearest),
            majority: followed(side),
            settled: 0,
        }
    }

    /// Bytes that it takes for so many rows and classes.
    pub(crate) fn bytes(rows: usize, classes: usize, dim: usize) -> u64 {
        Distances::bytes(rows, classes, dim) + Distances::bytes(rows, 1, dim)
    }

    /// The row of `left` with the least ratio, of several the lowest. Its class is the rarest one, its score
    /// the ratio.
    ///
    /// # Errors
    /// Those of the pool and the engine.
    pub(crate) fn least(
        &mut self,
        imbalance: &Imbalance,
        means: &ClassMeans,
        left: &RowSet,
    ) -> Result<Option<Pick>> {
        self.majority.follow(&imbalance.majority, means, left)?;
        let has_mean = means.counts()[imbalance.rarest] > 0;
        if has_mean {
            self.rarest.follow(&[imbalance.rarest], means, left)?;
        }
        let most = (left.len() / ONE_OF).max(FEWEST);
        let candidates = loop {
            let candidates = self.candidates(left, has_mean);
            if candidates.len() <= most || !self.renew(left, has_mean)? {
                break candidates;
            }
        };
        self.settled += candidates.len() as u64;
        let settle = |row: usize| -> Result<(f64, usize)> {
            let over = self.majority.distances.settle(row)?.1;
            let from = match has_mean {
                true => self.rarest.distances.settle(row)?.1,
                false => 1.0,
            };
            Ok((ratio(from, over), row))
        };
        let settled = candidates.into_par_iter().with_min_len(8).map(settle);
        let settled = settled.collect::<Result<Vec<_>>>()?.into_iter();
        let least = settled.min_by(|(a, row_a), (b, row_b)| a.total_cmp(b).then(row_a.cmp(row_b)));
        Ok(least.map(|(ratio, row)| Pick {
            class: Some(imbalance.rarest as u32),
            score: Some(ratio),
            ..Pick::of_row(row)
        }))
    }

    /// The rows whose ratio may be the least.
    fn candidates(&self, left: &RowSet, has_mean: bool) -> Vec<usize> {
        let (rarest, majority) = (&self.rarest.distances, &self.majority.distances);
        let bounds = |row: usize| {
            let (least, most) = match has_mean {
                true => rarest.bounds(row),
                false => (1.0, 1.0),
            };
            let (near, far) = majority.bounds(row);
            // Rounding a quotient keeps the order of quotients.
            (ratio(least, far), ratio(most, near))
        };
        let rows = || (0..left.bound()).into_par_iter().with_min_len(4096);
        let rows = || rows().filter(|row| left.contains(*row));
        let limit = rows()
            .map(|row| bounds(row).1)
            .reduce(|| f64::INFINITY, f64::min);
        rows().filter(|row| bounds(*row).0 <= limit).collect()
    }

    /// Makes bounds anew that have widened; says whether there were any.
    fn renew(&mut self, left: &RowSet, has_mean: bool) -> Result<bool> {
        let rarest = has_mean.then_some(&mut self.rarest);
        for followed in rarest.into_iter().chain([&mut self.majority]) {
            if followed.distances.is_moved() {
                followed.distances.pass(left)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What it took: no picks.
    pub(crate) fn into_work(self) -> Selection {
        let mut work = self.rarest.distances.work;
        work.add_work(self.majority.distances.work);
        work.settled += self.settled;
        work
    }
}

/// Distances from the means of some classes.
struct Followed<'a> {
    distances: Distances<'a>,
    /// The classes, each with its number of rows when its mean was last looked at.
    classes: Vec<(usize, usize)>,
}

impl Followed<'_> {
    /// Takes the means of `classes`, each of which has a row, as they are now.
    fn follow(&mut self, classes: &[usize], means: &ClassMeans, left: &RowSet) -> Result<()> {
        let known = self.classes.iter().map(|(class, _)| class);
        if !known.eq(classes) {
            let vectors = classes.iter().map(|class| means.mean(*class));
            self.distances.set(vectors.collect(), left)?;
            let with_count = |class: &usize| (*class, means.counts()[*class]);
            self.classes = classes.iter().map(with_count).collect();
            return Ok(());
        }
        for (index, (class, count)) in self.classes.iter_mut().enumerate() {
            let now = means.counts()[*class];
            if *count != now {
                self.distances.move_to(index, means.mean(*class));
                *count = now;
            }
        }
        Ok(())
    }
}

/// A quotient of squared distances; +∞ where the second is 0.
fn ratio(from: f64, over: f64) -> f64 {
    match over == 0.0 {
        true => f64::INFINITY,
        false => from / over,
    }
}
