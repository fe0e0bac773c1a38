// What the per-row scores are made of: equipoise_core::RowStatistics, one workgroup a row.
// Rows that belong to another slice of the scale table are not written.

struct RowStatistics {
    tolerance: f32,
    predicted: u32,
    runner_up: u32,
    rival: u32,
    gap: f32,
    sum: f32,
    moment: f32,
    mase_lower: f32,
    mase_upper: f32,
}

@group(0) @binding(5) var<storage, read_write> statistics: array<RowStatistics>;

fn judge_row(row: u32, lane: u32) {
    if row >= parameters.rows {
        return;
    }
    let tolerance = tolerance_of(row);
    if tolerance < 0.0 || tolerance >= UNDECIDABLE {
        if lane == 0u && parameters.first == 0u {
            statistics[row].tolerance = tolerance;
        }
        return;
    }
    let start = row * parameters.classes;
    let top = find_top(start, lane);
    if !in_slice(top.class_id) {
        return;
    }
    let found = find_bounds(start, top.class_id, NO_CLASS, tolerance, lane);
    let verdict = judge(start, top.class_id, found, tolerance, lane);
    let spread = find_spread(start, top, lane);
    if lane != 0u {
        return;
    }
    var out = RowStatistics(
        tolerance,
        verdict.predicted,
        verdict.runner_up,
        verdict.rival,
        UNREACHABLE,
        0.0,
        0.0,
        verdict.lower,
        verdict.upper,
    );
    if parameters.classes > 1u {
        out.gap = max(top.value - top.second, 0.0);
        // The second class itself adds 1, which the exponential may miss by its rounding.
        out.sum = max(spread.x, 1.0);
        out.moment = spread.y;
    }
    statistics[row] = out;
}
