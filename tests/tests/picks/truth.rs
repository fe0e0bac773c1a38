//! True classes of generated cases.

use equipoise_core::random::{Philox, Purpose};
use equipoise_tests::cases::Shape;

/// A class for each row, low ones more often.
pub(crate) fn truth(shape: &Shape, classes: usize) -> Vec<Option<u32>> {
    let numbers = Philox::new(shape.seed, Purpose::Drawing, 0, 1);
    let class = |row: usize| (numbers.uniform(row as u64).powi(2) * classes as f64) as u32;
    (0..shape.rows).map(|row| Some(class(row))).collect()
}
