enable f16;
enable wgpu_cooperative_matrix;

// Matrices of 16×16, as Vulkan's drivers for matrix cores have them. Tiles are read and written four
// numbers at a time.

const SIZE: u32 = 16u;
const DEPTH: u32 = 16u;
// Numbers of a tile's element: pitches and offsets count elements.
const PACK: u32 = 4u;

alias Left = coop_mat16x16<f16, A>;
alias Right = coop_mat16x16<f16, B>;
alias Sum = coop_mat16x16<f32, C>;
alias Element = vec4<f16>;

var<workgroup> row_tile: array<Element, STAGES * STAGE>;
var<workgroup> class_tile: array<Element, STAGES * STAGE>;

fn put_row(at: u32, four: vec4<f16>) {
    row_tile[at] = four;
}

fn put_class(at: u32, four: vec4<f16>) {
    class_tile[at] = four;
}
