//! Scores of rows that a crate of somebody's own defines.

/// A score of rows by their logits, with what it takes to rank by it exactly on every device.
///
/// Devices compute keys in f32, of logits that are themselves approximate. Where the bounds that follow from
/// [`CustomScore::steepness`] and [`CustomScore::rounding`] do not tell which rows come first, [`CustomScore::key`] of the
/// exact logits decides. The picks are therefore those of `key`, whatever ran the scan, as long as the bounds hold.
///
/// `docs/adding-a-kernel.md` has a complete example.
pub trait CustomScore: Send + Sync {
    /// What to call it in messages.
    fn name(&self) -> &str;

    /// The key of a row whose C logits are `logits`: the smallest are picked first, ties to the lowest row. It must not
    /// depend on anything else. NaN counts as +∞.
    fn key(&self, logits: &[f64]) -> f64;

    /// How far the key moves at most if no logit moves by more than 1: a bound on Σ|∂key/∂z|. Infinite where there
    /// is none: then every row is settled, which is slow and right. Negative numbers and NaN are refused.
    fn steepness(&self) -> f64;

    /// WGSL that defines `fn row_key(row: u32) -> f32`: the key in f32. It may call `classes() -> u32` and
    /// `logit(row: u32, c: u32) -> f32`, and define functions and constants of its own. One lane runs it for each row. A
    /// row for which it asks for a logit of another row, or of a class beyond the last, gets 0 there and is settled. It must
    /// end: nothing can stop a device that loops.
    fn wgsl(&self) -> &str;

    /// How far what `wgsl` computes may be from `key` of the same f32 logits.
    fn rounding(&self) -> Rounding;
}

impl std::fmt::Debug for dyn CustomScore + '_ {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A bound on an error: `absolute + relative · |key|`, neither of them negative or NaN. WGSL's additions and multiplications are within 2⁻²³ of what
/// they should be, relative; its functions say their own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rounding {
    /// Whatever the key is.
    pub absolute: f64,
    /// Relative to the computed key.
    pub relative: f64,
}

impl Rounding {
    /// Lower and upper bound of the key of exact logits, from a computed one of logits off by at most `tolerance`.
    pub(crate) fn interval(self, key: f32, moved: f64) -> (f64, f64) {
        let key = f64::from(key);
        let relative = self.relative + f64::from(f32::EPSILON);
        let error = moved + self.absolute + relative * key.abs() + FLUSHED;
        match key.is_finite() && error.is_finite() {
            true => (key - error, key + error),
            false => (f64::NEG_INFINITY, f64::INFINITY),
        }
    }
}

/// Below this, f32 may count as 0.
const FLUSHED: f64 = 1.2e-38;

/// A key as rows are ordered by it: NaN counts as +∞.
pub(crate) fn ordered(key: f64) -> f64 {
    match key.is_nan() {
        true => f64::INFINITY,
        false => key,
    }
}
