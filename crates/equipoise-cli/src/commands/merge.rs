//! `merge`: the picks of the whole pool, from the candidates of its shards.

use std::path::{Path, PathBuf};

use equipoise::core::strategies::{Deeper, Selection};
use equipoise::pool::{self, Candidates, Deepening, Gathered, PickFormat};
use equipoise::report::Table;
use serde::Serialize;

use super::constraints::Short;
use super::output::{apart, check_output};
use crate::console::{Console, grouped};
use crate::failure::{Failure, Result};

/// One merge.
#[derive(Debug)]
pub(crate) struct Job {
    pub candidates: Vec<PathBuf>,
    pub out: PathBuf,
    pub format: PickFormat,
    pub deepen_out: PathBuf,
    pub force: bool,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Report {
    /// Whether the picks are certain, and written.
    exact: bool,
    out: PathBuf,
    strategy: String,
    shards: usize,
    available: usize,
    budget: usize,
    picked: usize,
    nonfinite_rows: Vec<usize>,
    shortfalls: Vec<Short>,
    /// What to scan deeper, as it was written to a file.
    deepen: Option<Deepening>,
    deepen_out: Option<PathBuf>,
}

/// Runs and prints.
///
/// # Errors
/// Where a file cannot be read or does not belong to the others, and where lists are too short.
pub(crate) fn main(job: &Job, console: Console) -> Result<()> {
    let inputs = || job.candidates.iter().map(PathBuf::as_path);
    check_output(&job.out, job.force, inputs())?;
    apart(&job.deepen_out, inputs())?;
    let read = |path: &PathBuf| Ok((path.clone(), Candidates::read(path)?));
    let files: Vec<_> = job.candidates.iter().map(read).collect::<Result<_>>()?;
    let gathered = Gathered::new(files)?;
    let merged = gathered.selection();
    let question = &gathered.question;
    let mut report = Report {
        exact: merged.is_ok(),
        out: job.out.clone(),
        strategy: question.strategy.clone(),
        shards: question.shards,
        available: question.available,
        budget: question.budget,
        picked: 0,
        nonfinite_rows: gathered.nonfinite.clone(),
        shortfalls: Vec::new(),
        deepen: None,
        deepen_out: None,
    };
    let Selection {
        picks, shortfalls, ..
    } = match merged {
        Ok(merged) => merged,
        Err(deeper) => return ask(job, &gathered, &deeper, report, console),
    };
    report.picked = picks.len();
    let (names, classes) = (gathered.names(), &question.classes);
    pool::write_picks(&job.out, job.force, job.format, &picks, names, classes)?;
    let short = shortfalls.iter();
    report.shortfalls = short.map(|short| Short::of(short, classes)).collect();
    for short in &report.shortfalls {
        console.warn(short.line());
    }
    console.note(summary(&report));
    match console.json {
        true => console.report(&report, |_| String::new()),
        false => Ok(()),
    }
}

/// Says which shards and classes to scan deeper, and fails.
fn ask(
    job: &Job,
    gathered: &Gathered,
    deeper: &[Deeper],
    mut report: Report,
    console: Console,
) -> Result<()> {
    let deepening = Deepening::new(gathered.question.clone(), deeper);
    // An earlier merge's request, which this one replaces, needs no `--force`.
    let replaces =
        Deepening::read(&job.deepen_out).is_ok_and(|earlier| earlier.question == gathered.question);
    deepening.write(&job.deepen_out, job.force || replaces)?;
    let shards: Vec<String> = deepening
        .shards
        .iter()
        .map(|s| s.shard.to_string())
        .collect();
    let (names, path) = (class_names(gathered), job.deepen_out.display());
    let table = table(&deepening, &names);
    let failure = Failure::new(format!(
        "the picks are not certain: {} lists end too soon, in shards {} (of {})",
        grouped(deeper.len()),
        shards.join(", "),
        gathered.question.shards,
    ))
    .with_hint(format!(
        "scan each of these shards again with `--deepen {path}`, and name the new files to `merge`, too"
    ));
    report.deepen = Some(deepening);
    report.deepen_out = Some(job.deepen_out.clone());
    console.report(&report, |_| table.to_string())?;
    Err(failure)
}

/// Names of the lists.
fn class_names(gathered: &Gathered) -> Vec<String> {
    match gathered.question.quotas.len() == gathered.question.classes.len() {
        true => gathered.question.classes.clone(),
        false => vec!["(all rows)".into()],
    }
}

fn table(deepening: &Deepening, names: &[String]) -> Table {
    let mut table = Table::new(["shard", "class", "rows to list"]);
    for shard in &deepening.shards {
        for class in &shard.classes {
            let number = format!("{}/{}", shard.shard, deepening.question.shards);
            table.row([number, names[class.class].clone(), grouped(class.depth)]);
        }
    }
    table
}

/// Where the request for deeper candidates goes by default.
pub(crate) fn beside(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".deepen.json");
    name.into()
}

fn summary(report: &Report) -> String {
    let mut text = format!(
        "picked {} of {} available rows by {}, from {} shards\n",
        grouped(report.picked),
        grouped(report.available),
        report.strategy,
        report.shards,
    );
    if !report.nonfinite_rows.is_empty() {
        text += &format!(
            "left out {} rows with a NaN or an infinity\n",
            grouped(report.nonfinite_rows.len())
        );
    }
    text + &format!("wrote {}", report.out.display())
}
