//! `round`: a campaign with people who label, one step at a time.

use std::path::{Path, PathBuf};
use std::time::Instant;

use equipoise::core::quota::ClassOrder;
use equipoise::core::strategies::{Nonfinite, Strategy};
use equipoise::pool::{self, PickFormat};
use equipoise::report::{Balance, Table};
use equipoise::rounds::{Campaign, Standing};
use serde::Serialize;

use super::constraints::Wanted;
use super::fit::read_classes;
use super::question::{Question, Quotas};
use super::select;
use super::strategy_options::Options;
use crate::console::{Console, grouped};
use crate::device::DeviceWish;
use crate::failure::{Failure, Result};

/// A step.
#[derive(Clone)]
pub(crate) enum Job {
    /// Pick rows.
    Next(Box<Next>),
    /// Take labels in.
    Label(Label),
    /// Say where the campaign in this folder stands.
    Status(PathBuf),
}

/// Which rows to pick, and of what; what begins a campaign.
#[derive(Clone)]
pub(crate) struct Next {
    pub campaign: PathBuf,
    pub embeddings: Option<PathBuf>,
    pub classes: Option<PathBuf>,
    pub labels: Option<PathBuf>,
    pub seed: Option<u64>,
    pub strategy: &'static dyn Strategy,
    pub budget: usize,
    pub quotas: Quotas,
    pub class_order: ClassOrder,
    pub exclude: Vec<PathBuf>,
    pub format: PickFormat,
    pub partial: bool,
}

/// Labels, and whose they are.
#[derive(Debug, Clone)]
pub(crate) struct Label {
    pub campaign: PathBuf,
    pub labels: PathBuf,
}

/// What came of a step.
#[derive(Debug, Serialize)]
struct Report {
    campaign: PathBuf,
    /// Where the picks of this step are.
    picks: Option<PathBuf>,
    /// Labels that this step took in.
    taken: Option<usize>,
    #[serde(flatten)]
    standing: Standing,
}

/// Does the step and prints.
///
/// # Errors
/// Where files cannot be read, labels are refused, or the round before is not over.
pub(crate) fn main(job: &Job, wish: &DeviceWish, console: Console) -> Result<()> {
    let report = match job {
        Job::Next(next) => self::next(next, wish, console)?,
        Job::Label(label) => self::label(label, console)?,
        Job::Status(folder) => Report {
            standing: open(folder)?.standing(),
            campaign: folder.clone(),
            picks: None,
            taken: None,
        },
    };
    match job {
        // What it prints is the answer.
        Job::Status(_) => console.report(&report, summary),
        _ => {
            console.note(summary(&report));
            match console.json {
                true => console.report(&report, |_| String::new()),
                false => Ok(()),
            }
        }
    }
}

/// The campaign in a folder.
fn open(folder: &Path) -> Result<Campaign> {
    match Campaign::is_in(folder) {
        true => Ok(Campaign::open(folder)?),
        false => Err(Failure::new("no campaign in this folder")
            .at(folder)
            .with_hint("`equipoise round next --campaign DIR --embeddings POOL …` begins one")),
    }
}

/// The campaign that is there, or one that begins now.
fn open_or_begin(next: &Next) -> Result<Campaign> {
    let folder = &next.campaign;
    if !Campaign::is_in(folder) {
        let embeddings = next.embeddings.as_ref().ok_or_else(|| {
            Failure::usage(format!("{}: no campaign in this folder", folder.display()))
                .with_hint("--embeddings POOL begins one")
        })?;
        let classes = next.classes.as_deref().map(read_classes).transpose()?;
        let seed = next.seed.unwrap_or_default();
        return Ok(Campaign::begin(folder, embeddings, classes, seed)?);
    }
    let fixed = [
        ("--embeddings", next.embeddings.is_some()),
        ("--classes", next.classes.is_some()),
        ("--labels", next.labels.is_some()),
        ("--seed", next.seed.is_some()),
    ];
    let fixed = |campaign: &Campaign| {
        let begun = !campaign.standing().rounds.is_empty();
        fixed.into_iter().find(|(_, given)| *given && begun)
    };
    let campaign = Campaign::open(folder)?;
    match fixed(&campaign) {
        Some((flag, _)) => Err(Failure::usage(format!(
            "{}: {flag} is for the beginning of a campaign, and this one has begun",
            folder.display()
        ))
        .with_hint("leave the flag out, or name another folder")),
        None => Ok(campaign),
    }
}

