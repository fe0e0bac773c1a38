//! What `select` and `scan` have in common: the question, and the files that it is about.

use std::path::{Path, PathBuf};

use equipoise::core::quota::{self, ClassOrder};
use equipoise::core::strategies::{Nonfinite, Strategy};
use equipoise::core::{LabelledRow, Pool, Request, RowSet};
use equipoise::pool::{self, EmbeddingPool, HeadFile, QuotaFile};

use super::constraints::{Read, Wanted};
use crate::console::Console;
use crate::failure::{Failure, Result};

/// How many rows each class may claim.
#[derive(Debug, Clone)]
pub(crate) enum Quotas {
    /// As many for each class.
    Uniform,
    /// So that the labelled set becomes even.
    Balance,
    /// As a file says.
    File(PathBuf),
}

/// Which rows to pick, and of what.
#[derive(Clone)]
pub(crate) struct Question {
    pub embeddings: PathBuf,
    pub head: Option<PathBuf>,
    pub strategy: &'static dyn Strategy,
    pub budget: usize,
    pub labelled: Option<PathBuf>,
    pub exclude: Vec<PathBuf>,
    pub quotas: Quotas,
    pub constraints: Wanted,
    pub class_order: ClassOrder,
    pub nonfinite: Nonfinite,
    pub force: bool,
}

/// What a question's files hold.
pub(crate) struct Files<'p> {
    pub pool: &'p EmbeddingPool,
    pub head: Option<HeadFile>,
    pub labelled: Vec<LabelledRow>,
    pub available: RowSet,
    pub quotas: Option<Vec<usize>>,
    pub constraints: Read,
}

impl Files<'_> {
    /// What the strategy is asked.
    pub(crate) fn request<'a>(&'a self, question: &Question) -> Request<'a> {
        Request {
            head: self.head.as_ref().map(|head| &head.head),
            labelled: &self.labelled,
            quotas: self.quotas.as_deref(),
            constraints: self.constraints.constraints(),
            class_order: question.class_order,
            nonfinite: question.nonfinite,
            ..Request::new(self.pool, &self.available, question.budget)
        }
    }

    /// The head's class names, or its class numbers; none without a head.
    pub(crate) fn class_names(&self) -> Vec<String> {
        let Some(head) = &self.head else {
            return Vec::new();
        };
        let numbers = || {
            let classes = 0..head.head.classes();
            classes.map(|class| class.to_string()).collect()
        };
        head.classes.clone().unwrap_or_else(numbers)
    }
}

impl Question {
    /// What can be refused before a device is opened or a file is read.
    pub(crate) fn check(&self) -> Result<()> {
        match self.budget {
            0 => Err(equipoise::core::Error::ZeroBudget.into()),
            _ => Ok(()),
        }
    }

    /// The files that are neither replaced nor written to.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = &Path> {
        let one = [
            Some(&self.embeddings),
            self.head.as_ref(),
            self.labelled.as_ref(),
        ];
        let paths = one.into_iter().flatten().chain(&self.exclude);
        paths.map(PathBuf::as_path)
    }

    /// Opens the pool, of which no more than `memory` bytes are copied.
    ///
    /// # Errors
    /// Where it cannot be read, or is empty.
    pub(crate) fn open(&self, memory: Option<u64>, console: Console) -> Result<EmbeddingPool> {
        let pool = EmbeddingPool::open_within(&self.embeddings, memory)?;
        for notice in pool.notices() {
            console.note(notice);
        }
        match pool.rows() {
            0 => Err(Failure::new("the pool has no rows")
                .at(&self.embeddings)
                .with_hint("make one with `equipoise embed`")),
            _ => Ok(pool),
        }
    }

    /// Reads the other files.
    ///
    /// # Errors
    /// Where one cannot be read, or does not fit the others.
    pub(crate) fn read<'p>(&self, pool: &'p EmbeddingPool, console: Console) -> Result<Files<'p>> {
        let head = self.head.as_deref();
        let head = head.map(|path| read_head(path, self, pool, console));
        let head = head.transpose()?;
        let labelled = read_labelled(self, pool, head.as_ref())?;
        let available = available(self, pool, &labelled)?;
        let constraints = self.constraints.read(pool.ids(), &available)?;
        let quotas = match &head {
            Some(head) => quotas(self, head, &labelled, available.len())?,
            None => None,
        };
        Ok(Files {
            pool,
            head,
            labelled,
            available,
            quotas,
            constraints,
        })
    }

    /// Names the pool, and the image as well, where the strategy names the row.
    pub(crate) fn name_row(&self, error: equipoise::core::Error, pool: &EmbeddingPool) -> Failure {
        use equipoise::core::Error;
        let image = match &error {
            Error::NonFiniteRow { row } | Error::ClassMissing { row, .. }
                if !pool.ids().are_rows() =>
            {
                Some(pool.ids().id(*row).into_owned())
            }
            _ => None,
        };
        let of_pool = matches!(
            &error,
            Error::NonFiniteRow { .. } | Error::Read { .. } | Error::NothingAvailable { .. }
        );
        let failure = Failure::from(error);
        match (image, of_pool) {
            (Some(id), _) => failure.at(Path::new(&id)).at(&self.embeddings),
            (None, true) => failure.at(&self.embeddings),
            (None, false) => failure,
        }
    }
}

