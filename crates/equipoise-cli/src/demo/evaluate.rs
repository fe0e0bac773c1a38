//! How often a head is right on rows whose class is known.

use equipoise::core::{Head, Pool};

use crate::failure::Result;

/// Right answers by class.
#[derive(Debug, Clone)]
pub(crate) struct Accuracy {
    right: Vec<usize>,
    rows: Vec<usize>,
}

impl Accuracy {
    /// The accuracy of `head` on the rows of `pool` whose class is given.
    ///
    /// # Errors
    /// Where the pool cannot be read.
    pub(crate) fn measure(head: &Head, pool: &dyn Pool, labels: &[(usize, u32)]) -> Result<Self> {
        let classes = head.classes();
        let mut accuracy = Self {
            right: vec![0; classes],
            rows: vec![0; classes],
        };
        let mut row = vec![0.0; head.dim()];
        for &(index, class) in labels {
            pool.chunk(index, 1)?.values.widen(&mut row);
            accuracy.rows[class as usize] += 1;
            accuracy.right[class as usize] += usize::from(predict(head, &row) == class as usize);
        }
        Ok(accuracy)
    }

    /// Share of right answers among all rows of these classes.
    pub(crate) fn among(&self, classes: impl IntoIterator<Item = usize>) -> f64 {
        let (right, rows) = classes.into_iter().fold((0, 0), |(right, rows), class| {
            (right + self.right[class], rows + self.rows[class])
        });
        if rows == 0 {
            0.0
        } else {
            right as f64 / rows as f64
        }
    }

    /// Mean over the classes of each one's share of right answers.
    pub(crate) fn mean_class(&self) -> f64 {
        let classes = self.rows.len();
        (0..classes).map(|class| self.among([class])).sum::<f64>() / classes as f64
    }
}

fn predict(head: &Head, row: &[f32]) -> usize {
    let logit = |class: usize| -> f64 {
        let products = head
            .class_weight(class)
            .iter()
            .zip(row)
            .map(|(w, x)| f64::from(*w) * f64::from(*x));
        products.sum::<f64>() + f64::from(head.bias()[class])
    };
    let mut best = (f64::NEG_INFINITY, 0);
    for class in 0..head.classes() {
        let logit = logit(class);
        if logit > best.0 {
            best = (logit, class);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use equipoise::core::{MemoryPool, Values};

    use super::*;

    #[test]
    fn right_answers_are_counted_by_class() {
        let head = Head::new(vec![1.0, -1.0], vec![0.0, 0.0], 1).unwrap();
        let pool = MemoryPool::new(Values::F32(&[3.0, 2.0, -1.0, 5.0]), 1).unwrap();
        let labels = [(0, 0), (1, 0), (2, 1), (3, 1)];
        let accuracy = Accuracy::measure(&head, &pool, &labels).unwrap();
        assert_eq!(accuracy.among([0, 1]), 0.75);
        assert_eq!(accuracy.among([1]), 0.5);
        assert_eq!(accuracy.mean_class(), 0.75);
        assert_eq!(accuracy.among([]), 0.0);
    }
}
