//! The operations a strategy's scan may ask of a device.
//!
//! An engine's pass is fast and approximate; what it returns are *bounds*. The caller settles in
//! float64 what the bounds cannot decide, so that every engine leads to the same picks.
//! `docs/exactness.md` derives the bounds.
//!
//! The arithmetic below is normative for every engine. A row's tolerance `t` says how far its
//! approximate logits `z` may each lie from the exact ones: [`Tolerance`] makes it from the row's
//! norm. With `p = argmax z` (ties: lowest class) and, for `a ≠ b`, `gap = max(z[a] − z[b], 0)`,
//! `slack = 2 t + gap · GAP_ROUNDING`:
//! - `lower(a, b) = max(gap − slack, 0) · scale[a][b] · (1 − BOUND_ROUNDING)`
//! - `upper(a, b) = (gap + slack) · scale[a][b] · (1 + BOUND_ROUNDING)`
//!
//! bound the distance to the boundary between `a` and `b` where `a` is the predicted class;
//! `scale` is [`boundary_scale`]'s, and both are [`UNREACHABLE`] where it is [`NO_BOUNDARY`].
//!
//! A class `c ≠ p` is *plausible* if `gap − slack > 0` fails for `(p, c)`: it may be the predicted one.
//! - None is plausible: `p` is certain. The row's score for `c ≠ p` lies within `lower(p, c)` and
//!   `upper(p, c)`; with `r` the class of the least `lower(p, ·)`, its score for `p` lies within
//!   `lower(p, r)` and `upper(p, r)`, and `r` is certainly the runner-up if `upper(p, r)` is below
//!   every other `lower(p, ·)`. If one of those, of class `v`, is not above it, `v` is its rival.
//! - One, `s`, is plausible: the row's score for `p` and for `s` lies within 0 and `upper(p, s)`, and for
//!   another `c` within the lesser of `lower(p, c)`, `lower(s, c)` and the larger of the uppers. If
//!   `upper(p, s)` is below all those lowers, `p` and `s` are predicted class and runner-up, in one
//!   order or the other: a [`PAIR`].
//! - More are plausible, or a scale among those needed is [`UNSCALED`], or `scale[p][s]` is
//!   [`NO_BOUNDARY`]: the bounds say nothing.

use crate::memory::{MemoryPlan, ScanShape};
use crate::{Head, Pool, Result, RowSet};

pub use crate::candidates::{Candidates, Codes, Place};
pub use crate::custom_score::{CustomScore, Rounding};
pub use crate::scale::{BoundaryScales, boundary_scale};
pub use crate::tolerance::{GradientTolerance, LogitError, Tolerance};

/// Distance that stands for +∞ on a device, where infinities cannot be relied on.
pub const UNREACHABLE: f32 = 3.0e38;

/// Threshold under which every distance lies, [`UNREACHABLE`] too.
pub const ACCEPT_ALL: f32 = f32::MAX;

/// Threshold under which no distance lies: the class takes no candidates.
pub const ACCEPT_NONE: f32 = -1.0;

/// Tolerance of a row that is not available: it yields no candidate and its statistics are unspecified.
pub const UNAVAILABLE: f32 = -1.0;

/// Tolerance of an available row that holds a NaN or an infinity; otherwise as [`UNAVAILABLE`].
pub const NONFINITE: f32 = -2.0;

/// Tolerance (this or more) of a row about which f32 arithmetic says nothing: its logits may not be
/// finite. It yields one [`ALL_CLASSES`] candidate; its statistics are unspecified.
pub const UNDECIDABLE: f32 = 1.0e37;

/// The class of a candidate about which the bounds say nothing: a candidate of every class.
pub const ALL_CLASSES: u32 = u32::MAX;

/// A class that is not known, or not there.
pub const NO_CLASS: u32 = u32::MAX;

/// Bit of a predicted class that is certain but for its order with the runner-up. Classes are below it.
pub const PAIR: u32 = 1 << 31;

