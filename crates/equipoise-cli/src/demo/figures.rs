//! The outlines that the demo's images show: closed loops of points, filled even-odd.
//!
//! Coordinates lie about in −1..1, x to the right and y down, as in the image.

use std::f32::consts::TAU;

/// A point.
pub(crate) type Point = [f32; 2];

/// A class of drawn images.
pub(crate) struct Figure {
    /// Name of the class and of its folder.
    pub name: &'static str,
    /// Makes the loops.
    outline: fn() -> Vec<Vec<Point>>,
}

impl Figure {
    /// The figure's loops.
    pub(crate) fn loops(&self) -> Vec<Vec<Point>> {
        (self.outline)()
    }
}

macro_rules! figures {
    ($($name:literal => $outline:expr,)*) => {
        &[$(Figure { name: $name, outline: || $outline }),*]
    };
}

/// The demo's classes, most frequent first.
pub(crate) const DEMO: &[Figure] = figures![
    "triangle" => vec![regular(3, 0.95)],
    "ring" => vec![circle(0.0, 0.0, 0.85), circle(0.0, 0.0, 0.48)],
    "plus" => vec![points(&[
        [-0.3, -0.9], [0.3, -0.9], [0.3, -0.3], [0.9, -0.3], [0.9, 0.3], [0.3, 0.3],
        [0.3, 0.9], [-0.3, 0.9], [-0.3, 0.3], [-0.9, 0.3], [-0.9, -0.3], [-0.3, -0.3],
    ])],
    "heart" => vec![curve(|t| {
        let (sin, cos) = t.sin_cos();
        let y = 13.0 * cos - 5.0 * (2.0 * t).cos() - 2.0 * (3.0 * t).cos() - (4.0 * t).cos();
        [0.95 * sin.powi(3), -0.06 * y - 0.1]
    })],
    "bolt" => vec![points(&[
        [0.15, -1.0], [-0.6, 0.15], [-0.08, 0.15], [-0.25, 1.0], [0.6, -0.25], [0.06, -0.25],
    ])],
    "star" => vec![star(5, 1.0, 0.42)],
    "arrow" => vec![points(&[
        [-0.95, -0.22], [0.1, -0.22], [0.1, -0.7], [0.95, 0.0], [0.1, 0.7], [0.1, 0.22], [-0.95, 0.22],
    ])],
    "crescent" => vec![crescent()],
    "drop" => vec![curve(|t| {
        let (sin, cos) = t.sin_cos();
        [0.72 * sin * (0.5 * t).sin().powi(2), -0.9 * cos]
    })],
    "flower" => vec![polar(|t| 0.68 + 0.27 * (5.0 * t).cos())],
];

/// The classes on which the demo's backbone is trained: none of them is in [`DEMO`].
pub(crate) const PRETEXT: &[Figure] = figures![
    "disc" => vec![circle(0.0, 0.0, 0.75)],
    "square" => vec![regular(4, 0.95)],
    "pentagon" => vec![regular(5, 0.9)],
    "ellipse" => vec![curve(|t| [0.95 * t.cos(), 0.5 * t.sin()])],
    "half-disc" => vec![curve(|t| [0.9 * (0.5 * t).cos(), 0.9 * (0.5 * t).sin() - 0.4])],
    "ell" => vec![points(&[
        [-0.6, -0.9], [-0.05, -0.9], [-0.05, 0.4], [0.7, 0.4], [0.7, 0.9], [-0.6, 0.9],
    ])],
    "tee" => vec![points(&[
        [-0.85, -0.8], [0.85, -0.8], [0.85, -0.25], [0.28, -0.25], [0.28, 0.9], [-0.28, 0.9],
        [-0.28, -0.25], [-0.85, -0.25],
    ])],
    "bar" => vec![points(&[[-1.0, -0.25], [1.0, -0.25], [1.0, 0.25], [-1.0, 0.25]])],
    "dots" => vec![circle(-0.5, 0.0, 0.42), circle(0.5, 0.0, 0.42)],
    "three-dots" => vec![circle(-0.45, 0.35, 0.36), circle(0.45, 0.35, 0.36), circle(0.0, -0.45, 0.36)],
    "chevron" => vec![points(&[
        [-0.9, 0.6], [0.0, -0.75], [0.9, 0.6], [0.45, 0.75], [0.0, 0.05], [-0.45, 0.75],
    ])],
    "hourglass" => vec![points(&[
        [-0.75, -0.9], [0.75, -0.9], [0.12, 0.0], [0.75, 0.9], [-0.75, 0.9], [-0.12, 0.0],
    ])],
    "frame" => vec![regular(4, 1.0), regular(4, 0.58)],
    "rhombus" => vec![points(&[[0.0, -1.0], [0.5, 0.0], [0.0, 1.0], [-0.5, 0.0]])],
    "propeller" => vec![polar(|t| 0.55 + 0.4 * (3.0 * t).cos())],
    "gap-disc" => vec![gap_disc()],
    "house" => vec![points(&[[0.0, -0.95], [0.8, -0.2], [0.8, 0.85], [-0.8, 0.85], [-0.8, -0.2]])],
    "eye" => vec![curve(|t| [0.95 * t.cos(), 0.55 * t.sin() * t.sin().abs()])],
    "zigzag" => vec![points(&[
        [-0.95, -0.55], [0.3, -0.55], [0.3, 0.0], [0.95, 0.0], [0.95, 0.55], [-0.3, 0.55], [-0.3, 0.0],
        [-0.95, 0.0],
    ])],
    "gear" => vec![star(8, 0.95, 0.66)],
    "comb" => vec![points(&[
        [-0.7, -0.9], [0.7, -0.9], [0.7, -0.5], [-0.25, -0.5], [-0.25, -0.2], [0.7, -0.2], [0.7, 0.2],
        [-0.25, 0.2], [-0.25, 0.5], [0.7, 0.5], [0.7, 0.9], [-0.7, 0.9],
    ])],
    "trapezium" => vec![points(&[[-0.4, -0.7], [0.4, -0.7], [0.95, 0.7], [-0.95, 0.7]])],
    "spark" => vec![star(4, 1.0, 0.3)],
    "bean" => vec![polar(|t| 0.62 + 0.3 * (2.0 * t).cos() + 0.16 * t.sin())],
];

