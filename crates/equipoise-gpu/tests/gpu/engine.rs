//! The GPU engine against the definition and against the CPU engine.

use crate::common::{
    Case, ask, candidates, check, check_candidates, check_statistics, engine, in_pool, statistics,
};
use equipoise_core::engine::{
    ACCEPT_ALL, ACCEPT_NONE, ALL_CLASSES, Answer, Candidate, GradientCentres, NONFINITE,
    NearestGradient, Question, Task, UNAVAILABLE, UNDECIDABLE, UNREACHABLE,
};
use equipoise_core::{CpuEngine, CpuProducts, Engine, Head};
use equipoise_gpu::{DeviceChoice, Gpu, GpuEngine, GpuError, LogitsChoice, RowsChoice};
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
    let twin = statistics(&cpu, &case);
    check_statistics(&case, &twin);
    for (found, twin) in statistics(&engine, &case).iter().zip(&twin) {
        assert_eq!(found.predicted, twin.predicted, "{found:?} {twin:?}");
        // Both hold the same exact score.
        assert!(found.mase_lower <= twin.mase_upper, "{found:?} {twin:?}");
        assert!(twin.mase_lower <= found.mase_upper, "{found:?} {twin:?}");
    }
    let thresholds = [ACCEPT_ALL; 11];
    let twin = candidates(&cpu, &case, &thresholds);
    check_candidates(&case, &twin);
    let found = candidates(&engine, &case, &thresholds);
    let keys = |list: &[equipoise_core::Candidate]| {
        list.iter()
            .map(|c| (c.row, c.class, c.predicted))
            .collect::<Vec<_>>()
    };
    assert_eq!(keys(&found), keys(&twin));
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn the_nearest_agrees_with_its_twin() {
    let (engine, cpu) = (engine(), CpuEngine::new());
    for (rows, centres, dim) in [(70, 1, 24), (65, 2, 3), (129, 65, 33), (40, 200, 8)] {
        let mut case = Case::random(rows, centres, dim, 3);
        case.available.remove(7);
        case.values[9 * dim] = f32::NAN;
        let found = ask(&engine, &case, Question::Nearest);
        let twin = ask(&cpu, &case, Question::Nearest);
        assert_eq!((&found.nonfinite, &twin.nonfinite), (&vec![9], &vec![9]));
        assert_eq!(found.nearest.len(), rows);
        for (row, (found, twin)) in found.nearest.iter().zip(&twin.nearest).enumerate() {
            if row == 7 || row == 9 {
                let expected = if row == 7 { UNAVAILABLE } else { NONFINITE };
                assert_eq!([found.tolerance, twin.tolerance], [expected; 2]);
                continue;
            }
            let exact = equipoise_core::definition::logits(case.embedding(row), &case.head);
            let best = equipoise_core::definition::predicted(&exact);
            let others = (0..centres).filter(|c| *c != best).map(|c| exact[c]);
            let second = others.reduce(f64::max);
            for nearest in [found, twin] {
                let near = |found: f32, exact: f64| {
                    (f64::from(found) - exact).abs() <= f64::from(nearest.tolerance)
                };
                assert_eq!(nearest.centre as usize, best, "row {row}: {nearest:?}");
                assert!(near(nearest.top, exact[best]), "row {row}: {nearest:?}");
                match second {
                    Some(second) => assert!(near(nearest.second, second), "row {row}"),
                    None => assert_eq!(nearest.second, -UNREACHABLE),
                }
            }
        }
    }
}

