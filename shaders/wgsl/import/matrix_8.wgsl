// Tiles for matrices of 8×8: single numbers, as Metal reads matrices from nothing else. Import cores_8.

const DEPTH: u32 = 32u;
// Numbers of a tile's element: pitches and offsets count elements.
const PACK: u32 = 1u;

alias Element = f16;

var<workgroup> row_tile: array<Element, STAGES * STAGE>;
var<workgroup> class_tile: array<Element, STAGES * STAGE>;

fn put_row(at: u32, four: vec4<f16>) {
    row_tile[at] = four.x;
    row_tile[at + 1u] = four.y;
    row_tile[at + 2u] = four.z;
    row_tile[at + 3u] = four.w;
}

fn put_class(at: u32, four: vec4<f16>) {
    class_tile[at] = four.x;
    class_tile[at + 1u] = four.y;
    class_tile[at + 2u] = four.z;
    class_tile[at + 3u] = four.w;
}