/// Points of a smooth loop.
const SMOOTH: usize = 40;

fn points(points: &[Point]) -> Vec<Point> {
    points.to_vec()
}

fn curve(at: impl Fn(f32) -> Point) -> Vec<Point> {
    (0..SMOOTH)
        .map(|i| at(TAU * i as f32 / SMOOTH as f32))
        .collect()
}

fn polar(radius: impl Fn(f32) -> f32) -> Vec<Point> {
    curve(|t| [radius(t) * t.sin(), -radius(t) * t.cos()])
}

fn circle(x: f32, y: f32, radius: f32) -> Vec<Point> {
    curve(|t| [x + radius * t.cos(), y + radius * t.sin()])
}

fn regular(corners: usize, radius: f32) -> Vec<Point> {
    (0..corners)
        .map(|i| TAU * i as f32 / corners as f32)
        .map(|t| [radius * t.sin(), -radius * t.cos()])
        .collect()
}

fn star(tips: usize, outer: f32, inner: f32) -> Vec<Point> {
    (0..2 * tips)
        .map(|i| {
            (
                TAU * i as f32 / (2 * tips) as f32,
                if i % 2 == 0 { outer } else { inner },
            )
        })
        .map(|(t, radius)| [radius * t.sin(), -radius * t.cos()])
        .collect()
}

/// The outer arc one way, the inner arc back.
fn crescent() -> Vec<Point> {
    let arc = |from: f32, to: f32, x: f32, radius: f32| {
        (0..SMOOTH / 2).map(move |i| {
            let t = from + (to - from) * i as f32 / (SMOOTH / 2 - 1) as f32;
            [x + radius * t.cos(), radius * t.sin()]
        })
    };
    // Both arcs meet at (0.36, ±0.82).
    let outer = (0.82f32).atan2(0.36);
    let inner = (0.82f32).atan2(0.36 - 0.55);
    arc(outer, TAU - outer, 0.0, 0.8956)
        .chain(arc(TAU - inner, inner, 0.55, 0.8417))
        .map(|[x, y]| [x + 0.2, y])
        .collect()
}

/// A disc with a wedge cut out.
fn gap_disc() -> Vec<Point> {
    let wedge = 0.12 * TAU;
    std::iter::once([0.0, 0.0])
        .chain((0..SMOOTH).map(|i| {
            let t = wedge + (TAU - 2.0 * wedge) * i as f32 / (SMOOTH - 1) as f32;
            [0.9 * t.cos(), 0.9 * t.sin()]
        }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_the_pretext_shares_none_with_the_demo() {
        let mut names: Vec<_> = DEMO
            .iter()
            .chain(PRETEXT)
            .map(|figure| figure.name)
            .collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
        assert!(DEMO.len() >= 8);
    }

    #[test]
    fn outlines_stay_near_the_unit_square() {
        for figure in DEMO.iter().chain(PRETEXT) {
            for [x, y] in figure.loops().into_iter().flatten() {
                assert!(
                    x.abs() <= 1.15 && y.abs() <= 1.15,
                    "{}: {x} {y}",
                    figure.name
                );
            }
        }
    }
}
