// A workgroup makes a tile of 64 rows × 64 classes, 16 of the M columns at a time; a lane keeps 4×4
// logits in registers. For small shapes, and devices with few registers. Import logits, lanes,
// and one of values_f32 and values_f16.

const TILE_ROWS: u32 = 64u;
const TILE_CLASSES: u32 = 64u;
const TILE: u32 = 64u;
const DEPTH: u32 = 16u;
const SIDE: u32 = 16u;
const LANES: u32 = SIDE * SIDE;
// One more than the tile, so that neighbouring lanes store to different banks.
const STRIDE: u32 = TILE + 1u;

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
    var totals_0 = vec4<f32>(0.0);
    var totals_1 = vec4<f32>(0.0);
    var totals_2 = vec4<f32>(0.0);
    var totals_3 = vec4<f32>(0.0);
    for (var block = 0u; block < parameters.dim; block += BLOCK) {
        var sums_0 = vec4<f32>(0.0);
        var sums_1 = vec4<f32>(0.0);
        var sums_2 = vec4<f32>(0.0);
        var sums_3 = vec4<f32>(0.0);
        for (var depth = block; depth < min(block + BLOCK, parameters.dim); depth += DEPTH) {
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
        totals_0 += opaque(sums_0);
        totals_1 += opaque(sums_1);
        totals_2 += opaque(sums_2);
        totals_3 += opaque(sums_3);
    }
    let row = first_row + local.y;
    let slot = first_class + local.x;
    store_row(row, slot, totals_0);
    store_row(row + SIDE, slot, totals_1);
    store_row(row + 2u * SIDE, slot, totals_2);
    store_row(row + 3u * SIDE, slot, totals_3);
}

fn load_tiles(first_row: u32, first_class: u32, depth: u32, lane: u32) {
    for (var i = lane; i < TILE * DEPTH; i += LANES) {
        let column = i % DEPTH;
        let line = i / DEPTH;
        row_tile[column * STRIDE + line] = value_at(first_row + line, depth + column);
        class_tile[column * STRIDE + line] = weight_at(first_class + line, depth + column);
    }
}

// X at (row, m); 0 beyond the columns, and some row beyond the rows, whose logits are not stored.
fn value_at(row: u32, m: u32) -> f32 {
    let value = load_value(min(row, parameters.rows - 1u) * parameters.dim + min(m, parameters.dim - 1u));
    return select(0.0, value, m < parameters.dim);
}

// W at a class of the slice, as `value_at`.
fn weight_at(slot: u32, m: u32) -> f32 {
    let value = weight[min(slot, parameters.count - 1u) * parameters.dim + min(m, parameters.dim - 1u)];
    return select(0.0, value, m < parameters.dim);
}

// Stores the logits of a row at classes slot, slot + SIDE, … of the slice.
fn store_row(row: u32, slot: u32, totals: vec4<f32>) {
    store(row, slot, totals.x);
    store(row, slot + SIDE, totals.y);
    store(row, slot + 2u * SIDE, totals.z);
    store(row, slot + 3u * SIDE, totals.w);
}
