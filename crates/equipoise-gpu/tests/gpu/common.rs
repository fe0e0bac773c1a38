//! Cases, and what must hold for any engine's results on them.

use equipoise_core::engine::{
    ACCEPT_ALL, ALL_CLASSES, Block, Candidate, RowStatistics, UNAVAILABLE, UNREACHABLE,
};
use equipoise_core::{Engine, Head, Values, definition};
use equipoise_gpu::{DeviceChoice, Gpu, GpuEngine, Sizes};

/// Relative error allowed of a sum of exponentials, tolerances aside: a few dozen roundings of
/// 2⁻²³, times the few hundred classes of the cases here.
const SUM_ROUNDING: f64 = 1e-4;

/// Relative width allowed of bounds, beyond what the tolerances make: the engine's own rounding
/// constants, 2⁻²⁰ and 2⁻²² on both sides, with room.
const BOUND_WIDTH: f64 = 1e-5;

pub(crate) fn gpu() -> Gpu {
    Gpu::open(&DeviceChoice::Any).expect("an adapter: see README, cargo xtask test")
}

pub(crate) fn engine() -> GpuEngine {
    GpuEngine::new(gpu()).expect("an engine")
}

/// An engine with other sizes than the device's.
pub(crate) fn engine_with(change: impl FnOnce(&mut Sizes)) -> GpuEngine {
    let gpu = gpu();
    let mut sizes = Sizes::of(&gpu.device.limits());
    change(&mut sizes);
    GpuEngine::with_sizes(gpu.adapter, gpu.device, gpu.queue, sizes).expect("an engine")
}

/// A head, embeddings widened to f32, and their tolerances.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) head: Head,
    pub(crate) values: Vec<f32>,
    pub(crate) tolerance: Vec<f32>,
}

impl Case {
    pub(crate) fn new(head: Head, values: Vec<f32>) -> Self {
        let tolerance = values
            .chunks(head.dim())
            .map(|x| tolerance(x, &head))
            .collect();
        Self {
            head,
            values,
            tolerance,
        }
    }

    /// A case of numbers in -1..1, the same for the same shape and seed.
    pub(crate) fn random(rows: usize, classes: usize, dim: usize, seed: u64) -> Self {
        let mut state = seed ^ ((rows as u64) << 40 | (classes as u64) << 20 | dim as u64);
        let mut next = || {
            // splitmix64
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        let weight = (0..classes * dim).map(|_| next()).collect();
        let bias = (0..classes).map(|_| next()).collect();
        let values = (0..rows * dim).map(|_| next()).collect();
        Self::new(Head::new(weight, bias, dim).expect("a head"), values)
    }

    pub(crate) fn rows(&self) -> usize {
        self.tolerance.len()
    }

    pub(crate) fn block(&self) -> Block<'_> {
        Block {
            values: Values::F32(&self.values),
            tolerance: &self.tolerance,
        }
    }

    pub(crate) fn embedding(&self, row: usize) -> &[f32] {
        let dim = self.head.dim();
        &self.values[row * dim..(row + 1) * dim]
    }
}

/// Standard bound on a sum of products in f32, and on flushed denormals.
fn tolerance(x: &[f32], head: &Head) -> f32 {
    let largest = (0..head.classes())
        .map(|class| {
            let weight = head.class_weight(class);
            let products = x.iter().zip(weight);
            let sum: f64 = products
                .map(|(x, w)| f64::from(x.abs()) * f64::from(w.abs()))
                .sum();
            sum + f64::from(head.bias()[class].abs())
        })
        .fold(0.0, f64::max);
    let operations = (head.dim() + 2) as f64 / f64::from(1 << 23);
    (1.01 * operations * largest + 1e-30) as f32
}

pub(crate) fn statistics(engine: &dyn Engine, case: &Case, block: Block<'_>) -> Vec<RowStatistics> {
    let mut scorer = engine.scorer(&case.head).expect("a scorer");
    let mut out = vec![bytemuck::Zeroable::zeroed(); block.rows()];
    scorer
        .row_statistics(block, &mut out)
        .expect("row statistics");
    out
}

/// Candidates in order of row and class.
pub(crate) fn candidates(
    engine: &dyn Engine,
    case: &Case,
    block: Block<'_>,
    thresholds: &[f32],
) -> Vec<Candidate> {
    let mut scorer = engine.scorer(&case.head).expect("a scorer");
    let mut out = Vec::new();
    let fits = scorer.class_candidates(block, thresholds, &mut out);
    assert!(fits.expect("class candidates"), "the list overflowed");
    sorted(out)
}

pub(crate) fn sorted(mut candidates: Vec<Candidate>) -> Vec<Candidate> {
    candidates.sort_by_key(|candidate| (candidate.row, candidate.class));
    candidates
}

fn reachable(bound: f32) -> f64 {
    match bound >= UNREACHABLE {
        true => f64::INFINITY,
        false => f64::from(bound),
    }
}

