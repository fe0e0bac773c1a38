//! What the row kernels share: a row's predicted class, and bounds on its distances to the
//! boundaries, as `engine.rs` says. Everything is inlined into loops that are compiled once for each
//! instruction set, over lines padded to whole vectors.

use crate::engine::{
    BOUND_ROUNDING, GAP_ROUNDING, NO_BOUNDARY, NO_CLASS, PAIR, UNREACHABLE, UNSCALED,
};

/// Numbers handled side by side; lines are padded to a multiple of it.
pub(crate) const LANES: usize = 16;

/// What logits are padded with: below every logit.
pub(crate) const NO_LOGIT: f32 = -UNREACHABLE;

/// Adds `bias` to `z` and returns the argmax, ties to the lowest class.
#[inline(always)]
pub(crate) fn add_bias(z: &mut [f32], bias: &[f32]) -> usize {
    let mut most = i32::MIN;
    for (z, bias) in z.iter_mut().zip(bias) {
        *z += bias;
        most = most.max(ordered(*z));
    }
    first(z, |z| ordered(z) == most)
}

/// The argmax, ties to the lowest class.
#[inline(always)]
pub(crate) fn argmax(z: &[f32]) -> usize {
    let mut most = i32::MIN;
    for z in z {
        most = most.max(ordered(*z));
    }
    first(z, |z| ordered(z) == most)
}

/// The bits of a float as an integer that is ordered as floats are. Integers, unlike floats, the
/// compiler may compare in any order, and so several at a time.
#[inline(always)]
pub(crate) fn ordered(x: f32) -> i32 {
    let bits = x.to_bits() as i32;
    bits ^ (((bits >> 31) as u32) >> 1) as i32
}

/// The float that [`ordered`] made this of.
#[inline(always)]
pub(crate) fn unordered(bits: i32) -> f32 {
    f32::from_bits((bits ^ (((bits >> 31) as u32) >> 1) as i32) as u32)
}

/// The larger of two, in the form that compiles to one instruction.
#[inline(always)]
pub(crate) fn larger(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

#[inline(always)]
fn smaller(a: f32, b: f32) -> f32 {
    if b < a { b } else { a }
}

/// Index of the first number that `is` it, 0 if there is none.
#[inline(always)]
fn first(numbers: &[f32], is: impl Fn(f32) -> bool) -> usize {
    let mut least = u32::MAX;
    for (index, number) in (0u32..).zip(numbers) {
        least = least.min(if is(*number) { index } else { u32::MAX });
    }
    if least == u32::MAX { 0 } else { least as usize }
}

/// How many lower bounds are not above `upper`.
#[inline(always)]
pub(crate) fn near(lower: &[f32], upper: f32) -> u32 {
    let mut near = 0;
    for lower in lower {
        near += u32::from(*lower <= upper);
    }
    near
}

/// The class other than `nearest` whose lower bound is not above `upper`.
fn rival(lower: &[f32], nearest: usize, upper: f32) -> u32 {
    let mut others = (0..lower.len()).filter(|c| lower[*c] <= upper && *c != nearest);
    others.next().map_or(NO_CLASS, |c| c as u32)
}

/// Whether the class of logit `z` may be the predicted one, where `top` is the largest.
#[inline(always)]
pub(crate) fn is_plausible(top: f32, z: f32, tolerance: f32) -> bool {
    let gap = larger(0.0, top - z);
    gap - (2.0 * tolerance + gap * GAP_ROUNDING) <= 0.0
}

/// One row's logits and what bounds them.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a, 's> {
    /// Logits, with bias, padded with [`NO_LOGIT`].
    pub(crate) z: &'a [f32],
    /// How far each may be off.
    pub(crate) tolerance: f32,
    /// Where some are upper bounds.
    pub(crate) doubts: Option<Doubts<'a>>,
    /// Scales of all classes to all, (C, stride), padded with [`NO_BOUNDARY`]; or those of this row's
    /// predicted class and of whichever others it needs.
    pub(crate) scales: &'a dyn Fn(usize) -> &'s [f32],
}

