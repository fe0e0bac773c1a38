// A score of somebody's own for every row: equipoise_core::engine::RowKey, one lane a row. `row_key` is theirs.

struct RowKey {
    // How far the logits may be off, or why there is no key.
    tolerance: f32,
    key: f32,
}

@group(0) @binding(5) var<storage, read_write> keys: array<RowKey>;

// Number of classes, C.
fn classes() -> u32 {
    return parameters.classes;
}

// The logit of a row of the block, for a class below C.
fn logit(row: u32, c: u32) -> f32 {
    return logits[row * parameters.classes + c];
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) lane: vec3<u32>,
) {
    let row = row_of(group, groups) * LANES + lane.x;
    if row >= parameters.rows {
        return;
    }
    let tolerance = tolerance_of(row);
    keys[row].tolerance = tolerance;
    if tolerance >= 0.0 && tolerance < UNDECIDABLE {
        keys[row].key = row_key(row);
    }
}
