//! What came of the runs in a folder: curves over labels, with intervals over seeds.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use equipoise_pool::OutputFile;
use serde::Serialize;

use crate::run_folder::{LEDGER, run_folder};
use crate::statistics::{mean_height, reaches};
use crate::{Entry, Error, Interval, Ledger, Measures, Result, Seconds};

/// The strategy that others are compared with.
const RANDOM: &str = "random";

/// A round that was trained and tested.
#[derive(Debug, Clone, PartialEq)]
pub struct Tested {
    /// From 0.
    pub round: u32,
    /// Labelled rows.
    pub labels: usize,
    /// On the test rows, and of the labels.
    pub measures: Measures,
    /// What it took.
    pub seconds: Seconds,
    /// Rows of this round, in pick order.
    pub picks: Vec<usize>,
}

/// One strategy and seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Strategy or variant.
    pub name: String,
    /// Its seed.
    pub seed: u64,
    /// Its rounds.
    pub rounds: Vec<Tested>,
    /// Why it ended early.
    pub ended: Option<String>,
}

/// Everything that a folder's ledgers hold.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Results {
    /// Class names.
    pub classes: Vec<String>,
    /// By strategy, in the order asked for, then by seed.
    pub runs: Vec<Run>,
}

/// A round of one strategy, over its seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Point {
    /// From 0.
    pub round: u32,
    /// Labelled rows; the mean, if seeds differ.
    pub labels: f64,
    /// Seeds that have reached it.
    pub seeds: usize,
    /// Test accuracy.
    pub top1: Interval,
    /// That less random's of the same seed and round.
    pub gain: Option<Interval>,
    /// Share of test rows whose class is among the first five.
    pub top5: Interval,
    /// Mean over classes of their accuracies.
    pub mean_class: Interval,
    /// Of the class that is worst.
    pub worst_class: Interval,
    /// Of the class that is best.
    pub best_class: Interval,
    /// Entropy of the labels' classes over ln C.
    pub balance: Interval,
    /// Labels of the class that has fewest.
    pub smallest: Interval,
    /// Most labels of a class over fewest; none while a class has none.
    pub imbalance: Option<Interval>,
}

/// A strategy's rounds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Curve {
    /// Strategy or variant.
    pub name: String,
    /// Round by round.
    pub points: Vec<Point>,
    /// Accuracy at the end less random's of the same seed.
    pub gain: Option<Interval>,
    /// Mean test accuracy over all labels: the area under the curve by its width.
    pub area: Option<Interval>,
    /// That less random's of the same seed.
    pub area_gain: Option<Interval>,
    /// How many labels random needs for the accuracy at the end.
    pub efficiency: Option<Efficiency>,
    /// Mean seconds of a run.
    pub seconds: Seconds,
}

/// How many labels random needs to be as good.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Efficiency {
    /// The strategy's labels.
    pub labels: f64,
    /// Random's; the most that it was given, where they are not enough.
    pub random: f64,
    /// Whether they are enough.
    pub reached: bool,
}

impl Results {
    /// Reads all ledgers of a folder; those named in `order` come first.
    ///
    /// # Errors
    /// Where one is damaged.
    pub fn read(folder: &Path, order: &[String]) -> Result<Self> {
        let runs = folder.join("runs");
        let mut names: Vec<String> = children(&runs)?;
        names.sort_by_key(|name| {
            let place = order.iter().position(|other| other == name);
            (place.unwrap_or(order.len()), name.clone())
        });
        let mut results = Self::default();
        for name in names {
            let seed = |folder: String| folder.strip_prefix("seed-")?.parse::<u64>().ok();
            let mut seeds: Vec<u64> = children(&runs.join(&name))?
                .into_iter()
                .filter_map(seed)
                .collect();
            seeds.sort_unstable();
            for seed in seeds {
                let path = run_folder(folder, &name, seed).join(LEDGER);
                if path.is_file() {
                    results.add(&name, seed, Ledger::read(&path)?);
                }
            }
        }
        Ok(results)
    }

    fn add(&mut self, name: &str, seed: u64, entries: Vec<Entry>) {
        let mut run = Run {
            name: name.into(),
            seed,
            rounds: Vec::new(),
            ended: None,
        };
        let mut last = Vec::new();
        for entry in entries {
            match entry {
                Entry::Opened { classes, .. } => self.classes = classes,
                Entry::Picked { rows, .. } => last = rows,
                Entry::Trained {
                    round,
                    labels,
                    measures: Some(measures),
                    seconds,
                    ..
                } => run.rounds.push(Tested {
                    round,
                    labels,
                    measures,
                    seconds,
                    picks: std::mem::take(&mut last),
                }),
                Entry::Ended { why, .. } => run.ended = Some(why),
                Entry::Trained { .. } | Entry::Labelled { .. } => {}
            }
        }
        self.runs.push(run);
    }

