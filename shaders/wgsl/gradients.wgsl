// Softmax of a row's logits less the one-hot of its predicted class, one workgroup a row; and what is
// known of it: equipoise_core::engine::NearestGradient, the nearest centre aside.
//
// Every number is right within a relative error: that of the predicted class is summed from the others.

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

// equipoise_core::engine::GradientTolerance.
struct GradientParameters {
    // Of products with centres' embeddings.
    embedding_slope: f32,
    embedding_offset: f32,
    embedding_largest_norm: f32,
    // Of products with their gradients.
    gradient_slope: f32,
    gradient_offset: f32,
    gradient_largest_norm: f32,
    largest_embedding: f32,
    largest_gradient: f32,
    largest_bias: f32,
    base: f32,
    unit: f32,
    padding: f32,
}

// Beyond this the exponential is below 1e-34: taken as 0, lest it depend on denormals.
const NEGLIGIBLE: f32 = 80.0;
// Most that a logit may be off.
const MOST_DOUBT: f32 = 0.25;
const LARGEST_PRODUCT: f32 = 1e30;
// Below it, flushed denormals count.
const LEAST: f32 = 1e-30;

@group(0) @binding(5) var<uniform> bounds_of: GradientParameters;
@group(0) @binding(6) var<storage, read_write> gradients: array<f32>;
@group(0) @binding(7) var<storage, read_write> found: array<NearestGradient>;

fn judge_row(row: u32, lane: u32) {
    if row >= parameters.rows {
        return;
    }
    let start = row * parameters.classes;
    let doubt = tolerance_of(row);
    if doubt < 0.0 || doubt >= UNDECIDABLE {
        clear(start, lane);
        if lane == 0u {
            found[row].nearest.tolerance = doubt;
        }
        return;
    }
    let top = find_top(start, lane);
    let gap = top.value - top.second;
    if gap - gap * GAP_ROUNDING <= 2.0 * doubt {
        clear(start, lane);
        if lane == 0u {
            found[row].nearest.tolerance = UNDECIDABLE;
        }
        return;
    }
    var sum = 0.0;
    for (var c = lane; c < parameters.classes; c += LANES) {
        sum += power(start, c, top);
    }
    sum = reduce_sums(vec2<f32>(sum, 0.0), lane).x;
    let scale = 1.0 / (1.0 + sum);
    var square = 0.0;
    for (var c = lane; c < parameters.classes; c += LANES) {
        let number = select(power(start, c, top), -sum, c == top.class_id) * scale;
        gradients[start + c] = number;
        square += number * number;
    }
    square = reduce_sums(vec2<f32>(square, 0.0), lane).x;
    if lane == 0u {
        let known = bound(norms[parameters.first_norm + row], doubt, square);
        found[row].nearest.tolerance = known.x;
        found[row].square = square;
        found[row].error = known.y;
    }
}

// e^{z_c−z_p} of another class, 0 of the predicted one.
fn power(start: u32, c: u32, top: Top) -> f32 {
    let below = top.value - logits[start + c];
    if c == top.class_id || below >= NEGLIGIBLE {
        return 0.0;
    }
    return exp(-below);
}

// So that products with it are finite.
fn clear(start: u32, lane: u32) {
    for (var c = lane; c < parameters.classes; c += LANES) {
        gradients[start + c] = 0.0;
    }
}

// The tolerance of a row's products with centres, and the relative error of its gradient's square.
fn bound(norm: f32, doubt: f32, square: f32) -> vec2<f32> {
    if doubt > MOST_DOUBT || norm > bounds_of.embedding_largest_norm {
        return vec2<f32>(UNDECIDABLE, 0.0);
    }
    let error = 2.6 * doubt + bounds_of.base;
    let gradient = sqrt(square) * (1.0 + 2.0 * error);
    let a = norm * bounds_of.largest_embedding;
    let b = gradient * bounds_of.largest_gradient;
    if gradient > bounds_of.gradient_largest_norm || a >= LARGEST_PRODUCT || b >= LARGEST_PRODUCT {
        return vec2<f32>(UNDECIDABLE, 0.0);
    }
    let of_a = bounds_of.embedding_slope * norm + bounds_of.embedding_offset;
    let of_b = bounds_of.gradient_slope * gradient + bounds_of.gradient_offset + error * b;
    let rounding = bounds_of.unit * (a * b + bounds_of.largest_bias);
    let tolerance = (of_a * (b + of_b) + a * of_b + rounding) * 1.01 + LEAST * (1.0 + a);
    if tolerance >= UNDECIDABLE || a * b >= LARGEST_PRODUCT {
        return vec2<f32>(UNDECIDABLE, 0.0);
    }
    return vec2<f32>(tolerance, 2.1 * error * (1.0 + error));
}