/// Relative rounding of one f32 subtraction, with room: WGSL promises 2⁻²³.
pub const GAP_ROUNDING: f32 = 1.0 / (1 << 22) as f32;

/// Relative rounding of the scale and of the few f32 products that make a bound, with room.
pub const BOUND_ROUNDING: f32 = 1.0 / (1 << 11) as f32;

/// Scale of two classes with equal weights: there is no boundary, the distance is +∞.
pub const NO_BOUNDARY: f32 = 0.0;

/// Scale of two classes whose weights are nearer or farther apart than f32 can use.
pub const UNSCALED: f32 = -1.0;

/// A row that may have a place in a class's list.
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Candidate {
    /// Row in the block.
    pub row: u32,
    /// The class, or [`ALL_CLASSES`] where the bounds say nothing.
    pub class: u32,
    /// The predicted class, with [`PAIR`] if it may be the runner-up, or [`NO_CLASS`].
    pub predicted: u32,
    /// The class of the nearest boundary, or [`NO_CLASS`].
    pub runner_up: u32,
    /// The class of the nearest boundary if it is not that of `runner_up`; [`NO_CLASS`] where that is certain.
    pub rival: u32,
    /// Lower bound of the row's score for `class`; 0 with [`ALL_CLASSES`].
    pub lower: f32,
    /// Upper bound of it; [`UNREACHABLE`] with [`ALL_CLASSES`].
    pub upper: f32,
}

impl Candidate {
    /// The candidate of a row about which the bounds say nothing.
    pub fn unknown(row: u32) -> Self {
        Self {
            row,
            class: ALL_CLASSES,
            predicted: NO_CLASS,
            runner_up: NO_CLASS,
            rival: NO_CLASS,
            lower: 0.0,
            upper: UNREACHABLE,
        }
    }

    /// What it says of its row, whatever its class.
    pub fn codes(&self) -> Codes {
        Codes {
            predicted: self.predicted,
            runner_up: self.runner_up,
            rival: self.rival,
        }
    }
}

/// What the per-row scores are made of. With `z` sorted in descending order, z₁ ≥ z₂ ≥ …:
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct RowStatistics {
    /// How far each logit may be off, or [`UNAVAILABLE`], [`NONFINITE`] or [`UNDECIDABLE`].
    pub tolerance: f32,
    /// As [`Candidate::predicted`].
    pub predicted: u32,
    /// As [`Candidate::runner_up`].
    pub runner_up: u32,
    /// As [`Candidate::rival`].
    pub rival: u32,
    /// z₁ − z₂; [`UNREACHABLE`] where C = 1.
    pub gap: f32,
    /// Σ_{i≥2} e^{zᵢ−z₂}, at least 1; 0 where C = 1.
    pub sum: f32,
    /// Σ_{i≥2} (z₂−zᵢ) e^{zᵢ−z₂}; 0 where C = 1.
    pub moment: f32,
    /// Lower bound of the MASE score, min over c ≠ p of the distance; 0 where the bounds say nothing.
    pub mase_lower: f32,
    /// Upper bound of it; [`UNREACHABLE`] where the bounds say nothing.
    pub mase_upper: f32,
}

/// Which of some centres is nearest to a row. Centres are scored as classes are: with weight `c` and bias
/// −‖c‖²/2 a row's logit is (‖x‖² − d²)/2, and the largest logit belongs to the nearest centre.
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Nearest {
    /// How far each logit may be off, or [`UNAVAILABLE`], [`NONFINITE`] or [`UNDECIDABLE`]: then the rest is
    /// unspecified.
    pub tolerance: f32,
    /// The centre of the largest logit, ties to the lowest.
    pub centre: u32,
    /// The largest logit.
    pub top: f32,
    /// The second largest, which may equal it; −[`UNREACHABLE`] where there is one centre.
    pub second: f32,
}

/// Which of some centres is nearest to a row's gradient embedding g ⊗ x, g the softmax of its logits less the
/// one-hot of its predicted class. With logit (g·g_k)(x·x_k) − ‖g_k‖²‖x_k‖²/2 of centre k, the largest belongs
/// to the nearest.
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct NearestGradient {
    /// As of embeddings.
    pub nearest: Nearest,
    /// ‖g‖².
    pub square: f32,
    /// Its relative error.
    pub error: f32,
}

