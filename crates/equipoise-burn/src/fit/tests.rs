use equipoise_core::random::{Philox, Purpose};

use super::objective::{Objective, Standard};
use super::*;
use crate::fit::lbfgs::Function;

/// `rows` rows of `dim` numbers around one centre a class, with columns of very different scale and
/// offset; labels go round the classes.
fn clusters(rows: usize, dim: usize, classes: usize, spread: f64) -> (Vec<f32>, Vec<u32>) {
    let noise = Philox::new(3, Purpose::Drawing, 0, 0);
    let centres = Philox::new(3, Purpose::Drawing, 1, 0);
    let labels: Vec<u32> = (0..rows).map(|row| (row % classes) as u32).collect();
    let mut embeddings = Vec::new();
    for (row, label) in labels.iter().enumerate() {
        for column in 0..dim {
            let centre = centres.uniform((*label as usize * dim + column) as u64);
            let x = centre + spread * (noise.uniform((row * dim + column) as u64) - 0.5);
            let scale = 10f64.powi(column as i32 % 5 - 2);
            embeddings.push((scale * (x + 3.0)) as f32);
        }
    }
    (embeddings, labels)
}

fn accuracy(head: &Head, embeddings: &[f32], labels: &[u32]) -> f64 {
    let right = std::iter::zip(embeddings.chunks(head.dim()), labels).filter(|(x, label)| {
        let logit = |c: usize| {
            let products = std::iter::zip(*x, head.class_weight(c));
            let sum: f64 = products.map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
            sum + f64::from(head.bias()[c])
        };
        let best = (0..head.classes()).max_by(|a, b| logit(*a).total_cmp(&logit(*b)));
        best == Some(**label as usize)
    });
    right.count() as f64 / labels.len() as f64
}

#[test]
fn separable_rows_are_separated_and_the_head_applies_to_raw_embeddings() {
    let (embeddings, labels) = clusters(400, 12, 5, 0.3);
    let fitted = fit(&embeddings, 12, &labels, 5, &FitOptions::default()).unwrap();
    assert_eq!(fitted.train_accuracy, 1.0);
    assert_eq!(fitted.validation_accuracy, Some(1.0));
    assert_eq!(fitted.validation_rows, 80);
    assert!(fitted.converged && fitted.missing_classes.is_empty());
    assert_eq!(accuracy(&fitted.head, &embeddings, &labels), 1.0);
}

#[test]
fn folding_changes_no_logit() {
    let (embeddings, labels) = clusters(60, 7, 3, 2.0);
    let all: Vec<usize> = (0..60).collect();
    let standard = Standard::of(&embeddings, 7, &all);
    let parameters: Vec<f64> = (0..3 * 8).map(|i| f64::from(i % 5) - 2.0).collect();
    let head = fold(&parameters, &standard, &[0, 1, 2], 3, 0.0, &labels).unwrap();
    for x in embeddings.chunks(7) {
        for c in 0..3 {
            let mut standardised = parameters[21 + c];
            let mut raw = f64::from(head.bias()[c]);
            for m in 0..7 {
                let x = f64::from(x[m]);
                standardised += parameters[c * 7 + m] * (x - standard.mean[m]) * standard.scale[m];
                raw += f64::from(head.class_weight(c)[m]) * x;
            }
            // The head is rounded to f32, and its products here are of size 100.
            assert!((standardised - raw).abs() < 1e-3, "{standardised} {raw}");
        }
    }
}

