// Which of some centres is nearest to a row: equipoise_core::engine::Nearest, one workgroup a row. Logits
// are scores of centres: the largest belongs to the nearest.

struct Nearest {
    tolerance: f32,
    centre: u32,
    top: f32,
    second: f32,
}

@group(0) @binding(5) var<storage, read_write> nearest: array<Nearest>;

fn judge_row(row: u32, lane: u32) {
    if row >= parameters.rows {
        return;
    }
    let tolerance = tolerance_of(row);
    if tolerance < 0.0 || tolerance >= UNDECIDABLE {
        if lane == 0u {
            nearest[row].tolerance = tolerance;
        }
        return;
    }
    let top = find_top(row * parameters.classes, lane);
    if lane == 0u {
        nearest[row] = Nearest(tolerance, top.class_id, top.value, top.second);
    }
}
