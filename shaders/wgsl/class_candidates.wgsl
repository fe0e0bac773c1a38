// The rows that may have a place in a class's list: equipoise_core::Candidate, one workgroup a row.
// Candidates beyond the list's capacity are counted, not written.

struct Candidate {
    row: u32,
    class_id: u32,
    predicted: u32,
    runner_up: u32,
    rival: u32,
    lower: f32,
    upper: f32,
}

// The class of an entry that says that its row holds a NaN or an infinity.
const NONFINITE_ROW: u32 = 0xfffffffeu;

struct Found {
    count: atomic<u32>,
    list: array<Candidate>,
}

@group(0) @binding(5) var<storage, read> thresholds: array<f32>;
@group(0) @binding(6) var<storage, read_write> found: Found;

fn judge_row(row: u32, lane: u32) {
    if row >= parameters.rows {
        return;
    }
    let tolerance = tolerance_of(row);
    if tolerance < 0.0 || tolerance >= UNDECIDABLE {
        // Its logits may not be finite; every slice sees the row, and the first speaks for it.
        if lane == 0u && parameters.first == 0u {
            append_odd(row, tolerance);
        }
        return;
    }
    let start = row * parameters.classes;
    let top = find_top(start, lane);
    if !in_slice(top.class_id) {
        return;
    }
    let bounds = find_bounds(start, top.class_id, NO_CLASS, tolerance, lane);
    if bounds.plausible == 0u && bounds.unscaled == 0u {
        let any = count_below(start, top, bounds.least, tolerance, lane);
        if any == 0u {
            return;
        }
    }
    let verdict = judge(start, top.class_id, bounds, tolerance, lane);
    if verdict.doubt == 2u {
        if lane == 0u {
            append_odd(row, UNDECIDABLE);
        }
        return;
    }
    append_row(row, top, verdict, tolerance, lane);
}

// How many candidates a row has whose predicted class is certain. All lanes must call it.
fn count_below(start: u32, top: Top, least: f32, tolerance: f32, lane: u32) -> u32 {
    let line = line_of(top.class_id);
    var below = 0u;
    for (var c = lane; c < parameters.classes; c += LANES) {
        var lower = least;
        if c != top.class_id {
            lower = lower_bound(gap_to(top.value, start, c), tolerance, scales[line + c]);
        }
        below += u32(lower < thresholds[c]);
    }
    return reduce_counts(vec2<u32>(below, 0u), lane).x;
}

// Appends the candidates of a row about which something is known.
fn append_row(row: u32, top: Top, verdict: Verdict, tolerance: f32, lane: u32) {
    let start = row * parameters.classes;
    let p = top.class_id;
    for (var c = lane; c < parameters.classes; c += LANES) {
        var lower = verdict.lower;
        var upper = verdict.upper;
        if c != p && c != verdict.other {
            let gap = gap_to(top.value, start, c);
            let scale = scales[line_of(p) + c];
            lower = lower_bound(gap, tolerance, scale);
            upper = upper_bound(gap, tolerance, scale);
            if verdict.doubt == 1u {
                let gap = gap_to(logits[start + verdict.other], start, c);
                let scale = scales[line_of(verdict.other) + c];
                lower = min(lower, lower_bound(gap, tolerance, scale));
                upper = max(upper, upper_bound(gap, tolerance, scale));
            }
        }
        if lower < thresholds[c] {
            append(Candidate(
                row,
                c,
                verdict.predicted,
                verdict.runner_up,
                verdict.rival,
                lower,
                upper,
            ));
        }
    }
}

// Appends what stands for a row about which nothing is known, or that is not finite; nothing for one that is
// not available.
fn append_odd(row: u32, tolerance: f32) {
    if tolerance == UNAVAILABLE {
        return;
    }
    let class_id = select(ALL_CLASSES, NONFINITE_ROW, tolerance == NONFINITE);
    append(Candidate(row, class_id, NO_CLASS, NO_CLASS, NO_CLASS, 0.0, UNREACHABLE));
}

fn append(candidate: Candidate) {
    let index = atomicAdd(&found.count, 1u);
    if index < parameters.capacity {
        found.list[index] = candidate;
    }
}
