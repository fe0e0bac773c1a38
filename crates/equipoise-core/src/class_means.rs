//! Means of classes' embeddings, which follow rows as they are added.

/// Per class how many rows it has, and their sum: float64, added in the order in which they came.
pub(crate) struct ClassMeans {
    counts: Vec<usize>,
    /// (C, M).
    sums: Vec<f64>,
    dim: usize,
}

impl ClassMeans {
    /// `classes` classes without a row, of embeddings of `dim` numbers.
    pub(crate) fn new(classes: usize, dim: usize) -> Self {
        Self {
            counts: vec![0; classes],
            sums: vec![0.0; classes * dim],
            dim,
        }
    }

    /// Bytes that it takes.
    pub(crate) fn bytes(classes: usize, dim: usize) -> u64 {
        (classes * (dim + 1) * 8) as u64
    }

    /// Adds a row to a class.
    pub(crate) fn add(&mut self, class: usize, x: &[f32]) {
        self.counts[class] += 1;
        let sums = &mut self.sums[class * self.dim..][..self.dim];
        for (sum, x) in sums.iter_mut().zip(x) {
            *sum += f64::from(*x);
        }
    }

    /// Rows of each class.
    pub(crate) fn counts(&self) -> &[usize] {
        &self.counts
    }

    /// The mean of a class that has a row, rounded to f32: so its distances have the one definition of
    /// [`crate::definition::squared_distance`].
    pub(crate) fn mean(&self, class: usize) -> Vec<f32> {
        let rows = self.counts[class] as f64;
        let sums = &self.sums[class * self.dim..][..self.dim];
        sums.iter().map(|sum| (sum / rows) as f32).collect()
    }
}
