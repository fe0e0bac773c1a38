//! Draws the demo's images: one figure on a busy background, in plain code.

use equipoise::core::random::{Philox, Purpose};
use image::{Rgb, RgbImage};

use super::figures::{Figure, Point};

/// Width and height of an image, in pixels.
pub(crate) const SIDE: u32 = 32;

/// How strong the grain is: the standard deviation, of 255.
const GRAIN: (f32, f32) = (6.0, 30.0);

/// Random numbers of one image, drawn one after the other.
struct Dice {
    philox: Philox,
    drawn: u64,
}

impl Dice {
    fn unit(&mut self) -> f32 {
        self.drawn += 1;
        self.philox.uniform(self.drawn) as f32
    }

    fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// A standard normal number (Box and Muller).
    fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f32::consts::TAU * self.unit()).cos()
    }
}

/// Which images: each set of the same seed has random numbers of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Set {
    /// The pool.
    Pool = 0,
    /// The balanced test set.
    Test = 1,
    /// Training images of the backbone.
    Backbone = 2,
    /// Images on which the backbone is checked.
    BackboneCheck = 3,
}

/// Image `index` of class number `class` in `set`, showing `figure`.
pub(crate) fn draw(figure: &Figure, seed: u64, set: Set, class: usize, index: usize) -> RgbImage {
    let stream = (set as u32) << 16 | class as u32;
    let mut dice = Dice {
        philox: Philox::new(seed, Purpose::Drawing, stream, index as u32),
        drawn: 0,
    };
    let background = Texture::background(&mut dice);
    let fill = Texture::contrasting(&mut dice, &background);
    let pose = Pose::random(&mut dice);
    let loops: Vec<Vec<Point>> = figure
        .loops()
        .into_iter()
        .map(|points| points.into_iter().map(|point| pose.place(point)).collect())
        .collect();
    let clutter = clutter(&mut dice);
    let hollow = dice.chance(0.2);
    let grain = dice.range(GRAIN.0, GRAIN.1);
    RgbImage::from_fn(SIDE, SIDE, |x, y| {
        let at = [x as f32 + 0.5, y as f32 + 0.5];
        let mut color = background.at(at);
        for (center, radius, paint) in &clutter {
            let distance = (at[0] - center[0]).hypot(at[1] - center[1]) - radius;
            color = mix(color, *paint, coverage(distance));
        }
        let distance = signed_distance(&loops, at);
        let covered = if hollow {
            coverage(distance.abs() - 1.3)
        } else {
            coverage(distance)
        };
        color = mix(color, fill.at(at), covered);
        Rgb(color.map(|value| (value + grain * dice.normal()).clamp(0.0, 255.0) as u8))
    })
}

/// A clean picture of `figure`, `side` pixels wide, in one colour.
pub(crate) fn icon(figure: &Figure, side: u32, color: [u8; 3]) -> RgbImage {
    let middle = side as f32 / 2.0;
    let loops: Vec<Vec<Point>> = figure
        .loops()
        .into_iter()
        .map(|points| {
            points
                .into_iter()
                .map(|point| point.map(|v| middle + 0.8 * middle * v))
                .collect()
        })
        .collect();
    RgbImage::from_fn(side, side, |x, y| {
        let covered = coverage(signed_distance(&loops, [x as f32 + 0.5, y as f32 + 0.5]));
        Rgb(mix([255.0; 3], color.map(f32::from), covered).map(|value| value as u8))
    })
}

/// Where the figure lies, how large and how turned.
struct Pose {
    center: Point,
    axes: [Point; 2],
}

impl Pose {
    fn random(dice: &mut Dice) -> Self {
        let half = SIDE as f32 / 2.0;
        let size = half * dice.range(0.42, 0.85);
        let room = half - size * 0.8;
        let center = [
            half + room * dice.range(-0.8, 0.8),
            half + room * dice.range(-0.8, 0.8),
        ];
        let (sin, cos) = dice.range(-0.6, 0.6).sin_cos();
        let (wide, shear) = (size * dice.range(0.75, 1.15), dice.range(-0.2, 0.2));
        let mirror = if dice.chance(0.5) { -1.0 } else { 1.0 };
        Self {
            center,
            axes: [
                [mirror * wide * cos, mirror * wide * sin],
                [size * (shear * cos - sin), size * (shear * sin + cos)],
            ],
        }
    }

    fn place(&self, [x, y]: Point) -> Point {
        let [a, b] = self.axes;
        [
            self.center[0] + x * a[0] + y * b[0],
            self.center[1] + x * a[1] + y * b[1],
        ]
    }
}

/// A colour that runs, or changes in stripes, from one to another.
struct Texture {
    colors: [[f32; 3]; 2],
    direction: Point,
    striped: bool,
}

impl Texture {
    fn background(dice: &mut Dice) -> Self {
        let base = [dice.unit(), dice.range(0.1, 0.55), dice.range(0.15, 0.95)];
        Self::around(dice, base, 0.3)
    }

    /// A texture whose brightness lies well off the background's.
    fn contrasting(dice: &mut Dice, other: &Texture) -> Self {
        let dark = luminance(other.colors[0]) + luminance(other.colors[1]) < 230.0;
        let value = if dark {
            dice.range(0.75, 1.0)
        } else {
            dice.range(0.05, 0.45)
        };
        let base = [
            dice.unit(),
            dice.range(0.2, 0.95) * if dark { 0.7 } else { 1.0 },
            value,
        ];
        Self::around(dice, base, 0.2)
    }

