//! Whether integers pay on this processor.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::integers::Integers;
use super::rounding::RoundedRows;
use super::tile::SLICE;
use crate::Values;
use crate::cpu::logits::{Columns, STRIP_ROWS, Slices};

/// Whether this processor multiplies integers so much faster than float32 that it is worth rounding for it; measured once, in
/// about a millisecond.
pub(in crate::cpu) fn integers_pay() -> bool {
    static PAY: OnceLock<bool> = OnceLock::new();
    // Measured before anybody has to wait for it: a thread that helps others meanwhile may be asked again.
    let pay = PAY.get().copied().unwrap_or_else(measure);
    *PAY.get_or_init(|| pay)
}

/// Times both kinds of products of a small head, several times in turn.
fn measure() -> bool {
    const CLASSES: usize = 192;
    const TURNS: usize = 4;
    let numbers = |count: usize| -> Vec<f32> {
        let one = |i: usize| (i.wrapping_mul(2_654_435_761) % 1021) as f32 - 510.0;
        (0..count).map(one).collect()
    };
    let (weight, x) = (numbers(CLASSES * SLICE), numbers(STRIP_ROWS * SLICE));
    let (values, rows) = (Values::F32(&x), 0..STRIP_ROWS);
    let columns = Columns::new(&weight, SLICE, CLASSES);
    let integers = Integers::new(&weight, SLICE, CLASSES);
    let (mut slices, mut strip) = (Slices::new(), RoundedRows::default());
    let mut out = vec![0.0; STRIP_ROWS * CLASSES];
    let (mut of_integers, mut of_floats) = (Duration::MAX, Duration::MAX);
    for _ in 0..TURNS {
        let begin = Instant::now();
        columns.multiply(values, rows.clone(), &mut slices, &mut out);
        let between = Instant::now();
        integers.multiply(values, rows.clone(), &mut strip, &mut out);
        of_floats = of_floats.min(between - begin);
        of_integers = of_integers.min(between.elapsed());
    }
    std::hint::black_box(out);
    of_integers < of_floats
}
