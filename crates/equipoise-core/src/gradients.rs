//! Least distances between the gradient embeddings of a pool's rows and those of a growing set of
//! centres, which are rows of the pool. As in `centres.rs`, an engine's passes leave bounds and float64
//! settles single rows; no vector of C·M numbers is made.

use std::sync::OnceLock;

use rayon::prelude::*;

use crate::centres::{DOUBTFUL, Found, Members, NONE};
use crate::definition::{dot_in_parts, gradient, gradient_distance};
use crate::engine::{GradientCentres, NearestGradient, Task, UNDECIDABLE};
use crate::exact_sums::ExactSums;
use crate::memory::ScanShape;
use crate::scan::Scan;
use crate::settle::pool_embedding;
use crate::strategies::{Request, Selection};
use crate::vectorised::vectorised;
use crate::vectors::{ROUNDING, finite_of, squares};
use crate::{Engine, Error, Head, Pool, Result, RowSet};

/// Most centres of a pass.
const TOGETHER: usize = 1024;

/// A centre's gradient, and ‖g‖²‖x‖².
struct Gradient {
    numbers: Vec<f64>,
    square: f64,
}

/// See the module.
pub(crate) struct Gradients<'a> {
    engine: &'a dyn Engine,
    /// What passes are asked: nobody wants to know of their progress.
    request: Request<'a>,
    head: &'a Head,
    sums: ExactSums<'a>,
    /// The rows looked at.
    pub(crate) rows: RowSet,
    /// ‖x‖² of all rows.
    squares: Vec<f64>,
    found: Vec<Found>,
    /// Per row, what its least distance is not above.
    upper: Vec<f32>,
    members: Members,
    gradients: Vec<OnceLock<Gradient>>,
    /// Centres that a pass has seen.
    passed: usize,
    /// What it took: no picks.
    pub(crate) selection: Selection,
}

