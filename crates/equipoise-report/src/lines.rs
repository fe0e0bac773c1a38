//! Line charts with bands, as SVG whose colours are the page's.

use crate::html::{escape, push};

/// One chart.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Lines {
    /// What is shown.
    pub title: String,
    /// What runs to the right.
    pub x: String,
    /// Whether heights are shares, shown in per cent.
    pub percent: bool,
    /// The lines.
    pub lines: Vec<Line>,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Line {
    /// Its name.
    pub name: String,
    /// Which of the page's colours and dashes it has.
    pub style: usize,
    /// From left to right.
    pub points: Vec<LinePoint>,
}

/// A point, and how far up and down its band goes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LinePoint {
    /// To the right.
    pub x: f64,
    /// Up.
    pub y: f64,
    /// Half the height of the band; none where it is not known.
    pub half: Option<f64>,
}

/// Colours that the page's style has.
pub(crate) const COLOURS: usize = 10;

/// Units of a picture, and of what lies around its lines.
const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 330.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 22.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;

/// The classes of a line's stroke.
pub(crate) fn stroke(style: usize) -> String {
    format!("s{} d{}", style % COLOURS, (style / COLOURS) % 3)
}

impl Lines {
    /// The picture. Its text is black or white as the page's is.
    pub fn svg(&self) -> String {
        let (x, y) = (self.x_scale(), self.y_scale());
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n",
            escape(&self.title)
        );
        self.draw_axes(&mut svg, &x, &y);
        for line in &self.lines {
            line.draw_band(&mut svg, &x, &y);
        }
        for line in &self.lines {
            line.draw(&mut svg, &x, &y);
        }
        svg + "</svg>\n"
    }

    fn points(&self) -> impl Iterator<Item = &LinePoint> {
        self.lines.iter().flat_map(|line| &line.points)
    }

    fn x_scale(&self) -> Scale {
        let most = self.points().map(|point| point.x).fold(0.0, f64::max);
        let most = if most > 0.0 { most } else { 1.0 };
        // The lines reach the right edge; the last tick may lie before it.
        Scale {
            last: most,
            ..Scale::new(0.0, most, LEFT, WIDTH - RIGHT)
        }
    }

    fn y_scale(&self) -> Scale {
        // A band may reach far where there are few seeds: the lines decide what is shown.
        let values = || self.points().map(|point| point.y);
        let (least, most) = (
            values().fold(f64::INFINITY, f64::min),
            values().fold(f64::NEG_INFINITY, f64::max),
        );
        let (least, most) = if least <= most {
            (least, most)
        } else {
            (0.0, 1.0)
        };
        Scale::new(least, most, HEIGHT - BOTTOM, TOP)
    }

    fn draw_axes(&self, svg: &mut String, x: &Scale, y: &Scale) {
        let label = |value: f64, scale: &Scale, percent: bool| match percent {
            true => format!("{:.*}", scale.digits(100.0), 100.0 * value),
            false => format!("{value:.*}", scale.digits(1.0)),
        };
        for value in y.ticks() {
            let (at, text) = (y.place(value), label(value, y, self.percent));
            let (end, before, below) = (WIDTH - RIGHT, LEFT - 7.0, at + 4.5);
            push(
                svg,
                format_args!(
                    "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{end}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
                     <text x=\"{before}\" y=\"{below:.1}\" text-anchor=\"end\">{text}</text>\n"
                ),
            );
        }
        let base = HEIGHT - BOTTOM;
        for value in x.ticks() {
            let (at, text, below) = (x.place(value), label(value, x, false), base + 18.0);
            push(
                svg,
                format_args!(
                    "<text x=\"{at:.1}\" y=\"{below}\" text-anchor=\"middle\">{text}</text>\n"
                ),
            );
        }
        let (middle, low, name) = ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 7.0, escape(&self.x));
        let end = WIDTH - RIGHT;
        push(
            svg,
            format_args!(
                "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{end}\" y1=\"{base}\" y2=\"{base}\"/>\
                 <text x=\"{middle}\" y=\"{low}\" text-anchor=\"middle\">{name}</text>\n"
            ),
        );
    }
}

impl Line {
    fn draw(&self, svg: &mut String, x: &Scale, y: &Scale) {
        let place = |point: &LinePoint| format!("{:.1},{:.1}", x.place(point.x), y.place(point.y));
        let points: Vec<String> = self.points.iter().map(place).collect();
        let (class, name) = (stroke(self.style), escape(&self.name));
        push(
            svg,
            format_args!(
                "<polyline class=\"line {class}\" points=\"{}\"><title>{name}</title></polyline>\n",
                points.join(" ")
            ),
        );
        for point in &self.points {
            let (x, y) = (x.place(point.x), y.place(point.y));
            let class = self.style % COLOURS;
            push(
                svg,
                format_args!(
                    "<circle class=\"f{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.2\"/>\n"
                ),
            );
        }
    }

