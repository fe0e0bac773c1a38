//! What labelled rows must keep to before anything is trained on them.

use crate::Error;

/// Whether there is a label, and each is below the number of classes.
pub(crate) fn check_labels(labels: &[u32], classes: usize) -> Result<(), Error> {
    if labels.is_empty() {
        return Err(Error::NoLabels);
    }
    match labels.iter().position(|label| *label as usize >= classes) {
        Some(row) => Err(Error::LabelRange {
            row,
            label: labels[row],
            classes,
        }),
        None => Ok(()),
    }
}

/// Whether there are labels of two classes or more.
pub(crate) fn check_several_classes(labels: &[u32]) -> Result<(), Error> {
    let first = *labels.first().ok_or(Error::NoLabels)?;
    match labels.iter().any(|label| *label != first) {
        true => Ok(()),
        false => Err(Error::SingleClass {
            rows: labels.len(),
            class: first,
        }),
    }
}

/// Whether every value of the rows, `dim` each, is finite.
pub(crate) fn check_finite(values: &[f32], dim: usize) -> Result<(), Error> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(place) => Err(Error::NonFinite {
            row: place / dim,
            column: place % dim,
        }),
        None => Ok(()),
    }
}