/// The head, where it fits the pool and the strategy.
fn read_head(
    path: &Path,
    question: &Question,
    pool: &EmbeddingPool,
    console: Console,
) -> Result<HeadFile> {
    let file = HeadFile::read(path)?;
    for notice in &file.notices {
        console.note(notice);
    }
    if file.head.dim() != pool.dim() {
        let error = equipoise::core::Error::Dimension {
            head: file.head.dim(),
            pool: pool.dim(),
        };
        return Err(Failure::from(error).at(path));
    }
    if question.strategy.needs_head() && file.head.classes() == 1 {
        return Err(Failure::new(format!(
            "the head has a single class: strategy {} has no boundary to look at",
            question.strategy.name()
        ))
        .at(path)
        .with_hint("fit a head on two classes or more, or use `--strategy random`"));
    }
    if let Some(what) = pool.mismatch(&file) {
        if !question.force {
            return Err(Failure::new(what)
                .at(path)
                .with_hint("fit a head on this pool; `--force` takes it all the same"));
        }
        console.warn(format!("{}: {what}", path.display()));
    }
    Ok(file)
}

/// The rows of `--labelled`, with their class where file and head know it.
fn read_labelled(
    question: &Question,
    pool: &EmbeddingPool,
    head: Option<&HeadFile>,
) -> Result<Vec<LabelledRow>> {
    let Some(path) = &question.labelled else {
        return Ok(Vec::new());
    };
    let rows = pool::read_rows(path, pool.ids())?;
    rows.into_iter()
        .map(|(row, label)| {
            let class = match (label, head) {
                (Some(label), Some(head)) => Some(
                    class_of(&label, &pool.ids().id(row), head)
                        .map_err(|failure| failure.at(path))?,
                ),
                _ => None,
            };
            Ok(LabelledRow { row, class })
        })
        .collect()
}

/// The class that `label` means to the head: by name, or by number where it has no names.
fn class_of(label: &str, id: &str, head: &HeadFile) -> Result<u32> {
    let classes = head.head.classes();
    let class = match &head.classes {
        Some(names) => names.iter().position(|name| name == label),
        None => label.parse().ok().filter(|class| *class < classes),
    };
    class.map(|class| class as u32).ok_or_else(|| {
        let failure = Failure::new(format!(
            "label `{label}` of `{id}` is none of the head's {classes} classes"
        ));
        match &head.classes {
            Some(names) => failure.with_hint(format!("the head knows {}", shortened(names))),
            None => failure.with_hint(format!(
                "the head has no class names: labels are 0 to {}",
                classes - 1
            )),
        }
    })
}

fn shortened(names: &[String]) -> String {
    match names {
        [first @ .., _] if names.len() > 12 => {
            format!("{}, … ({} in all)", first[..11].join(", "), names.len())
        }
        _ => names.join(", "),
    }
}

/// The rows neither labelled nor excluded.
fn available(
    question: &Question,
    pool: &EmbeddingPool,
    labelled: &[LabelledRow],
) -> Result<RowSet> {
    let mut available = RowSet::all(pool.rows());
    for labelled in labelled {
        available.remove(labelled.row);
    }
    for path in &question.exclude {
        for (row, _) in pool::read_rows(path, pool.ids())? {
            available.remove(row);
        }
    }
    Ok(available)
}

/// What each class may claim; `None` for the uniform quota.
fn quotas(
    question: &Question,
    head: &HeadFile,
    labelled: &[LabelledRow],
    available: usize,
) -> Result<Option<Vec<usize>>> {
    let classes = head.head.classes();
    Ok(match &question.quotas {
        Quotas::Uniform => None,
        Quotas::Balance => {
            let counts = quota::class_counts(labelled, classes)?;
            Some(quota::balance(question.budget.min(available), &counts))
        }
        Quotas::File(path) => Some(quotas_of(path, question.budget, head)?),
    })
}

/// Quotas from a file: they sum to the budget.
fn quotas_of(path: &Path, budget: usize, head: &HeadFile) -> Result<Vec<usize>> {
    let file = pool::read_quotas(path, head.head.classes(), head.classes.as_deref())?;
    match file {
        QuotaFile::Weights(weights) => {
            let quotas = quota::by_weights(budget, &weights);
            quotas.map_err(|error| Failure::from(error).at(path))
        }
        QuotaFile::Counts(counts) => match counts.iter().sum::<usize>() {
            sum if sum == budget => Ok(counts),
            sum => Err(
                Failure::new(format!("the quotas sum to {sum}, the budget is {budget}"))
                    .at(path)
                    .with_hint("change one of them, or give a column `weight` instead of `quota`"),
            ),
        },
    }
}