fn next(next: &Next, wish: &DeviceWish, console: Console) -> Result<Report> {
    let mut campaign = open_or_begin(next)?;
    if let Some(labels) = &next.labels {
        campaign.begin_with(labels)?;
    }
    let standing = campaign.standing();
    if standing.waiting > 0 && !next.partial {
        let (waiting, last) = (grouped(standing.waiting), standing.rounds.len() - 1);
        let number = standing.rounds[last].round;
        return Err(Failure::new(format!(
            "{waiting} of the {} rows of round {number} have no label",
            grouped(standing.rounds[last].asked.len())
        ))
        .at(&next.campaign)
        .with_hint("take them in with `equipoise round label`, or go on without with --partial"));
    }
    if standing.stale {
        // The step before was stopped after labels came in.
        campaign.refit()?;
    }
    let has_head = campaign.head().is_file();
    if next.strategy.needs_head() && !has_head {
        return Err(Failure::new(format!(
            "strategy {} needs a head, and there are no labels of two classes yet",
            next.strategy.name()
        ))
        .at(&next.campaign)
        .with_hint("begin with `--strategy random` or coreset, or with --labels"));
    }
    let round = standing.rounds.last().map_or(1, |last| last.round + 1);
    let job = selection(next, &campaign, round)?;
    let started = Instant::now();
    let engine = wish.resolve()?.engine(None)?;
    let quiet = Console {
        quiet: true,
        ..console
    };
    let selected = select::run(&job, engine.as_ref(), quiet)?;
    let out = job.out;
    let listed = pool::read_rows(&out, campaign.pool().ids())?;
    let rows: Vec<usize> = listed.into_iter().map(|(row, _)| row).collect();
    if rows.is_empty() {
        return Err(Failure::new("no row to pick").at(&next.campaign));
    }
    let seconds = started.elapsed().as_secs_f64();
    campaign.ask(round, selected.strategy, next.budget, rows, seconds)?;
    Ok(Report {
        campaign: next.campaign.clone(),
        picks: Some(out),
        taken: None,
        standing: campaign.standing(),
    })
}

/// What `select` is to do for a round.
fn selection(next: &Next, campaign: &Campaign, round: u32) -> Result<select::Job> {
    let ending = match next.format {
        PickFormat::Csv => "picks.csv",
        PickFormat::Jsonl => "picks.jsonl",
        PickFormat::LabelStudio => "tasks.json",
    };
    let out = campaign.round_folder(round)?.join(ending);
    Ok(select::Job {
        question: Question {
            embeddings: campaign.embeddings().to_owned(),
            head: campaign.head().is_file().then(|| campaign.head()),
            strategy: next.strategy,
            budget: next.budget,
            labelled: campaign.labels().is_file().then(|| campaign.labels()),
            exclude: next.exclude.clone(),
            quotas: next.quotas.clone(),
            constraints: Wanted::default(),
            class_order: next.class_order,
            nonfinite: Nonfinite::Skip,
            // A step that was stopped before the ledger had it left its file.
            force: true,
        },
        options: Options {
            partitions: 10,
            ..Options::default()
        },
        out,
        seed: campaign.seed().wrapping_add(u64::from(round)),
        explain: Vec::new(),
        report: None,
        format: next.format,
    })
}

fn label(label: &Label, console: Console) -> Result<Report> {
    let mut campaign = open(&label.campaign)?;
    if campaign.standing().rounds.is_empty() {
        return Err(Failure::new("nothing was asked yet")
            .at(&label.campaign)
            .with_hint("`equipoise round next` picks rows; its --labels takes labels that are there already"));
    }
    let taken = campaign.take(&label.labels)?;
    let known = campaign.standing();
    if known.stale
        && campaign.refit()?.is_none()
        && known.counts.iter().filter(|count| **count > 0).count() < 2
    {
        console.note("no head yet: labels of two classes are needed");
    }
    Ok(Report {
        campaign: label.campaign.clone(),
        picks: None,
        taken: Some(taken),
        standing: campaign.standing(),
    })
}

/// Most classes that are listed.
const LISTED: usize = 30;

fn summary(report: &Report) -> String {
    let standing = &report.standing;
    let mut table = Table::new(["round", "strategy", "asked", "labelled", "accuracy %"]);
    for round in &standing.rounds {
        table.row([
            round.round.to_string(),
            round.strategy.clone().unwrap_or("given".into()),
            grouped(round.asked.len()),
            grouped(round.labelled),
            round
                .accuracy
                .map_or(String::new(), |share| format!("{:.1}", 100.0 * share)),
        ]);
    }
    let balance = Balance::of_counts(standing.counts.clone());
    let mut text = format!("{table}\n");
    let names = standing.classes.iter().zip(&standing.counts);
    if (1..=LISTED).contains(&standing.classes.len()) {
        let counts = names.map(|(name, count)| format!("{name} {}", grouped(*count)));
        text += &format!("labels: {}\n", counts.collect::<Vec<_>>().join(", "));
    }
    text += &format!(
        "{} of {} rows labelled, balance {:.3} (1 is even), fewest {}\n",
        grouped(standing.labels),
        grouped(standing.rows),
        balance.entropy(),
        grouped(balance.smallest()),
    );
    if let Some(taken) = report.taken {
        text += &format!("took {} new labels in\n", grouped(taken));
    }
    let campaign = report.campaign.display();
    text += &match (&report.picks, standing.waiting) {
        (Some(picks), waiting) => format!(
            "wrote {}: {} rows to label; then `equipoise round label --campaign {campaign} FILE`\n",
            picks.display(),
            grouped(waiting)
        ),
        (None, 0) => format!("next: `equipoise round next --campaign {campaign} …`\n"),
        (None, waiting) => format!(
            "{} rows wait for labels: `equipoise round label --campaign {campaign} FILE`\n",
            grouped(waiting)
        ),
    };
    text
}
