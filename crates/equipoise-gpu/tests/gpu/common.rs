//! Cases, and what must hold for any engine's answers on them.

use equipoise_core::engine::{
    ACCEPT_ALL, ALL_CLASSES, Answer, Candidate, Candidates, NO_CLASS, PAIR, Question,
    RowStatistics, Task, UNAVAILABLE, UNDECIDABLE, UNREACHABLE,
};
use equipoise_core::{Engine, Head, MemoryPool, RowSet, Values, definition};
use equipoise_gpu::{DeviceChoice, Gpu, GpuEngine, Sizes};
use half::f16;

/// Relative error allowed of a sum of exponentials, tolerances aside: a few dozen roundings of
/// 2⁻²³, times the few hundred classes of the cases here.
const SUM_ROUNDING: f64 = 1e-4;

/// Relative width allowed of bounds, beyond what the tolerances make: the engine's own rounding
/// constants, 2⁻¹¹ and 2⁻²² on both sides, with room.
const BOUND_WIDTH: f64 = 2e-3;

/// Largest tolerance allowed, in standard bounds on a sum of products in f32.
const LOOSE: f64 = 1.1;

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

/// A head, embeddings widened to f32, and which of them are available.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) head: Head,
    pub(crate) values: Vec<f32>,
    /// The same, where they are stored as f16.
    pub(crate) half: Option<Vec<f16>>,
    pub(crate) available: RowSet,
}

