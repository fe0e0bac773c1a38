//! The linear classifier whose boundaries the strategies measure.

use std::sync::Arc;

use crate::{Error, Result};

/// A linear head: weight (C, M) row-major and bias (C), finite f32. Clones share them.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    weight: Arc<Vec<f32>>,
    bias: Arc<Vec<f32>>,
    dim: usize,
}

impl Head {
    /// A head of `bias.len()` classes over embeddings of `dim` numbers.
    ///
    /// # Errors
    /// [`Error::Shape`] where the lengths do not agree or are 0, [`Error::NonFiniteHead`] where a
    /// value is not finite.
    pub fn new(weight: Vec<f32>, bias: Vec<f32>, dim: usize) -> Result<Self> {
        let classes = bias.len();
        if classes == 0 || dim == 0 || weight.len() != classes * dim {
            return Err(Error::Shape {
                what: "head".into(),
                expected: format!("weight of {classes}×{dim}, both at least 1"),
                found: format!("{} weights", weight.len()),
            });
        }
        let finite = |class: &usize| {
            bias[*class].is_finite()
                && weight[class * dim..(class + 1) * dim]
                    .iter()
                    .all(|w| w.is_finite())
        };
        match (0..classes).find(|class| !finite(class)) {
            Some(class) => Err(Error::NonFiniteHead { class }),
            None => Ok(Self {
                weight: Arc::new(weight),
                bias: Arc::new(bias),
                dim,
            }),
        }
    }

    /// Number of classes, C.
    pub fn classes(&self) -> usize {
        self.bias.len()
    }

    /// Numbers per embedding, M.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Weights, (C, M) row-major.
    pub fn weight(&self) -> &[f32] {
        &self.weight
    }

    /// Weights of one class, M numbers.
    pub fn class_weight(&self, class: usize) -> &[f32] {
        &self.weight[class * self.dim..(class + 1) * self.dim]
    }

    /// Biases, C numbers.
    pub fn bias(&self) -> &[f32] {
        &self.bias
    }
}
