//! Kernel `class_candidates`: the rows that may have a place in a class's list.

use rayon::prelude::*;

use super::ScaleTable;
use super::row_statistics::{argmax, decided, distance_bounds, mase_bounds};
use crate::engine::{ALL_CLASSES, Candidate, UNAVAILABLE, UNDECIDABLE, UNREACHABLE};

/// Appends every candidate with `lower < thresholds[class]`, in order of rows and classes.
pub fn run(
    logits: &[f32],
    tolerance: &[f32],
    thresholds: &[f32],
    scale: &ScaleTable,
    out: &mut Vec<Candidate>,
) {
    let classes = thresholds.len();
    out.par_extend(
        logits
            .par_chunks_exact(classes)
            .zip(tolerance)
            .enumerate()
            .with_min_len(16)
            .fold(Vec::new, |mut found, (row, (z, tolerance))| {
                if *tolerance != UNAVAILABLE {
                    of_row(row as u32, z, *tolerance, thresholds, scale, &mut found);
                }
                found
            })
            .flatten_iter(),
    );
}

fn of_row(
    row: u32,
    z: &[f32],
    tolerance: f32,
    thresholds: &[f32],
    scale: &ScaleTable,
    out: &mut Vec<Candidate>,
) {
    let undecided = Candidate {
        row,
        class: ALL_CLASSES,
        predicted: 0,
        lower: 0.0,
        upper: UNREACHABLE,
    };
    if tolerance >= UNDECIDABLE {
        return out.push(undecided);
    }
    let p = argmax(z);
    let scale = scale.row(p);
    if !decided(z, p, tolerance, &scale) {
        return out.push(undecided);
    }
    for (class, threshold) in thresholds.iter().enumerate() {
        let (lower, upper) = match class == p {
            true => mase_bounds(z, p, tolerance, &scale),
            false => distance_bounds(z[p] - z[class], tolerance, scale[class]),
        };
        if lower < *threshold {
            out.push(Candidate {
                row,
                class: class as u32,
                predicted: p as u32,
                lower,
                upper,
            });
        }
    }
}
