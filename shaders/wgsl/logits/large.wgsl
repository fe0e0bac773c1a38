// A workgroup makes a tile of 128 rows × 64 classes, 8 of the M columns at a time; a lane keeps 8×4
// sums and as many totals in registers. Import logits, lanes, and one of values_f32 and values_f16.
//
// Workgroup memory holds two stages of both tiles, column by column, so that a lane reads four rows
// or classes at once. While one stage is multiplied, each lane has four rows' numbers of the next
// under way from memory: eight lanes read 8 neighbouring columns, which is a whole 32-byte sector of
// f32, whatever M is. 32 lanes in a row make 8 groups of rows × 4 groups of classes, so that each of
// their reads is 128 different bytes at most, without conflicts.

const TILE_ROWS: u32 = 128u;
const TILE_CLASSES: u32 = 64u;
const DEPTH: u32 = 8u;
const LANES: u32 = 256u;
// Groups of four of a column; one more than there are, so that the eight lanes that store a column
// each meet different banks.
const ROW_STRIDE: u32 = TILE_ROWS / 4u + 1u;
const CLASS_STRIDE: u32 = TILE_CLASSES / 4u + 1u;
const ROW_STAGE: u32 = DEPTH * ROW_STRIDE;
const CLASS_STAGE: u32 = DEPTH * CLASS_STRIDE;
// Lanes that load a group of four classes.
const CLASS_LOADERS: u32 = TILE_CLASSES / 4u * DEPTH;
// Distance, in groups, of the two groups of rows of a lane.
const HALF: u32 = TILE_ROWS / 8u;

var<workgroup> row_tile: array<vec4<f32>, 2u * ROW_STAGE>;
var<workgroup> class_tile: array<vec4<f32>, 2u * CLASS_STAGE>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first_class = group.x * TILE_CLASSES;
    let first_row = group.y * TILE_ROWS;
    // What the lane loads: four lines at one column.
    let column = lane % DEPTH;
    let lines = lane / DEPTH;
    let rows = line_starts(first_row + 4u * lines, parameters.rows);
    let classes = line_starts(first_class + 4u * lines, parameters.count);
    // What it multiplies: rows 4·row_group.. and 4·(row_group + HALF)..
    let row_group = ((lane >> 2u) & 7u) | ((lane >> 7u) << 3u);
    let class_group = (lane & 3u) | (((lane >> 5u) & 3u) << 2u);

    var sums: array<vec4<f32>, 8>;
    var totals: array<vec4<f32>, 8>;
    put(0u, lane, four_values(rows, 0u, column), four_weights(lane, classes, 0u, column));
    workgroupBarrier();
    var stage = 0u;
    for (var depth = 0u; depth < parameters.dim; depth += DEPTH) {
        let next = depth + DEPTH;
        var next_values = vec4<f32>(0.0);
        var next_weights = vec4<f32>(0.0);
        if next < parameters.dim {
            next_values = four_values(rows, next, column);
            next_weights = four_weights(lane, classes, next, column);
        }
        for (var k = 0u; k < DEPTH; k++) {
            let at = stage * ROW_STAGE + k * ROW_STRIDE + row_group;
            let w = class_tile[stage * CLASS_STAGE + k * CLASS_STRIDE + class_group];
            let low = row_tile[at];
            let high = row_tile[at + HALF];
            sums[0] += low.x * w;
            sums[1] += low.y * w;
            sums[2] += low.z * w;
            sums[3] += low.w * w;
            sums[4] += high.x * w;
            sums[5] += high.y * w;
            sums[6] += high.z * w;
            sums[7] += high.w * w;
        }
        if next % BLOCK == 0u || next >= parameters.dim {
            end_block(&sums, &totals);
        }
        stage = 1u - stage;
        put(stage, lane, next_values, next_weights);
        workgroupBarrier();
    }
    let row = first_row + 4u * row_group;
    let slot = first_class + 4u * class_group;
    store_four(row, slot, totals[0]);
    store_four(row + 1u, slot, totals[1]);
    store_four(row + 2u, slot, totals[2]);
    store_four(row + 3u, slot, totals[3]);
    store_four(row + 4u * HALF, slot, totals[4]);
    store_four(row + 4u * HALF + 1u, slot, totals[5]);
    store_four(row + 4u * HALF + 2u, slot, totals[6]);
    store_four(row + 4u * HALF + 3u, slot, totals[7]);
}

// Where four lines of a matrix begin; some line for those beyond it, whose logits are not stored.
fn line_starts(line: u32, lines: u32) -> vec4<u32> {
    return min(line + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(lines - 1u)) * parameters.dim;
}

// Four rows' numbers at a column of a stage; 0 beyond the columns. Most stages lie within them.
fn four_values(starts: vec4<u32>, depth: u32, column: u32) -> vec4<f32> {
    let m = depth + column;
    if depth + DEPTH <= parameters.dim {
        return values_at(starts + m);
    }
    return select(vec4<f32>(0.0), values_at(starts + min(m, parameters.dim - 1u)), m < parameters.dim);
}

fn values_at(at: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(load_value(at.x), load_value(at.y), load_value(at.z), load_value(at.w));
}

// As `four_values`, of classes, and of the lanes that load them.
fn four_weights(lane: u32, starts: vec4<u32>, depth: u32, column: u32) -> vec4<f32> {
    let m = depth + column;
    if lane >= CLASS_LOADERS {
        return vec4<f32>(0.0);
    }
    if depth + DEPTH <= parameters.dim {
        return weights_at(starts + m);
    }
    return select(vec4<f32>(0.0), weights_at(starts + min(m, parameters.dim - 1u)), m < parameters.dim);
}

fn weights_at(at: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(weight[at.x], weight[at.y], weight[at.z], weight[at.w]);
}

// Writes what the lane loaded to a stage.
fn put(stage: u32, lane: u32, values: vec4<f32>, weights: vec4<f32>) {
    let column = lane % DEPTH;
    let lines = lane / DEPTH;
    row_tile[stage * ROW_STAGE + column * ROW_STRIDE + lines] = values;
    if lane < CLASS_LOADERS {
        class_tile[stage * CLASS_STAGE + column * CLASS_STRIDE + lines] = weights;
    }
}

// Adds the sums to the totals. Indices are written out so that arrays become registers.
fn end_block(sums: ptr<function, array<vec4<f32>, 8>>, totals: ptr<function, array<vec4<f32>, 8>>) {
    (*totals)[0] += opaque((*sums)[0]);
    (*totals)[1] += opaque((*sums)[1]);
    (*totals)[2] += opaque((*sums)[2]);
    (*totals)[3] += opaque((*sums)[3]);
    (*totals)[4] += opaque((*sums)[4]);
    (*totals)[5] += opaque((*sums)[5]);
    (*totals)[6] += opaque((*sums)[6]);
    (*totals)[7] += opaque((*sums)[7]);
    *sums = array<vec4<f32>, 8>();
}

fn store_four(row: u32, slot: u32, totals: vec4<f32>) {
    store(row, slot, totals.x);
    store(row, slot + 1u, totals.y);
    store(row, slot + 2u, totals.z);
    store(row, slot + 3u, totals.w);
}
