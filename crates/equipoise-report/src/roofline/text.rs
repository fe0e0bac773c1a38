//! A roofline in characters.

use super::{MARKS, Roofline, most, power};

/// Characters of the text's picture.
const COLUMNS: usize = 64;
const ROWS: usize = 18;

impl Roofline {
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

#[cfg(test)]
mod tests {
    use super::super::tests::roofline;
    use super::*;

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
}