    fn draw_band(&self, svg: &mut String, x: &Scale, y: &Scale) {
        let known: Vec<(&LinePoint, f64)> = self
            .points
            .iter()
            .filter_map(|point| Some((point, point.half?)))
            .collect();
        let place = |point: &LinePoint, value: f64| {
            format!("{:.1},{:.1}", x.place(point.x), y.clamped(value))
        };
        let above = known
            .iter()
            .map(|(point, half)| place(point, point.y + half));
        let below = known.iter().rev();
        let below = below.map(|(point, half)| place(point, point.y - half));
        let outline: Vec<String> = above.chain(below).collect();
        if known.len() > 1 {
            let class = self.style % COLOURS;
            push(
                svg,
                format_args!(
                    "<polygon class=\"band f{class}\" points=\"{}\"/>\n",
                    outline.join(" ")
                ),
            );
        }
    }
}

/// Values to places along one side, with round numbers at its ticks.
struct Scale {
    first: f64,
    last: f64,
    step: f64,
    from: f64,
    to: f64,
}

impl Scale {
    fn new(least: f64, most: f64, from: f64, to: f64) -> Self {
        let span = if most > least {
            most - least
        } else {
            most.abs().max(1e-9)
        };
        let rough = span / 5.0;
        let power = 10f64.powf(rough.log10().floor());
        let step = match rough / power {
            part if part <= 1.0 => power,
            part if part <= 2.0 => 2.0 * power,
            part if part <= 5.0 => 5.0 * power,
            _ => 10.0 * power,
        };
        let first = (least / step).floor() * step;
        let last = ((most / step).ceil() * step).max(first + step);
        Self {
            first,
            last,
            step,
            from,
            to,
        }
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let count = ((self.last - self.first) / self.step + 1e-6) as usize;
        let (first, step) = (self.first, self.step);
        (0..=count).map(move |index| first + step * index as f64)
    }

    /// Digits after the point that tell ticks apart, in units of 1/`factor`.
    fn digits(&self, factor: f64) -> usize {
        (-(self.step * factor * 1.000_001).log10().floor()).max(0.0) as usize
    }

    fn place(&self, value: f64) -> f64 {
        self.from + (self.to - self.from) * (value - self.first) / (self.last - self.first)
    }

    fn clamped(&self, value: f64) -> f64 {
        self.place(value.clamp(self.first, self.last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_hold_every_value() {
        for (least, most, expected) in [
            (
                0.0,
                2200.0,
                &[0.0, 500.0, 1000.0, 1500.0, 2000.0, 2500.0][..],
            ),
            (0.43, 0.59, &[0.4, 0.45, 0.5, 0.55, 0.6]),
            (1.0, 1.0, &[1.0, 1.2]),
            (0.0, 0.0, &[0.0]),
        ] {
            let scale = Scale::new(least, most, 0.0, 1.0);
            let ticks: Vec<f64> = scale.ticks().collect();
            assert!(scale.first <= least && scale.last >= most);
            for (tick, expected) in ticks.iter().zip(expected) {
                assert!((tick - expected).abs() < 1e-9, "{ticks:?}");
            }
            assert!(ticks.len() >= expected.len(), "{ticks:?}");
        }
    }

    #[test]
    fn a_picture_has_a_line_a_band_and_its_names() {
        let point = |x: f64, y: f64| LinePoint {
            x,
            y,
            half: Some(0.01),
        };
        let chart = Lines {
            title: "accuracy <of> all".into(),
            x: "labels".into(),
            percent: true,
            lines: vec![
                Line {
                    name: "a&b".into(),
                    style: 3,
                    points: vec![point(100.0, 0.5), point(200.0, 0.6)],
                },
                Line {
                    style: 12,
                    points: vec![point(100.0, f64::from(0.55f32))],
                    ..Line::default()
                },
            ],
        };
        let svg = chart.svg();
        assert_eq!(svg.matches("<polyline").count(), 2);
        // One point has no band.
        assert_eq!(svg.matches("<polygon").count(), 1);
        assert!(svg.contains("accuracy &lt;of&gt; all") && svg.contains("a&amp;b"));
        assert!(svg.contains("line s3 d0") && svg.contains("line s2 d1"));
        assert!(svg.contains(">50</text>") && svg.contains(">60</text>"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        assert!(Lines::default().svg().contains("<svg"));
    }
}