    /// Strategies, in order.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.runs.iter().map(|run| run.name.as_str()).collect();
        names.dedup();
        names
    }

    /// The runs of a strategy.
    pub fn runs_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Run> + 'a {
        self.runs.iter().filter(move |run| run.name == name)
    }

    /// Every strategy's curve.
    pub fn curves(&self) -> Vec<Curve> {
        self.names()
            .into_iter()
            .map(|name| self.curve(name))
            .collect()
    }

    /// Labels and accuracy of one class, round by round.
    pub fn class_points(&self, name: &str, class: usize) -> Vec<(f64, Interval)> {
        let runs: Vec<&Run> = self.runs_of(name).collect();
        let rounds = runs.iter().map(|run| run.rounds.len()).max().unwrap_or(0);
        let point = |index: usize| {
            let rounds = || runs.iter().filter_map(|run| run.rounds.get(index));
            let of = |value: &dyn Fn(&Tested) -> Option<f64>| {
                Interval::of(&rounds().filter_map(value).collect::<Vec<_>>())
            };
            let labels = of(&|round| Some(round.labels as f64))?.mean;
            Some((labels, of(&|round| *round.measures.per_class.get(class)?)?))
        };
        (0..rounds).filter_map(point).collect()
    }

    /// Labels of each class at the end: means over seeds.
    pub fn class_labels(&self, name: &str) -> Vec<f64> {
        let last: Vec<&Tested> = self
            .runs_of(name)
            .filter_map(|run| run.rounds.last())
            .collect();
        let mean = |class: usize| {
            let counts = last
                .iter()
                .filter_map(|round| round.measures.labelled.get(class));
            counts.sum::<usize>() as f64 / last.len().max(1) as f64
        };
        (0..self.classes.len()).map(mean).collect()
    }

    fn curve(&self, name: &str) -> Curve {
        let runs: Vec<&Run> = self.runs_of(name).collect();
        let rounds = runs.iter().map(|run| run.rounds.len()).max().unwrap_or(0);
        let mut points: Vec<Point> = (0..rounds)
            .filter_map(|index| point(&runs, index))
            .collect();
        let of_seeds: BTreeMap<u64, &Run> =
            self.runs_of(RANDOM).map(|run| (run.seed, run)).collect();
        let pairs: Vec<(&[Tested], &[Tested])> = runs
            .iter()
            .filter_map(|run| shared(run, of_seeds.get(&run.seed)?))
            .collect();
        let compared = name != RANDOM && !of_seeds.is_empty();
        if compared {
            for (index, point) in points.iter_mut().enumerate() {
                let gains = pairs.iter().filter_map(|(own, random)| {
                    Some(own.get(index)?.measures.top1 - random.get(index)?.measures.top1)
                });
                point.gain = Interval::of(&gains.collect::<Vec<_>>());
            }
        }
        let interval = |value: fn(&[Tested]) -> Option<f64>| {
            let gains: Vec<f64> = pairs
                .iter()
                .filter_map(|(own, random)| Some(value(own)? - value(random)?))
                .collect();
            compared.then(|| Interval::of(&gains)).flatten()
        };
        let areas: Vec<f64> = runs.iter().filter_map(|run| area(&run.rounds)).collect();
        let mean = |of: fn(&Seconds) -> f64| {
            let sum: f64 = runs
                .iter()
                .flat_map(|run| &run.rounds)
                .map(|round| of(&round.seconds))
                .sum();
            sum / runs.len().max(1) as f64
        };
        Curve {
            name: name.into(),
            gain: interval(|rounds| Some(rounds.last()?.measures.top1)),
            area: Interval::of(&areas),
            area_gain: interval(area),
            efficiency: compared.then(|| self.efficiency(&points)).flatten(),
            points,
            seconds: Seconds {
                select: mean(|seconds| seconds.select),
                train: mean(|seconds| seconds.train),
                test: mean(|seconds| seconds.test),
            },
        }
    }

    /// By the mean curves.
    fn efficiency(&self, points: &[Point]) -> Option<Efficiency> {
        let last = points.last()?;
        let random = self.curve(RANDOM).points;
        let line: Vec<(f64, f64)> = random
            .iter()
            .map(|point| (point.labels, point.top1.mean))
            .collect();
        let needed = reaches(&line, last.top1.mean);
        Some(Efficiency {
            labels: last.labels,
            random: needed.unwrap_or(line.last()?.0),
            reached: needed.is_some(),
        })
    }

    /// Every round of every run as CSV, without what differs from one time to the next.
    pub fn to_csv(&self) -> String {
        let mut text = String::from(
            "name,seed,round,labels,top1,top5,mean_class,worst_class,best_class,balance,smallest,imbalance\n",
        );
        for run in &self.runs {
            for round in &run.rounds {
                let measures = &round.measures;
                let share = |class: Option<(usize, f64)>| {
                    class.map_or(String::new(), |(_, x)| x.to_string())
                };
                let _ = writeln!(
                    text,
                    "{},{},{},{},{},{},{},{},{},{},{},{}",
                    run.name,
                    run.seed,
                    round.round,
                    round.labels,
                    measures.top1,
                    measures.top5,
                    measures.mean_class,
                    share(measures.worst()),
                    share(measures.best()),
                    measures.balance,
                    measures.smallest,
                    measures.imbalance.map_or(String::new(), |x| x.to_string()),
                );
            }
        }
        text
    }

    /// Writes [`Self::to_csv`]; the file appears whole or not at all.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn write_csv(&self, path: &Path) -> Result<()> {
        Ok(OutputFile::write_all_to(
            path,
            true,
            self.to_csv().as_bytes(),
        )?)
    }
}