/// Which logits are upper bounds, from which the logits are `depth` away at most: neither the predicted class's, nor those of
/// what may be its nearest boundary.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Doubts<'a> {
    /// Per class, whether it is a logit.
    pub(crate) known: &'a [bool],
    /// How far below an upper bound the logit may be.
    pub(crate) depth: f32,
}

/// What the bounds say of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Verdict {
    /// The predicted class is certain.
    Certain {
        p: usize,
        /// The runner-up and, where that is not certain, its rival; [`NO_CLASS`] where there are more.
        runner_up: u32,
        rival: u32,
        /// Bounds of the MASE score.
        mase: (f32, f32),
    },
    /// The predicted class is `p` or `s`.
    Either {
        p: usize,
        s: usize,
        /// Whether the other one is the runner-up.
        pair: bool,
        /// Upper bound of the MASE score.
        upper: f32,
    },
    /// Nothing.
    Nothing,
}

impl Verdict {
    /// As candidates carry them: predicted class, runner-up and its rival.
    pub(crate) fn codes(&self) -> (u32, u32, u32) {
        match *self {
            Verdict::Certain {
                p,
                runner_up,
                rival,
                ..
            } => (p as u32, runner_up, rival),
            Verdict::Either {
                p, s, pair: true, ..
            } => (p as u32 | PAIR, s as u32, NO_CLASS),
            _ => (NO_CLASS, NO_CLASS, NO_CLASS),
        }
    }
}

/// What a pass over a row's lower bounds finds.
#[derive(Clone, Copy)]
pub(crate) struct Lowers {
    pub(crate) least: f32,
    /// Classes that may be the predicted one, it included.
    plausible: u32,
    pub(crate) unscaled: bool,
}

impl Lowers {
    /// Whether the predicted class is certain.
    #[inline(always)]
    pub(crate) fn certain(&self) -> bool {
        self.plausible == 1 && !self.unscaled
    }
}

