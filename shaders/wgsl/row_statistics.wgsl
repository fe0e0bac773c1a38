// What the per-row scores are made of: equipoise_core::RowStatistics, one workgroup a row.
// Rows without an answer, and rows that belong to another slice of the scale table, are not written.

struct RowStatistics {
    predicted: u32,
    gap: f32,
    sum: f32,
    moment: f32,
    mase_lower: f32,
    mase_upper: f32,
}

// Beyond this the exponential is below 1e-34: taken as 0, lest it depend on denormals.
const NEGLIGIBLE: f32 = 80.0;

@group(0) @binding(4) var<storage, read_write> statistics: array<RowStatistics>;

// Σ e^{z−z₂} and Σ (z₂−z) e^{z−z₂}.
var<workgroup> sums: array<vec2<f32>, LANES>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = row_of(group, groups);
    if row >= parameters.rows {
        return;
    }
    let tolerance = tolerances[row];
    if tolerance < 0.0 || tolerance >= UNDECIDABLE {
        return;
    }
    let start = row * parameters.classes;
    let top = find_top(start, lane);
    if !in_slice(top.class_id) {
        return;
    }
    let least = find_bounds(start, top, tolerance, lane);
    let spread = find_spread(start, top, lane);
    if lane != 0u {
        return;
    }
    var found = RowStatistics(top.class_id, UNREACHABLE, 0.0, 0.0, UNREACHABLE, UNREACHABLE);
    if parameters.classes > 1u {
        found.gap = max(top.value - top.second, 0.0);
        // The second class itself adds 1, which the exponential may miss by its rounding.
        found.sum = max(spread.x, 1.0);
        found.moment = spread.y;
        found.mase_lower = least.lower;
        found.mase_upper = least.upper;
        if least.undecided != 0u {
            found.mase_lower = 0.0;
            found.mase_upper = UNREACHABLE;
        }
    }
    statistics[row] = found;
}

// Sums over all c ≠ p. All lanes must call it.
fn find_spread(start: u32, top: Top, lane: u32) -> vec2<f32> {
    var spread = vec2<f32>(0.0);
    for (var c = lane; c < parameters.classes; c += LANES) {
        let below = top.second - logits[start + c];
        if c != top.class_id && below < NEGLIGIBLE {
            let term = exp(-below);
            spread += vec2<f32>(term, below * term);
        }
    }
    sums[lane] = spread;
    workgroupBarrier();
    for (var width = LANES / 2u; width > 0u; width >>= 1u) {
        if lane < width {
            sums[lane] += sums[lane + width];
        }
        workgroupBarrier();
    }
    return sums[0];
}
