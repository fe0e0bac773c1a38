//! What the demo found, as a table that a newcomer understands.

use std::path::PathBuf;

use equipoise::report::{Balance, Table};
use serde::Serialize;

use super::figures::{DEMO, Figure};

/// One labelled set and what a head learnt from it.
#[derive(Debug, Serialize)]
pub(crate) struct Stage {
    pub name: String,
    pub labels_per_class: Vec<usize>,
    pub labels: usize,
    pub entropy: f64,
    pub smallest_class: usize,
    pub accuracy: f64,
    pub rare_accuracy: f64,
    pub mean_class_accuracy: f64,
    pub head: PathBuf,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub out: PathBuf,
    pub seed: u64,
    pub device: String,
    pub classes: Vec<&'static str>,
    pub pool_per_class: Vec<usize>,
    pub test_images: usize,
    pub stages: Vec<Stage>,
    pub seconds: f64,
}

/// The rarer half of the classes.
pub(crate) fn rare() -> &'static [Figure] {
    &DEMO[DEMO.len() - DEMO.len() / 2..]
}

/// Labels per class, balance and accuracy, a column a stage.
pub(crate) fn table(report: &Report) -> String {
    let headings = report.stages.iter().map(|stage| match stage.name.as_str() {
        "start" => "at first".to_owned(),
        name => format!("+ {name}"),
    });
    let mut table = Table::new(
        ["labels per class".to_owned(), "images".to_owned()]
            .into_iter()
            .chain(headings),
    );
    for (class, (name, images)) in
        std::iter::zip(&report.classes, &report.pool_per_class).enumerate()
    {
        let labels = report
            .stages
            .iter()
            .map(|stage| stage.labels_per_class[class].to_string());
        table.row(
            [format!("  {name}"), images.to_string()]
                .into_iter()
                .chain(labels),
        );
    }
    table.rule();
    let pool = Balance::of_counts(report.pool_per_class.clone());
    let mut line = |what: &str, of_pool: String, of_stage: &dyn Fn(&Stage) -> String| {
        let cells = report.stages.iter().map(of_stage);
        table.row([what.to_owned(), of_pool].into_iter().chain(cells));
    };
    line("labels in all", pool.total().to_string(), &|stage| {
        stage.labels.to_string()
    });
    line("smallest class", pool.smallest().to_string(), &|stage| {
        stage.smallest_class.to_string()
    });
    line(
        "evenness (entropy, 1 = even)",
        format!("{:.3}", pool.entropy()),
        &|stage| format!("{:.3}", stage.entropy),
    );
    line("right on the test images", String::new(), &|stage| {
        percent(stage.accuracy)
    });
    line("  of the rarer half of classes", String::new(), &|stage| {
        percent(stage.rare_accuracy)
    });
    table.to_string()
}

fn percent(share: f64) -> String {
    format!("{:.1}%", 100.0 * share)
}

/// What the table is and is not, and where to look.
pub(crate) fn closing(report: &Report) -> String {
    let out = report.out.display();
    format!(
        "
Each column is a set of labels: a few at first, then those and the same number of picks by one
strategy, with the labels the picks really have. The test set has as many images of each class.
This is one small drawn data set and one draw of first labels: the numbers move by some points
with --seed, and say little about your images.

Look at the picks: {out}/picks-base.png, {out}/picks-random.png
Files: {out}/ (images, pool.emb, heads, picks-*.csv, table.txt)
Do a step yourself:
  equipoise select --embeddings {out}/pool.emb --head {out}/head-start.safetensors \\
      --exclude {out}/initial.csv --strategy base --budget 50 --out my-picks.csv
took {:.1} s on {}",
        report.seconds, report.device
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_row_a_class_and_a_column_a_stage() {
        let stage = |name: &str, count: usize| {
            let balance = Balance::of_counts(vec![count; DEMO.len()]);
            Stage {
                name: name.into(),
                labels: balance.total(),
                entropy: balance.entropy(),
                smallest_class: balance.smallest(),
                accuracy: 0.5,
                rare_accuracy: 0.25,
                mean_class_accuracy: 0.5,
                labels_per_class: balance.counts().to_vec(),
                head: PathBuf::new(),
            }
        };
        let report = Report {
            out: "demo".into(),
            seed: 0,
            device: "cpu".into(),
            classes: DEMO.iter().map(|figure| figure.name).collect(),
            pool_per_class: vec![7; DEMO.len()],
            test_images: 10,
            stages: vec![stage("start", 6), stage("base", 16)],
            seconds: 1.0,
        };
        let table = table(&report);
        assert_eq!(table.lines().count(), DEMO.len() + 8);
        assert!(
            table.contains("at first") && table.contains("+ base"),
            "{table}"
        );
        assert!(table.contains("25.0%"), "{table}");
        assert!(closing(&report).contains("demo/picks-base.png"));
    }
}