impl<'s> Row<'_, 's> {
    /// What the bounds say of a row whose argmax is `p`, of which `found` and `lower` are the
    /// [`Row::lowers`]. Afterwards `lower` holds the lower bound of the score for each class.
    pub(crate) fn judge(&self, p: usize, found: Lowers, lower: &mut [f32]) -> Verdict {
        if found.unscaled || found.plausible > 2 {
            return Verdict::Nothing;
        }
        if found.plausible == 2 {
            return self.judge_either(p, found, lower);
        }
        let (nearest, upper) = self.nearest(p, found, lower);
        let (runner_up, rival) = match near(lower, upper) {
            1 => (nearest as u32, NO_CLASS),
            2 => (nearest as u32, rival(lower, nearest, upper)),
            _ => (NO_CLASS, NO_CLASS),
        };
        lower[p] = found.least;
        Verdict::Certain {
            p,
            runner_up,
            rival,
            mase: (found.least, upper),
        }
    }

    /// The class of the nearest boundary, by the lower bounds `lower` of a row whose argmax is `p`, and that distance's upper
    /// bound.
    #[inline(always)]
    pub(crate) fn nearest(&self, p: usize, found: Lowers, lower: &[f32]) -> (usize, f32) {
        let nearest = first(lower, |lower| lower == found.least);
        let upper = match nearest == p {
            // Every boundary is infinitely far, or there is none.
            true => UNREACHABLE,
            false => self.upper(p, nearest, (self.scales)(p)),
        };
        (nearest, upper)
    }

    /// The one plausible class beside the argmax `p`, if there is just one.
    #[inline(always)]
    pub(crate) fn other(&self, p: usize, found: Lowers) -> Option<usize> {
        match found.plausible {
            2 => (0..self.z.len()).find(|c| *c != p && self.is_plausible(p, *c)),
            _ => None,
        }
    }

    /// Whether a class may be the predicted one, of a row whose argmax is `p`.
    #[inline(always)]
    pub(crate) fn is_plausible(&self, p: usize, class: usize) -> bool {
        is_plausible(self.z[p], self.z[class], self.tolerance)
    }

    /// Writes `lower(p, ·)`, with [`UNREACHABLE`] for `p` itself.
    #[inline(always)]
    pub(crate) fn lowers(&self, p: usize, lower: &mut [f32]) -> Lowers {
        let scale = (self.scales)(p);
        let top = self.z[p];
        let tolerance = 2.0 * self.tolerance;
        let (mut least, mut plausible, mut unscaled) = (i32::MAX, 0, 0);
        for ((z, scale), lower) in self.z.iter().zip(scale).zip(lower) {
            let gap = larger(0.0, top - z);
            let sure = gap - (tolerance + gap * GAP_ROUNDING);
            plausible += u32::from(sure <= 0.0);
            unscaled |= u32::from(*scale == UNSCALED);
            let bound = larger(0.0, sure) * scale * (1.0 - BOUND_ROUNDING);
            let bound = if *scale == NO_BOUNDARY {
                UNREACHABLE
            } else {
                bound
            };
            *lower = bound;
            least = least.min(ordered(bound));
        }
        Lowers {
            // Bounds are not negative, and so their own bits.
            least: f32::from_bits(least as u32),
            plausible,
            unscaled: unscaled > 0,
        }
    }

    /// `upper(a, b)`.
    #[inline(always)]
    pub(crate) fn upper(&self, a: usize, b: usize, scale: &[f32]) -> f32 {
        if scale[b] == NO_BOUNDARY {
            return UNREACHABLE;
        }
        self.upper_of(self.z[a], self.z[b], scale[b])
    }

    /// `upper(a, b)` of logits and a scale, if there is a boundary.
    #[inline(always)]
    fn upper_of(&self, z_a: f32, z_b: f32, scale: f32) -> f32 {
        let gap = larger(0.0, z_a - z_b);
        let slack = 2.0 * self.tolerance + gap * GAP_ROUNDING;
        (gap + slack) * scale * (1.0 + BOUND_ROUNDING)
    }

    /// `upper(p, ·)` of the classes from `first` on.
    #[inline(always)]
    pub(crate) fn uppers(&self, p: usize, first: usize, scale: &[f32]) -> [f32; LANES] {
        let mut uppers = [UNREACHABLE; LANES];
        let mut least = [NO_LOGIT; LANES];
        for (least, z) in least.iter_mut().zip(&self.z[first..]) {
            *least = *z;
        }
        if let Some(Doubts { known, depth }) = self.doubts {
            for (least, known) in least.iter_mut().zip(&known[first.min(known.len())..]) {
                *least -= if *known { 0.0 } else { depth };
            }
        }
        let others = least.iter().zip(&scale[first..]);
        for (upper, (z, scale)) in uppers.iter_mut().zip(others) {
            let bound = self.upper_of(self.z[p], *z, *scale);
            *upper = if *scale == NO_BOUNDARY {
                UNREACHABLE
            } else {
                bound
            };
        }
        uppers
    }

    /// Of a row with one plausible class beside `p`: `lower` holds `lower(p, ·)`.
    fn judge_either(&self, p: usize, found: Lowers, lower: &mut [f32]) -> Verdict {
        let Some(s) = self.other(p, found) else {
            return Verdict::Nothing;
        };
        let scale = (self.scales)(p);
        let mut other = vec![0.0; lower.len()];
        let of_other = self.lowers(s, &mut other);
        if of_other.unscaled || scale[s] == NO_BOUNDARY {
            return Verdict::Nothing;
        }
        let upper = self.upper(p, s, scale);
        let mut rest = UNREACHABLE;
        for (c, (lower, other)) in lower.iter_mut().zip(&other).enumerate() {
            match c == p || c == s {
                true => *lower = 0.0,
                false => {
                    *lower = smaller(*lower, *other);
                    rest = smaller(rest, *lower);
                }
            }
        }
        Verdict::Either {
            p,
            s,
            pair: upper < rest,
            upper,
        }
    }
}
