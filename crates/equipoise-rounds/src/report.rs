//! The page about a folder of runs.

use std::collections::BTreeMap;

use equipoise_pool::{ImageLookup, thumbnail};
use equipoise_report::{Block, Cell, Document, Grid, Line, LinePoint, Lines, Strip};

use crate::{Config, Curve, DataSet, Interval, Point, Result, Results, Run};

/// Most classes that charts, columns and thumbnails are made for.
const CLASSES: usize = 20;

/// Longest side of a thumbnail, in pixels.
const SIDE: u32 = 96;

/// Reads a number off a round.
type Value = fn(&Point) -> Option<Interval>;

/// The page: final results, curves, classes, picks, times and settings.
///
/// # Errors
/// Where the settings can't be written as text.
pub fn report(results: &Results, config: &Config, pool: &DataSet) -> Result<Document> {
    let curves = results.curves();
    let seeds = curves
        .iter()
        .filter_map(|curve| curve.points.last())
        .map(|point| point.seeds);
    let mut blocks = vec![
        Block::Text(format!(
            "{} classes, {} rows to pick from at most, {} strategies, {} seeds. Intervals are 95% confidence intervals \
             over seeds; bands in charts are the same.",
            results.classes.len(),
            pool.labels.len(),
            curves.len(),
            seeds.max().unwrap_or(0),
        )),
        Block::Heading("Final results".into()),
        Block::Grid(finals(&curves)),
        Block::Text(
            "Over random: the difference from random with the same seed. Mean accuracy: over all rounds, the area under the \
             curve by its width. Random needs: how many labels random needs for the same accuracy. Balance: entropy of the \
             labels' classes over its largest value; 1 is even."
                .into(),
        ),
    ];
    blocks.extend(ended(results));
    blocks.extend(charts(&curves));
    blocks.extend(classes(results, &curves));
    blocks.extend(picks(results, pool));
    blocks.push(Block::Heading("Seconds of a run".into()));
    blocks.push(Block::Grid(times(&curves)));
    blocks.push(Block::Heading("Settings".into()));
    blocks.push(Block::Code(config.to_toml()?));
    Ok(Document {
        title: "Which strategy buys the most?".into(),
        blocks,
    })
}

/// `12.3 ± 0.4`, of a share in per cent if asked.
fn told(interval: &Interval, percent: bool) -> String {
    let (factor, digits) = if percent { (100.0, 1) } else { (1.0, 3) };
    let mean = factor * interval.mean;
    match interval.half {
        Some(half) => format!("{mean:.digits$} ± {:.digits$}", factor * half),
        None => format!("{mean:.digits$}"),
    }
}

fn finals(curves: &[Curve]) -> Grid {
    let head = [
        "strategy",
        "seeds",
        "labels",
        "accuracy %",
        "over random",
        "mean accuracy %",
        "over random",
        "random needs",
        "worst class %",
        "balance",
        "fewest labels",
    ];
    let best = curves
        .iter()
        .filter_map(|curve| Some(curve.points.last()?.top1.mean));
    let best = best.fold(f64::NEG_INFINITY, f64::max);
    let gain = |interval: &Option<Interval>| {
        let Some(interval) = interval else {
            return Cell::default();
        };
        let sign = if interval.mean > 0.0 { "+" } else { "" };
        Cell {
            strong: interval.is_apart_from_zero(),
            ..Cell::from(format!("{sign}{}", told(interval, true)))
        }
    };
    let line = |curve: &Curve| {
        let last = curve.points.last()?;
        let needs = curve.efficiency.map(|efficiency| {
            let more = if efficiency.reached { "" } else { "over " };
            format!("{more}{:.0}", efficiency.random)
        });
        Some(vec![
            curve.name.clone().into(),
            last.seeds.to_string().into(),
            format!("{:.0}", last.labels).into(),
            Cell {
                strong: last.top1.mean == best,
                ..told(&last.top1, true).into()
            },
            gain(&curve.gain),
            curve
                .area
                .map_or(String::new(), |area| told(&area, true))
                .into(),
            gain(&curve.area_gain),
            needs.unwrap_or_default().into(),
            told(&last.worst_class, true).into(),
            told(&last.balance, false).into(),
            format!("{:.1}", last.smallest.mean).into(),
        ])
    };
    Grid {
        head: head.map(Into::into).into(),
        lines: curves.iter().filter_map(line).collect(),
    }
}

/// Runs that ended before their last round.
fn ended(results: &Results) -> Option<Block> {
    let mut reasons: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for run in &results.runs {
        if let Some(why) = &run.ended {
            reasons
                .entry(why)
                .or_default()
                .push(format!("{} (seed {})", run.name, run.seed));
        }
    }
    let told = reasons
        .into_iter()
        .map(|(why, runs)| format!("{}: {why}", runs.join(", ")));
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| Block::Text(format!("Ended early. {}.", told.join("; "))))
}

