// Tiles for matrices of 16×16: read and written four numbers at a time. Import cores_16.

const DEPTH: u32 = 16u;
// Numbers of a tile's element: pitches and offsets count elements.
const PACK: u32 = 4u;

alias Element = vec4<f16>;

var<workgroup> row_tile: array<Element, STAGES * STAGE>;
var<workgroup> class_tile: array<Element, STAGES * STAGE>;

fn put_row(at: u32, four: vec4<f16>) {
    row_tile[at] = four;
}

fn put_class(at: u32, four: vec4<f16>) {
    class_tile[at] = four;
}
