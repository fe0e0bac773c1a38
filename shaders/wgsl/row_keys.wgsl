// A score of somebody's own for every row: equipoise_core::engine::RowKey, one lane a row. `row_key` is theirs.

struct RowKey {
    // How far the logits may be off, or why there is no key.
    tolerance: f32,
    key: f32,
}

@group(0) @binding(5) var<storage, read_write> keys: array<RowKey>;

// The lane's row, and whether it was asked for a logit that is not the row's.
var<private> own_row: u32;
var<private> strayed: bool;

// Number of classes, C.
fn classes() -> u32 {
    return parameters.classes;
}

// The logit of the lane's row for a class below C. With another row or class the key is not used.
fn logit(row: u32, c: u32) -> f32 {
    if row != own_row || c >= parameters.classes {
        strayed = true;
        return 0.0;
    }
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
        own_row = row;
        strayed = false;
        keys[row].key = row_key(row);
        if strayed {
            keys[row].tolerance = UNDECIDABLE;
        }
    }
}
