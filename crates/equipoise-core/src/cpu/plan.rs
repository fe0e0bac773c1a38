//! How the CPU engine cuts its work, and what memory that takes.

use std::ops::Range;

use super::CpuProducts;
use super::logits::{Columns, STRIP_ROWS};
use super::rough::integers::Integers;
use super::rough::rounding::RoundedRows;
use super::rough::trial::integers_pay;
use super::row::LANES;
use crate::engine::{Candidate, Candidates, Nearest, NearestGradient, Task};
use crate::memory::{MemoryPlan, Place, ScanShape, scanned_row_bytes, within};

/// Most rows of a part.
const PART_ROWS: usize = 512;

/// Bytes that the logits of a part's rows would fill, if one row's take no more.
const PART_BYTES: usize = 4 << 20;

/// Parts of a block for each thread, so that lists are looked at seldom.
const PARTS_PER_THREAD: usize = 16;

/// Bytes of the table of scales; beyond, a part makes the lines that it needs.
const TABLE_BYTES: u64 = 256 << 20;

/// Candidates that a block holds, if there are no more classes; with more, it is cut in two.
const CANDIDATES: usize = 1 << 20;

/// Fewer classes are multiplied in about the time that rounding a row takes.
const ROUGH_CLASSES: usize = 80;

/// The layout for one shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CpuPlan {
    /// Classes, padded to whole vectors.
    pub(super) stride: usize,
    /// Most rows of a part.
    pub(super) part_rows: usize,
    /// Most rows of a strip of it.
    pub(super) strip_rows: usize,
    /// Most rows of a block.
    pub(super) max_rows: usize,
    /// Most candidates of a block, to which each thread may add one row's.
    pub(super) capacity: usize,
    /// Whether the scales of all classes to all are kept.
    pub(super) table: bool,
    /// Whether rows are looked at roughly first: sometimes, never or always.
    pub(super) products: CpuProducts,
    threads: usize,
}

impl CpuPlan {
    /// The plan within `budget` bytes that asks least of whatever comes first: parts of a strip at least, integers, the table
    /// of scales, and the largest parts.
    ///
    /// # Errors
    /// The least bytes that would do.
    pub(super) fn new(
        shape: ScanShape,
        max_rows: Option<usize>,
        budget: Option<u64>,
        products: CpuProducts,
    ) -> Result<Self, u64> {
        use CpuProducts::{Auto, Float32};
        let stride = shape.classes.next_multiple_of(LANES);
        let bytes = 4 * (stride as u64) * (shape.classes as u64);
        let fits = shape.task == Task::Boundaries && bytes <= TABLE_BYTES;
        let products = match products {
            _ if !fits => Float32,
            Auto if shape.classes < ROUGH_CLASSES || !integers_pay() => Float32,
            others => others,
        };
        let widest = match shape.task {
            Task::NearestGradient { centres } => stride.max(centres),
            _ => stride,
        };
        let most = (PART_BYTES / (4 * widest)).clamp(1, PART_ROWS);
        let threads = rayon::current_num_threads();
        let plan = |(table, products), part_rows: usize| {
            let rows = part_rows * PARTS_PER_THREAD * threads;
            let plan = Self {
                stride,
                part_rows,
                // Where lines of scales are made, of as many rows as may share them.
                strip_rows: match (shape.task, table) {
                    (Task::Boundaries, false) => part_rows,
                    _ => part_rows.min(STRIP_ROWS),
                },
                max_rows: max_rows.unwrap_or(rows),
                capacity: rows
                    .saturating_mul(shape.classes)
                    .clamp(shape.classes, CANDIDATES.max(shape.classes)),
                table,
                products,
                threads,
            };
            (plan, plan.memory(shape).bytes(Place::Host))
        };
        let kinds = [(true, products), (true, Float32), (false, Float32)];
        let kinds = &kinds[usize::from(products == Float32) + usize::from(!fits)..];
        let halves = |least: usize| {
            std::iter::successors(Some(most), |rows| Some(rows / 2))
                .take_while(move |rows| *rows >= least)
        };
        // Parts of less than a strip waste more of a tile than a table or integers save.
        let tries = [STRIP_ROWS, 1].into_iter().flat_map(|least| {
            let of = move |kind| halves(least).map(move |rows| (kind, rows));
            kinds.iter().flat_map(move |kind| of(*kind))
        });
        within(budget, tries.map(|(kind, rows)| plan(kind, rows)))
    }

