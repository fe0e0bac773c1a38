//! `--sweep`: one size at a time around powers of two, types, and constants of our shaders.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use equipoise::pool::Dtype;
use equipoise::report::Table;

use super::Shape;
use super::record::Record;
use super::row::Row;

/// What is varied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Axis {
    Rows,
    Dim,
    Classes,
    Types,
    Constants,
}

impl FromStr for Axis {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "rows" => Ok(Self::Rows),
            "dim" => Ok(Self::Dim),
            "classes" => Ok(Self::Classes),
            "types" => Ok(Self::Types),
            "constants" => Ok(Self::Constants),
            _ => Err("one of rows, dim, classes, types, constants".into()),
        }
    }
}

/// How much slower for its size something has to be than its neighbours to be a cliff.
const CLIFF: f64 = 1.15;

impl Axis {
    fn size(self, row: &Row) -> usize {
        match self {
            Axis::Rows => row.pool_rows,
            Axis::Dim => row.dim,
            Axis::Classes => row.classes,
            Axis::Types | Axis::Constants => 0,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Axis::Rows => "rows",
            Axis::Dim => "numbers per embedding",
            Axis::Classes => "classes",
            Axis::Types => "types",
            Axis::Constants => "constants",
        }
    }

    fn with(self, shape: Shape, size: usize) -> Shape {
        match self {
            Axis::Rows => Shape {
                rows: size,
                ..shape
            },
            Axis::Dim => Shape { dim: size, ..shape },
            Axis::Classes => Shape {
                classes: size,
                ..shape
            },
            Axis::Types | Axis::Constants => shape,
        }
    }

    /// The shapes to measure around `shape`.
    fn shapes(self, shape: Shape) -> Vec<Shape> {
        let (size, least) = match self {
            Axis::Rows => (shape.rows, 1),
            Axis::Dim => (shape.dim, 1),
            Axis::Classes => (shape.classes, 2),
            Axis::Constants => return vec![shape],
            Axis::Types => {
                let types = [Dtype::F32, Dtype::F16].into_iter();
                return types.map(|dtype| Shape { dtype, ..shape }).collect();
            }
        };
        let above = size.next_power_of_two();
        let middle = match above - size <= size - above / 2 {
            true => above,
            false => above / 2,
        };
        let around = [middle / 2, middle, 2 * middle].into_iter();
        let sizes =
            around.flat_map(|power| [power.saturating_sub(1), power, power + 1, power + power / 2]);
        let sizes = sizes.filter(|size| *size >= least);
        sizes.map(|size| self.with(shape, size)).collect()
    }
}

/// The shapes that sweeps over `axes` measure around `shapes`, each once.
pub(super) fn shapes(axes: &[Axis], shapes: &[Shape]) -> Vec<Shape> {
    let mut all: Vec<Shape> = Vec::new();
    for axis in axes {
        for shape in shapes.iter().flat_map(|shape| axis.shapes(*shape)) {
            if !all.contains(&shape) {
                all.push(shape);
            }
        }
    }
    all
}

/// What the sweeps show, device by device.
pub(super) fn text(record: &Record, axes: &[Axis]) -> String {
    let devices = || record.devices.iter().map(|device| &*device.device);
    let parts = axes.iter().flat_map(|axis| {
        devices().map(move |device| match axis {
            Axis::Types => String::new(),
            Axis::Constants => of_constants(record, device),
            axis => of_sizes(record, device, *axis),
        })
    });
    parts.collect()
}

/// Measurements that differ in nothing but one size, in its order; and in how many rows a block has, which sizes decide.
type Series<'r> = BTreeMap<usize, &'r Row>;

/// Those of a device, each with the sizes that its shapes share.
fn series<'r>(record: &'r Record, device: &str, axis: Axis) -> Vec<(String, Series<'r>)> {
    let mut all: BTreeMap<_, Series<'_>> = BTreeMap::new();
    // What the other kernels take does not depend on it.
    let depends = |row: &&Row| axis != Axis::Dim || row.name == "logits" || row.name == "row_norms";
    let rows = record.rows.iter().filter(|row| row.device == device);
    for row in rows.filter(depends) {
        let sizes = [Axis::Rows, Axis::Dim, Axis::Classes].map(|other| match other == axis {
            true => 0,
            false => other.size(row),
        });
        let key = (&row.name, &row.variant, &row.dtype, sizes);
        all.entry(key).or_default().insert(axis.size(row), row);
    }
    let shared = |sizes: [usize; 3]| {
        let sizes = sizes.map(|size| match size {
            0 => "…".into(),
            size => size.to_string(),
        });
        sizes.join("x")
    };
    all.into_iter()
        .filter(|(_, series)| series.len() > 2)
        .map(|((.., sizes), series)| (shared(sizes), series))
        .collect()
}

