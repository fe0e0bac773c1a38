// The rows that may have a place in a class's list: equipoise_core::Candidate, one workgroup a row.
// Candidates beyond the list's capacity are counted, not written.

struct Candidate {
    row: u32,
    class_id: u32,
    predicted: u32,
    lower: f32,
    upper: f32,
}

@group(0) @binding(4) var<storage, read> thresholds: array<f32>;
@group(0) @binding(5) var<storage, read_write> found: atomic<u32>;
@group(0) @binding(6) var<storage, read_write> candidates: array<Candidate>;

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
    if tolerance < 0.0 {
        return;
    }
    let unknown = Candidate(row, ALL_CLASSES, 0u, 0.0, UNREACHABLE);
    if tolerance >= UNDECIDABLE {
        // Its logits may not be finite; every slice sees the row, and the first speaks for it.
        if lane == 0u && parameters.first == 0u {
            append(unknown);
        }
        return;
    }
    let start = row * parameters.classes;
    let top = find_top(start, lane);
    if !in_slice(top.class_id) {
        return;
    }
    let least = find_bounds(start, top, tolerance, lane);
    if least.undecided != 0u {
        if lane == 0u {
            append(unknown);
        }
        return;
    }
    append_row(row, top, least, tolerance, lane);
}

// Appends the candidates of a decided row.
fn append_row(row: u32, top: Top, least: Bounds, tolerance: f32, lane: u32) {
    let start = row * parameters.classes;
    let line = (top.class_id - parameters.first) * parameters.classes;
    for (var c = lane; c < parameters.classes; c += LANES) {
        var scored = least;
        if c != top.class_id {
            scored = distance_bounds(top.value - logits[start + c], tolerance, scales[line + c]);
        }
        if scored.lower < thresholds[c] {
            append(Candidate(row, c, top.class_id, scored.lower, scored.upper));
        }
    }
}

fn append(candidate: Candidate) {
    let index = atomicAdd(&found, 1u);
    if index < parameters.capacity {
        candidates[index] = candidate;
    }
}