fn assert_contains(lower: f32, upper: f32, exact: f64, what: &str) {
    assert!(
        reachable(lower) <= exact && exact <= reachable(upper),
        "{what}: {exact} is not in {lower}..{upper}"
    );
}

/// The row by the definition: predicted class, logits, distances.
fn exact(case: &Case, row: usize) -> (usize, Vec<f64>, Vec<f64>) {
    let logits = definition::logits(case.embedding(row), &case.head);
    let predicted = definition::predicted(&logits);
    let distances = definition::distances(&logits, predicted, &case.head);
    (predicted, logits, distances)
}

/// Whether f32 must be able to tell the row's class: by thrice what it may be wrong.
fn clear(case: &Case, row: usize) -> bool {
    let (predicted, logits, _) = exact(case, row);
    let moved = 6.0 * f64::from(case.tolerance[row]);
    let gaps = (0..logits.len()).filter(|class| *class != predicted);
    gaps.map(|class| logits[predicted] - logits[class])
        .all(|gap| gap > moved)
}

/// Every available row's statistics are within what the engine promises of the definition's.
pub(crate) fn check_statistics(case: &Case, found: &[RowStatistics]) {
    for (row, found) in found.iter().enumerate() {
        if case.tolerance[row] == UNAVAILABLE {
            continue;
        }
        let what = format!("row {row}: {found:?}");
        let (predicted, logits, distances) = exact(case, row);
        let moved = 2.0 * f64::from(case.tolerance[row]);
        let chosen = logits[found.predicted as usize];
        assert!(logits[predicted] - chosen <= moved, "{what}: argmax");
        let mase = definition::mase(&distances);
        assert_contains(found.mase_lower, found.mase_upper, mase, &what);
        let Some(spread) = definition::Spread::of(&logits) else {
            let least = (found.gap, found.sum, found.moment, found.mase_lower);
            assert_eq!(least, (UNREACHABLE, 0.0, 0.0, UNREACHABLE), "{what}");
            continue;
        };
        let off = |found: f32, exact: f64| (f64::from(found) - exact).abs();
        assert!(
            off(found.gap, spread.gap) <= moved + spread.gap * BOUND_WIDTH,
            "{what}: {spread:?}"
        );
        assert!(found.sum >= 1.0, "{what}");
        let error = SUM_ROUNDING + 2.0 * moved;
        assert!(
            off(found.sum, spread.sum) <= error * spread.sum,
            "{what}: {spread:?}"
        );
        let scale = spread.sum + spread.moment;
        assert!(
            off(found.moment, spread.moment) <= error * scale,
            "{what}: {spread:?}"
        );
        if clear(case, row) && mase.is_finite() {
            assert!(found.mase_upper < UNREACHABLE, "{what}: not decided");
        }
    }
}

/// The candidates of thresholds that accept everything, in order: for every available row either
/// one of all classes or one of each, with bounds that hold the definition's score.
pub(crate) fn check_candidates(case: &Case, found: &[Candidate]) {
    let mut rest = found;
    for row in 0..case.rows() {
        let count = rest.iter().take_while(|c| c.row as usize == row).count();
        let (of_row, after) = rest.split_at(count);
        rest = after;
        if case.tolerance[row] == UNAVAILABLE {
            assert!(of_row.is_empty(), "row {row} is not available: {of_row:?}");
        } else if matches!(of_row, [one] if one.class == ALL_CLASSES) {
            let bounds = (of_row[0].lower, of_row[0].upper);
            assert_eq!(bounds, (0.0, UNREACHABLE), "row {row}");
            assert!(!clear(case, row), "row {row} is clear: {of_row:?}");
        } else {
            check_decided(case, row, of_row);
        }
    }
    assert_eq!(rest, [], "candidates of no row");
}

fn check_decided(case: &Case, row: usize, found: &[Candidate]) {
    let (predicted, _, distances) = exact(case, row);
    let scores = definition::base(&distances, predicted);
    assert_eq!(found.len(), scores.len(), "row {row}: {found:?}");
    let slack = 8.0 * f64::from(case.tolerance[row]);
    for (class, candidate) in found.iter().enumerate() {
        let what = format!("{candidate:?}");
        assert_eq!(candidate.class as usize, class, "{what}");
        assert_eq!(candidate.predicted as usize, predicted, "{what}");
        assert_contains(candidate.lower, candidate.upper, scores[class], &what);
        if class != predicted && scores[class].is_finite() {
            let distance = definition::weight_distance(&case.head, predicted, class);
            let width = f64::from(candidate.upper) - f64::from(candidate.lower);
            let most = slack / distance + scores[class] * BOUND_WIDTH;
            assert!(width <= most, "{what}: wider than {most}");
        }
    }
}

/// Both kernels on the case.
pub(crate) fn check(engine: &dyn Engine, case: &Case) {
    check_statistics(case, &statistics(engine, case, case.block()));
    let all = vec![ACCEPT_ALL; case.head.classes()];
    check_candidates(case, &candidates(engine, case, case.block(), &all));
}
