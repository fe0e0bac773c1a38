//! Ours with other constants: what is worth trying on a device.

use equipoise_shaders::{ALL, CustomError, OwnShader, Shader};

/// Lanes of a row kernel's workgroup.
const LANES: [u32; 4] = [32, 64, 128, 256];

/// Lanes of a side of `logits`' small tile, which has 4 × 4 logits a lane, and columns that it loads at a time.
const SIDES: [u32; 2] = [8, 16];
const DEPTHS: [u32; 3] = [8, 16, 32];

/// Products that are summed before they are added to a total.
const BLOCKS: [u32; 3] = [32, 64, 128];

/// A shader of ours with other constants.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Tuning {
    /// Which.
    pub shader: &'static Shader,
    constants: Vec<(&'static str, u32)>,
    /// Of those that say it all.
    label: usize,
}

impl Tuning {
    fn new(shader: &'static Shader, constants: &[(&'static str, u32)], label: usize) -> Self {
        Self {
            shader,
            constants: constants.to_vec(),
            label,
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
        self.shader.with_constants(&self.constants)
    }
}

/// Tile sizes, workgroup sizes and depths to try, those that the shaders have among them. `half` says whether embeddings are
/// stored as f16.
pub fn tunings(half: bool) -> Vec<Tuning> {
    let storage = if half { "f16" } else { "f32" };
    let mut all = Vec::new();
    for shader in ALL {
        match (shader.kernel, shader.variant) {
            ("logits", variant) if variant == format!("small_{storage}") => {
                for side in SIDES {
                    for depth in DEPTHS {
                        let tile = 4 * side;
                        let constants = [
                            ("SIDE", side),
                            ("DEPTH", depth),
                            ("TILE", tile),
                            ("TILE_ROWS", tile),
                            ("TILE_CLASSES", tile),
                        ];
                        all.push(Tuning::new(shader, &constants, 2));
                    }
                }
            }
            ("logits", variant) if variant == format!("large_{storage}") => {
                let blocks = BLOCKS.iter();
                all.extend(blocks.map(|block| Tuning::new(shader, &[("BLOCK", *block)], 1)));
            }
            ("row_norms", variant) if variant != storage => {}
            ("logits" | "peak" | "row_keys", _) => {}
            _ => {
                let lanes = LANES.iter();
                all.extend(lanes.map(|lanes| Tuning::new(shader, &[("LANES", *lanes)], 1)));
            }
        }
    }
    all
}
