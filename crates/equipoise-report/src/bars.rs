//! Bar charts, as SVG.

use plotters::prelude::*;

/// One chart: a bar for each name.
#[derive(Debug, Clone, PartialEq)]
pub struct Bars {
    /// What is shown, with its unit.
    pub title: String,
    /// Names and values, at least 0; `None` where there is no value.
    pub values: Vec<(String, Option<f64>)>,
}

/// Charts side by side, two in a row.
const IN_A_ROW: usize = 2;

/// Pixels of a chart, of a bar with its gap, and of what is around the bars.
const WIDTH: u32 = 460;
const BAR: u32 = 26;
const AROUND: u32 = 60;

/// Pixels that a letter of a name takes, about.
const LETTER: u32 = 7;

/// An SVG picture of `charts`; numbers stand beside their bars.
///
/// # Errors
/// What the drawing library says: none is known.
pub fn bars_svg(charts: &[Bars]) -> Result<String, String> {
    let most = charts.iter().map(|chart| chart.values.len()).max();
    let height = AROUND + BAR * most.unwrap_or(0) as u32;
    let rows = charts.len().div_ceil(IN_A_ROW);
    let size = (WIDTH * IN_A_ROW as u32, height * rows as u32);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE).map_err(|error| error.to_string())?;
        for (area, chart) in root.split_evenly((rows, IN_A_ROW)).iter().zip(charts) {
            draw(area, chart).map_err(|error| error.to_string())?;
        }
        root.present().map_err(|error| error.to_string())?;
    }
    Ok(svg)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type DrawError<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>;

fn draw<'a>(area: &Area<'a>, chart: &Bars) -> Result<(), DrawError<'a>> {
    let text = ("sans-serif", 13).into_font().color(&BLACK);
    area.draw_text(
        &chart.title,
        &("sans-serif", 15).into_font().color(&BLACK),
        (12, 10),
    )?;
    let longest = chart
        .values
        .iter()
        .map(|(name, _)| name.chars().count())
        .max();
    let left = (20 + LETTER * longest.unwrap_or(0) as u32) as i32;
    let room = f64::from(WIDTH) - f64::from(left) - 90.0;
    let values = chart.values.iter().filter_map(|(_, value)| *value);
    let largest = values.fold(0.0, f64::max);
    for (index, (name, value)) in (0i32..).zip(&chart.values) {
        let top = 36 + index * BAR as i32;
        area.draw_text(name, &text, (12, top + 4))?;
        let width = match value {
            Some(value) if largest > 0.0 => (room * value / largest).round() as i32,
            _ => 0,
        };
        let bar = [(left, top), (left + width, top + BAR as i32 - 6)];
        area.draw(&Rectangle::new(bar, RGBColor(68, 114, 196).filled()))?;
        let number = value.map_or("none".to_owned(), short);
        area.draw_text(&number, &text, (left + width + 6, top + 4))?;
    }
    Ok(())
}

/// Three significant digits.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        size => (2 - size.log10().floor() as i32).clamp(3, 9) as usize,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_and_number_is_in_the_picture() {
        let chart = |title: &str, values: &[(&str, Option<f64>)]| Bars {
            title: title.into(),
            values: values
                .iter()
                .map(|(name, value)| ((*name).into(), *value))
                .collect(),
        };
        let charts = [
            chart(
                "seconds",
                &[("base", Some(0.0123)), ("random", Some(2.5)), ("a<b", None)],
            ),
            chart("nothing", &[]),
            chart("zeros", &[("zero", Some(0.0))]),
        ];
        let svg = bars_svg(&charts).unwrap();
        for text in [
            "seconds", "base", "0.0123", "random", "2.50", "none", "nothing", "zero", "a&lt;b",
        ] {
            assert!(svg.contains(text), "{text} is missing in {svg}");
        }
        assert!(svg.starts_with("<svg"));
    }

    #[test]
    fn numbers_are_short() {
        let found = [0.0, 1234.4, 56.78, 9.876, 0.1234, 0.000_056_78].map(short);
        assert_eq!(found, ["0", "1234", "56.8", "9.88", "0.123", "0.0000568"]);
    }
}
