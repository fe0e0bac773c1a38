//! Where results go, never over what they are made of; and how rows are listed in them.

use std::fs;
use std::path::Path;

use equipoise::core::RowSet;
use equipoise::pool;
use serde::Serializer;

use crate::failure::{Failure, Result};

/// Fails where `out` is there already and `force` does not allow to replace it, or is one of the `inputs`.
///
/// # Errors
/// Those of [`pool::check_output`]; wrong usage where it is an input.
pub(crate) fn check_output<'a>(
    out: &Path,
    force: bool,
    inputs: impl IntoIterator<Item = &'a Path>,
) -> Result<()> {
    pool::check_output(out, force)?;
    apart(out, inputs)
}

/// The numbers of `rows`, as a list in JSON.
///
/// # Errors
/// The serializer's.
pub(crate) fn rows_of<S: Serializer>(rows: &RowSet, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(rows.iter())
}

/// Whether two outputs, whose folders are there, are one file.
pub(crate) fn is_one_file(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| {
        let whole = std::path::absolute(path).ok()?;
        let folder = fs::canonicalize(whole.parent()?).ok()?;
        Some(folder.join(whole.file_name()?))
    };
    place(one).is_some_and(|one| Some(one) == place(other))
}

/// Fails where `out` is one of the `inputs`.
///
/// # Errors
/// Wrong usage.
pub(crate) fn apart<'a>(out: &Path, inputs: impl IntoIterator<Item = &'a Path>) -> Result<()> {
    let Ok(place) = fs::canonicalize(out) else {
        return Ok(());
    };
    let is_out = |input: &Path| fs::canonicalize(input).is_ok_and(|input| input == place);
    match inputs.into_iter().any(is_out) {
        true => Err(Failure::usage("it is read, and cannot be the output too")
            .at(out)
            .with_hint("name another output")),
        false => Ok(()),
    }
}