/// What an engine finds nearest to every row's gradient embedding.
fn nearest_gradients(
    engine: &dyn Engine,
    case: &Case,
    centres: &GradientCentres,
) -> Vec<NearestGradient> {
    let pool = case.pool();
    let mut scorer = engine.gradient_scorer(&case.head, centres, &pool).unwrap();
    let (mut all, mut answer) = (Vec::new(), Answer::default());
    while all.len() < case.rows() {
        let question = Question::NearestGradient;
        scorer
            .submit(all.len(), case.rows(), &case.available, question)
            .unwrap();
        scorer.collect(&mut answer).unwrap();
        all.extend_from_slice(&answer.gradients);
    }
    all
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn the_nearest_gradient_agrees_with_its_twin() {
    use equipoise_core::definition::{dot_in_parts, gradient, logits};
    let (engine, cpu) = (engine(), CpuEngine::new());
    for (rows, classes, dim, count) in [(70, 3, 24, 1), (65, 1, 3, 4), (90, 70, 33, 65)] {
        let mut case = Case::random(rows, classes, dim, 4);
        case.available.remove(7);
        let gradients: Vec<Vec<f64>> = (0..rows)
            .map(|row| gradient(&logits(case.embedding(row), &case.head)))
            .collect();
        let square = |row: usize| {
            let (g, x) = (&gradients[row][..], case.embedding(row));
            dot_in_parts(g, g) * dot_in_parts(x, x)
        };
        let members: Vec<usize> = (0..count).map(|k| (k * 29 + 3) % rows).collect();
        let bias = members.iter().map(|row| (-square(*row) / 2.0) as f32);
        let weight = members.iter().flat_map(|row| case.embedding(*row).to_vec());
        let of_rows = members.iter().flat_map(|row| &gradients[*row]);
        let of_rows = of_rows.map(|g| *g as f32).collect();
        let centres = GradientCentres {
            embeddings: Head::new(weight.collect(), vec![0.0; count], dim).unwrap(),
            gradients: Head::new(of_rows, vec![0.0; count], classes).unwrap(),
            bias: bias.collect(),
        };
        let found = nearest_gradients(&engine, &case, &centres);
        let twin = nearest_gradients(&cpu, &case, &centres);
        let mut known = 0;
        for row in 0..rows {
            let score = |k: usize| {
                let (g, x) = (&gradients[row][..], case.embedding(row));
                let (h, y) = (&gradients[members[k]][..], case.embedding(members[k]));
                dot_in_parts(g, h) * dot_in_parts(x, y) - square(members[k]) / 2.0
            };
            let mut scores: Vec<f64> = (0..count).map(score).collect();
            for nearest in [found[row], twin[row]] {
                if row == 7 {
                    assert_eq!(nearest.nearest.tolerance, UNAVAILABLE);
                    continue;
                }
                if nearest.nearest.tolerance >= UNDECIDABLE {
                    continue;
                }
                known += 1;
                let tolerance = f64::from(nearest.nearest.tolerance);
                let near = |found: f32, exact: f64| (f64::from(found) - exact).abs() <= tolerance;
                let best = scores[nearest.nearest.centre as usize];
                assert!(
                    near(nearest.nearest.top, best),
                    "row {row}: {nearest:?}, {best}"
                );
                let exact: f64 = gradients[row].iter().map(|g| g * g).sum();
                let off = (f64::from(nearest.square) - exact).abs();
                assert!(
                    off <= f64::from(nearest.error) * exact,
                    "row {row}: {nearest:?}, {exact}"
                );
                assert!(tolerance < 0.01, "row {row}: {tolerance}");
            }
            scores.sort_by(|a, b| b.total_cmp(a));
            let second = scores
                .get(1)
                .map_or(f64::from(-UNREACHABLE), |second| *second);
            for nearest in [found[row].nearest, twin[row].nearest] {
                if (0.0..UNDECIDABLE).contains(&nearest.tolerance) {
                    let tolerance = f64::from(nearest.tolerance);
                    assert!((f64::from(nearest.top) - scores[0]).abs() <= tolerance);
                    let off = (f64::from(nearest.second) - second).abs();
                    assert!(off <= tolerance || second < -1e38, "row {row}: {nearest:?}");
                }
            }
        }
        assert!(known > rows, "{known} of {rows} rows are known");
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn thresholds_keep_exactly_the_lower_bounds_below_them() {
    let case = Case::random(50, 7, 5, 3);
    let thresholds = [ACCEPT_NONE, 0.0, 0.2, 0.4, 0.8, UNREACHABLE, ACCEPT_ALL];
    for engine in [&engine() as &dyn Engine, &CpuEngine::new()] {
        let all = candidates(engine, &case, &[ACCEPT_ALL; 7]);
        let kept: Vec<_> = all
            .into_iter()
            .filter(|c| c.class == ALL_CLASSES || c.lower < thresholds[c.class as usize])
            .collect();
        assert_eq!(candidates(engine, &case, &thresholds), kept);
    }
}

/// What comes back at once follows what the last blocks yielded.
#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn a_list_much_longer_than_the_last_ones_comes_whole() {
    // The second is longer than what is read at a time.
    for (classes, least) in [(3, 1 << 10), (50, 1 << 16)] {
        a_long_list_comes_whole(classes, least);
    }
}

fn a_long_list_comes_whole(classes: usize, least: usize) {
    let (engine, case) = (engine(), Case::random(1500, classes, 8, 17));
    let expected = candidates(&engine, &case, &vec![ACCEPT_ALL; classes]);
    check_candidates(&case, &expected);
    assert!(expected.len() > least, "{}", expected.len());
    let pool = case.pool();
    let mut scorer = engine
        .scorer(&case.head, &pool, Task::Boundaries)
        .expect("a scorer");
    let mut answer = Answer::default();
    let mut ask = |threshold: f32| {
        let thresholds = &vec![threshold; classes];
        let question = Question::ClassCandidates { thresholds };
        let before = engine.transfers().to_host;
        let taken = scorer.submit(0, 1500, &case.available, question);
        assert_eq!(taken.expect("a submission"), 1500);
        scorer.collect(&mut answer).expect("an answer");
        let mut found: Vec<Candidate> = in_pool(&answer).collect();
        found.sort_by_key(|candidate| (candidate.row, candidate.class));
        (found, engine.transfers().to_host - before)
    };
    let (_, first) = ask(ACCEPT_NONE);
    let (nothing, last) = (0..16).fold((Vec::new(), first), |_, _| ask(ACCEPT_NONE));
    assert_eq!(nothing, []);
    assert!(last < first / 2, "{last} of {first} bytes");
    let (found, bytes) = ask(ACCEPT_ALL);
    assert_eq!(found, expected);
    assert!(bytes > last, "{bytes} after {last}: the rest was not read");
    assert_eq!(ask(ACCEPT_ALL).0, expected);
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn every_finite_f16_is_widened_exactly() {
    // Logits x and −x: the gap is 2|x|, which f32 holds for every f16.
    let head = Head::new(vec![1.0, -1.0], vec![0.0, 0.0], 1).unwrap();
    let values = (0..=u16::MAX).map(f16::from_bits);
    let values = values.filter(|x| x.is_finite()).map(f16::to_f32).collect();
    let case = Case::new(head, values).halved();
    for (found, x) in statistics(&engine(), &case).iter().zip(&case.values) {
        assert_eq!(found.gap, 2.0 * x.abs(), "{x:e}");
        if found.predicted <= 1 {
            assert_eq!(found.predicted, u32::from(*x < 0.0), "{x:e}");
        }
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn odd_f16_rows_straddle_words() {
    let engine = engine();
    for (rows, dim) in [(1, 1), (3, 5), (65, 17)] {
        check(&engine, &Case::random(rows, 9, dim, 4).halved());
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn rows_without_an_answer_disturb_no_other() {
    let clean = Case::random(7, 4, 3, 5);
    let mut case = clean.clone();
    for (row, value) in [
        (0, f32::NAN),
        (2, f32::MAX),
        (3, f32::NEG_INFINITY),
        (5, 0.5),
        (6, f32::NAN),
    ] {
        case.values[row * 3 + 1] = value;
    }
    case.available.remove(5);
    case.available.remove(6);
    for engine in [&engine() as &dyn Engine, &CpuEngine::new()] {
        let untouched = candidates(engine, &clean, &[ACCEPT_ALL; 4]);
        let question = Question::ClassCandidates {
            thresholds: &[ACCEPT_ALL; 4],
        };
        let answer = ask(engine, &case, question);
        assert_eq!(answer.nonfinite, [0, 3]);
        for row in 0..7 {
            let of_row: Vec<_> = answer.candidates[0]
                .iter()
                .filter(|c| c.row == row)
                .collect();
            match row {
                2 => {
                    let [one] = of_row[..] else {
                        panic!("{of_row:?}");
                    };
                    let bounds = (one.class, one.lower, one.upper);
                    assert_eq!(bounds, (ALL_CLASSES, 0.0, UNREACHABLE));
                }
                1 | 4 => {
                    let same = untouched.iter().filter(|c| c.row == row);
                    assert!(of_row.iter().eq(same), "row {row}");
                }
                _ => assert!(of_row.is_empty(), "{of_row:?}"),
            }
        }
        let answer = ask(
            engine,
            &case,
            Question::RowStatistics { exponentials: true },
        );
        assert_eq!(answer.nonfinite, [0, 3]);
        let tolerances: Vec<f32> = answer.statistics.iter().map(|row| row.tolerance).collect();
        assert_eq!((tolerances[0], tolerances[3]), (NONFINITE, NONFINITE));
        assert_eq!((tolerances[5], tolerances[6]), (UNAVAILABLE, UNAVAILABLE));
        assert!(tolerances[2] >= UNDECIDABLE);
        // Rows about which nothing is known are candidates of every class, whatever the thresholds.
        let none = candidates(engine, &case, &[ACCEPT_NONE; 4]);
        assert!(none.iter().map(|c| c.row).eq([2]), "{none:?}");
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn equal_and_nearly_equal_weights() {
    let values = vec![1.0, 2.0, -1.0, 0.5];
    // Classes 1 and 2 share their weights: no boundary between them.
    let head = Head::new(vec![0.0, 0.0, 1.0, 1.0, 1.0, 1.0], vec![0.0, 0.5, 0.0], 2).unwrap();
    let case = Case::new(head, values.clone());
    // Too near for a scale: nothing is known, though the logits are clear.
    let near = Head::new(vec![0.0, 0.0, 1e-20, 0.0], vec![0.0, 1.0], 2).unwrap();
    let near = Case::new(near, values);
    for engine in [&engine() as &dyn Engine, &CpuEngine::new()] {
        let found = candidates(engine, &case, &[ACCEPT_ALL; 3]);
        check_candidates(&case, &found);
        assert_eq!((found[2].lower, found[2].upper), (UNREACHABLE, UNREACHABLE));
        check(engine, &case);
        let found = candidates(engine, &near, &[ACCEPT_NONE; 2]);
        assert!(found.iter().all(|c| c.class == ALL_CLASSES) && found.len() == 2);
        for found in statistics(engine, &near) {
            assert_eq!((found.mase_lower, found.mase_upper), (0.0, UNREACHABLE));
        }
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn rows_on_a_boundary_are_pairs() {
    // The three boundaries are each within f32's reach of some rows; the last lies on all.
    let head = Head::new(
        vec![1.0, 0.0, -0.5, 0.75, -0.5, -0.75],
        vec![0.0, 0.0, 0.0],
        2,
    )
    .unwrap();
    let mut values = Vec::new();
    for (a, b) in [(1.0f32, 2.0f32), (1.0, -2.0), (-1.0, 0.0), (0.0, 0.0)] {
        for nudge in [0.0, 1e-8, -1e-8] {
            values.extend([a + nudge, b]);
        }
    }
    let case = Case::new(head, values);
    for engine in [&engine() as &dyn Engine, &CpuEngine::new()] {
        check(engine, &case);
        let found = candidates(engine, &case, &[ACCEPT_ALL; 3]);
        let first = found.iter().filter(|c| c.row < 9);
        let pairs = first.filter(|c| c.predicted >> 31 == 1 && c.runner_up < 3);
        assert_eq!(pairs.count(), 27, "{found:?}");
    }
}

#[test]
#[cfg_attr(no_gpu, ignore = "no wgpu adapter here: see README, cargo xtask test")]
fn the_variant_of_logits_may_be_named() {
    let with = |name: &str| {
        let gpu = Gpu::open(&DeviceChoice::Any).expect("an adapter");
        GpuEngine::with_variants(gpu, &LogitsChoice::Named(name.into()), RowsChoice::Auto)
    };
    let case = Case::random(70, 11, 24, 6);
    for name in ["small", "large"] {
        check(&with(name).expect("an engine"), &case);
    }
    assert!(matches!(with("tiny"), Err(GpuError::UnknownLogits { .. })));
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
        (0..rows).step_by(5).for_each(|row| { case.available.remove(row); });
        // How wide bounds are is known of logits in float32.
        let cpu = CpuEngine::new().with_products(CpuProducts::Float32);
        for engine in [&engine() as &dyn Engine, &cpu] {
            check(engine, &case);
            prop_assert!(!engine.name().is_empty());
        }
    }
}
