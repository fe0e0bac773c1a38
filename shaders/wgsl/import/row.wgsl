// What the row kernels share: one workgroup a row, the row's predicted class, and bounds on its
// distances to the boundaries. The arithmetic is normative: see equipoise_core::engine.
//
// No infinity, NaN or denormal is relied on, nor an order of operations: logits of rows that reach
// the arithmetic are below 1e18, scales are 0, -1 or within 1e-15..1e15.

struct RowParameters {
    // Rows of the block.
    rows: u32,
    // Classes of the head, C.
    classes: u32,
    // First predicted class of the slice of the scale table: other rows are left to other slices.
    first: u32,
    // Predicted classes of the slice.
    count: u32,
    // Candidates that the list holds.
    capacity: u32,
    padding_0: u32,
    padding_1: u32,
    padding_2: u32,
}

const UNREACHABLE: f32 = 3.0e38;
const UNAVAILABLE: f32 = -1.0;
const UNDECIDABLE: f32 = 1.0e37;
const ALL_CLASSES: u32 = 0xffffffffu;
const GAP_ROUNDING: f32 = 0x1p-22;
const BOUND_ROUNDING: f32 = 0x1p-20;
const NO_BOUNDARY: f32 = 0.0;
const UNSCALED: f32 = -1.0;

const LANES: u32 = 64u;
const NO_CLASS: u32 = 0xffffffffu;

@group(0) @binding(0) var<uniform> parameters: RowParameters;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> tolerances: array<f32>;
// 1/‖W[p] − W[c]‖, (count, C): one line per predicted class of the slice.
@group(0) @binding(3) var<storage, read> scales: array<f32>;

// The two largest of some logits. With one, `second` is -UNREACHABLE; with none, both are.
struct Top {
    value: f32,
    class_id: u32,
    second: f32,
}

struct Bounds {
    lower: f32,
    upper: f32,
    // 1 where a boundary has no scale or lies within the tolerance.
    undecided: u32,
}

var<workgroup> tops: array<Top, LANES>;
var<workgroup> bounds: array<Bounds, LANES>;

fn row_of(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return group.y * groups.x + group.x;
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
    tops[lane] = top;
    workgroupBarrier();
    for (var width = LANES / 2u; width > 0u; width >>= 1u) {
        if lane < width {
            tops[lane] = join_tops(tops[lane], tops[lane + width]);
        }
        workgroupBarrier();
    }
    return workgroupUniformLoad(&tops[0]);
}

// Bounds of the distance to one boundary.
fn distance_bounds(gap: f32, tolerance: f32, scale: f32) -> Bounds {
    let slack = 2.0 * tolerance + gap * GAP_ROUNDING;
    let least = gap - slack;
    let undecided = u32(!(least > 0.0) || scale == UNSCALED);
    if scale == NO_BOUNDARY {
        return Bounds(UNREACHABLE, UNREACHABLE, undecided);
    }
    return Bounds(
        max(least, 0.0) * scale * (1.0 - BOUND_ROUNDING),
        (gap + slack) * scale * (1.0 + BOUND_ROUNDING),
        undecided,
    );
}

fn join_bounds(a: Bounds, b: Bounds) -> Bounds {
    return Bounds(min(a.lower, b.lower), min(a.upper, b.upper), a.undecided | b.undecided);
}

// Bounds of the least distance, over all c ≠ p. All lanes must call it.
fn find_bounds(start: u32, top: Top, tolerance: f32, lane: u32) -> Bounds {
    let line = (top.class_id - parameters.first) * parameters.classes;
    var least = Bounds(UNREACHABLE, UNREACHABLE, 0u);
    for (var c = lane; c < parameters.classes; c += LANES) {
        if c != top.class_id {
            let gap = top.value - logits[start + c];
            least = join_bounds(least, distance_bounds(gap, tolerance, scales[line + c]));
        }
    }
    bounds[lane] = least;
    workgroupBarrier();
    for (var width = LANES / 2u; width > 0u; width >>= 1u) {
        if lane < width {
            bounds[lane] = join_bounds(bounds[lane], bounds[lane + width]);
        }
        workgroupBarrier();
    }
    return workgroupUniformLoad(&bounds[0]);
}

fn in_slice(class_id: u32) -> bool {
    return class_id >= parameters.first && class_id - parameters.first < parameters.count;
}
