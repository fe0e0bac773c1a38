//! The strategy that looks at images: VAAL.

use equipoise_burn::{ModelDevice, vaal};
use equipoise_core::{LabelledRow, RowSet};

use crate::stored_images::StoredImages;
use crate::{Config, DataSet, Result};

/// Picks the rows whose images look least like the labelled ones; ties go to the lowest row.
///
/// # Errors
/// Where the store does not tell its images, one can't be read, or training fails.
pub(crate) fn pick(
    config: &Config,
    data: &DataSet,
    labelled: &[LabelledRow],
    available: &RowSet,
    (seed, round): (u64, u32),
    device: &ModelDevice,
) -> Result<Vec<usize>> {
    let images = StoredImages::new(data)?.squares(config.vaal.side);
    let known: Vec<usize> = labelled.iter().map(|labelled| labelled.row).collect();
    let unknown: Vec<usize> = available.iter().collect();
    let options = config.vaal.options(seed, round);
    let looks = vaal(&images, &known, &unknown, &options, device)?;
    let mut order: Vec<(f32, usize)> = looks.into_iter().zip(unknown).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    Ok(order
        .into_iter()
        .take(config.budget())
        .map(|(_, row)| row)
        .collect())
}