impl<'a> Gradients<'a> {
    /// No centre, for the rows that `request` has available.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub(crate) fn new(
        engine: &'a dyn Engine,
        request: &Request<'a>,
        head: &'a Head,
    ) -> Result<Self> {
        let rows = request.pool.rows();
        Ok(Self {
            engine,
            request: Request {
                progress: &|_| {},
                ..request.clone()
            },
            head,
            sums: ExactSums::new(head),
            rows: request.available.clone(),
            squares: squares(request.pool)?,
            found: vec![Found::NOTHING; rows],
            upper: vec![f32::INFINITY; rows],
            members: Members::default(),
            gradients: Vec::new(),
            passed: 0,
            selection: Selection::default(),
        })
    }

    /// Bytes that it takes for a pool, a head and so many centres.
    pub(crate) fn bytes(pool: &dyn Pool, head: &Head, centres: usize) -> u64 {
        let each = size_of::<Found>() + size_of::<f64>() + size_of::<f32>();
        let (classes, dim) = (head.classes(), head.dim());
        let of_centres = centres * classes * 8 + TOGETHER.min(centres) * (dim + classes) * 4;
        (pool.rows() * each + of_centres) as u64 + ExactSums::bytes(head)
    }

    /// The shape of a pass, of `centres` centres in all.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub(crate) fn scan_shape(pool: &dyn Pool, head: &Head, centres: usize) -> Result<ScanShape> {
        let centres = centres.clamp(1, TOGETHER);
        ScanShape::of(head, pool, Task::NearestGradient { centres })
    }

    /// Makes a centre of a row of the pool. Distances count it from the next pass on.
    ///
    /// # Errors
    /// [`Error::NonFiniteRow`], [`Error::Read`].
    pub(crate) fn add(&mut self, row: usize) -> Result<()> {
        if !self.squares[row].is_finite() {
            return Err(Error::NonFiniteRow { row });
        }
        if self.members.add(self.request.pool, row)? {
            self.gradients.push(OnceLock::new());
        }
        Ok(())
    }

    /// Centres that no pass has seen.
    pub(crate) fn waiting(&self) -> usize {
        self.members.rows.len() - self.passed
    }

    /// Whether no pass has seen any centre: nothing is known of distances.
    pub(crate) fn is_unseen(&self) -> bool {
        self.passed == 0
    }

    /// Makes passes until none is waiting.
    ///
    /// # Errors
    /// Those of the pool and the engine.
    pub(crate) fn pass(&mut self) -> Result<()> {
        while self.waiting() > 0 {
            let first = self.passed;
            let end = self.members.rows.len().min(first + TOGETHER);
            let centres = self.centres(first..end)?;
            self.passed = end;
            let Some(centres) = centres else {
                self.found.fill(Found {
                    near: DOUBTFUL,
                    ..Found::NOTHING
                });
                continue;
            };
            let mut scan = Scan::of_gradients(self.engine, &self.request, self.head, &centres)?;
            let (found, upper, squares) = (&mut self.found, &mut self.upper, &self.squares);
            scan.nearest(&self.rows, |answer| {
                let rows = (answer.start.., &answer.gradients);
                let states = found[answer.start..].par_iter_mut();
                let states = states.zip(&mut upper[answer.start..]).with_min_len(4096);
                let squares = &squares[rows.0.start..];
                let all = states.zip(rows.1.par_iter().zip(squares));
                all.for_each(|((found, upper), (new, square))| {
                    let tolerance = new.nearest.tolerance;
                    let slack = (tolerance < UNDECIDABLE).then_some(tolerance);
                    if let Some(next) = Found::of(&new.nearest, first, slack) {
                        *found = found.joined(next);
                        *upper = upper.min(bound(*found, new, *square));
                    }
                });
            })?;
            self.selection.add_work(scan.exact.selection);
        }
        Ok(())
    }

    /// Some centres as engines take them; `None` where f32 cannot hold them.
    fn centres(&self, range: std::ops::Range<usize>) -> Result<Option<GradientCentres>> {
        let made = range
            .clone()
            .into_par_iter()
            .map(|k| self.gradient_of(k).map(drop));
        made.collect::<Result<()>>()?;
        let (mut embeddings, mut gradients, mut bias) = (Vec::new(), Vec::new(), Vec::new());
        for k in range.clone() {
            let row = self.members.rows[k];
            let gradient = self.gradient_of(k)?;
            embeddings.extend_from_slice(&pool_embedding(self.request.pool, row)?);
            gradients.extend(gradient.numbers.iter().map(|g| *g as f32));
            bias.push((-gradient.square / 2.0) as f32);
        }
        let finite = bias.iter().all(|bias| bias.is_finite());
        Ok(match finite {
            false => None,
            true => Some(GradientCentres {
                embeddings: Head::new(embeddings, vec![0.0; range.len()], self.head.dim())?,
                gradients: Head::new(gradients, vec![0.0; range.len()], self.head.classes())?,
                bias,
            }),
        })
    }

    /// What a row's least distance is not above.
    pub(crate) fn upper(&self) -> &[f32] {
        &self.upper
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.rows.is_empty()
    }

    /// Looks at all rows for the first time: those that are not finite are refused, or left out.
    ///
    /// # Errors
    /// [`Error::NonFiniteRow`], those of the pool and the engine.
    pub(crate) fn look(&mut self) -> Result<()> {
        let (finite, nonfinite) = finite_of(&self.rows, self.request.nonfinite, &self.squares)?;
        (self.rows, self.selection.nonfinite) = (finite, nonfinite);
        self.pass()
    }

    /// How many distances settling a row takes.
    pub(crate) fn distances_of(&self, row: usize) -> usize {
        self.near(row).len() + self.waiting()
    }

    /// The numbers of the centres, of those that a pass has seen, of which one is nearest to a row.
    fn near(&self, row: usize) -> std::ops::Range<usize> {
        match self.found[row].near {
            NONE => 0..0,
            DOUBTFUL => 0..self.passed,
            near => near as usize..near as usize + 1,
        }
    }

    /// A row's least squared distance to all centres, which it remembers as an upper bound; +∞ without a centre.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub(crate) fn settle(&mut self, row: usize) -> Result<f64> {
        self.selection.settled += 1;
        let (x, numbers) = self.row(row)?;
        let waiting = self.passed..self.members.rows.len();
        let all: Vec<usize> = self.near(row).chain(waiting).collect();
        let distances = all.par_iter().with_min_len(16).map(|k| -> Result<f64> {
            let centre = self.gradient_of(*k)?;
            let y = pool_embedding(self.request.pool, self.members.rows[*k])?;
            Ok(vectorised(
                #[inline(always)]
                || gradient_distance((&numbers, &x), (&centre.numbers, &y)),
            ))
        });
        let least = distances.try_reduce(|| f64::INFINITY, |a, b| Ok(a.min(b)))?;
        let near = least as f32;
        let above = if f64::from(near) < least {
            near.next_up()
        } else {
            near
        };
        self.upper[row] = self.upper[row].min(above);
        Ok(least)
    }

    /// A row's embedding and its gradient.
    fn row(&self, row: usize) -> Result<(std::borrow::Cow<'a, [f32]>, Vec<f64>)> {
        let x = pool_embedding(self.request.pool, row)?;
        let exact = self.sums.exact_rows([&x[..]]);
        Ok((x, gradient(&exact[0].logits)))
    }

    fn gradient_of(&self, k: usize) -> Result<&Gradient> {
        if let Some(made) = self.gradients[k].get() {
            return Ok(made);
        }
        let (x, numbers) = self.row(self.members.rows[k])?;
        let square = dot_in_parts(&numbers, &numbers) * dot_in_parts(&x, &x);
        Ok(self.gradients[k].get_or_init(|| Gradient { numbers, square }))
    }
}

/// What the least distance of a row of square `square` is not above, rounded up.
fn bound(found: Found, new: &NearestGradient, square: f64) -> f32 {
    if found.slack == f32::INFINITY {
        return f32::INFINITY;
    }
    let own = square * f64::from(new.square) * (1.0 + f64::from(new.error) + 1e-6);
    let least = own - 2.0 * (f64::from(found.top) - f64::from(found.slack));
    // What float64 makes of equal ones may be off by its rounding.
    let least = least.max(0.0) + ROUNDING * own;
    (least as f32).next_up()
}
