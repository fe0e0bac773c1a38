//! Kernel `logits`: Z = X Wᵀ + b in float32.

use crate::{Head, Values};

/// Writes the logits, (rows, C) row-major, of `values`, (rows, M). `wide` is scratch memory, used to
/// widen f16 embeddings.
pub fn run(values: Values<'_>, head: &Head, wide: &mut Vec<f32>, logits: &mut [f32]) {
    let (classes, dim) = (head.classes(), head.dim());
    let x = match values {
        Values::F32(x) => x,
        Values::F16(_) => {
            wide.resize(values.len(), 0.0);
            values.widen(wide);
            wide
        }
    };
    let rows = x.len() / dim;
    assert_eq!(logits.len(), rows * classes, "a logit per row and class");
    for row in logits.chunks_exact_mut(classes) {
        row.copy_from_slice(head.bias());
    }
    // SAFETY: the three matrices are (rows, C), (rows, M) and (C, M) row-major with the lengths
    // asserted above and by `Head`, so every strided access is in bounds; `logits` is borrowed
    // mutably and overlaps neither operand.
    unsafe {
        gemm::gemm(
            rows,
            classes,
            dim,
            logits.as_mut_ptr(),
            1,
            classes as isize,
            true,
            x.as_ptr(),
            1,
            dim as isize,
            head.weight().as_ptr(),
            dim as isize,
            1,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::Rayon(0),
        );
    }
}