/// Centres among gradient embeddings: K of them.
#[derive(Debug, Clone)]
pub struct GradientCentres {
    /// Their embeddings x, (K, M), without bias.
    pub embeddings: Head,
    /// Their gradients g, (K, C), without bias.
    pub gradients: Head,
    /// −‖g‖²‖x‖²/2 of each, finite.
    pub bias: Vec<f32>,
}

impl GradientCentres {
    /// Whether they fit each other and the head that makes the gradients.
    ///
    /// # Errors
    /// [`crate::Error::Shape`].
    pub fn check(&self, head: &Head) -> Result<()> {
        let (embeddings, gradients) = (&self.embeddings, &self.gradients);
        let count = embeddings.classes();
        let expected = (count, count, head.dim(), head.classes());
        let found = (
            gradients.classes(),
            self.bias.len(),
            embeddings.dim(),
            gradients.dim(),
        );
        match found == expected {
            true => Ok(()),
            false => Err(crate::Error::Shape {
                what: "gradients, biases, dimension and classes of centres".into(),
                expected: format!("{expected:?}"),
                found: format!("{found:?}"),
            }),
        }
    }
}

/// The key of a row by a [`CustomScore`].
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct RowKey {
    /// How far each logit may be off, or [`UNAVAILABLE`], [`NONFINITE`] or [`UNDECIDABLE`]: then the key is
    /// unspecified.
    pub tolerance: f32,
    /// The key of the approximate logits, [`CustomScore::rounding`] aside; not finite where it is not known.
    pub key: f32,
}

/// How exact an engine's f32 arithmetic is, once it has the logits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Precision {
    /// Largest relative error of one addition, multiplication or fused multiply-add.
    pub unit: f64,
    /// Largest relative error of `exp` is `exp_constant + exp_slope · |x|` times `unit`.
    pub exp_constant: f64,
    /// See `exp_constant`.
    pub exp_slope: f64,
}

/// What a scan wants to know of a block of rows. Each is a kernel with a twin on every engine.
#[derive(Debug, Clone, Copy)]
pub enum Question<'a> {
    /// Every row's statistics (kernel `row_statistics`).
    RowStatistics {
        /// Whether `gap`, `sum` and `moment` are wanted; if not, they are unspecified.
        exponentials: bool,
    },
    /// Every candidate with `lower < thresholds[class]` (C thresholds), and one [`ALL_CLASSES`]
    /// candidate for each row about which the bounds say nothing (kernel `class_candidates`).
    ClassCandidates {
        /// Per class, what a candidate's lower bound must lie below.
        thresholds: &'a [f32],
    },
    /// Every row's key by a score of somebody's own (kernel `row_keys`).
    RowKeys {
        /// The score.
        score: &'a dyn CustomScore,
    },
    /// Every row's nearest centre (kernel `nearest`).
    Nearest,
    /// The nearest centre of every row's gradient embedding (kernels `gradients` and `nearest_gradient`).
    NearestGradient,
}

/// What a scorer will be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Task {
    /// [`Question::RowStatistics`], [`Question::ClassCandidates`] and [`Question::RowKeys`].
    #[default]
    Boundaries,
    /// [`Question::Nearest`] alone: no scale is needed.
    Nearest,
    /// [`Question::NearestGradient`] alone, of so many centres: the scorer is [`Engine::gradient_scorer`]'s.
    NearestGradient {
        /// Number of centres, K.
        centres: usize,
    },
}

