// Which of some centres is nearest to a row's gradient embedding, one workgroup a row: the one of the largest
// (g·g_k)(x·x_k) − ‖g_k‖²‖x_k‖²/2. Rows of which nothing is known stay as kernel `gradients` left them.

struct Nearest {
    tolerance: f32,
    centre: u32,
    top: f32,
    second: f32,
}

struct NearestGradient {
    nearest: Nearest,
    square: f32,
    error: f32,
}

// x·x_k are the row kernels' `logits`, centres their classes.
// g·g_k.
@group(0) @binding(5) var<storage, read> of_gradients: array<f32>;
// −‖g_k‖²‖x_k‖²/2.
@group(0) @binding(6) var<storage, read> bias: array<f32>;
@group(0) @binding(7) var<storage, read_write> found: array<NearestGradient>;

fn judge_row(row: u32, lane: u32) {
    if row >= parameters.rows {
        return;
    }
    let tolerance = found[row].nearest.tolerance;
    if tolerance < 0.0 || tolerance >= UNDECIDABLE {
        return;
    }
    let start = row * parameters.classes;
    var top = no_top();
    for (var k = lane; k < parameters.classes; k += LANES) {
        let score = logits[start + k] * of_gradients[start + k] + bias[k];
        top = join_tops(top, Top(score, k, -UNREACHABLE));
    }
    top = reduce_top(top, lane);
    if lane == 0u {
        found[row].nearest = Nearest(tolerance, top.class_id, top.value, top.second);
    }
}
