//! Logits of a row made exact to float32, where they matter: those of its predicted class and of what may be its nearest boundary,
//! and of the classes whose candidate it may be, if they are few. All others become upper bounds, from which lower bounds of
//! distances follow; [`Doubts`] tells how far below they may be.

use pulp::{Arch, Simd, WithSimd};

use super::rounding::{SIDE_BY_SIDE, total};
use crate::cpu::class_candidates::{below, is_nobodys};
use crate::cpu::logits::lanes;
use crate::cpu::row::{Doubts, LANES, Lowers, Row, argmax, near};
use crate::engine::LogitError;
use crate::tolerance::ROUNDING;
use crate::{Head, Values};

/// Candidates of a row that are few, as a part of the classes: refining their logits takes a small part of what
/// the product with all classes takes.
const FEW: u32 = 64;

/// So many times smaller than a threshold, what a rough distance may be off brings few more rows into a list.
const FINE: f32 = 16.0;

/// The error of a refined logit.
pub(crate) fn error(dim: usize) -> LogitError {
    let lanes = lanes(Arch::new());
    // Of sums side by side, and of those; or of the numbers that fill no vector.
    let chain = dim.div_ceil(SIDE_BY_SIDE * lanes) + lanes + 8;
    LogitError::of_sum(chain, ROUNDING)
}

/// Scratch memory, and what is known of the last row.
#[derive(Debug, Default)]
pub(crate) struct Refined {
    /// Whether a class's logit is exact to float32.
    known: Vec<bool>,
    /// How far below the others may be.
    depth: f32,
    /// Classes that matter.
    matter: Vec<usize>,
    /// Lower bounds by the other plausible class.
    other: Vec<f32>,
    /// The row, widened.
    wide: Vec<f32>,
    /// How many logits were refined.
    pub(crate) count: usize,
}

/// A row and what it is looked at for.
pub(crate) struct RoughRow<'a, 's> {
    pub(crate) head: &'a Head,
    pub(crate) x: Values<'a>,
    /// Scales of all classes to all, as [`Row::scales`].
    pub(crate) scales: &'a dyn Fn(usize) -> &'s [f32],
    /// What a candidate's lower bound lies below, per class, padded; `None` where no candidates are asked for.
    pub(crate) thresholds: Option<&'a [f32]>,
    /// How far its logits may be off.
    pub(crate) rough: f32,
    /// How far refined ones may be off.
    pub(crate) tolerance: f32,
}

/// What came of a row.
pub(crate) struct Look {
    /// The argmax.
    pub(crate) p: usize,
    pub(crate) found: Lowers,
    /// Whether logits were refined: not where rough ones will do, and tell predicted class and runner-up, or one of two.
    pub(crate) refined: bool,
}

impl<'s> RoughRow<'_, 's> {
    /// Refines what matters of the logits `z`, padded, whose argmax is `p`; `None` where the row is certainly nobody's candidate.
    /// `lower` has as many numbers, and holds the row's [`Row::lowers`] then.
    #[inline(always)]
    pub(crate) fn refine(
        &self,
        z: &mut [f32],
        p: usize,
        lower: &mut [f32],
        refined: &mut Refined,
    ) -> Option<Look> {
        let row = self.row(z, self.rough);
        let found = row.lowers(p, lower);
        let asked = self.thresholds.map(|to| (to, below(lower, to)));
        if asked.is_some_and(|(thresholds, below)| is_nobodys(p, found, thresholds, below)) {
            return None;
        }
        let (nearest, reach) = row.nearest(p, found, lower);
        // Those of candidates that are few enough to be refined.
        let mut thresholds = None;
        if let Some((all, below)) = asked {
            let few = below <= self.head.classes() as u32 / FEW;
            let slack = 2.0 * self.rough * (self.scales)(p)[nearest];
            let will_do = !few || slack * FINE < all[p];
            if will_do && found.certain() && near(lower, reach) <= 2 {
                return Some(Look {
                    p,
                    found,
                    refined: false,
                });
            }
            thresholds = few.then_some(all);
        }
        refined.begin(self);
        refined.seek(lower, thresholds, reach);
        refined.matter.push(p);
        for z in &mut z[..self.head.classes()] {
            *z += self.rough;
        }
        loop {
            refined.multiply(self, z);
            let p = argmax(z);
            if !refined.known[p] {
                refined.matter.push(p);
                continue;
            }
            let row = self.row(z, self.tolerance);
            let found = row.lowers(p, lower);
            let look = Look {
                p,
                found,
                refined: true,
            };
            if found.unscaled {
                // The bounds say nothing.
                return Some(look);
            }
            let (_, reach) = row.nearest(p, found, lower);
            refined.seek(lower, thresholds, reach);
            if refined.matter.is_empty() && !found.certain() {
                // Of equal weights, with no boundary between.
                let others = (0..self.head.classes()).filter(|c| *c != p && !refined.known[*c]);
                let plausible = others.filter(|c| row.is_plausible(p, *c));
                refined.matter.extend(plausible);
            }
            if let (true, Some(s)) = (refined.matter.is_empty(), row.other(p, found)) {
                let mut other = std::mem::take(&mut refined.other);
                other.resize(lower.len(), 0.0);
                row.lowers(s, &mut other);
                refined.seek(&other, thresholds, reach);
                refined.other = other;
            }
            if refined.matter.is_empty() {
                return Some(look);
            }
        }
    }

    fn row<'z>(&'z self, z: &'z [f32], tolerance: f32) -> Row<'z, 's> {
        Row {
            z,
            tolerance,
            doubts: None,
            scales: self.scales,
        }
    }
}

