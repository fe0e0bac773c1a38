// What kernels are told that look at rows of logits, and how far these may be off.

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
    // Where the block's norms begin.
    first_norm: u32,
    // A row's tolerance is slope · norm + offset up to the largest norm, beyond it nothing is known.
    slope: f32,
    offset: f32,
    largest_norm: f32,
    padding_0: u32,
    padding_1: u32,
    padding_2: u32,
}

const UNREACHABLE: f32 = 3.0e38;
const UNAVAILABLE: f32 = -1.0;
const NONFINITE: f32 = -2.0;
const UNDECIDABLE: f32 = 1.0e37;
const ALL_CLASSES: u32 = 0xffffffffu;
const NO_CLASS: u32 = 0xffffffffu;
const PAIR: u32 = 0x80000000u;
const GAP_ROUNDING: f32 = 0x1p-22;
const BOUND_ROUNDING: f32 = 0x1p-11;
const NO_BOUNDARY: f32 = 0.0;
const UNSCALED: f32 = -1.0;

const LANES: u32 = 64u;

@group(0) @binding(0) var<uniform> parameters: RowParameters;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
// Upper bounds on the rows' norms, as row_norms makes them.
@group(0) @binding(2) var<storage, read> norms: array<f32>;
// A bit a row of the block: whether it is available.
@group(0) @binding(3) var<storage, read> available: array<u32>;

fn row_of(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return group.y * groups.x + group.x;
}

// How far the row's logits may be off, or why it has none.
fn tolerance_of(row: u32) -> f32 {
    if ((available[row >> 5u] >> (row & 31u)) & 1u) == 0u {
        return UNAVAILABLE;
    }
    let norm = norms[parameters.first_norm + row];
    if norm < 0.0 {
        return NONFINITE;
    }
    if norm > parameters.largest_norm {
        return UNDECIDABLE;
    }
    return parameters.slope * norm + parameters.offset;
}
