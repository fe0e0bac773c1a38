//! Rooflines: how many operations a second kernels reach, over how many they do for each byte they move, under what the device
//! can do at most (Williams, Waterman and Patterson, *Roofline: an insightful visual performance model*, CACM 2009).

use crate::html::{escape, push};

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

/// Characters of the text's picture.
const COLUMNS: usize = 64;
const ROWS: usize = 18;

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
        let (name, rate) = (&point.name, number(point.rate));
        format!("{name}: {rate} GFLOP/s, {share:.1}% of its roof")
    }

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
            let (name, rate) = (escape(&roof.name), number(roof.rate));
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
            let (name, rate) = (escape(&roof.name), number(roof.rate));
            push(
                svg,
                format_args!(
                    "<text x=\"{at:.1}\" y=\"{up:.1}\" dy=\"-6\" text-anchor=\"middle\" fill=\"#111827\" \
                     transform=\"rotate({angle:.1} {at:.1} {up:.1})\">{name}, {rate} GB/s</text>\n"
                ),
            );
        }
    }

    /// The picture in characters: `=` is compute's roof, `/` that of bandwidth.
    pub fn text(&self) -> String {
        let (columns, rows) = ((COLUMNS - 1) as f64, (ROWS - 1) as f64);
        let (x, y) = self.axes((0.0, columns), (rows, 0.0));
        let mut cells = vec![vec![' '; COLUMNS]; ROWS];
        let highest = most(&self.compute);
        let roofs = (0..COLUMNS).map(|column| {
            let share = column as f64 / columns;
            self.roof(10f64.powf(x.least + share * (x.most - x.least)))
        });
        for (column, roof) in roofs.enumerate() {
            let row = y.place(roof).round() as usize;
            cells[row][column] = if roof >= highest { '=' } else { '/' };
        }
        for (index, point) in self.points.iter().enumerate().rev() {
            let (at, up) = (x.place(point.intensity), y.place(point.rate));
            cells[up.round() as usize][at.round() as usize] = Self::mark(index);
        }
        let mut text = format!("{}\n", self.title);
        for (row, line) in cells.iter().enumerate() {
            let decade = y
                .decades()
                .find(|decade| y.place(10f64.powi(*decade)).round() == row as f64);
            let label = decade.map_or_else(String::new, power);
            let line: String = line.iter().collect();
            text += &format!("{label:>8} |{}\n", line.trim_end());
        }
        let mut scale = vec![' '; COLUMNS + 8];
        for decade in x.decades() {
            let at = x.place(10f64.powi(decade)).round() as usize;
            for (offset, letter) in power(decade).chars().enumerate() {
                scale[at + offset] = letter;
            }
        }
        let scale: String = scale.iter().collect();
        text += &format!(
            "{:>8} +{}\n{:>9} {}\n{:>9} GFLOP/s over operations for each byte moved at least\n",
            "",
            "-".repeat(COLUMNS),
            "",
            scale.trim_end(),
            ""
        );
        for (index, point) in self.points.iter().enumerate().take(MARKS.len()) {
            text += &format!("  {} {}\n", Self::mark(index), self.said(point));
        }
        if self.points.len() > MARKS.len() {
            text += &format!("  * {} more\n", self.points.len() - MARKS.len());
        }
        text
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

/// Three digits, or all before the point; two of what is small.
fn number(number: f64) -> String {
    match number {
        100.0.. => format!("{number:.0}"),
        10.0.. => format!("{number:.1}"),
        0.1.. => format!("{number:.2}"),
        0.01.. => format!("{number:.3}"),
        0.001.. => format!("{number:.4}"),
        0.0 => "0".into(),
        _ => format!("{number:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roofline() -> Roofline {
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

    #[test]
    fn the_text_has_them_where_they_belong() {
        let text = roofline().text();
        let at = |mark: char| {
            let lines = text.lines().enumerate().skip(1).take(ROWS);
            lines
                .filter_map(|(row, line)| Some((row, line.split_once('|')?.1.find(mark)?)))
                .next()
        };
        let (a, b) = (at('a').expect("a point"), at('b').expect("a point"));
        assert!(a.0 < b.0 && a.1 > b.1, "{text}");
        let (slope, flat) = (at('/').expect("a slope"), at('=').expect("a roof"));
        assert!(flat.0 <= slope.0, "{text}");
        assert!(text.contains("b row_norms f32: 400 GFLOP/s"), "{text}");
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        let empty = Roofline::default();
        assert!(empty.svg().ends_with("</svg>\n") && !empty.svg().contains("NaN"));
        assert!(empty.text().contains("GFLOP/s over"));
    }
}