    /// A block of `rows` rows in parts, in the order in which threads take them: smaller and smaller ones, so that the
    /// threads end together.
    pub(super) fn parts(&self, rows: usize) -> Vec<Range<usize>> {
        let (mut parts, mut first) = (Vec::new(), 0);
        while first < rows {
            let fair = (rows - first) / (2 * self.threads);
            let part = fair.next_multiple_of(self.strip_rows);
            let end = rows.min(first + part.clamp(self.strip_rows, self.part_rows));
            parts.push(first..end);
            first = end;
        }
        parts
    }

    /// What it takes.
    pub(super) fn memory(&self, shape: ScanShape) -> MemoryPlan {
        let mut plan = MemoryPlan {
            rows: self.max_rows,
            depth: 1,
            parts: Vec::new(),
        };
        let numbers = |count: usize, each: usize| 4 * count as u64 * each as u64;
        let (classes, dim) = (shape.classes, shape.dim);
        plan.add(Place::Host, "head", numbers(classes, dim));
        plan.add(Place::Host, "head by columns", Columns::bytes(classes, dim));
        match (shape.task, self.table) {
            (Task::Nearest | Task::NearestGradient { .. }, _) => {}
            (Task::Boundaries, true) => plan.add(
                Place::Host,
                "scales of all classes",
                numbers(classes, self.stride),
            ),
            (Task::Boundaries, false) => {
                plan.add(Place::Host, "centred head", Columns::bytes(classes, dim));
                // Scales and the products they are made of, for each row's class.
                let lines = 2 * self.threads * self.part_rows.min(classes);
                plan.add(
                    Place::Host,
                    "scales of a part",
                    numbers(lines, self.stride + dim),
                );
            }
        }
        if self.products != CpuProducts::Float32 {
            let rounded = self.threads as u64 * RoundedRows::bytes(self.strip_rows);
            plan.add(
                Place::Host,
                "head in 16-bit integers",
                Integers::bytes(classes, dim) + rounded,
            );
        }
        let rows = self.threads * self.strip_rows;
        plan.add(Place::Host, "logits", numbers(rows, self.stride));
        let slices = self.threads as u64 * Columns::slice_bytes(self.strip_rows);
        plan.add(Place::Host, "slices of embeddings", slices);
        match shape.task {
            Task::Boundaries => {}
            Task::Nearest => {
                let bytes = (self.max_rows * size_of::<Nearest>()) as u64;
                plan.add(Place::Host, "nearest centres", bytes);
                return plan;
            }
            Task::NearestGradient { centres } => {
                let bytes = (self.max_rows * size_of::<NearestGradient>()) as u64;
                plan.add(Place::Host, "nearest centres", bytes);
                // As they are given, and by columns.
                let given = numbers(centres, dim + self.stride);
                let by_columns = [dim, self.stride].map(|dim| Columns::bytes(centres, dim));
                plan.add(
                    Place::Host,
                    "centres",
                    given + by_columns[0] + by_columns[1],
                );
                plan.add(
                    Place::Host,
                    "products with centres",
                    numbers(2 * rows, centres),
                );
                return plan;
            }
        }
        let known = self.max_rows.min(shape.rows) as u64 * scanned_row_bytes(shape.task);
        plan.add(Place::Host, "what is known of a block's rows", known);
        // As they are found, and by class, this block's and the last one's, in memory that grows by doubling.
        let candidates = (self.capacity + self.threads * classes) as u64;
        let found = 2 * candidates * size_of::<Candidate>() as u64;
        plan.add(Place::Host, "candidates", found);
        // Each part has places where its classes begin.
        let parts = self.parts(self.max_rows).len() + self.threads;
        let starts = (parts * classes) as u64;
        let by_class = Candidates::bytes(candidates, self.max_rows as u64, starts);
        plan.add(Place::Host, "candidates by class", by_class);
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: ScanShape = ScanShape {
        rows: 1_281_167,
        dim: 2048,
        classes: 1000,
        width: 2,
        task: Task::Boundaries,
    };

    #[test]
    fn a_budget_is_kept_or_the_least_is_named() {
        let free = CpuPlan::new(SHAPE, None, None, CpuProducts::Auto).unwrap();
        assert!(free.table && free.part_rows == PART_ROWS);
        let least = CpuPlan::new(SHAPE, None, Some(0), CpuProducts::Auto).unwrap_err();
        let small = CpuPlan::new(SHAPE, None, Some(least), CpuProducts::Auto).unwrap();
        assert_eq!(small.part_rows, 1);
        assert_eq!(small.memory(SHAPE).bytes(Place::Host), least);
        let budget = 200 << 20;
        let some = CpuPlan::new(SHAPE, None, Some(budget), CpuProducts::Auto).unwrap();
        assert!(some.memory(SHAPE).bytes(Place::Host) <= budget);
        assert!(some.part_rows > 1, "{some:?}");
    }

    #[test]
    fn parts_are_strips_at_least_where_float32_leaves_room_for_them() {
        use CpuProducts::{Float32, Int16};
        let plan = |budget, products| CpuPlan::new(SHAPE, None, Some(budget), products);
        let (mut small, mut with_integers) = (0, 0);
        let least = plan(0, Int16).unwrap_err();
        for budget in (least..200 << 20).step_by(1 << 18) {
            let found = plan(budget, Int16).unwrap();
            if found.part_rows < STRIP_ROWS {
                assert!(plan(budget, Float32).unwrap().part_rows < STRIP_ROWS);
                small += 1;
            }
            with_integers += usize::from(found.products == Int16);
        }
        assert!(small > 0 && with_integers > 0, "{small} {with_integers}");
    }

    #[test]
    fn parts_are_all_rows_in_order_and_no_more_than_planned() {
        for shape in [
            SHAPE,
            ScanShape {
                classes: 9000,
                ..SHAPE
            },
        ] {
            let free = CpuPlan::new(shape, None, None, CpuProducts::Auto).unwrap();
            for threads in [1, 2, 7, 64] {
                let plan = CpuPlan { threads, ..free };
                let planned = plan.parts(plan.max_rows).len() + threads;
                for rows in (0..3000).chain([plan.max_rows / 3, plan.max_rows]) {
                    let parts = plan.parts(rows);
                    let mut next = 0;
                    for part in &parts {
                        assert_eq!(part.start, next, "{rows} rows, {threads} threads");
                        assert!((1..=plan.part_rows).contains(&part.len()));
                        next = part.end;
                    }
                    assert_eq!(next, rows);
                    assert!(parts.is_sorted_by(|a, b| a.len() >= b.len()));
                    assert!(
                        rows > plan.max_rows || parts.len() <= planned,
                        "{rows} rows"
                    );
                }
            }
        }
    }

    #[test]
    fn classes_by_the_thousand_take_no_table() {
        let shape = ScanShape {
            rows: 100_000_000,
            classes: 21_841,
            ..SHAPE
        };
        let plan = CpuPlan::new(shape, None, None, CpuProducts::Auto).unwrap();
        assert!(!plan.table, "{plan:?}");
        assert!(plan.memory(shape).bytes(Place::Host) < 2 << 30, "{plan:?}");
    }
}