/// As many rounds of two runs as both have.
fn shared<'a>(one: &'a Run, other: &'a Run) -> Option<(&'a [Tested], &'a [Tested])> {
    let rounds = one.rounds.len().min(other.rounds.len());
    Some((one.rounds.get(..rounds)?, other.rounds.get(..rounds)?))
}

fn point(runs: &[&Run], index: usize) -> Option<Point> {
    let rounds: Vec<&Tested> = runs
        .iter()
        .filter_map(|run| run.rounds.get(index))
        .collect();
    let of = |value: &dyn Fn(&Tested) -> Option<f64>| {
        let values: Vec<f64> = rounds.iter().filter_map(|round| value(round)).collect();
        Interval::of(&values)
    };
    Some(Point {
        round: rounds.first()?.round,
        labels: of(&|round| Some(round.labels as f64))?.mean,
        seeds: rounds.len(),
        top1: of(&|round| Some(round.measures.top1))?,
        gain: None,
        top5: of(&|round| Some(round.measures.top5))?,
        mean_class: of(&|round| Some(round.measures.mean_class))?,
        worst_class: of(&|round| Some(round.measures.worst()?.1))?,
        best_class: of(&|round| Some(round.measures.best()?.1))?,
        balance: of(&|round| Some(round.measures.balance))?,
        smallest: of(&|round| Some(round.measures.smallest as f64))?,
        imbalance: match rounds
            .iter()
            .all(|round| round.measures.imbalance.is_some())
        {
            true => of(&|round| round.measures.imbalance),
            false => None,
        },
    })
}

fn area(rounds: &[Tested]) -> Option<f64> {
    let line = rounds
        .iter()
        .map(|round| (round.labels as f64, round.measures.top1));
    mean_height(&line.collect::<Vec<_>>())
}

/// Names of the folders in a folder; none where it is not there.
fn children(folder: &Path) -> Result<Vec<String>> {
    let failed = |source| Error::io(folder, source);
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if entry.path().is_dir() {
            names.extend(entry.file_name().into_string().ok());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scores;

    fn run(name: &str, seed: u64, accuracies: &[f64]) -> Run {
        let rounds = accuracies.iter().zip(0..).map(|(accuracy, round)| {
            let truth = vec![0; 100];
            let ranks = (0..100).map(|row| u32::from(f64::from(row) >= accuracy * 100.0));
            let scores = Scores {
                ranks: ranks.collect(),
            };
            let labels = 100 * (round as usize + 1);
            let labelled = std::iter::repeat_n(0, labels);
            Tested {
                round,
                labels,
                measures: Measures::new(&scores, &truth, 2, labelled, std::iter::empty()),
                seconds: Seconds::default(),
                picks: Vec::new(),
            }
        });
        Run {
            name: name.into(),
            seed,
            rounds: rounds.collect(),
            ended: None,
        }
    }

    #[test]
    fn strategies_are_compared_with_random_seed_by_seed() {
        let results = Results {
            classes: vec!["a".into(), "b".into()],
            runs: vec![
                run("random", 0, &[0.1, 0.3, 0.5]),
                run("random", 1, &[0.3, 0.5, 0.7]),
                run("base", 0, &[0.1, 0.4, 0.6]),
                run("base", 1, &[0.3, 0.6, 0.8]),
                // Of a seed that random has not.
                run("base", 2, &[0.3, 0.6, 0.7]),
            ],
        };
        let curves = results.curves();
        let (random, base) = (&curves[0], &curves[1]);
        assert!(random.gain.is_none() && random.efficiency.is_none());
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(near(base.gain.unwrap().mean, 0.1) && near(base.gain.unwrap().half.unwrap(), 0.0));
        let gains: Vec<f64> = base
            .points
            .iter()
            .map(|point| point.gain.unwrap().mean)
            .collect();
        assert!(near(gains[0], 0.0) && near(gains[1], 0.1) && near(gains[2], 0.1));
        assert!(near(random.area.unwrap().mean, 0.4));
        assert!(near(base.area_gain.unwrap().mean, 0.075));
        assert_eq!((base.points[2].seeds, base.points[2].labels), (3, 300.0));
        // 0.7 is above random's 0.6 at the end.
        let efficiency = base.efficiency.unwrap();
        assert_eq!((efficiency.reached, efficiency.random), (false, 300.0));
        // A class without labels has no ratio.
        assert_eq!(base.points[0].imbalance, None);
        assert_eq!(results.to_csv().lines().count(), 1 + 15);
        assert!(results.to_csv().contains("\nbase,1,2,300,0.8,1,"));
    }
}
