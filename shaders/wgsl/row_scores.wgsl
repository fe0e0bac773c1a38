// Scores to go on computing with, one workgroup a row: equipoise_core::cpu::row_scores. Numbers are written by their bits,
// so that +∞ and NaN are what they should be. Rows that belong to another slice of the scale table are not written.

const INFINITY: u32 = 0x7f800000u;
const NOT_A_NUMBER: u32 = 0x7fc00000u;

// (rows, C): for c ≠ p the distance to the boundary with c, for p the least of them.
@group(0) @binding(5) var<storage, read_write> distances: array<u32>;
// (6, rows): predicted class, runner-up, least distance, margin, confidence, entropy.
@group(0) @binding(6) var<storage, read_write> columns: array<u32>;

fn bits_of(distance: f32) -> u32 {
    if distance < 0.0 {
        return NOT_A_NUMBER;
    }
    return select(bitcast<u32>(distance), INFINITY, distance >= UNREACHABLE);
}

fn judge_row(row: u32, lane: u32) {
    if row >= parameters.rows {
        return;
    }
    let start = row * parameters.classes;
    let tolerance = tolerance_of(row);
    if tolerance < 0.0 || tolerance >= UNDECIDABLE {
        // Not finite, or beyond what f32 can tell.
        if parameters.first == 0u {
            for (var c = lane; c < parameters.classes; c += LANES) {
                distances[start + c] = NOT_A_NUMBER;
            }
            if lane < 6u {
                columns[lane * parameters.rows + row] = select(NOT_A_NUMBER, NO_CLASS, lane < 2u);
            }
        }
        return;
    }
    let top = find_top(start, lane);
    let p = top.class_id;
    if !in_slice(p) {
        return;
    }
    var found = Bounds(UNREACHABLE, NO_CLASS, 0u, NO_CLASS, 0u);
    for (var c = lane; c < parameters.classes; c += LANES) {
        if c != p {
            let scale = scales[line_of(p) + c];
            // No boundary is infinitely far; one without a scale is nobody knows where.
            var distance = gap_to(top.value, start, c) * scale;
            if scale == NO_BOUNDARY {
                distance = UNREACHABLE;
            }
            if scale == UNSCALED {
                distance = -1.0;
            }
            distances[start + c] = bits_of(distance);
            let least = select(distance, UNREACHABLE, distance < 0.0);
            let doubtful = u32(scale == UNSCALED);
            found = join_bounds(found, Bounds(least, c, 0u, NO_CLASS, doubtful));
        }
    }
    let nearest = reduce_bounds(found, lane);
    let spread = find_spread(start, top, lane);
    if lane != 0u {
        return;
    }
    let rows = parameters.rows;
    let least = bits_of(select(nearest.least, -1.0, nearest.unscaled != 0u));
    distances[start + p] = least;
    columns[row] = p;
    columns[rows + row] = nearest.nearest;
    columns[2u * rows + row] = least;
    let gap = max(top.value - top.second, 0.0);
    let sum = max(spread.x, 1.0);
    let ratio = exp(-min(gap, NEGLIGIBLE));
    let rest = ratio * sum;
    var margin = (1.0 - ratio) / (1.0 + rest);
    var confidence = 1.0 / (1.0 + rest);
    var entropy = log(1.0 + rest) + ratio * (gap * sum + spread.y) / (1.0 + rest);
    if parameters.classes == 1u {
        margin = 1.0;
        confidence = 1.0;
        entropy = 0.0;
    }
    columns[3u * rows + row] = bitcast<u32>(margin);
    columns[4u * rows + row] = bitcast<u32>(confidence);
    columns[5u * rows + row] = bitcast<u32>(entropy);
}
