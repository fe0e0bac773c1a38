//! The GPU engine against the definition and against the CPU engine.

use crate::common::{
    Case, candidates, check, check_candidates, check_statistics, engine, statistics,
};
use equipoise_core::engine::{
    ACCEPT_ALL, ACCEPT_NONE, ALL_CLASSES, Block, UNAVAILABLE, UNDECIDABLE, UNREACHABLE,
};
use equipoise_core::{CpuEngine, Engine, Head, Values};
use half::f16;
use proptest::prelude::*;

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn shapes_around_the_tiles() {
    let engine = engine();
    for rows in [1, 63, 64, 65] {
        for (classes, dim) in [
            (1, 1),
            (1, 17),
            (2, 1),
            (63, 15),
            (64, 16),
            (65, 17),
            (130, 33),
        ] {
            let case = Case::random(rows, classes, dim, 1);
            println!("rows {rows}, classes {classes}, dim {dim}");
            check(&engine, &case);
        }
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn agrees_with_its_twins() {
    let case = Case::random(70, 11, 24, 2);
    let (engine, cpu) = (engine(), CpuEngine::new());
    let twin = statistics(&cpu, &case, case.block());
    check_statistics(&case, &twin);
    for (found, twin) in statistics(&engine, &case, case.block()).iter().zip(&twin) {
        assert_eq!(found.predicted, twin.predicted, "{found:?} {twin:?}");
        // Both hold the same exact score.
        assert!(found.mase_lower <= twin.mase_upper, "{found:?} {twin:?}");
        assert!(twin.mase_lower <= found.mase_upper, "{found:?} {twin:?}");
    }
    let thresholds = [ACCEPT_ALL; 11];
    let twin = candidates(&cpu, &case, case.block(), &thresholds);
    check_candidates(&case, &twin);
    let found = candidates(&engine, &case, case.block(), &thresholds);
    let keys = |list: &[equipoise_core::Candidate]| {
        list.iter()
            .map(|c| (c.row, c.class, c.predicted))
            .collect::<Vec<_>>()
    };
    assert_eq!(keys(&found), keys(&twin));
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn thresholds_keep_exactly_the_lower_bounds_below_them() {
    let case = Case::random(50, 7, 5, 3);
    let engine = engine();
    let all = candidates(&engine, &case, case.block(), &[ACCEPT_ALL; 7]);
    let thresholds = [ACCEPT_NONE, 0.0, 0.2, 0.4, 0.8, UNREACHABLE, ACCEPT_ALL];
    let kept: Vec<_> = all
        .into_iter()
        .filter(|c| c.class == ALL_CLASSES || c.lower < thresholds[c.class as usize])
        .collect();
    assert_eq!(candidates(&engine, &case, case.block(), &thresholds), kept);
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn every_finite_f16_is_widened_exactly() {
    // Logits x and −x: the gap is 2|x|, which f32 holds for every f16.
    let head = Head::new(vec![1.0, -1.0], vec![0.0, 0.0], 1).unwrap();
    let values: Vec<f16> = (0..=u16::MAX)
        .map(f16::from_bits)
        .filter(|x| x.is_finite())
        .collect();
    let wide: Vec<f32> = values.iter().map(|x| x.to_f32()).collect();
    let case = Case::new(head, wide);
    let block = Block {
        values: Values::F16(&values),
        tolerance: &case.tolerance,
    };
    for (found, x) in statistics(&engine(), &case, block).iter().zip(&case.values) {
        assert_eq!(found.gap, 2.0 * x.abs(), "{x:e}");
        assert_eq!(found.predicted, u32::from(*x < 0.0), "{x:e}");
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn odd_f16_rows_straddle_words() {
    let engine = engine();
    for (rows, dim) in [(1, 1), (3, 5), (65, 17)] {
        let case = Case::random(rows, 9, dim, 4);
        let half: Vec<f16> = case.values.iter().map(|x| f16::from_f32(*x)).collect();
        let wide = half.iter().map(|x| x.to_f32()).collect();
        let case = Case::new(case.head, wide);
        let block = Block {
            values: Values::F16(&half),
            tolerance: &case.tolerance,
        };
        check_statistics(&case, &statistics(&engine, &case, block));
        let found = candidates(&engine, &case, block, &[ACCEPT_ALL; 9]);
        check_candidates(&case, &found);
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn rows_without_an_answer_disturb_no_other() {
    let mut case = Case::random(6, 4, 3, 5);
    let clean = candidates(&engine(), &case, case.block(), &[ACCEPT_ALL; 4]);
    for (row, value, tolerance) in [
        (0, f32::NAN, UNAVAILABLE),
        (2, f32::MAX, UNDECIDABLE),
        (3, f32::INFINITY, UNDECIDABLE),
        (5, 0.5, UNAVAILABLE),
    ] {
        case.values[row * 3..(row + 1) * 3].fill(value);
        case.tolerance[row] = tolerance;
    }
    let found = candidates(&engine(), &case, case.block(), &[ACCEPT_ALL; 4]);
    for row in 0..6 {
        let of_row: Vec<_> = found.iter().filter(|c| c.row == row).collect();
        match row {
            0 | 5 => assert!(of_row.is_empty(), "{of_row:?}"),
            2 | 3 => {
                assert_eq!(of_row.len(), 1);
                let one = of_row[0];
                assert_eq!(
                    (one.class, one.lower, one.upper),
                    (ALL_CLASSES, 0.0, UNREACHABLE)
                );
            }
            _ => assert!(of_row.into_iter().eq(clean.iter().filter(|c| c.row == row))),
        }
    }
    // Undecided rows are candidates of every class, whatever the thresholds.
    let none = candidates(&engine(), &case, case.block(), &[ACCEPT_NONE; 4]);
    assert!(none.iter().map(|c| c.row).eq([2, 3]), "{none:?}");
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn equal_and_nearly_equal_weights() {
    let values = vec![1.0, 2.0, -1.0, 0.5];
    // Classes 1 and 2 share their weights: no boundary between them.
    let head = Head::new(vec![0.0, 0.0, 1.0, 1.0, 1.0, 1.0], vec![0.0, 0.5, 0.0], 2).unwrap();
    let case = Case::new(head, values.clone());
    let found = candidates(&engine(), &case, case.block(), &[ACCEPT_ALL; 3]);
    check_candidates(&case, &found);
    assert_eq!((found[2].lower, found[2].upper), (UNREACHABLE, UNREACHABLE));
    check(&engine(), &case);
    // Too near for a scale: not decided, though the logits are clear.
    let near = Head::new(vec![0.0, 0.0, 1e-20, 0.0], vec![0.0, 1.0], 2).unwrap();
    let case = Case::new(near, values);
    let found = candidates(&engine(), &case, case.block(), &[ACCEPT_NONE; 2]);
    assert!(found.iter().all(|c| c.class == ALL_CLASSES) && found.len() == 2);
    for found in statistics(&engine(), &case, case.block()) {
        assert_eq!((found.mase_lower, found.mase_upper), (0.0, UNREACHABLE));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    #[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
    fn any_shape_and_magnitude(
        rows in 1usize..80,
        classes in 1usize..90,
        dim in 1usize..40,
        seed: u64,
        exponent in -12i32..12,
        duplicates: bool,
    ) {
        let mut case = Case::random(rows, classes, dim, seed);
        let scale = 2f32.powi(exponent);
        case.values.iter_mut().for_each(|x| *x *= scale);
        if duplicates {
            let first = case.embedding(0).to_vec();
            case.values.chunks_mut(dim).step_by(2).for_each(|x| x.copy_from_slice(&first));
        }
        let mut case = Case::new(case.head, case.values);
        case.tolerance.iter_mut().step_by(5).for_each(|t| *t = UNAVAILABLE);
        let engine = engine();
        check(&engine, &case);
        prop_assert!(!engine.name().is_empty());
    }
}
