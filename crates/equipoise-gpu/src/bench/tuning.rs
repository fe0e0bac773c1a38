//! Ours with other constants: what is worth trying on a device.

use equipoise_shaders::{ALL, CustomError, OwnShader, Shader};

/// Lanes of a row kernel's workgroup.
const LANES: [u32; 4] = [32, 64, 128, 256];

/// Lanes of a side of `logits`' small tile, which has 4 × 4 logits a lane, and columns that it loads at a time.
const SIDES: [u32; 2] = [8, 16];
const DEPTHS: [u32; 3] = [8, 16, 32];

/// Lanes of `logits`' large tile, and its rows: a lane has 8 × 4 logits of 64 classes.
const LARGE: [(u32, u32); 3] = [(128, 64), (256, 128), (512, 256)];

/// Products that are summed before they are added to a total: lane by lane, and by matrix cores.
const BLOCKS: [u32; 3] = [32, 64, 128];
const MATRIX_BLOCKS: [u32; 4] = [128, 256, 512, 1024];

/// Words that `row_norms` loads at once, beside 1, with the type of the load.
const WORDS: [(u32, &str); 2] = [(2, "vec2"), (4, "vec4")];

/// A shader of ours with other constants.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Tuning {
    /// Which.
    pub shader: &'static Shader,
    constants: Vec<(&'static str, u32)>,
    /// Of those that say it all.
    label: usize,
    /// The vector that a lane loads, where it is another.
    load: Option<&'static str>,
}

impl Tuning {
    fn new(shader: &'static Shader, constants: &[(&'static str, u32)], label: usize) -> Self {
        Self {
            shader,
            constants: constants.to_vec(),
            label,
            load: None,
        }
    }

    /// The constants, as `SIDE=8 DEPTH=32`.
    pub fn label(&self) -> String {
        let said = self.constants[..self.label].iter();
        let said: Vec<String> = said
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        said.join(" ")
    }

    /// The shader with them.
    ///
    /// # Errors
    /// [`CustomError`] where the shader is not valid with them.
    pub fn own(&self) -> Result<OwnShader, CustomError> {
        let own = self.shader.with_constants(&self.constants)?;
        match self.load {
            Some(load) => {
                let source = own
                    .source
                    .replace("alias Load = vec4<", &format!("alias Load = {load}<"));
                self.shader.own_version(source)
            }
            None => Ok(own),
        }
    }
}

/// Tile sizes, workgroup sizes, depths and widths of loads to try, those that the shaders have among them. `half` says
/// whether embeddings are stored as f16.
pub fn tunings(half: bool) -> Vec<Tuning> {
    let storage = if half { "f16" } else { "f32" };
    let mut all = Vec::new();
    for shader in ALL {
        let of_storage = shader.variant.ends_with(storage);
        let one = |name, values: &[u32]| -> Vec<Tuning> {
            let each = values.iter();
            each.map(|value| Tuning::new(shader, &[(name, *value)], 1))
                .collect()
        };
        match (shader.kernel, shader.variant) {
            ("logits", "small_f32" | "small_f16") if of_storage => all.extend(of_small(shader)),
            ("logits", "large_f32" | "large_f16") if of_storage => {
                all.extend(LARGE.map(|(lanes, rows)| {
                    Tuning::new(shader, &[("LANES", lanes), ("TILE_ROWS", rows)], 2)
                }));
                all.extend(one("BLOCK", &BLOCKS));
            }
            ("logits", "matrix_split_16") if half => all.extend(one("BLOCK", &MATRIX_BLOCKS)),
            ("row_norms", "wide_f32" | "wide_f16") if of_storage => {
                all.extend(WORDS.map(|(words, load)| Tuning {
                    load: Some(load),
                    ..Tuning::new(shader, &[("WORDS", words)], 1)
                }));
            }
            ("row_norms", variant) if variant != storage => {}
            ("logits" | "peak" | "row_keys", _) => {}
            _ => all.extend(one("LANES", &LANES)),
        }
    }
    all
}

fn of_small(shader: &'static Shader) -> impl Iterator<Item = Tuning> {
    let sizes = SIDES
        .iter()
        .flat_map(|side| DEPTHS.iter().map(move |depth| (*side, *depth)));
    sizes.map(move |(side, depth)| {
        let tile = 4 * side;
        let constants = [
            ("SIDE", side),
            ("DEPTH", depth),
            ("TILE", tile),
            ("TILE_ROWS", tile),
            ("TILE_CLASSES", tile),
        ];
        Tuning::new(shader, &constants, 2)
    })
}