    /// Two colours near `base` (hue, saturation, value), and how they alternate.
    fn around(dice: &mut Dice, base: [f32; 3], striped: f32) -> Self {
        let near = |dice: &mut Dice| {
            let [h, s, v] = base;
            hsv(
                h + dice.range(-0.06, 0.06),
                s * dice.range(0.7, 1.0),
                v * dice.range(0.75, 1.0),
            )
        };
        let colors = [near(dice), near(dice)];
        let striped = dice.chance(striped);
        let turn = dice.range(0.0, std::f32::consts::TAU);
        let scale = if striped {
            dice.range(0.8, 1.8)
        } else {
            1.0 / SIDE as f32
        };
        Self {
            colors,
            direction: [scale * turn.cos(), scale * turn.sin()],
            striped,
        }
    }

    fn at(&self, [x, y]: Point) -> [f32; 3] {
        let along = x * self.direction[0] + y * self.direction[1];
        let share = if self.striped {
            0.5 + 0.5 * along.sin()
        } else {
            along.abs().min(1.0)
        };
        mix(self.colors[0], self.colors[1], share)
    }
}

/// Up to three small discs that mean nothing.
fn clutter(dice: &mut Dice) -> Vec<(Point, f32, [f32; 3])> {
    let side = SIDE as f32;
    let count = (dice.unit() * 4.0) as usize;
    (0..count)
        .map(|_| {
            let center = [dice.range(0.0, side), dice.range(0.0, side)];
            let radius = dice.range(1.0, 3.5);
            let color = hsv(dice.unit(), dice.range(0.2, 0.9), dice.range(0.2, 1.0));
            (center, radius, color)
        })
        .collect()
}

fn mix(from: [f32; 3], to: [f32; 3], share: f32) -> [f32; 3] {
    std::array::from_fn(|i| from[i] + (to[i] - from[i]) * share)
}

/// How much of a pixel is covered whose centre lies `distance` pixels outside.
fn coverage(distance: f32) -> f32 {
    (0.5 - distance).clamp(0.0, 1.0)
}

fn luminance([r, g, b]: [f32; 3]) -> f32 {
    0.299 * r + 0.587 * g + 0.114 * b
}

/// A colour of 0..255 from hue (a turn is 1), saturation and value.
pub(crate) fn hsv(hue: f32, saturation: f32, value: f32) -> [f32; 3] {
    [5.0, 3.0, 1.0].map(|offset| {
        let k = (offset + 6.0 * hue).rem_euclid(6.0);
        255.0 * value * (1.0 - saturation * k.min(4.0 - k).clamp(0.0, 1.0))
    })
}

/// Distance of `at` from the loops' edges, negative inside (even-odd).
fn signed_distance(loops: &[Vec<Point>], at: Point) -> f32 {
    let (mut nearest, mut inside) = (f32::INFINITY, false);
    for points in loops {
        let Some(mut from) = points.last().copied() else {
            continue;
        };
        for &to in points {
            let edge = [to[0] - from[0], to[1] - from[1]];
            let offset = [at[0] - from[0], at[1] - from[1]];
            let length = (edge[0] * edge[0] + edge[1] * edge[1]).max(f32::MIN_POSITIVE);
            let along = ((offset[0] * edge[0] + offset[1] * edge[1]) / length).clamp(0.0, 1.0);
            let (dx, dy) = (offset[0] - along * edge[0], offset[1] - along * edge[1]);
            nearest = nearest.min(dx * dx + dy * dy);
            let crosses = (from[1] > at[1]) != (to[1] > at[1]);
            if crosses && offset[0] < edge[0] * offset[1] / edge[1] {
                inside = !inside;
            }
            from = to;
        }
    }
    if inside {
        -nearest.sqrt()
    } else {
        nearest.sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::{DEMO, PRETEXT};
    use super::*;

    #[test]
    fn a_seed_draws_the_same_image_again_and_another_seed_another() {
        let one = draw(&DEMO[0], 1, Set::Pool, 0, 7);
        assert_eq!(one, draw(&DEMO[0], 1, Set::Pool, 0, 7));
        assert_ne!(one, draw(&DEMO[0], 2, Set::Pool, 0, 7));
        assert_ne!(one, draw(&DEMO[0], 1, Set::Test, 0, 7));
        assert_ne!(one, draw(&DEMO[0], 1, Set::Pool, 0, 8));
    }

    #[test]
    fn every_figure_covers_part_of_its_icon() {
        for figure in DEMO.iter().chain(PRETEXT) {
            let icon = icon(figure, 40, [0, 0, 0]);
            let dark = icon.pixels().filter(|pixel| pixel[0] < 128).count();
            assert!(
                (150..1100).contains(&dark),
                "{}: {dark} of 1600",
                figure.name
            );
        }
    }

    #[test]
    fn primary_colours_come_out_of_their_hues() {
        assert_eq!(hsv(0.0, 1.0, 1.0), [255.0, 0.0, 0.0]);
        assert_eq!(hsv(1.0 / 3.0, 1.0, 1.0)[1], 255.0);
        assert_eq!(hsv(2.0 / 3.0, 1.0, 1.0)[2], 255.0);
    }
}