impl Refined {
    /// Of the row last refined.
    pub(crate) fn doubts(&self) -> Doubts<'_> {
        Doubts {
            known: &self.known,
            depth: self.depth,
        }
    }

    fn begin(&mut self, row: &RoughRow<'_, '_>) {
        self.known.clear();
        self.known.resize(row.head.classes(), false);
        self.depth = 2.0 * row.rough;
        if let Values::F16(_) = row.x {
            self.wide.resize(row.x.len(), 0.0);
            row.x.widen(&mut self.wide);
        }
    }

    /// Adds the classes not refined whose lower bounds are below their thresholds, or not above `reach`.
    #[inline(always)]
    fn seek(&mut self, lower: &[f32], thresholds: Option<&[f32]>, reach: f32) {
        for (chunk, lower) in lower.chunks_exact(LANES).enumerate() {
            let first = chunk * LANES;
            let mut found = 0u32;
            for (lane, lower) in lower.iter().enumerate() {
                found |= u32::from(*lower <= reach) << lane;
            }
            let thresholds = thresholds.map_or(&[][..], |thresholds| &thresholds[first..]);
            for (lane, (lower, threshold)) in lower.iter().zip(thresholds).enumerate() {
                found |= u32::from(lower < threshold) << lane;
            }
            while found != 0 {
                let class = first + found.trailing_zeros() as usize;
                found &= found - 1;
                if self.known.get(class) == Some(&false) {
                    self.matter.push(class);
                }
            }
        }
    }

    /// Refines the logits of the classes that matter.
    #[inline(always)]
    fn multiply(&mut self, row: &RoughRow<'_, '_>, z: &mut [f32]) {
        let known = &mut self.known;
        self.matter
            .retain(|class| !std::mem::replace(&mut known[*class], true));
        self.count += self.matter.len();
        let x = match row.x {
            Values::F32(x) => x,
            Values::F16(_) => &self.wide,
        };
        Arch::new().dispatch(Dots {
            x,
            head: row.head,
            classes: &self.matter,
            put: |class, product| z[class] = product + row.head.bias()[class],
        });
        self.matter.clear();
    }
}

/// Dots in float32 of `x` with the weights of some classes: `put` gets each class with its product.
struct Dots<'a, F> {
    x: &'a [f32],
    head: &'a Head,
    classes: &'a [usize],
    put: F,
}

impl<F: FnMut(usize, f32)> WithSimd for Dots<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for class in self.classes {
            (self.put)(*class, dot(simd, self.x, self.head.class_weight(*class)));
        }
    }
}

#[inline(always)]
fn dot<S: Simd>(simd: S, x: &[f32], weights: &[f32]) -> f32 {
    let (x, x_rest) = S::as_simd_f32s(x);
    let (weights, weights_rest) = S::as_simd_f32s(weights);
    let (groups, last) = x.as_chunks::<SIDE_BY_SIDE>();
    let (of_groups, of_last) = weights.as_chunks::<SIDE_BY_SIDE>();
    let mut sums = [simd.splat_f32s(0.0); SIDE_BY_SIDE];
    for (x, weights) in groups.iter().zip(of_groups) {
        for lane in 0..SIDE_BY_SIDE {
            sums[lane] = simd.mul_add_e_f32s(x[lane], weights[lane], sums[lane]);
        }
    }
    for (lane, (x, weights)) in last.iter().zip(of_last).enumerate() {
        sums[lane] = simd.mul_add_e_f32s(*x, *weights, sums[lane]);
    }
    let rest = x_rest
        .iter()
        .zip(weights_rest)
        .map(|(x, weight)| x * weight);
    total(simd, sums) + rest.sum::<f32>()
}
