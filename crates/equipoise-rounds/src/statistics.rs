//! Means over seeds, with their intervals.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// A mean, and how far it may be off.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The mean.
    pub mean: f64,
    /// Half the width of its 95% confidence interval by Student's t; none of fewer than two values.
    pub half: Option<f64>,
}

impl Interval {
    /// Of some values; `None` of none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len() as f64;
        if values.is_empty() {
            return None;
        }
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let student = StudentsT::new(0.0, 1.0, count - 1.0).ok();
        let half = student.map(|student| {
            let error = (squares / (count - 1.0) / count).sqrt();
            student.inverse_cdf(0.975) * error
        });
        Some(Self { mean, half })
    }

    /// Whether 0 is outside the interval.
    pub fn is_apart_from_zero(&self) -> bool {
        self.half.is_some_and(|half| self.mean.abs() > half)
    }
}

/// The area under a curve of (x, y), over its width: the mean height by the trapezoid rule.
pub(crate) fn mean_height(points: &[(f64, f64)]) -> Option<f64> {
    let (first, last) = (points.first()?, points.last()?);
    if first.0 == last.0 {
        return Some(last.1);
    }
    let area = points.windows(2).map(|pair| {
        let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
        (x1 - x0) * (y0 + y1) / 2.0
    });
    Some(area.sum::<f64>() / (last.0 - first.0))
}

/// Where a curve of (x, y) first reaches `height`, between its points along straight lines; `None` where it
/// doesn't.
pub(crate) fn reaches(points: &[(f64, f64)], height: f64) -> Option<f64> {
    let first = points.first()?;
    if first.1 >= height {
        return Some(first.0);
    }
    points.windows(2).find_map(|pair| {
        let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
        (y1 >= height).then(|| x0 + (x1 - x0) * (height - y0) / (y1 - y0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_of_five() {
        // Mean 3, deviation √2.5, t = 2.776445 for 4 degrees of freedom.
        let interval = Interval::of(&[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        assert_eq!(interval.mean, 3.0);
        assert!((interval.half.unwrap() - 2.776445 * (2.5f64 / 5.0).sqrt()).abs() < 1e-5);
        assert!(interval.is_apart_from_zero());
        assert!(!Interval::of(&[-1.0, 1.5]).unwrap().is_apart_from_zero());
        let one = Interval::of(&[2.0]).unwrap();
        assert_eq!((one.mean, one.half), (2.0, None));
        assert_eq!(Interval::of(&[]), None);
    }

    #[test]
    fn curves() {
        let curve = [(100.0, 0.2), (200.0, 0.4), (400.0, 0.6)];
        assert!((mean_height(&curve).unwrap() - (0.3 * 100.0 + 0.5 * 200.0) / 300.0).abs() < 1e-12);
        assert_eq!(mean_height(&curve[..1]), Some(0.2));
        assert_eq!(reaches(&curve, 0.1), Some(100.0));
        assert!((reaches(&curve, 0.5).unwrap() - 300.0).abs() < 1e-9);
        assert_eq!(reaches(&curve, 0.7), None);
    }
}
