// What the variants of `logits` for matrix cores share: where numbers lie. Import cores_16 and matrix_16,
// or cores_8 and matrix_8; and logits.
//
// X is f16 and its M columns a multiple of 4. The head is f16 too, scaled by 1 / unscale, and padded
// with zeros to whole tiles. A workgroup makes a tile of 8·SIZE rows × 8·SIZE classes; each of its
// eight subgroups a part of 4·SIZE rows × 2·SIZE classes, in eight matrices. No subgroup built-in is
// used, as drivers fail to compile some together with matrices (github.com/kvark/blade/issues/333):
// subgroups must have 32 lanes, in order.

const LANES: u32 = 256u;
const SUBGROUP: u32 = 32u;
const PARTS: u32 = LANES / SUBGROUP;
const TILE_ROWS: u32 = 8u * SIZE;
const TILE_CLASSES: u32 = 8u * SIZE;
const PART_ROWS: u32 = 4u * SIZE;
const PART_CLASSES: u32 = 2u * SIZE;
// Fours of a line of a stage. A stage holds two for each lane.
const FOURS: u32 = DEPTH / 4u;
const STAGES: u32 = 2u;
// 16 bytes more than the line, so that eight lines at one column lie in different banks.
const PITCH: u32 = (DEPTH + 8u) / PACK;
const STAGE: u32 = 8u * SIZE * PITCH;

@group(0) @binding(1) var<storage, read> values: array<vec4<f16>>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f16>>;

// Of each subgroup a matrix: zeros to begin with, and sums on their way to the logits.
var<workgroup> staging: array<f32, PARTS * SIZE * SIZE>;

fn part_row(part: u32) -> u32 {
    return (part & 1u) * PART_ROWS;
}

fn part_class(part: u32) -> u32 {
    return (part >> 1u) * PART_CLASSES;
}

// Where a tile holds what a line has at column k of a stage.
fn tile_at(stage: u32, line: u32, k: u32) -> u32 {
    return stage * STAGE + line * PITCH + k / PACK;
}

// Where a lane's `item`th four goes.
fn four_at(stage: u32, item: u32) -> u32 {
    return tile_at(stage, item / FOURS, 4u * (item % FOURS));
}

fn row_four(first_row: u32, depth: u32, item: u32) -> vec4<f16> {
    let row = min(first_row + item / FOURS, parameters.rows - 1u);
    let m = depth + 4u * (item % FOURS);
    let four = values[(row * parameters.dim + min(m, parameters.dim - 4u)) / 4u];
    // Not a product with 0: the next row may hold a NaN.
    return select(vec4<f16>(), four, m < parameters.dim);
}

// Where the head's line has it; padding is as good as any number.
fn class_four_at(first_class: u32, depth: u32, item: u32) -> u32 {
    let fours = (parameters.dim + DEPTH - 1u) / DEPTH * FOURS;
    return (first_class + item / FOURS) * fours + depth / 4u + item % FOURS;
}

fn clear_staging(lane: u32) {
    for (var i = lane; i < PARTS * SIZE * SIZE; i += LANES) {
        staging[i] = 0.0;
    }
}

// Stores the logits of the matrix that the lane's subgroup has staged. All lanes must call it.
fn drain(lane: u32, row: u32, slot: u32) {
    workgroupBarrier();
    let start = lane / SUBGROUP * (SIZE * SIZE);
    for (var i = lane % SUBGROUP; i < SIZE * SIZE; i += SUBGROUP) {
        store(row + i / SIZE, slot + i % SIZE, staging[start + i] * parameters.unscale);
    }
    workgroupBarrier();
}
