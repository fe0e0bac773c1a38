//! A roofline as a picture.

use super::{Axis, Roofline, most, power};
use crate::html::{escape, push};
use crate::number::rounded;

/// Colours that are told apart on white.
const COLOURS: [&str; 8] = [
    "#1b6ca8", "#c2410c", "#15803d", "#7e22ce", "#b91c1c", "#0f766e", "#a16207", "#be185d",
];

/// Units of the picture, and of its parts.
const PLOT: f64 = 560.0;
const LEAST_LEGEND: f64 = 300.0;
const LEAST_HEIGHT: f64 = 430.0;
const LINE: f64 = 16.0;
const LEFT: f64 = 62.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 52.0;

/// Of a letter, on the average; of the place that a mark takes, and how far from its point it may be.
const LETTER: f64 = 6.7;
const MARK: (f64, f64) = (10.0, 12.0);
const REACHES: [f64; 4] = [10.0, 18.0, 27.0, 37.0];

/// Where a mark may be seen from its point, the best first.
const DIRECTIONS: [(f64, f64); 8] = [
    (1.0, 0.0),
    (-1.0, 0.0),
    (0.0, -1.0),
    (0.0, 1.0),
    (0.8, -0.8),
    (-0.8, -0.8),
    (0.8, 0.8),
    (-0.8, 0.8),
];

impl Roofline {
    /// The picture, which stands for itself.
    pub fn svg(&self) -> String {
        let height = LEAST_HEIGHT.max(TOP + LINE * (self.points.len() + 3) as f64);
        let (right, base) = (LEFT + PLOT, LEAST_HEIGHT - BOTTOM);
        let (x, y) = self.axes((LEFT, right), (base, TOP));
        let said: Vec<String> = self.points.iter().map(|point| self.said(point)).collect();
        let longest = said.iter().map(|said| said.chars().count()).max();
        let legend = LETTER * longest.unwrap_or_default() as f64 + 60.0;
        let width = (right + legend.max(LEAST_LEGEND)).ceil();
        let title = escape(&self.title);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             role=\"img\" aria-label=\"{title}\" font-family=\"system-ui, sans-serif\" font-size=\"12\">\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n\
             <text x=\"{LEFT}\" y=\"22\" font-size=\"14\" font-weight=\"600\">{title}</text>\n"
        );
        self.draw_axes(&mut svg, &x, &y, base);
        self.draw_roofs(&mut svg, &x, &y);
        let points = self.points.iter();
        let places: Vec<(f64, f64)> = points
            .map(|point| (x.place(point.intensity), y.place(point.rate)))
            .collect();
        let marks = marks(&places);
        for (index, (point, said)) in self.points.iter().zip(&said).enumerate() {
            let ((at, up), (mark_at, mark_up)) = (places[index], marks[index]);
            let (colour, mark) = (COLOURS[point.style % COLOURS.len()], Self::mark(index));
            let (said, line) = (escape(said), TOP + LINE * (index + 1) as f64);
            let (key, text, below) = (right + 30.0, right + 42.0, mark_up + 4.0);
            push(
                &mut svg,
                format_args!(
                    "<line x1=\"{at:.1}\" y1=\"{up:.1}\" x2=\"{mark_at:.1}\" y2=\"{mark_up:.1}\" stroke=\"{colour}\" stroke-opacity=\"0.35\"/>\
                     <circle cx=\"{at:.1}\" cy=\"{up:.1}\" r=\"3.5\" fill=\"{colour}\"><title>{said}</title></circle>\
                     <text x=\"{mark_at:.1}\" y=\"{below:.1}\" text-anchor=\"middle\" fill=\"{colour}\" font-weight=\"600\" \
                     stroke=\"#fff\" stroke-width=\"3\" paint-order=\"stroke\">{mark}</text>\n\
                     <text x=\"{key}\" y=\"{line}\" text-anchor=\"middle\" fill=\"{colour}\" font-weight=\"600\">{mark}</text>\
                     <text x=\"{text}\" y=\"{line}\">{said}</text>\n"
                ),
            );
        }
        svg + "</svg>\n"
    }

    fn draw_axes(&self, svg: &mut String, x: &Axis, y: &Axis, base: f64) {
        let right = LEFT + PLOT;
        for decade in x.decades() {
            let (at, below) = (x.place(10f64.powi(decade)), base + 18.0);
            let text = power(decade);
            push(
                svg,
                format_args!(
                    "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{base}\" stroke=\"#e5e7eb\"/>\
                     <text x=\"{at:.1}\" y=\"{below}\" text-anchor=\"middle\" fill=\"#374151\">{text}</text>\n"
                ),
            );
        }
        for decade in y.decades() {
            let (at, before) = (y.place(10f64.powi(decade)), LEFT - 8.0);
            let (text, below) = (power(decade), at + 4.0);
            push(
                svg,
                format_args!(
                    "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#e5e7eb\"/>\
                     <text x=\"{before}\" y=\"{below:.1}\" text-anchor=\"end\" fill=\"#374151\">{text}</text>\n"
                ),
            );
        }
        let (middle, low, high) = ((LEFT + right) / 2.0, base + 40.0, (TOP + base) / 2.0);
        push(
            svg,
            format_args!(
                "<text x=\"{middle}\" y=\"{low}\" text-anchor=\"middle\">operations for each byte moved at least</text>\n\
                 <text x=\"16\" y=\"{high}\" text-anchor=\"middle\" transform=\"rotate(-90 16 {high})\">GFLOP/s</text>\n"
            ),
        );
    }

    fn draw_roofs(&self, svg: &mut String, x: &Axis, y: &Axis) {
        let (highest, fastest) = (most(&self.compute), most(&self.bandwidth));
        let [first, last] = x.ends();
        let lowest = y.ends()[0];
        let mut line = |from: (f64, f64), to: (f64, f64)| {
            let (x1, y1, x2, y2) = (
                x.place(from.0),
                y.place(from.1),
                x.place(to.0),
                y.place(to.1),
            );
            push(
                svg,
                format_args!(
                    "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"#111827\" stroke-width=\"1.5\"/>\n"
                ),
            );
        };
        for roof in &self.compute {
            line((roof.rate / fastest, roof.rate), (last, roof.rate));
        }
        for roof in &self.bandwidth {
            let start = first.max(lowest / roof.rate);
            let end = last.min(highest / roof.rate);
            line((start, start * roof.rate), (end, end * roof.rate));
        }
        for roof in &self.compute {
            let (at, up) = (x.place(last) - 4.0, y.place(roof.rate) - 5.0);
            let (name, rate) = (escape(&roof.name), rounded(roof.rate));
            push(
                svg,
                format_args!(
                    "<text x=\"{at:.1}\" y=\"{up:.1}\" text-anchor=\"end\" fill=\"#111827\">{name}, {rate} GFLOP/s</text>\n"
                ),
            );
        }
        // Above the slope, along it: points are below.
        for roof in &self.bandwidth {
            let (start, end) = (first.max(lowest / roof.rate), last.min(highest / roof.rate));
            let (x1, y1) = (x.place(start), y.place(start * roof.rate));
            let (x2, y2) = (x.place(end), y.place(end * roof.rate));
            let angle = (y2 - y1).atan2(x2 - x1).to_degrees();
            let (at, up) = ((x1 + x2) / 2.0, (y1 + y2) / 2.0);
            let (name, rate) = (escape(&roof.name), rounded(roof.rate));
            push(
                svg,
                format_args!(
                    "<text x=\"{at:.1}\" y=\"{up:.1}\" dy=\"-6\" text-anchor=\"middle\" fill=\"#111827\" \
                     transform=\"rotate({angle:.1} {at:.1} {up:.1})\">{name}, {rate} GB/s</text>\n"
                ),
            );
        }
    }
}