/// What a round's accuracy or balance is read from, its name, and whether it is a share.
const SHOWN: [(&str, bool, Value); 5] = [
    ("Test accuracy in %", true, |point| Some(point.top1)),
    ("Accuracy over random's in points", true, |point| point.gain),
    ("Mean of the classes' accuracies in %", true, |point| {
        Some(point.mean_class)
    }),
    ("Accuracy of the worst class in %", true, |point| {
        Some(point.worst_class)
    }),
    ("Balance: entropy of the labels' classes", false, |point| {
        Some(point.balance)
    }),
];

/// The charts over labels, and every value of them.
fn charts(curves: &[Curve]) -> Vec<Block> {
    let chart = |(title, percent, value): (&str, bool, Value)| {
        over_labels(title, percent, curves, |curve| {
            let point = |point: &Point| Some((point.labels, value(point)?));
            curve.points.iter().filter_map(point).collect()
        })
    };
    let legend = curves.iter().enumerate().filter_map(|(style, curve)| {
        let last = curve.points.last()?;
        Some((curve.name.clone(), style, told(&last.top1, true)))
    });
    let mut blocks = vec![
        Block::Heading("Curves".into()),
        Block::Legend(legend.collect()),
        Block::Charts(SHOWN.map(chart).into()),
    ];
    blocks.extend(SHOWN.map(|(title, percent, value)| {
        let grid = Block::Grid(values(curves, percent, value));
        Block::Folded(format!("Every value: {title}"), vec![grid])
    }));
    blocks
}

fn values(curves: &[Curve], percent: bool, value: Value) -> Grid {
    let rounds = curves
        .iter()
        .map(|curve| curve.points.len())
        .max()
        .unwrap_or(0);
    let mut head = vec!["labels".to_owned()];
    head.extend(curves.iter().map(|curve| curve.name.clone()));
    let line = |round: usize| {
        let labels = curves
            .iter()
            .filter_map(|curve| Some(curve.points.get(round)?.labels));
        let mut cells = vec![Cell::from(format!("{:.0}", labels.fold(0.0, f64::max)))];
        cells.extend(curves.iter().map(|curve| {
            let value = curve.points.get(round).and_then(value);
            value.map_or(Cell::default(), |value| told(&value, percent).into())
        }));
        cells
    };
    Grid {
        head,
        lines: (0..rounds).map(line).collect(),
    }
}

/// A chart with a line for each strategy, of the labels and intervals that `points` says.
fn over_labels(
    title: &str,
    percent: bool,
    curves: &[Curve],
    points: impl Fn(&Curve) -> Vec<(f64, Interval)>,
) -> Lines {
    let point = |(labels, interval): (f64, Interval)| LinePoint {
        x: labels,
        y: interval.mean,
        half: interval.half,
    };
    let line = |(style, curve): (usize, &Curve)| Line {
        name: curve.name.clone(),
        style,
        points: points(curve).into_iter().map(point).collect(),
    };
    Lines {
        title: title.into(),
        x: "labels".into(),
        percent,
        lines: curves.iter().enumerate().map(line).collect(),
    }
}

/// The classes that are shown: all, or of many those whose accuracies differ most between strategies.
fn shown_classes(results: &Results, curves: &[Curve]) -> Vec<usize> {
    let classes = results.classes.len();
    if classes <= CLASSES {
        return (0..classes).collect();
    }
    let spread = |class: usize| {
        let last = |curve: &Curve| Some(results.class_points(&curve.name, class).last()?.1.mean);
        let ends = || curves.iter().filter_map(last);
        ends().fold(f64::NEG_INFINITY, f64::max) - ends().fold(f64::INFINITY, f64::min)
    };
    let mut spreads: Vec<(f64, usize)> = (0..classes).map(|class| (spread(class), class)).collect();
    spreads.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut shown: Vec<usize> = spreads
        .into_iter()
        .take(CLASSES)
        .map(|(_, class)| class)
        .collect();
    shown.sort_unstable();
    shown
}

