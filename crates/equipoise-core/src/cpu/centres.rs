//! Centres among gradient embeddings, and a strip's rows scored against them.

use std::ops::Range;

use super::logits::{self, Columns, Slices};
use super::row::{LANES, NO_LOGIT};
use super::{gradients, nearest_gradient};
use crate::engine::{
    GradientCentres, GradientTolerance, NearestGradient, UNDECIDABLE, UNREACHABLE,
};
use crate::tolerance::ROUNDING;
use crate::{Head, Result, Values};

/// Centres, padded to whole vectors.
pub(super) struct Centres {
    /// Of the head.
    classes: usize,
    /// (K, M).
    embeddings: Columns,
    /// (K, the head's stride).
    gradients: Columns,
    /// Padded with −[`UNREACHABLE`]: as long as a row of products.
    bias: Vec<f32>,
    tolerance: GradientTolerance,
}

/// What is known of a strip's rows.
pub(super) struct Rows<'a> {
    /// The rows `strip` of these embeddings, (_, M).
    pub(super) values: Values<'a>,
    pub(super) strip: Range<usize>,
    /// Logits with bias, (rows, stride): gradients are made of them.
    pub(super) logits: &'a mut [f32],
    pub(super) stride: usize,
    pub(super) tolerances: &'a [f32],
    pub(super) tops: &'a [usize],
    /// Upper bounds of the embeddings' norms.
    pub(super) norms: &'a [f32],
}

impl Centres {
    /// # Errors
    /// [`crate::Error::Shape`] where head and centres do not fit each other.
    pub(super) fn new(head: &Head, centres: &GradientCentres) -> Result<Self> {
        centres.check(head)?;
        let gradients = &centres.gradients;
        let stride = head.classes().next_multiple_of(LANES);
        let mut padded = Vec::with_capacity(gradients.classes() * stride);
        for k in 0..gradients.classes() {
            padded.extend_from_slice(gradients.class_weight(k));
            padded.resize((k + 1) * stride, 0.0);
        }
        let mut bias = centres.bias.clone();
        bias.resize(bias.len().next_multiple_of(LANES), -UNREACHABLE);
        let errors = (logits::error(head.dim()), logits::error(stride));
        Ok(Self {
            classes: head.classes(),
            tolerance: GradientTolerance::new(centres, errors, ROUNDING),
            embeddings: Columns::new(centres.embeddings.weight(), head.dim(), bias.len()),
            gradients: Columns::new(&padded, stride, bias.len()),
            bias,
        })
    }

    /// Finds every row's nearest; `products` and `slices` are scratch memory.
    #[inline(always)]
    pub(super) fn nearest(
        &self,
        rows: Rows<'_>,
        products: &mut [Vec<f32>; 2],
        slices: &mut Slices,
        out: &mut [NearestGradient],
    ) {
        let lines = rows.logits.chunks_exact_mut(rows.stride);
        for (index, (z, out)) in lines.zip(&mut *out).enumerate() {
            let doubt = rows.tolerances[index];
            out.nearest.tolerance = doubt;
            if !(0.0..UNDECIDABLE).contains(&doubt) {
                z.fill(0.0);
                continue;
            }
            match gradients::run(z, rows.tops[index], doubt) {
                None => {
                    out.nearest.tolerance = UNDECIDABLE;
                    z.fill(0.0);
                }
                Some(square) => {
                    out.square = square;
                    (out.nearest.tolerance, out.error) =
                        self.tolerance.of_row(rows.norms[index], doubt, square);
                }
            }
        }
        let stride = self.bias.len();
        let [of_x, of_g] = products;
        // Padding that the products leave as it is.
        of_x.resize(out.len() * stride, 0.0);
        of_g.resize(out.len() * stride, 0.0);
        (self.embeddings).multiply(rows.values, rows.strip, slices, of_x);
        let gradients = Values::F32(rows.logits);
        (self.gradients).multiply(gradients, 0..out.len(), slices, of_g);
        for z in rows.logits.chunks_exact_mut(rows.stride) {
            // As the next strip's product expects it.
            z[self.classes..].fill(NO_LOGIT);
        }
        let products = of_x.chunks_exact(stride).zip(of_g.chunks_exact(stride));
        for (out, (of_x, of_g)) in out.iter_mut().zip(products) {
            let tolerance = out.nearest.tolerance;
            if (0.0..UNDECIDABLE).contains(&tolerance) {
                out.nearest = nearest_gradient::run(of_x, of_g, &self.bias, tolerance);
            }
        }
    }
}