/// Milliseconds for each row, and each unit of the size.
fn cost(axis: Axis, row: &Row) -> f64 {
    match axis {
        Axis::Rows => row.median_ms / row.rows as f64,
        _ => row.median_ms / row.rows as f64 / axis.size(row) as f64,
    }
}

/// Whether a size is dearer than both its neighbours in the series, or they than it, or what lies behind it: by
/// `CLIFF`, and with no quartile of the one among those of the other.
fn is_cliff(axis: Axis, series: &Series<'_>, size: usize) -> bool {
    let neighbours = [size.wrapping_sub(1), size, size + 1].map(|size| series.get(&size));
    let [Some(before), Some(own), Some(after)] = neighbours else {
        return false;
    };
    let dearer = |dear: &Row, cheap: &Row| {
        let quartile =
            |row: &Row, which: usize| cost(axis, row) * row.quartiles_ms[which] / row.median_ms;
        cost(axis, dear) > CLIFF * cost(axis, cheap) && quartile(dear, 0) > quartile(cheap, 1)
    };
    let is_peak = dearer(own, before) && dearer(own, after);
    is_peak || dearer(after, own)
}

fn of_sizes(record: &Record, device: &str, axis: Axis) -> String {
    let all = series(record, device, axis);
    if all.is_empty() {
        return String::new();
    }
    let sizes = all.iter().flat_map(|(_, series)| series.keys().copied());
    let sizes: BTreeSet<usize> = sizes.collect();
    let heads = ["kernel", "variant", "shape", "type"].map(String::from);
    let heads = heads.into_iter();
    let heads = heads.chain(sizes.iter().map(usize::to_string));
    let mut table = Table::new(heads.collect::<Vec<_>>());
    let mut cliffs = 0;
    for (shared, series) in &all {
        let costs = series.values().map(|row| cost(axis, row));
        let least = costs.fold(f64::INFINITY, f64::min);
        let Some(row) = series.values().next() else {
            continue;
        };
        let names = [&row.name, &row.variant, shared, &row.dtype];
        let mut cells: Vec<String> = names.into_iter().cloned().collect();
        cells.extend(sizes.iter().map(|size| match series.get(size) {
            Some(row) => {
                let cliff = size.is_power_of_two() && is_cliff(axis, series, *size);
                cliffs += usize::from(cliff);
                let mark = if cliff { "!" } else { "" };
                format!("{:.2}{mark}", cost(axis, row) / least)
            }
            None => String::new(),
        }));
        table.row(cells);
    }
    format!(
        "\nsweep of {} on {device}: time for each of them, of the least in the line; ! is a cliff at a power of two \
         ({:.0}% at least)\n{table}cliffs: {cliffs}\n",
        axis.name(),
        100.0 * (CLIFF - 1.0)
    )
}

