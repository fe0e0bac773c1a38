// What the row kernels share: one workgroup a row, the row's predicted class, and bounds on its
// distances to the boundaries. The arithmetic is normative: see equipoise_core::engine.
//
// Import row_parameters before it, and one of reduce_plain and reduce_subgroup: the entry point, which calls the kernel's
// `judge_row`, and `reduce_…`, which join what the lanes found.
//
// No infinity, NaN or denormal is relied on, nor an order of operations: logits of rows that reach
// the arithmetic are below 1e18, scales are 0, -1 or within 1e-15..1e15.

// 1/‖W[p] − W[c]‖, (count, C): one line per predicted class of the slice.
@group(0) @binding(4) var<storage, read> scales: array<f32>;

// The two largest of some logits. With one, `second` is -UNREACHABLE; with none, both are.
struct Top {
    value: f32,
    class_id: u32,
    second: f32,
}

// What some of a row's boundaries come to.
struct Bounds {
    // The least lower bound and its class, the lowest of equals.
    least: f32,
    nearest: u32,
    // Classes that may be the predicted one, and the lowest of them.
    plausible: u32,
    other: u32,
    // 1 where a boundary has no scale.
    unscaled: u32,
}

// What is known of a row.
struct Verdict {
    // 0 where the predicted class is certain, 1 where it is one of two, 2 where nothing is known.
    doubt: u32,
    predicted: u32,
    runner_up: u32,
    rival: u32,
    // Bounds of the MASE score.
    lower: f32,
    upper: f32,
    // The other class, where the predicted one is one of two.
    other: u32,
}

fn no_top() -> Top {
    return Top(-UNREACHABLE, NO_CLASS, -UNREACHABLE);
}

// The top of two disjoint sets of classes; of equal logits the lowest class wins.
fn join_tops(a: Top, b: Top) -> Top {
    if b.class_id == NO_CLASS {
        return a;
    }
    if a.class_id == NO_CLASS {
        return b;
    }
    if b.value > a.value || (b.value == a.value && b.class_id < a.class_id) {
        return Top(b.value, b.class_id, max(a.value, b.second));
    }
    return Top(a.value, a.class_id, max(a.second, b.value));
}

// The top of the row whose logits begin at `start`. All lanes must call it.
fn find_top(start: u32, lane: u32) -> Top {
    var top = no_top();
    for (var c = lane; c < parameters.classes; c += LANES) {
        top = join_tops(top, Top(logits[start + c], c, -UNREACHABLE));
    }
    return reduce_top(top, lane);
}

// The gap less what it may be off.
fn sure_gap(gap: f32, tolerance: f32) -> f32 {
    return gap - (2.0 * tolerance + gap * GAP_ROUNDING);
}

fn lower_bound(gap: f32, tolerance: f32, scale: f32) -> f32 {
    let bound = max(sure_gap(gap, tolerance), 0.0) * scale * (1.0 - BOUND_ROUNDING);
    return select(bound, UNREACHABLE, scale == NO_BOUNDARY);
}

fn upper_bound(gap: f32, tolerance: f32, scale: f32) -> f32 {
    let slack = 2.0 * tolerance + gap * GAP_ROUNDING;
    let bound = (gap + slack) * scale * (1.0 + BOUND_ROUNDING);
    return select(bound, UNREACHABLE, scale == NO_BOUNDARY);
}

// Of the boundaries between class a, whose logit is `top`, and c; `line` is where a's scales begin.
fn gap_to(top: f32, start: u32, c: u32) -> f32 {
    return max(top - logits[start + c], 0.0);
}

fn join_bounds(a: Bounds, b: Bounds) -> Bounds {
    var joined = a;
    if b.least < a.least || (b.least == a.least && b.nearest < a.nearest) {
        joined.least = b.least;
        joined.nearest = b.nearest;
    }
    joined.plausible += b.plausible;
    joined.other = min(a.other, b.other);
    joined.unscaled |= b.unscaled;
    return joined;
}

fn join_counts(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return vec2<u32>(a.x + b.x, min(a.y, b.y));
}

