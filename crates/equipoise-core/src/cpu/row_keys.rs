//! Kernel `row_keys`: the key of a row by a score of somebody's own, of its f32 logits.

use crate::engine::{CustomScore, RowKey};

/// The key of the row with logits `z`, C of them.
pub(crate) fn run(
    score: &dyn CustomScore,
    z: &[f32],
    tolerance: f32,
    wide: &mut Vec<f64>,
) -> RowKey {
    wide.clear();
    wide.extend(z.iter().map(|z| f64::from(*z)));
    RowKey {
        tolerance,
        key: score.key(wide) as f32,
    }
}