/// Of each kernel and shape on a device, the best constants beside the best of ours, and beside that with the checks that other
/// constants are compiled with: ours are among those that are tried, and a shader is known by its WGSL.
fn of_constants(record: &Record, device: &str) -> String {
    let mut all: BTreeMap<_, Vec<&Row>> = BTreeMap::new();
    let rows = record.rows.iter().filter(|row| row.device == device);
    for row in rows.filter(|row| row.shader.is_some()) {
        let key = (&row.name, row.shape(), row.pool_rows, &row.dtype);
        all.entry(key).or_default().push(row);
    }
    if all.is_empty() {
        return String::new();
    }
    let mut table = Table::new([
        "kernel",
        "shape",
        "type",
        "ours",
        "ms",
        "with all checks",
        "best constants",
        "ms",
        "ours checked / best",
    ]);
    for rows in all.into_values() {
        let best = |changed: bool| {
            let rows = rows
                .iter()
                .filter(|row| row.variant.contains('=') == changed);
            rows.min_by(|a, b| a.median_ms.total_cmp(&b.median_ms))
        };
        if let (Some(ours), Some(changed)) = (best(false), best(true)) {
            let mut checked = rows
                .iter()
                .filter(|row| row.variant.contains('=') && row.shader == ours.shader);
            let checked = checked.next().map(|row| row.median_ms);
            let number = |number: Option<f64>, digits: usize| {
                number.map_or("-".to_owned(), |number| format!("{number:.digits$}"))
            };
            table.row([
                ours.name.clone(),
                ours.shape(),
                ours.dtype.clone(),
                ours.variant.clone(),
                number(Some(ours.median_ms), 3),
                number(checked, 3),
                changed.variant.clone(),
                number(Some(changed.median_ms), 3),
                number(checked.map(|checked| checked / changed.median_ms), 2),
            ]);
        }
    }
    format!("\nsweep of constants on {device}\n{table}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_lie_around_powers_of_two() {
        let shape: Shape = "4096,500,100".parse().unwrap();
        let found = shapes(&[Axis::Dim], &[shape]);
        let dims: Vec<usize> = found.iter().map(|shape| shape.dim).collect();
        assert_eq!(
            dims,
            [
                255, 256, 257, 384, 511, 512, 513, 768, 1023, 1024, 1025, 1536
            ]
        );
        assert!(found.iter().all(|of| (of.rows, of.classes) == (4096, 100)));
        let classes = shapes(&[Axis::Classes], &["9,8,2".parse().unwrap()]);
        assert!(
            classes
                .iter()
                .all(|shape| shape.classes >= 2 && shape.dim == 8)
        );
        let both = shapes(&[Axis::Types, Axis::Constants], &[shape]);
        assert_eq!(both.len(), 2);
    }

    fn row(device: &str, (rows, dim): (usize, usize), median_ms: f64) -> Row {
        let row = serde_json::json!({
            "device": device, "name": "logits", "variant": "small", "rows": 10, "pool_rows": rows, "dim": dim,
            "classes": 3, "dtype": "f32", "median_ms": median_ms,
            "quartiles_ms": [0.99 * median_ms, 1.01 * median_ms], "runs": 5, "shader": "abc",
        });
        serde_json::from_value(row).unwrap()
    }

    #[test]
    fn a_step_at_a_power_of_two_is_a_cliff() {
        let mut record = Record::begin();
        record.rows = [
            (63, 6.3),
            (64, 9.6),
            (65, 6.5),
            (96, 9.6),
            (127, 12.7),
            (128, 12.8),
            (129, 12.9),
        ]
        .map(|(dim, ms)| row("a card", (10, dim), ms))
        .to_vec();
        let text = of_sizes(&record, "a card", Axis::Dim);
        assert!(
            text.contains("1.50!") && text.contains("cliffs: 1"),
            "{text}"
        );
        record.rows.push(Row {
            variant: "small SIDE=8".into(),
            shader: Some("another".into()),
            ..row("a card", (10, 64), 4.8)
        });
        let text = of_constants(&record, "a card");
        assert!(text.contains("small SIDE=8"), "{text}");
        assert!(!text.contains("2.50"), "{text}");
        // Ours with the checks of the others.
        record.rows.push(Row {
            variant: "small SIDE=16".into(),
            ..row("a card", (10, 64), 12.0)
        });
        let text = of_constants(&record, "a card");
        assert!(text.contains("12.000") && text.contains("2.50"), "{text}");
        assert_eq!(of_constants(&record, "another"), "");
    }

    #[test]
    fn every_size_of_every_shape_and_device_is_shown() {
        let mut record = Record::begin();
        let of = |device: &str, rows, dims: [usize; 3]| {
            dims.map(|dim| row(device, (rows, dim), rows as f64 * dim as f64))
        };
        record.rows.extend(of("a card", 100, [15, 16, 17]));
        record.rows.extend(of("a card", 200, [15, 16, 31]));
        record.rows.extend(of("another", 100, [7, 8, 9]));
        let text = of_sizes(&record, "a card", Axis::Dim);
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert!(text.contains("on a card"), "{text}");
        let head = ["kernel", "variant", "shape", "type", "15", "16", "17", "31"];
        assert!(lines.iter().any(|line| line[..] == head), "{text}");
        for shape in ["100x…x3", "200x…x3"] {
            assert!(lines.iter().any(|line| line.contains(&shape)), "{text}");
        }
        let text = of_sizes(&record, "another", Axis::Dim);
        assert!(text.contains(" 9") && !text.contains("17"), "{text}");
    }
}
