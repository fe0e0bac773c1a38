// Z = X Wᵀ + b for one slice of classes.
//
// A workgroup makes a tile of 64 rows × 64 classes, 16 of the M columns at a time; a lane keeps 4×4
// logits in registers. Rows and classes beyond the matrices read as 0 and are not written. Import one
// of values_f32 and values_f16 for `load_value`.

struct LogitsParameters {
    // Rows of the block.
    rows: u32,
    // Columns of X and W, M.
    dim: u32,
    // Classes of the head, C: the row stride of Z.
    classes: u32,
    // First class of the slice.
    first: u32,
    // Classes of the slice.
    count: u32,
    padding_0: u32,
    padding_1: u32,
    padding_2: u32,
}

const TILE: u32 = 64u;
const DEPTH: u32 = 16u;
const SIDE: u32 = 16u;
const LANES: u32 = SIDE * SIDE;
// One more than the tile, so that neighbouring lanes store to different banks.
const STRIDE: u32 = TILE + 1u;

@group(0) @binding(0) var<uniform> parameters: LogitsParameters;
// binding 1: values, (rows, M), imported
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> logits: array<f32>;

var<workgroup> row_tile: array<f32, DEPTH * STRIDE>;
var<workgroup> class_tile: array<f32, DEPTH * STRIDE>;

@compute @workgroup_size(SIDE, SIDE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first_class = group.x * TILE;
    let first_row = group.y * TILE;
    var sums_0 = vec4<f32>(0.0);
    var sums_1 = vec4<f32>(0.0);
    var sums_2 = vec4<f32>(0.0);
    var sums_3 = vec4<f32>(0.0);
    for (var depth = 0u; depth < parameters.dim; depth += DEPTH) {
        load_tiles(first_row, first_class, depth, lane);
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            let x = k * STRIDE + local.y;
            let w = k * STRIDE + local.x;
            let weights = vec4<f32>(
                class_tile[w],
                class_tile[w + SIDE],
                class_tile[w + 2u * SIDE],
                class_tile[w + 3u * SIDE],
            );
            sums_0 += row_tile[x] * weights;
            sums_1 += row_tile[x + SIDE] * weights;
            sums_2 += row_tile[x + 2u * SIDE] * weights;
            sums_3 += row_tile[x + 3u * SIDE] * weights;
        }
        workgroupBarrier();
    }
    let row = first_row + local.y;
    let slot = first_class + local.x;
    store_row(row, slot, sums_0);
    store_row(row + SIDE, slot, sums_1);
    store_row(row + 2u * SIDE, slot, sums_2);
    store_row(row + 3u * SIDE, slot, sums_3);
}

fn load_tiles(first_row: u32, first_class: u32, depth: u32, lane: u32) {
    for (var i = lane; i < TILE * DEPTH; i += LANES) {
        let column = i % DEPTH;
        let line = i / DEPTH;
        let m = depth + column;
        let row = first_row + line;
        let slot = first_class + line;
        var x = 0.0;
        if m < parameters.dim && row < parameters.rows {
            x = load_value(row * parameters.dim + m);
        }
        row_tile[column * STRIDE + line] = x;
        var w = 0.0;
        if m < parameters.dim && slot < parameters.count {
            w = weight[slot * parameters.dim + m];
        }
        class_tile[column * STRIDE + line] = w;
    }
}

// Stores the logits of a row at classes slot, slot + SIDE, … of the slice.
fn store_row(row: u32, slot: u32, sums: vec4<f32>) {
    if row >= parameters.rows {
        return;
    }
    let start = row * parameters.classes + parameters.first;
    store(start, slot, sums.x);
    store(start, slot + SIDE, sums.y);
    store(start, slot + 2u * SIDE, sums.z);
    store(start, slot + 3u * SIDE, sums.w);
}

fn store(start: u32, slot: u32, sum: f32) {
    if slot < parameters.count {
        logits[start + slot] = sum + bias[slot];
    }
}
