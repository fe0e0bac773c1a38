enable f16;
enable wgpu_cooperative_matrix;

// Matrices of 8×8, as Metal has them. It reads them from arrays of single numbers only.

const SIZE: u32 = 8u;
const DEPTH: u32 = 32u;
// Numbers of a tile's element: pitches and offsets count elements.
const PACK: u32 = 1u;

alias Left = coop_mat8x8<f16, A>;
alias Right = coop_mat8x8<f16, B>;
alias Sum = coop_mat8x8<f32, C>;
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