#[test]
fn the_gradient_is_that_of_the_value() {
    let (embeddings, slots) = clusters(300, 4, 3, 2.0);
    let rows = Rows {
        embeddings: &embeddings,
        dim: 4,
        slots: &slots,
        classes: 3,
    };
    let some: Vec<usize> = (0..300).filter(|row| row % 7 != 0).collect();
    let standard = Standard::of(&embeddings, 4, &some);
    let objective = Objective::new(&rows, &some, &standard, 0.3);
    let at: Vec<f64> = (0..15).map(|i| (f64::from(i) * 0.7).sin()).collect();
    let (_, gradient) = objective.evaluate(&at);
    for i in 0..at.len() {
        let value = |by: f64| {
            let mut moved = at.clone();
            moved[i] += by;
            objective.evaluate(&moved).0
        };
        let slope = (value(1e-5) - value(-1e-5)) / 2e-5;
        assert!(
            (slope - gradient[i]).abs() < 1e-8,
            "{i}: {slope} {}",
            gradient[i]
        );
    }
}

#[test]
fn the_same_bits_whatever_the_number_of_threads() {
    let (embeddings, labels) = clusters(3_000, 16, 4, 3.0);
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| fit(&embeddings, 16, &labels, 4, &FitOptions::default()).unwrap())
    };
    assert_eq!(with(1), with(3));
}

#[test]
fn a_class_without_labels_keeps_its_slot_and_claims_no_labelled_row() {
    let (embeddings, labels) = clusters(90, 6, 3, 4.0);
    let labels: Vec<u32> = labels.iter().map(|label| label * 2).collect();
    let fitted = fit(&embeddings, 6, &labels, 6, &FitOptions::default()).unwrap();
    assert_eq!(fitted.missing_classes, [1, 3, 5]);
    assert_eq!(fitted.head.classes(), 6);
    assert_eq!(fitted.head.class_weight(3), [0.0; 6]);
    let same = accuracy(&fitted.head, &embeddings, &labels);
    assert_eq!(same, fitted.train_accuracy);
}

#[test]
fn a_stronger_penalty_makes_smaller_weights() {
    let (embeddings, labels) = clusters(200, 5, 2, 2.0);
    let norm = |penalty| {
        let options = FitOptions {
            penalty: Some(penalty),
            ..FitOptions::default()
        };
        let fitted = fit(&embeddings, 5, &labels, 2, &options).unwrap();
        assert_eq!(fitted.penalty, penalty);
        fitted.head.weight().iter().map(|w| w * w).sum::<f32>()
    };
    assert!(norm(1.0) < norm(0.01));
}

#[test]
fn few_labels_and_constant_columns_are_enough() {
    let embeddings = [1.0, 5.0, 2.0, 5.0];
    let fitted = fit(&embeddings, 2, &[0, 1], 2, &FitOptions::default()).unwrap();
    assert_eq!(
        (fitted.validation_accuracy, fitted.train_accuracy),
        (None, 1.0)
    );
    assert_eq!(fitted.head.class_weight(0)[1], 0.0);
}

#[test]
fn bad_input_is_an_error_that_says_where() {
    let fit = |embeddings: &[f32], labels: &[u32], options: &FitOptions| {
        fit(embeddings, 2, labels, 3, options)
            .unwrap_err()
            .to_string()
    };
    let plain = FitOptions::default();
    assert!(fit(&[], &[], &plain).contains("no labelled rows"));
    assert!(fit(&[0.0; 4], &[1, 1], &plain).contains("all 2 labels are of class 1"));
    assert!(fit(&[0.0; 4], &[1, 3], &plain).contains("label 3 of labelled row 1"));
    assert!(fit(&[0.0; 3], &[1, 0], &plain).contains("3 numbers"));
    let infinite = [0.0, 0.0, 0.0, f32::INFINITY];
    assert!(fit(&infinite, &[1, 0], &plain).contains("row 1 is not finite (column 1)"));
    for penalty in [0.0, -1.0, f32::NAN] {
        let options = FitOptions {
            penalty: Some(penalty),
            ..plain.clone()
        };
        assert!(fit(&[0.0; 4], &[1, 0], &options).contains("penalty"));
    }
    let options = FitOptions {
        validation: 1.0,
        ..plain
    };
    assert!(fit(&[0.0; 4], &[1, 0], &options).contains("validation"));
}
