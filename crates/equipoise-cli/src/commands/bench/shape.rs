//! The shapes that are measured.

use std::fmt;
use std::str::FromStr;

use equipoise::pool::Dtype;

/// The size of a pool and its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Rows, N.
    pub(crate) rows: usize,
    /// Numbers per embedding, M.
    pub(crate) dim: usize,
    /// Classes, C.
    pub(crate) classes: usize,
    /// Rows to pick, B.
    pub(crate) budget: Option<usize>,
    /// How embeddings are stored.
    pub(crate) dtype: Dtype,
}

/// What is measured where nothing is asked for: CIFAR with a ResNet-20, and two with the widths of a
/// ResNet-18 and a ResNet-50.
const USUAL: [Shape; 3] = [
    Shape::of(8192, 64, 10),
    Shape::of(50_000, 512, 100),
    Shape::of(4096, 2048, 1000),
];

/// As `USUAL`, for software adapters, which are a hundred times as slow.
const SOFTWARE: [Shape; 2] = [Shape::of(2048, 64, 10), Shape::of(256, 512, 100)];

/// What `--full` adds: ImageNet and a ResNet-50, a part and the whole.
const FULL: [Shape; 2] = [
    Shape {
        budget: Some(10_000),
        ..Shape::of(20_000, 2048, 1000)
    },
    Shape {
        budget: Some(10_000),
        dtype: Dtype::F16,
        ..Shape::of(1_280_000, 2048, 1000)
    },
];

/// The shape around which sweeps go where none is asked for.
pub(crate) fn middle(software: bool) -> Shape {
    match software {
        true => Shape::of(256, 64, 16),
        false => Shape::of(16_384, 512, 128),
    }
}

/// The shapes for a device: those asked for, or the usual ones, of which f16 has other kernels. A software
/// adapter would take days for the full ones.
pub(crate) fn grid(asked: &[Shape], full: bool, software: bool) -> Vec<Shape> {
    let usual = match (asked, software) {
        ([_, ..], _) => asked,
        ([], true) => &SOFTWARE[..],
        ([], false) => &USUAL[..],
    };
    let mut shapes = usual.to_vec();
    if asked.is_empty() {
        shapes.extend(usual.iter().skip(1).map(|shape| Shape {
            dtype: Dtype::F16,
            ..*shape
        }));
    }
    if full && !software {
        shapes.extend(FULL);
    }
    shapes
}

impl Shape {
    const fn of(rows: usize, dim: usize, classes: usize) -> Self {
        Self {
            rows,
            dim,
            classes,
            budget: None,
            dtype: Dtype::F32,
        }
    }

    /// Bytes of the pool's embeddings.
    pub(crate) fn bytes(&self) -> u64 {
        (self.rows * self.dim * self.dtype.size()) as u64
    }

    /// Rows to pick: a fiftieth of them, at least one a class, where it is not said.
    pub(crate) fn picks(&self) -> usize {
        let usual = (self.rows / 50).clamp(self.classes.min(10_000), 10_000);
        self.budget.unwrap_or(usual).min(self.rows)
    }

    /// 2 N M C: the multiplications and additions of the logits of `rows` rows.
    pub(crate) fn products(&self, rows: usize) -> f64 {
        2.0 * rows as f64 * self.dim as f64 * self.classes as f64
    }
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (sizes, dtype) = match text.rsplit_once(',') {
            Some((sizes, "f16")) => (sizes, Dtype::F16),
            Some((sizes, "f32")) => (sizes, Dtype::F32),
            _ => (text, Dtype::F32),
        };
        let sizes: Vec<usize> = sizes
            .split(',')
            .map(|size| size.parse().map_err(|_| format!("`{size}` is no number")))
            .collect::<Result<_, _>>()?;
        let (rows, dim, classes, budget) = match sizes[..] {
            [rows, dim, classes] => (rows, dim, classes, None),
            [rows, dim, classes, budget] => (rows, dim, classes, Some(budget)),
            _ => return Err("a shape is N,M,C, then maybe B, then maybe f32 or f16".into()),
        };
        if rows == 0 || dim == 0 || budget == Some(0) {
            return Err("every size is at least 1".into());
        }
        if classes < 2 {
            return Err("it takes 2 classes to have a boundary".into());
        }
        // 2⁴⁸ bytes are more than any machine's memory, and far from what overflows.
        let fits = |a: usize, b: usize| a.checked_mul(b).is_some_and(|n| n >> 46 == 0);
        match fits(rows, dim) && fits(classes, dim) && fits(classes, classes) {
            true => Ok(Self {
                rows,
                dim,
                classes,
                budget,
                dtype,
            }),
            false => Err("no machine holds so much".into()),
        }
    }
}

/// `50000x512x100`.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.rows, self.dim, self.classes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_read_with_and_without_budget_and_type() {
        let shape: Shape = "9,8,7".parse().unwrap();
        assert_eq!((shape, shape.picks()), (Shape::of(9, 8, 7), 7));
        let shape: Shape = "900,8,7,20,f16".parse().unwrap();
        assert_eq!((shape.dtype, shape.picks()), (Dtype::F16, 20));
        assert_eq!(
            (shape.bytes(), shape.to_string()),
            (14_400, "900x8x7".into())
        );
        assert_eq!("9,8,7,f32".parse(), Ok(Shape::of(9, 8, 7)));
    }

    #[test]
    fn anything_else_is_no_shape() {
        for text in [
            "",
            "9",
            "9,8",
            "9,8,1",
            "0,8,7",
            "9,0,7",
            "9,8,7,0",
            "9,8,7,6,5",
            "9,8,7,f64",
            "9,8,-7",
            "9, 8,7",
            "f16",
            "4000000000000000000,4,7",
            "99999999,99999999,2",
        ] {
            assert!(text.parse::<Shape>().is_err(), "{text}");
        }
    }

    #[test]
    fn no_budget_exceeds_the_rows() {
        assert_eq!(grid(&[], true, true), grid(&[], false, true));
        for shape in grid(&[], true, false)
            .into_iter()
            .chain(grid(&[], false, true))
        {
            assert!((1..=shape.rows).contains(&shape.picks()), "{shape}");
        }
        let few: Shape = "3,2,20000".parse().unwrap();
        assert_eq!(few.picks(), 3);
    }
}