impl Case {
    pub(crate) fn new(head: Head, values: Vec<f32>) -> Self {
        Self {
            available: RowSet::all(values.len() / head.dim()),
            half: None,
            head,
            values,
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

    /// The case with its embeddings rounded to f16.
    pub(crate) fn halved(self) -> Self {
        let half: Vec<f16> = self.values.iter().map(|x| f16::from_f32(*x)).collect();
        Self {
            values: half.iter().map(|x| x.to_f32()).collect(),
            half: Some(half),
            ..self
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.available.bound()
    }

    pub(crate) fn pool(&self) -> MemoryPool<'_> {
        let values = match &self.half {
            Some(half) => Values::F16(half),
            None => Values::F32(&self.values),
        };
        MemoryPool::new(values, self.head.dim()).expect("a pool")
    }

    pub(crate) fn embedding(&self, row: usize) -> &[f32] {
        let dim = self.head.dim();
        &self.values[row * dim..(row + 1) * dim]
    }

    /// Standard bound on a sum of products in f32, and on flushed denormals.
    pub(crate) fn tolerance(&self, row: usize) -> f64 {
        let norm = |x: &[f32]| x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        let weights = (0..self.head.classes()).map(|class| norm(self.head.class_weight(class)));
        let bias = self.head.bias().iter().map(|b| f64::from(b.abs()));
        let largest =
            norm(self.embedding(row)) * weights.fold(0.0, f64::max) + bias.fold(0.0, f64::max);
        (self.head.dim() + 2) as f64 / f64::from(1 << 23) * largest + 1e-30
    }
}

/// The answer about all rows, in blocks of the engine's own size, several in flight.
pub(crate) fn ask(engine: &dyn Engine, case: &Case, question: Question<'_>) -> Answer {
    let pool = case.pool();
    let task = match question {
        Question::Nearest => Task::Nearest,
        _ => Task::Boundaries,
    };
    let mut scorer = engine.scorer(&case.head, &pool, task).expect("a scorer");
    let (mut all, mut answer) = (Answer::default(), Answer::default());
    let mut candidates = Vec::new();
    let (mut next, mut flying) = (0, 0);
    while next < case.rows() || flying > 0 {
        if next < case.rows() && flying < scorer.depth() {
            let left = case.rows() - next;
            let taken = scorer.submit(next, left, &case.available, question);
            next += taken.expect("a submission");
            flying += 1;
            continue;
        }
        scorer.collect(&mut answer).expect("an answer");
        flying -= 1;
        assert!(!answer.overflow, "the list overflowed");
        all.nonfinite.extend(&answer.nonfinite);
        all.statistics.extend(&answer.statistics);
        all.keys.extend(&answer.keys);
        all.nearest.extend(&answer.nearest);
        candidates.extend(in_pool(&answer));
    }
    all.candidates
        .push(Candidates::of(&candidates, case.head.classes()));
    all
}

/// A block's candidates, their rows counted in the pool.
pub(crate) fn in_pool(answer: &Answer) -> impl Iterator<Item = Candidate> + '_ {
    let candidates = answer.candidates.iter().flat_map(Candidates::iter);
    candidates.map(|candidate| Candidate {
        row: candidate.row + answer.start as u32,
        ..candidate
    })
}

pub(crate) fn statistics(engine: &dyn Engine, case: &Case) -> Vec<RowStatistics> {
    ask(engine, case, Question::RowStatistics { exponentials: true }).statistics
}

/// Candidates in order of row and class.
pub(crate) fn candidates(engine: &dyn Engine, case: &Case, thresholds: &[f32]) -> Vec<Candidate> {
    let answer = ask(engine, case, Question::ClassCandidates { thresholds });
    let mut candidates: Vec<Candidate> = answer.candidates[0].iter().collect();
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

/// How many classes f32 may take for the predicted one: within thrice what it may be wrong.
fn plausible(case: &Case, row: usize) -> usize {
    let (predicted, logits, _) = exact(case, row);
    let moved = 6.0 * LOOSE * case.tolerance(row);
    let near = logits.iter().filter(|z| logits[predicted] - **z <= moved);
    near.count()
}

/// What a candidate or a row's statistics say of predicted class and runner-up is true.
fn check_codes((predicted, runner_up, rival): (u32, u32, u32), case: &Case, row: usize) {
    let what = format!("row {row}: {predicted:x} {runner_up:x} {rival:x}");
    let (p, _, distances) = exact(case, row);
    let other = definition::runner_up(&distances, p).map_or(NO_CLASS, |class| class as u32);
    let p = p as u32;
    if predicted == NO_CLASS {
        assert_eq!((runner_up, rival), (NO_CLASS, NO_CLASS), "{what}");
    } else if predicted & PAIR != 0 {
        let mut pair = [predicted & !PAIR, runner_up];
        pair.sort_unstable();
        assert_eq!(pair, [p.min(other), p.max(other)], "{what}");
        assert_eq!(rival, NO_CLASS, "{what}");
    } else {
        assert_eq!(predicted, p, "{what}");
        let known = runner_up == NO_CLASS || runner_up == other || rival == other;
        assert!(known, "{what}: the runner-up is {other}");
    }
    if plausible(case, row) == 1 {
        assert_eq!(predicted, p, "{what}: not certain");
    }
}

/// Every available row's statistics are within what the engine promises of the definition's.
pub(crate) fn check_statistics(case: &Case, found: &[RowStatistics]) {
    assert_eq!(found.len(), case.rows());
    for (row, found) in found.iter().enumerate() {
        if !case.available.contains(row) {
            assert_eq!(found.tolerance, UNAVAILABLE, "row {row}");
        } else if found.tolerance < UNDECIDABLE {
            check_row_statistics(case, row, found);
        }
    }
}

fn check_row_statistics(case: &Case, row: usize, found: &RowStatistics) {
    let what = format!("row {row}: {found:?}");
    let (_, logits, distances) = exact(case, row);
    let tolerance = f64::from(found.tolerance);
    assert!(
        tolerance <= LOOSE * case.tolerance(row),
        "{what}: too loose"
    );
    let moved = 2.0 * tolerance;
    check_codes((found.predicted, found.runner_up, found.rival), case, row);
    let mase = definition::mase(&distances);
    assert_contains(found.mase_lower, found.mase_upper, mase, &what);
    let Some(spread) = definition::Spread::of(&logits) else {
        let least = (found.gap, found.sum, found.moment, found.mase_lower);
        assert_eq!(least, (UNREACHABLE, 0.0, 0.0, UNREACHABLE), "{what}");
        return;
    };
    let off = |found: f32, exact: f64| (f64::from(found) - exact).abs();
    let what = format!("{what}: {spread:?}");
    assert!(
        off(found.gap, spread.gap) <= moved + spread.gap * BOUND_WIDTH,
        "{what}"
    );
    assert!(found.sum >= 1.0, "{what}");
    let error = SUM_ROUNDING + 2.0 * moved;
    assert!(off(found.sum, spread.sum) <= error * spread.sum, "{what}");
    let scale = spread.sum + spread.moment;
    assert!(off(found.moment, spread.moment) <= error * scale, "{what}");
    if plausible(case, row) == 1 && mase.is_finite() {
        assert!(found.mase_upper < UNREACHABLE, "{what}: not decided");
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
        if !case.available.contains(row) {
            assert!(of_row.is_empty(), "row {row} is not available: {of_row:?}");
        } else if matches!(of_row, [one] if one.class == ALL_CLASSES) {
            let bounds = (of_row[0].lower, of_row[0].upper);
            assert_eq!(bounds, (0.0, UNREACHABLE), "row {row}");
            assert!(plausible(case, row) > 1, "row {row} is clear: {of_row:?}");
        } else {
            check_row_candidates(case, row, of_row);
        }
    }
    assert_eq!(rest, [], "candidates of no row");
}

fn check_row_candidates(case: &Case, row: usize, found: &[Candidate]) {
    let (p, _, distances) = exact(case, row);
    let scores = definition::base(&distances, p);
    assert_eq!(found.len(), scores.len(), "row {row}: {found:?}");
    let slack = 8.0 * LOOSE * case.tolerance(row);
    for (class, candidate) in found.iter().enumerate() {
        let what = format!("{candidate:?}");
        assert_eq!(candidate.class as usize, class, "{what}");
        let codes = (candidate.predicted, candidate.runner_up, candidate.rival);
        check_codes(codes, case, row);
        assert_contains(candidate.lower, candidate.upper, scores[class], &what);
        let certain = candidate.predicted == p as u32;
        if certain && class != p && scores[class].is_finite() {
            let distance = definition::weight_distance(&case.head, p, class);
            let width = f64::from(candidate.upper) - f64::from(candidate.lower);
            let most = slack / distance + scores[class] * BOUND_WIDTH;
            assert!(width <= most, "{what}: wider than {most}");
        }
    }
}

/// Both kernels on the case.
pub(crate) fn check(engine: &dyn Engine, case: &Case) {
    check_statistics(case, &statistics(engine, case));
    let all = vec![ACCEPT_ALL; case.head.classes()];
    check_candidates(case, &candidates(engine, case, &all));
}