/// Accuracy and labels, class by class.
fn classes(results: &Results, curves: &[Curve]) -> Vec<Block> {
    let shown = shown_classes(results, curves);
    let part = match shown.len() < results.classes.len() {
        true => format!(
            "Of {} classes the {} whose accuracies differ most between strategies.",
            results.classes.len(),
            shown.len()
        ),
        false => "Colours are those above.".into(),
    };
    let chart = |class: &usize| {
        over_labels(&results.classes[*class], true, curves, |curve| {
            results.class_points(&curve.name, *class)
        })
    };
    let mut head = vec!["strategy".to_owned()];
    head.extend(shown.iter().map(|class| results.classes[*class].clone()));
    let accuracy = |curve: &Curve| {
        let mut cells = vec![Cell::from(curve.name.clone())];
        cells.extend(shown.iter().map(|class| {
            let points = results.class_points(&curve.name, *class);
            let last = points.last().map(|(_, interval)| *interval);
            let shade = last.map_or(0.0, |interval| interval.mean);
            Cell {
                shade,
                ..last
                    .map_or(String::new(), |interval| told(&interval, true))
                    .into()
            }
        }));
        cells
    };
    let most = curves
        .iter()
        .flat_map(|curve| results.class_labels(&curve.name))
        .fold(1.0, f64::max);
    let labels = |curve: &Curve| {
        let counts = results.class_labels(&curve.name);
        let mut cells = vec![Cell::from(curve.name.clone())];
        cells.extend(shown.iter().map(|class| Cell {
            shade: counts[*class] / most,
            ..format!("{:.1}", counts[*class]).into()
        }));
        cells
    };
    vec![
        Block::Heading("Accuracy of each class".into()),
        Block::Text(part),
        Block::SmallCharts(shown.iter().map(chart).collect()),
        Block::Text("At the end, in %:".into()),
        Block::Grid(Grid {
            head: head.clone(),
            lines: curves.iter().map(accuracy).collect(),
        }),
        Block::Heading("Labels of each class".into()),
        Block::Text(
            "By true class, at the end: means over seeds, the first labels included.".into(),
        ),
        Block::Grid(Grid {
            head,
            lines: curves.iter().map(labels).collect(),
        }),
    ]
}

/// The first and the last pick of each true class, of each strategy's first seed.
fn picks(results: &Results, pool: &DataSet) -> Vec<Block> {
    let mut lookup = ImageLookup::new();
    let mut found = false;
    let mut strips = Vec::new();
    for name in results.names() {
        let Some(run) = results.runs_of(name).next() else {
            continue;
        };
        let mut images = Vec::new();
        for (class, first, last) in first_and_last(run, &pool.labels).into_iter().take(CLASSES) {
            let label = &results.classes[class as usize];
            let places = match first == last {
                true => vec![("only", first)],
                false => vec![("first", first), ("last", last)],
            };
            for (place, row) in places {
                let bytes = pool
                    .pool
                    .ids()
                    .uri(row)
                    .and_then(|uri| lookup.read(&uri).ok());
                let small =
                    bytes.and_then(|bytes| Some(thumbnail(&bytes, SIDE).ok()?.into_owned()));
                found |= small.is_some();
                let id = pool.pool.ids().id(row);
                images.push((format!("{label}, {place}: {id}"), small));
            }
        }
        strips.push(Strip {
            name: format!("{name}, seed {}", run.seed),
            images,
        });
    }
    let text = match found {
        true => {
            "The first and the last row that was picked of each true class, after the first labels."
        }
        false => "The pool's images are not where they were embedded from, or it never had any.",
    };
    let mut blocks = vec![Block::Heading("Picks".into()), Block::Text(text.into())];
    if found {
        blocks.push(Block::Folded("Images".into(), vec![Block::Strips(strips)]));
    }
    blocks
}

/// Of each class its first and last pick, the first labels left out.
fn first_and_last(run: &Run, labels: &[u32]) -> Vec<(u32, usize, usize)> {
    let mut of_class: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
    let rounds = run.rounds.iter().filter(|round| round.round > 0);
    for row in rounds.flat_map(|round| &round.picks) {
        let Some(class) = labels.get(*row) else {
            continue;
        };
        let entry = of_class.entry(*class).or_insert((*row, *row));
        entry.1 = *row;
    }
    of_class
        .into_iter()
        .map(|(class, (first, last))| (class, first, last))
        .collect()
}

fn times(curves: &[Curve]) -> Grid {
    let line = |curve: &Curve| {
        let seconds = &curve.seconds;
        let mut cells = vec![Cell::from(curve.name.clone())];
        let numbers = [seconds.select, seconds.train, seconds.test, seconds.total()];
        cells.extend(numbers.map(|number| Cell::from(format!("{number:.2}"))));
        cells
    };
    Grid {
        head: ["strategy", "selecting", "training", "testing", "together"]
            .map(Into::into)
            .into(),
        lines: curves.iter().map(line).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Measures, Scores, Seconds, Tested};

    #[test]
    fn first_and_last_picks_leave_out_the_first_labels() {
        let round = |round: u32, picks: &[usize]| Tested {
            round,
            labels: 0,
            measures: Measures::new(&Scores::default(), &[], 1, [].into_iter(), [].into_iter()),
            seconds: Seconds::default(),
            picks: picks.to_vec(),
        };
        let run = Run {
            name: "x".into(),
            seed: 0,
            rounds: vec![round(0, &[0, 1]), round(1, &[2, 3]), round(2, &[5, 4])],
            ended: None,
        };
        let labels = [0, 1, 1, 0, 0, 0];
        assert_eq!(first_and_last(&run, &labels), [(0, 3, 4), (1, 2, 2)]);
    }
}