/// What came of a block. The scan keeps one and has it filled again and again.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// First row of the block, in the pool.
    pub start: usize,
    /// Number of rows.
    pub rows: usize,
    /// Available rows of the block that hold a NaN or an infinity, ascending, counted in the pool.
    pub nonfinite: Vec<usize>,
    /// One for each row, to [`Question::RowStatistics`].
    pub statistics: Vec<RowStatistics>,
    /// One for each row, to [`Question::RowKeys`].
    pub keys: Vec<RowKey>,
    /// One for each row, to [`Question::Nearest`].
    pub nearest: Vec<Nearest>,
    /// One for each row, to [`Question::NearestGradient`].
    pub gradients: Vec<NearestGradient>,
    /// To [`Question::ClassCandidates`], in as many parts as suits the engine, each of rows after those before it.
    pub candidates: Vec<Candidates>,
    /// The candidates are more than the device has room for, and there are none here: the caller
    /// asks again with fewer rows. A block of one row always fits.
    pub overflow: bool,
}

impl Answer {
    /// Forgets the last block, and keeps its memory for the next one's.
    pub fn clear(&mut self) {
        self.overflow = false;
        self.nonfinite.clear();
        self.statistics.clear();
        self.keys.clear();
        self.nearest.clear();
        self.gradients.clear();
        self.candidates.iter_mut().for_each(Candidates::clear);
    }
}

/// A device that scores embeddings.
pub trait Engine: Send + Sync {
    /// What to call it in messages: `cpu`, or the adapter's name.
    fn name(&self) -> &str;

    /// What a scan of that shape will take, within the memory budget that the engine was given.
    ///
    /// # Errors
    /// [`crate::Error::MemoryBudget`] where the budget is too small, [`crate::Error::Device`] where head
    /// or rows do not fit the device.
    fn plan(&self, shape: ScanShape) -> Result<MemoryPlan>;

    /// A scorer of `pool`'s rows for `head`, which it copies to where it needs it, and for the questions of
    /// `task`.
    ///
    /// # Errors
    /// As [`Engine::plan`]; [`crate::Error::OutOfMemory`] where the device's memory does not suffice,
    /// [`crate::Error::Device`] where it fails.
    fn scorer<'a>(
        &'a self,
        head: &Head,
        pool: &'a dyn Pool,
        task: Task,
    ) -> Result<Box<dyn Scorer + 'a>>;

    /// A scorer of `pool`'s rows for [`Question::NearestGradient`]: `head` makes the gradients. It copies what
    /// it is given to where it needs it.
    ///
    /// # Errors
    /// As [`Engine::scorer`]; [`crate::Error::Shape`] where head and centres do not fit each other.
    fn gradient_scorer<'a>(
        &'a self,
        head: &Head,
        centres: &GradientCentres,
        pool: &'a dyn Pool,
    ) -> Result<Box<dyn Scorer + 'a>>;

    /// The engine that goes on where this one fails.
    fn fallback(&self) -> Option<&dyn Engine> {
        None
    }
}

/// Scores blocks of a pool's rows against one head. Blocks may overlap in time: several can be
/// submitted before the first is collected.
pub trait Scorer {
    /// Most rows of a block, at least 1.
    fn max_rows(&self) -> usize;

    /// Most blocks in flight, at least 1: submitted, not yet collected.
    fn depth(&self) -> usize;

    /// How exact the arithmetic behind [`RowStatistics`] is.
    fn precision(&self) -> Precision;

    /// Begins to score the rows from `start` on, at most `rows` of them (and [`Scorer::max_rows`]):
    /// returns how many it took, at least one, fewer where the pool's storage breaks.
    ///
    /// # Errors
    /// [`crate::Error::Read`] where the pool cannot be read, [`crate::Error::Device`] and
    /// [`crate::Error::OutOfMemory`] where the device fails. Nothing is in flight afterwards.
    fn submit(
        &mut self,
        start: usize,
        rows: usize,
        available: &RowSet,
        question: Question<'_>,
    ) -> Result<usize>;

    /// Waits for the oldest block in flight and writes what came of it to `answer`.
    ///
    /// # Errors
    /// As [`Scorer::submit`]. Nothing is in flight afterwards.
    fn collect(&mut self, answer: &mut Answer) -> Result<()>;

    /// Drops every block in flight.
    fn discard(&mut self);
}
