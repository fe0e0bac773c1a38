//! `join`: the stores of a source's parts as one pool.

use std::path::PathBuf;

use equipoise::pool;
use serde_json::json;

use crate::console::{Console, grouped};
use crate::failure::Result;

/// What to join.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub stores: Vec<PathBuf>,
    pub out: PathBuf,
    pub force: bool,
}

/// Joins and prints.
///
/// # Errors
/// Where the stores are not all the parts of one source, made alike.
pub(crate) fn main(job: &Job, console: Console) -> Result<()> {
    let rows = pool::join_stores(&job.stores, &job.out, job.force)?;
    let stores = job.stores.len();
    console.note(format!(
        "{} rows of {stores} stores: {}",
        grouped(rows),
        job.out.display()
    ));
    match console.json {
        true => console.report(
            &json!({ "out": job.out, "stores": stores, "rows": rows }),
            |_| String::new(),
        ),
        false => Ok(()),
    }
}
