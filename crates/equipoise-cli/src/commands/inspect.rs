//! `inspect`: what a checkpoint holds, and which model it is.

use std::path::PathBuf;

use equipoise::burn::{Inspection, LoadOptions, LoadReport, ModelMatch, TensorInfo, inspect};

use crate::console::{Console, grouped};
use crate::failure::{Failure, Result};

/// One look into a file.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub file: PathBuf,
    pub model: Option<String>,
    pub reading: LoadOptions,
}

/// Unused tensors that are named in text.
const NAMED: usize = 12;

/// Looks and prints.
///
/// # Errors
/// Where the file can't be read; where it lacks something of the model that was asked for, after
/// saying what.
pub(crate) fn main(job: &Job, console: Console) -> Result<()> {
    let inspection = inspect(&job.file, job.model.as_deref(), &job.reading)?;
    console.report(&inspection, text)?;
    let Some(model) = &job.model else {
        return Ok(());
    };
    let problem = match inspection.models.as_slice() {
        [] => inspection.problem.clone().unwrap_or_default(),
        [found, ..] if found.problems.is_empty() => return Ok(()),
        [found, ..] => format!("{} tensors are not as it needs them", found.problems.len()),
    };
    Err(Failure::new(format!("not weights of {model}: {problem}")).at(&job.file))
}

fn text(inspection: &Inspection) -> String {
    let width = inspection.tensors.iter().map(|tensor| tensor.name.len());
    let width = width.max().unwrap_or(0);
    let line = |tensor: &TensorInfo| {
        format!(
            "{:<width$}  {:<5} {:?}\n",
            tensor.name, tensor.dtype, tensor.shape
        )
    };
    let mut text: String = inspection.tensors.iter().map(line).collect();
    let numbers = inspection
        .tensors
        .iter()
        .map(|tensor| tensor.shape.iter().product::<usize>());
    text += &format!(
        "\n{}: {} tensors, {} numbers, SHA-256 {}\n",
        inspection.kind,
        inspection.tensors.len(),
        grouped(numbers.sum()),
        inspection.digest,
    );
    if inspection.models.is_empty() {
        text += match &inspection.problem {
            Some(problem) => problem,
            None => "it is none of the models there are; hint: --model NAME says what one lacks",
        };
        text.push('\n');
    }
    text + &inspection.models.iter().map(model).collect::<String>()
}

fn model(found: &ModelMatch) -> String {
    let LoadReport {
        layout,
        prefix,
        details,
        used,
        unused,
        classes,
        ..
    } = &found.report;
    let mut text = format!(
        "{}, {details}: layout {layout}, names after {prefix:?}\n",
        found.model
    );
    text += &match classes {
        Some(classes) => {
            format!("  {used} tensors used, among them a classifier of {classes} classes\n")
        }
        None => format!("  {used} tensors used, no classifier\n"),
    };
    for problem in &found.problems {
        text += &format!("  {problem}\n");
    }
    if !unused.is_empty() {
        text += &format!("  {} not used: {}\n", unused.len(), named(unused));
    }
    text
}

/// The first few names, and how many more there are; PyTorch's counters of batches, which nothing
/// needs, are only counted.
pub(super) fn named(names: &[String]) -> String {
    let (counters, others): (Vec<&str>, Vec<&str>) = names
        .iter()
        .map(String::as_str)
        .partition(|name| name.ends_with("num_batches_tracked"));
    let mut shown: Vec<String> = others
        .iter()
        .take(NAMED)
        .map(|name| name.to_string())
        .collect();
    if others.len() > NAMED {
        shown.push(format!("{} more", others.len() - NAMED));
    }
    if !counters.is_empty() {
        shown.push(format!("{} counters of batches", counters.len()));
    }
    shown.join(", ")
}
