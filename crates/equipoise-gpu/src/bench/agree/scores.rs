//! Of kernel `row_scores`.

use equipoise_core::definition::{self, RowScore, Spread};
use equipoise_core::engine::{BoundaryScales, NO_BOUNDARY, NO_CLASS, UNSCALED};

use super::{Given, KernelBench, OF_LOGARITHMS, OF_SUMS, ROUNDING, agree};
use crate::bench::check::{Inputs, Selected};

/// Columns in front of the numbers.
const PREDICTED: usize = 0;
const RUNNER_UP: usize = 1;

/// What the columns with numbers hold.
const LEAST: (usize, &str) = (2, "least distance");
const MARGIN: (usize, &str) = (3, "margin");
const CONFIDENCE: (usize, &str) = (4, "confidence");
const ENTROPY: (usize, &str) = (5, "entropy");

impl KernelBench<'_> {
    pub(in crate::bench) fn scores_agree(
        &self,
        distances: &[f32],
        columns: &[Vec<u32>],
        rows: Selected,
        inputs: &Inputs,
    ) -> Result<(), String> {
        let (scales, classes) = (BoundaryScales::new(self.head), self.head.classes());
        self.each_row(rows, inputs, |given| {
            let found = Found {
                given,
                distances: &distances[given.index * classes..(given.index + 1) * classes],
                columns,
            };
            if !given.is_scored() {
                return found.says_nothing();
            }
            let logits: Vec<f64> = given.logits.iter().map(|z| f64::from(*z)).collect();
            let predicted = definition::predicted(&logits);
            found.is("predicted class", PREDICTED, predicted as u32)?;
            let scales = scales.lines(self.head, &[predicted], classes, NO_BOUNDARY);
            found.distances_agree(&logits, predicted, &scales)?;
            found.probabilities_agree(&logits)
        })
    }
}

/// What a version wrote of a row.
struct Found<'a> {
    given: Given<'a>,
    distances: &'a [f32],
    columns: &'a [Vec<u32>],
}

impl Found<'_> {
    fn code(&self, column: usize) -> u32 {
        self.columns[column][self.given.index]
    }

    fn number(&self, column: usize) -> f32 {
        f32::from_bits(self.code(column))
    }

    fn is(&self, what: &str, column: usize, expected: u32) -> Result<(), String> {
        let found = self.code(column);
        agree(what, found == expected, self.given.row, &found, &expected)
    }

    /// Of a row without an answer.
    fn says_nothing(&self) -> Result<(), String> {
        self.is("predicted class", PREDICTED, NO_CLASS)?;
        self.is("runner-up", RUNNER_UP, NO_CLASS)?;
        let row = self.given.row;
        for (column, what) in [LEAST, MARGIN, CONFIDENCE, ENTROPY] {
            let found = self.number(column);
            agree(what, found.is_nan(), row, &found, &f32::NAN)?;
        }
        for (class, found) in self.distances.iter().enumerate() {
            let what = format!("distance to class {class}");
            agree(&what, found.is_nan(), row, found, &f32::NAN)?;
        }
        Ok(())
    }

    /// Each distance against the gap times the scale; the least of them and its class against the distances found.
    fn distances_agree(&self, logits: &[f64], p: usize, scales: &[f32]) -> Result<(), String> {
        let row = self.given.row;
        let mut least = (f32::INFINITY, NO_CLASS);
        let mut known = true;
        for (class, found) in self.distances.iter().enumerate().filter(|(c, _)| *c != p) {
            let expected = match scales[class] {
                NO_BOUNDARY => f64::INFINITY,
                UNSCALED => f64::NAN,
                scale => (logits[p] - logits[class]) * f64::from(scale),
            };
            let slack = 10.0 * f64::from(ROUNDING) * expected + 1e-30;
            let same = match expected.is_finite() {
                true => (f64::from(*found) - expected).abs() <= slack,
                false => found.is_nan() == expected.is_nan() && !found.is_finite(),
            };
            agree(
                &format!("distance to class {class}"),
                same,
                row,
                found,
                &expected,
            )?;
            known &= !found.is_nan();
            if least.1 == NO_CLASS || *found < least.0 {
                least = (found.min(f32::INFINITY), class as u32);
            }
        }
        self.is("runner-up", RUNNER_UP, least.1)?;
        let expected = if known { least.0 } else { f32::NAN };
        let own = self.distances[p];
        for found in [self.number(LEAST.0), own] {
            let same = found == expected || (found.is_nan() && expected.is_nan());
            agree(LEAST.1, same, row, &found, &expected)?;
        }
        Ok(())
    }

    fn probabilities_agree(&self, logits: &[f64]) -> Result<(), String> {
        let spread = Spread::of(logits);
        for (column, score, alone) in [
            (MARGIN, RowScore::Margin, 1.0),
            (CONFIDENCE, RowScore::Confidence, 1.0),
            (ENTROPY, RowScore::Entropy, 0.0),
        ] {
            let expected = spread.map_or(alone, |spread| spread.score(score));
            let found = self.number(column.0);
            let slack = f64::from(OF_SUMS) * expected + OF_LOGARITHMS;
            let same = (f64::from(found) - expected).abs() <= slack;
            agree(column.1, same, self.given.row, &found, &expected)?;
        }
        Ok(())
    }
}