fn line_of(class_id: u32) -> u32 {
    return (class_id - parameters.first) * parameters.classes;
}

// The bounds of a row over all classes but `class_id` and `skipped`, `class_id` taken for the
// predicted one. All lanes must call it.
fn find_bounds(start: u32, class_id: u32, skipped: u32, tolerance: f32, lane: u32) -> Bounds {
    let line = line_of(class_id);
    let top = logits[start + class_id];
    var found = Bounds(UNREACHABLE, NO_CLASS, 0u, NO_CLASS, 0u);
    for (var c = lane; c < parameters.classes; c += LANES) {
        if c != class_id && c != skipped {
            let gap = gap_to(top, start, c);
            let scale = scales[line + c];
            let doubtful = !(sure_gap(gap, tolerance) > 0.0);
            found = join_bounds(
                found,
                Bounds(
                    lower_bound(gap, tolerance, scale),
                    c,
                    u32(doubtful),
                    select(NO_CLASS, c, doubtful),
                    u32(scale == UNSCALED),
                ),
            );
        }
    }
    return reduce_bounds(found, lane);
}

// How many boundaries of `class_id` may be as near as `upper`, and the lowest class of them
// that is not `nearest`. All lanes must call it.
fn find_rivals(
    start: u32,
    class_id: u32,
    nearest: u32,
    upper: f32,
    tolerance: f32,
    lane: u32,
) -> vec2<u32> {
    let line = line_of(class_id);
    let top = logits[start + class_id];
    var found = vec2<u32>(0u, NO_CLASS);
    for (var c = lane; c < parameters.classes; c += LANES) {
        if c != class_id {
            let lower = lower_bound(gap_to(top, start, c), tolerance, scales[line + c]);
            if lower <= upper {
                found.x += 1u;
                found.y = min(found.y, select(c, NO_CLASS, c == nearest));
            }
        }
    }
    return reduce_counts(found, lane);
}

fn nothing() -> Verdict {
    return Verdict(2u, NO_CLASS, NO_CLASS, NO_CLASS, 0.0, UNREACHABLE, NO_CLASS);
}

// What is known of a row whose argmax is `p` in the slice. All lanes must call it.
fn judge(start: u32, p: u32, found: Bounds, tolerance: f32, lane: u32) -> Verdict {
    if found.unscaled != 0u || found.plausible > 1u {
        return nothing();
    }
    let top = logits[start + p];
    if found.plausible == 1u {
        return judge_either(start, p, found.other, tolerance, lane);
    }
    var verdict = Verdict(0u, p, NO_CLASS, NO_CLASS, found.least, UNREACHABLE, NO_CLASS);
    if found.least >= UNREACHABLE {
        return verdict;
    }
    let r = found.nearest;
    verdict.upper = upper_bound(gap_to(top, start, r), tolerance, scales[line_of(p) + r]);
    let near = find_rivals(start, p, r, verdict.upper, tolerance, lane);
    if near.x <= 2u {
        verdict.runner_up = r;
        verdict.rival = near.y;
    }
    return verdict;
}

// Of a row whose predicted class is p or s. A scale line of s that is in another slice is
// another slice's business: nothing is known then.
fn judge_either(start: u32, p: u32, s: u32, tolerance: f32, lane: u32) -> Verdict {
    let scale = scales[line_of(p) + s];
    if !in_slice(s) || scale == NO_BOUNDARY {
        return nothing();
    }
    let of_p = find_bounds(start, p, s, tolerance, lane);
    let of_s = find_bounds(start, s, p, tolerance, lane);
    if of_s.unscaled != 0u {
        return nothing();
    }
    let gap = gap_to(logits[start + p], start, s);
    let upper = upper_bound(gap, tolerance, scale);
    var verdict = Verdict(1u, NO_CLASS, NO_CLASS, NO_CLASS, 0.0, upper, s);
    if upper < min(of_p.least, of_s.least) {
        verdict.predicted = p | PAIR;
        verdict.runner_up = s;
    }
    return verdict;
}

fn in_slice(class_id: u32) -> bool {
    return class_id >= parameters.first && class_id - parameters.first < parameters.count;
}
