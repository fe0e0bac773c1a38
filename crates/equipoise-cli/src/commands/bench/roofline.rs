//! `--roofline`: kernels under their device's ceilings.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use equipoise::pool::OutputFile;
use equipoise::report::{Point, Roof, Roofline};

use super::record::{DeviceRecord, Record};
use super::row::Row;
use crate::failure::Result;

/// A figure of each device with ceilings.
pub(super) fn figures(record: &Record) -> Vec<Roofline> {
    let devices = record.devices.iter();
    devices
        .filter_map(|device| figure(device, record))
        .collect()
}

/// Where the figure of that number goes: further ones beside the first.
pub(super) fn path(first: &Path, number: usize) -> PathBuf {
    match number {
        0 => first.into(),
        _ => {
            let stem = first.file_stem().unwrap_or_default().to_string_lossy();
            first.with_file_name(format!("{stem}-{}.svg", number + 1))
        }
    }
}

/// Writes the figures, `first` and those beside it; returns where they are.
///
/// # Errors
/// Where a file fails.
pub(super) fn write(figures: &[Roofline], first: &Path, force: bool) -> Result<Vec<PathBuf>> {
    let written = figures.iter().enumerate().map(|(number, figure)| {
        let path = path(first, number);
        OutputFile::write_all_to(&path, force, figure.svg().as_bytes())?;
        Ok(path)
    });
    written.collect()
}

fn figure(device: &DeviceRecord, record: &Record) -> Option<Roofline> {
    let ceilings = device.ceilings.as_ref()?;
    let roof = |name: &str, rate| Roof {
        name: name.into(),
        rate,
    };
    let mut compute = vec![roof("multiply-adds", ceilings.fma_gflops)];
    compute.extend(
        ceilings
            .matrix_gflops
            .map(|rate| roof("matrix cores", rate)),
    );
    // Of each kernel, shape and type the fastest version.
    let mut best: BTreeMap<(&str, String, &str), &Row> = BTreeMap::new();
    let rows = record.rows.iter().filter(|row| row.device == device.device);
    for row in rows.filter(|row| row.intensity.is_some() && !row.name.starts_with("select ")) {
        let place = best
            .entry((&row.name, row.shape(), &row.dtype))
            .or_insert(row);
        if row.median_ms < place.median_ms {
            *place = row;
        }
    }
    let mut styles: Vec<&str> = best.keys().map(|(name, ..)| *name).collect();
    styles.dedup();
    let points = best.values().map(|row| Point {
        name: format!("{} {} {} {}", row.name, row.variant, row.shape(), row.dtype),
        intensity: row.intensity.unwrap_or_default(),
        rate: row.gflops.unwrap_or_default(),
        compute: usize::from(row.compute_ceiling.as_deref() == Some("matrix")),
        style: styles
            .iter()
            .position(|style| *style == row.name)
            .unwrap_or_default(),
    });
    Some(Roofline {
        title: match device.backend {
            Some(_) => format!("Roofline of {}", device.device),
            None => format!("Roofline of {}: {}", device.device, device.name),
        },
        compute,
        bandwidth: vec![roof("copies in memory", ceilings.copy_gbytes)],
        points: points.collect(),
    })
}
