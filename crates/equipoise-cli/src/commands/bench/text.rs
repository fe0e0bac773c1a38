//! A run as text.

use equipoise::report::{Table, rounded};

use super::compare;
use super::record::{Ceilings, DeviceRecord, Record};
use super::row::Row;

/// All of it.
pub(super) fn text(record: &Record) -> String {
    let devices = record.devices.iter();
    let mut text: String = devices.map(|device| of_device(device, record)).collect();
    if !record.checks.is_empty() {
        text += &checks(record);
    }
    for omission in &record.omitted {
        let how = if omission.failed {
            "failed"
        } else {
            "left out"
        };
        text += &format!(
            "{how}: {} on {}: {}\n",
            omission.what, omission.device, omission.reason
        );
    }
    match &record.comparison {
        Some(comparison) => text + &compare::text(comparison),
        None => text,
    }
}

fn of_device(device: &DeviceRecord, record: &Record) -> String {
    let what = match &device.driver {
        Some(driver) => driver.clone(),
        None => format!("{}, {} threads", device.name, record.threads),
    };
    let mut table = Table::new([
        "kernel or selection",
        "variant",
        "shape",
        "type",
        "median ms",
        "quartiles",
        "GFLOP/s",
        "GB/s",
        "of compute",
        "of bandwidth",
    ]);
    let rows = record.rows.iter();
    for row in rows.filter(|row| row.device == device.device) {
        table.row(cells(row));
    }
    format!(
        "{}: {what}\n{}\n{table}\n",
        device.device,
        device.ceilings.as_ref().map_or_else(String::new, at_most)
    )
}

fn at_most(ceilings: &Ceilings) -> String {
    let rates = [
        (Some(ceilings.fma_gflops), "GFLOP/s by multiply-adds"),
        (ceilings.matrix_gflops, "GFLOP/s by matrix cores"),
        (Some(ceilings.copy_gbytes), "GB/s copied"),
        (ceilings.upload_gbytes, "GB/s uploaded"),
    ];
    let rates = rates
        .into_iter()
        .filter_map(|(rate, what)| Some(format!("{} {what}", rounded(rate?))));
    let rates: Vec<String> = rates.collect();
    let widths = ceilings.copy_by_width.iter();
    let widths: Vec<String> = widths
        .map(|(width, rate)| format!("{width} bytes {} GB/s", rounded(*rate)))
        .collect();
    let by_width = match widths.is_empty() {
        true => String::new(),
        false => format!(
            "\ncopies by what a lane loads at once: {}",
            widths.join(", ")
        ),
    };
    let clock = match ceilings.device_clock {
        true => "",
        false => "; timed by the host's clock",
    };
    format!("at most {}{clock}{by_width}", rates.join(", "))
}

fn cells(row: &Row) -> [String; 10] {
    let rate = |rate: Option<f64>| rate.map(rounded).unwrap_or_default();
    let share = |share: Option<f64>, ceiling: &Option<String>| match (share, ceiling) {
        (Some(share), Some(ceiling)) => format!("{ceiling} {:.1}%", 100.0 * share),
        _ => String::new(),
    };
    [
        row.name.clone(),
        row.variant.clone(),
        row.shape(),
        row.dtype.clone(),
        format!("{:.3}", row.median_ms),
        format!("{:.3} to {:.3}", row.quartiles_ms[0], row.quartiles_ms[1]),
        rate(row.gflops),
        rate(row.gbytes),
        share(row.compute_share, &row.compute_ceiling),
        share(row.bandwidth_share, &row.bandwidth_ceiling),
    ]
}

fn checks(record: &Record) -> String {
    let count = |passed| {
        let checks = record.checks.iter();
        checks.filter(|check| check.passed == passed).count()
    };
    let mut text = format!(
        "checks: {} passed, {} failed, {} not possible here\n",
        count(Some(true)),
        count(Some(false)),
        count(None)
    );
    for check in &record.checks {
        let what = match check.passed {
            Some(true) => continue,
            Some(false) => "FAILED",
            None => "not possible",
        };
        text += &format!(
            "  {what}: {} on {}: {}\n",
            check.name, check.device, check.message
        );
    }
    text
}
