//! Of kernels `gradients` and `nearest_gradient`.

use equipoise_core::cpu::twins;
use equipoise_core::engine::{NearestGradient, UNDECIDABLE};

use super::{Given, KernelBench, OF_SUMS, ROUNDING, agree, either_way, is_scored, within};
use crate::bench::check::{Inputs, Selected};

/// What a row's record holds beside the nearest centre.
#[derive(Debug, Clone, Copy)]
struct Known {
    tolerance: f32,
    square: f32,
    error: f32,
}

impl KernelBench<'_> {
    pub(in crate::bench) fn gradients_agree(
        &self,
        gradients: &[f32],
        found: &[NearestGradient],
        rows: Selected,
        inputs: &Inputs,
    ) -> Result<(), String> {
        let classes = self.head.classes();
        self.each_row(rows, inputs, |given| {
            let numbers = &gradients[given.index * classes..(given.index + 1) * classes];
            let record = &found[given.index];
            either_way(given.tolerance, |tolerance| {
                let (twin, known) = self.gradient(&given, tolerance);
                record_agrees(&given, record, known)?;
                // Where nothing is known they are 0, so that products with them are finite.
                let twin = twin.unwrap_or_else(|| vec![0.0; classes]);
                for (class, (found, twin)) in numbers.iter().zip(&twin).enumerate() {
                    let same = within(*found, *twin, OF_SUMS * twin.abs() + 1e-30);
                    let what = format!("gradient of class {class}");
                    agree(&what, same, given.row, found, twin)?;
                }
                Ok(())
            })
        })
    }

    pub(in crate::bench) fn nearest_gradients_agree(
        &self,
        gradients: &[f32],
        found: &[NearestGradient],
        rows: Selected,
        inputs: &Inputs,
    ) -> Result<(), String> {
        let classes = self.head.classes();
        self.each_row(rows, inputs, |given| {
            let (record, nearest) = (&found[given.index], &found[given.index].nearest);
            // It leaves what `gradients` wrote.
            either_way(given.tolerance, |tolerance| {
                record_agrees(&given, record, self.gradient(&given, tolerance).1)
            })?;
            if !is_scored(nearest.tolerance) {
                return Ok(());
            }
            let gradient = &gradients[given.index * classes..(given.index + 1) * classes];
            // The timed block's biases are its thresholds.
            let bias = self.thresholds;
            let twin = twins::nearest_gradient(given.logits, gradient, bias, nearest.tolerance);
            let products = given.logits.iter().zip(gradient).zip(bias);
            let largest = products.fold(0.0f32, |most, ((a, b), bias)| {
                most.max((a * b).abs()).max(bias.abs())
            });
            let slack = ROUNDING * largest + 1e-30;
            let same = within(nearest.top, twin.top, slack)
                && within(nearest.second, twin.second, slack)
                && (nearest.centre == twin.centre || twin.top - twin.second <= 2.0 * slack);
            agree("nearest centre", same, given.row, nearest, &twin)
        })
    }

    /// The gradient of a row whose logits may be off by `tolerance`, where there is one, and what is known of it.
    fn gradient(&self, given: &Given<'_>, tolerance: f32) -> (Option<Vec<f32>>, Known) {
        let unknown = |tolerance| Known {
            tolerance,
            square: 0.0,
            error: 0.0,
        };
        if !is_scored(tolerance) {
            return (None, unknown(tolerance));
        }
        let Some((twin, square)) = twins::gradient(given.logits, tolerance) else {
            return (None, unknown(UNDECIDABLE));
        };
        let bounds = self.block.gradient_tolerance();
        let (tolerance, error) = bounds.of_row(given.norm, tolerance, square);
        let known = Known {
            tolerance,
            square,
            error,
        };
        (Some(twin), known)
    }
}

/// Whether a record says what is known of a row's gradient. The tolerance and the error are made of the square.
fn record_agrees(given: &Given<'_>, record: &NearestGradient, known: Known) -> Result<(), String> {
    let slack = |of: f32| 4.0 * OF_SUMS * of.abs() + 1e-30;
    let (found, expected) = (record.nearest.tolerance, known.tolerance);
    let same = is_scored(found) == is_scored(expected) && within(found, expected, slack(expected));
    agree("tolerance", same, given.row, record, &known)?;
    let same = within(record.square, known.square, slack(known.square));
    agree("square of the gradient", same, given.row, record, &known)?;
    let same = within(record.error, known.error, slack(known.error));
    agree("error of the gradient", same, given.row, record, &known)
}
