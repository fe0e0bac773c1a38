//! `select --report`: what was picked, as one HTML page.

use std::collections::BTreeMap;
use std::path::Path;

use equipoise::core::Pick;
use equipoise::pool::{self, EmbeddingPool, ImageLookup};
use equipoise::report::{Group, Page, Tile};

use super::select::Report;
use crate::console::{Console, grouped};
use crate::failure::Result;

/// Picks that are shown of each class.
const SHOWN: usize = 24;

/// Writes the page about some picks, given the class names and the pool.
///
/// # Errors
/// Where the file cannot be written. Images that cannot be read are left blank and counted.
pub(crate) fn write(
    path: &Path,
    force: bool,
    report: &Report,
    (picks, names, pool): (&[Pick], &[String], &EmbeddingPool),
    console: Console,
) -> Result<()> {
    let (groups, missing) = groups(picks, pool, names);
    if missing > 0 {
        console.warn(format!(
            "{}: {missing} images could not be read",
            path.display()
        ));
    }
    let page = Page {
        title: title(report),
        facts: facts(report),
        predicted: report.predicted.clone(),
        groups,
    };
    pool::OutputFile::write_all_to(path, force, page.html().as_bytes())?;
    Ok(())
}

fn title(report: &Report) -> String {
    let oracle = match report.oracle {
        true => ", an oracle that read true labels",
        false => "",
    };
    format!(
        "{} picks by {}{oracle}",
        grouped(report.picked),
        report.strategy
    )
}

fn facts(report: &Report) -> Vec<(String, String)> {
    let fact = |name: &str, value: String| (name.to_owned(), value);
    let mut facts = vec![
        fact("picks", report.out.display().to_string()),
        fact("strategy", report.strategy.into()),
        fact("device", report.device.clone()),
        fact("rows of the pool", grouped(report.rows)),
        fact("available", grouped(report.available)),
        fact("budget", grouped(report.budget)),
        fact("picked", grouped(report.picked)),
    ];
    if !report.nonfinite_rows.is_empty() {
        let left_out = grouped(report.nonfinite_rows.len());
        facts.push(fact("left out for NaN or infinity", left_out));
    }
    facts
}

/// The picks by the class whose quota they fill, else by predicted class, else all together; and
/// how many of the images shown could not be read.
fn groups(picks: &[Pick], pool: &EmbeddingPool, names: &[String]) -> (Vec<Group>, usize) {
    let mut by_class: BTreeMap<Option<u32>, Vec<(usize, &Pick)>> = BTreeMap::new();
    for (rank, pick) in (1..).zip(picks) {
        let class = pick.class.or(pick.predicted);
        by_class.entry(class).or_default().push((rank, pick));
    }
    let name = |class: u32| names.get(class as usize).map_or("?", String::as_str);
    let (mut lookup, mut missing) = (ImageLookup::new(), 0);
    let groups = by_class
        .into_iter()
        .map(|(class, picks)| {
            let tile = |(rank, pick): &(usize, &Pick)| {
                let uri = pool.ids().uri(pick.row);
                let image = uri.as_ref().and_then(|uri| lookup.read(uri).ok());
                missing += usize::from(uri.is_some() && image.is_none());
                Tile {
                    id: pool.ids().id(pick.row).into_owned(),
                    caption: caption(*rank, pick, &name),
                    image,
                }
            };
            Group {
                name: class.map_or("all picks".into(), |class| name(class).to_owned()),
                picks: picks.len(),
                shown: picks.iter().take(SHOWN).map(tile).collect(),
            }
        })
        .collect();
    (groups, missing)
}

fn caption<'a>(rank: usize, pick: &Pick, name: &impl Fn(u32) -> &'a str) -> String {
    let mut caption = format!("{rank}.");
    if let Some(score) = pick.score {
        caption += &format!(" score {score:.4}");
    }
    if let Some(predicted) = pick.predicted {
        caption += &format!(", predicted {}", name(predicted));
    }
    if let Some(runner_up) = pick.runner_up {
        caption += &format!(", next {}", name(runner_up));
    }
    caption
}