/// Where the marks of points go: beside them, and beside each other where there is room.
fn marks(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut marks: Vec<(f64, f64)> = Vec::new();
    for (at, up) in points {
        let reaches = REACHES.iter();
        let candidates = reaches.flat_map(|reach| {
            DIRECTIONS
                .iter()
                .map(move |(right, down)| (at + reach * right, up + reach * down))
        });
        let apart = |(x, y): (f64, f64), (width, height): (f64, f64)| {
            move |(a, b): &(f64, f64)| (a - x).abs() >= width || (b - y).abs() >= height
        };
        let of_point = (MARK.0 / 2.0 + 3.0, MARK.1 / 2.0 + 3.0);
        let mut free = candidates.clone().filter(|place| {
            let inside = place.0 > LEFT && place.0 < LEFT + PLOT;
            inside
                && marks.iter().all(apart(*place, MARK))
                && points.iter().all(apart(*place, of_point))
        });
        // Without room it lies on another.
        let place = free.next().unwrap_or((at + REACHES[0], *up));
        drop(free);
        marks.push(place);
    }
    marks
}

#[cfg(test)]
mod tests {
    use super::super::tests::roofline;
    use super::*;

    #[test]
    fn marks_of_points_at_one_place_are_apart() {
        let points = vec![(300.0, 200.0); 12];
        let marks = marks(&points);
        for (index, (a, b)) in marks.iter().enumerate() {
            let others = marks[..index].iter();
            assert!(
                others
                    .clone()
                    .all(|(x, y)| (a - x).abs() >= MARK.0 || (b - y).abs() >= MARK.1),
                "{marks:?}"
            );
        }
        // The legend holds the longest name.
        let mut roofline = roofline();
        let narrow = roofline.svg();
        roofline.points[0].name = "x".repeat(120);
        let width = |svg: &str| -> f64 {
            let text = svg.split("width=\"").nth(1).expect("a width");
            text.split('"')
                .next()
                .expect("a number")
                .parse()
                .expect("a number")
        };
        assert!(width(&roofline.svg()) > width(&narrow) + 300.0);
    }
}
