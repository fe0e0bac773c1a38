//! Rooflines: how many operations a second kernels reach, over how many they do for each byte they move, under what the device
//! can do at most (Williams, Waterman and Patterson, *Roofline: an insightful visual performance model*, CACM 2009).

mod svg;
mod text;

use crate::number::rounded;

/// One device's.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Roofline {
    /// What is shown.
    pub title: String,
    /// Most operations a second, in 10⁹, and by what.
    pub compute: Vec<Roof>,
    /// Most bytes a second, in 10⁹, and from where.
    pub bandwidth: Vec<Roof>,
    /// The kernels.
    pub points: Vec<Point>,
}

/// A ceiling.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Roof {
    /// Of what.
    pub name: String,
    /// A second, in 10⁹.
    pub rate: f64,
}

/// A kernel.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Point {
    /// Its name.
    pub name: String,
    /// Operations for each byte.
    pub intensity: f64,
    /// Operations a second, in 10⁹.
    pub rate: f64,
    /// Which of the ceilings of [`Roofline::compute`] it is under.
    pub compute: usize,
    /// Which of the colours it has.
    pub style: usize,
}

/// Marks of points, in order; more are `*` and not named.
const MARKS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// Powers of ten that are shown, and where.
struct Axis {
    least: f64,
    most: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// The decades that hold the values, placed between `from` and `to`.
    fn new(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| *value > 0.0 && value.is_finite()) {
            let exponent = value.log10();
            (least, most) = (least.min(exponent), most.max(exponent));
        }
        if least > most {
            (least, most) = (0.0, 1.0);
        }
        let (least, most) = ((least - 0.15).floor(), (most + 0.15).ceil());
        Self {
            least,
            most,
            from,
            to,
        }
    }

    fn place(&self, value: f64) -> f64 {
        let share = (value.max(1e-300).log10() - self.least) / (self.most - self.least);
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    fn decades(&self) -> impl Iterator<Item = i32> {
        self.least as i32..=self.most as i32
    }

    fn ends(&self) -> [f64; 2] {
        [10f64.powf(self.least), 10f64.powf(self.most)]
    }
}

impl Roofline {
    /// Most operations a second at so many for each byte, by all ceilings.
    fn roof(&self, intensity: f64) -> f64 {
        (most(&self.bandwidth) * intensity).min(most(&self.compute))
    }

    /// Most operations a second of a point, by the ceiling of what it computes with.
    fn roof_of(&self, point: &Point) -> f64 {
        let own = self.compute.get(point.compute);
        let compute = own.map_or_else(|| most(&self.compute), |roof| roof.rate);
        (most(&self.bandwidth) * point.intensity).min(compute)
    }

    /// Intensities and rates to show: the points', and where the roofs meet.
    fn axes(&self, (left, right): (f64, f64), (bottom, top): (f64, f64)) -> (Axis, Axis) {
        let ridges = self.bandwidth.iter().flat_map(|bandwidth| {
            let compute = self.compute.iter();
            compute.map(move |compute| compute.rate / bandwidth.rate)
        });
        let x = self
            .points
            .iter()
            .map(|point| point.intensity)
            .chain(ridges);
        let x = Axis::new(x, left, right);
        let rates = self.points.iter().map(|point| point.rate);
        let roofs = self.compute.iter().map(|roof| roof.rate);
        let slope = self.roof(x.ends()[0]);
        let y = Axis::new(rates.chain(roofs).chain([slope]), bottom, top);
        (x, y)
    }

    fn mark(index: usize) -> char {
        MARKS.chars().nth(index).unwrap_or('*')
    }

    /// What the legend says of a point: its name, its rate and how much of its roof that is.
    fn said(&self, point: &Point) -> String {
        let share = 100.0 * point.rate / self.roof_of(point).max(1e-300);
        let (name, rate) = (&point.name, rounded(point.rate));
        format!("{name}: {rate} GFLOP/s, {share:.1}% of its roof")
    }
}

/// The highest of some ceilings.
fn most(roofs: &[Roof]) -> f64 {
    roofs.iter().map(|roof| roof.rate).fold(0.0, f64::max)
}

/// A power of ten, as people write it.
fn power(decade: i32) -> String {
    match decade {
        0..=5 => format!("{}", 10u64.pow(decade as u32)),
        -4..=-1 => format!("{}", 10f64.powi(decade)),
        _ => format!("1e{decade}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn roofline() -> Roofline {
        let roof = |name: &str, rate| Roof {
            name: name.into(),
            rate,
        };
        let point = |name: &str, intensity, rate, style| Point {
            name: name.into(),
            intensity,
            rate,
            compute: usize::from(name.contains("matrix")),
            style,
        };
        Roofline {
            title: "a card & its driver".into(),
            compute: vec![
                roof("multiply-adds", 10_000.0),
                roof("matrix cores", 80_000.0),
            ],
            bandwidth: vec![roof("copies", 1000.0)],
            points: vec![
                point("logits large", 40.0, 6000.0, 0),
                point("row_norms f32", 0.5, 400.0, 1),
                point("logits matrix16", 400.0, 60_000.0, 0),
            ],
        }
    }

    #[test]
    fn the_roof_is_the_lower_of_both() {
        let roofline = roofline();
        assert_eq!(roofline.roof(0.5), 500.0);
        assert_eq!(roofline.roof(1e6), 80_000.0);
        assert!(
            roofline
                .said(&roofline.points[1])
                .ends_with("400 GFLOP/s, 80.0% of its roof")
        );
    }

    #[test]
    fn the_picture_has_every_roof_and_point() {
        let svg = roofline().svg();
        for words in [
            "a card &amp; its driver",
            "matrix cores, 80000 GFLOP/s",
            "copies, 1000 GB/s",
            "logits large",
            // Of multiply-adds, and of matrix cores.
            "60.0% of its roof",
            "75.0% of its roof",
        ] {
            assert!(svg.contains(words), "{words}: {svg}");
        }
        assert_eq!(svg.matches("<circle").count(), 3);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        let empty = Roofline::default();
        assert!(empty.svg().ends_with("</svg>\n") && !empty.svg().contains("NaN"));
        assert!(empty.text().contains("GFLOP/s over"));
    }
}
