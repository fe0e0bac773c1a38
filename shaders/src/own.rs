//! Shaders that are not in the table: somebody's own version of a kernel, and ours with other constants.

use std::collections::BTreeMap;

use naga::valid::{Capabilities, ModuleInfo};
use naga::{
    AddressSpace, Expression, Literal, Module, Scalar, ShaderStage, StorageAccess, TypeInner,
};

use crate::custom::{CustomError, checked};
use crate::translate::translate_source;
use crate::{ALL, Backend, Feature, LOGITS_MATRIX_16, LOGITS_MATRIX_SPLIT_16, Shader, Translation};

/// What somebody's shader may use where the device has it.
const ABLE: Capabilities = Capabilities::SHADER_FLOAT16
    .union(Capabilities::SUBGROUP)
    .union(Capabilities::COOPERATIVE_MATRIX);

/// A validated shader with the bindings of one of ours.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct OwnShader {
    /// The kernel whose bindings it has.
    pub kernel: &'static str,
    /// Plain WGSL.
    pub source: String,
    /// Name of the entry point.
    pub entry: String,
    /// Lanes of a workgroup in each dimension.
    pub workgroup_size: [u32; 3],
    /// Workgroup memory in bytes.
    pub workgroup_bytes: u32,
    /// Those of the kernel's bindings that it uses.
    pub bindings: Vec<u32>,
    /// Its named whole numbers: `TILE_ROWS`, `LANES`.
    pub constants: BTreeMap<String, u32>,
    /// Whether it reads embeddings as they are stored in f16, and not in f32; none where it reads none.
    pub reads_f16: Option<bool>,
    /// Of `logits`: in how many f16 numbers it reads each of the head's weights, which are padded then as for matrix
    /// cores; 0 where it reads them in f32.
    pub f16_weights: u32,
    /// What the device must have.
    pub features: Vec<Feature>,
}

/// Where `logits` and `row_norms` bind embeddings.
const EMBEDDINGS: u32 = 1;

/// Where `logits` binds the head's weights, and the second part of those that are split in two f16 numbers.
const WEIGHTS: u32 = 2;
const LOW_WEIGHTS: u32 = 5;

/// `source` as a version of a kernel: [`Shader::own_version`] of the one of our shaders whose bindings it has. `logits`
/// reads weights in f32, in f16, or in two f16 numbers (binding 5): which, its declarations say.
///
/// # Errors
/// As [`Shader::own_version`], and where no kernel has that name.
pub fn own_version(kernel: &str, source: String) -> Result<OwnShader, CustomError> {
    let (module, _) = checked(&source, ABLE)?;
    let f16 = number(&module, WEIGHTS) == Some(Scalar::F16);
    let of = match (kernel, f16) {
        ("logits", true) if number(&module, LOW_WEIGHTS).is_some() => Some(&LOGITS_MATRIX_SPLIT_16),
        ("logits", true) => Some(&LOGITS_MATRIX_16),
        _ => ALL.iter().find(|shader| shader.kernel == kernel).copied(),
    };
    let of = of.ok_or_else(|| CustomError {
        line: None,
        message: format!("no kernel is called `{kernel}`"),
    })?;
    of.own_version(source)
}

/// What a shader has bound somewhere.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Bound {
    /// A uniform of so many bytes.
    Uniform(u32),
    Storage {
        written: bool,
    },
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Bound::Uniform(bytes) => write!(f, "a uniform of {bytes} bytes"),
            Bound::Storage { written: false } => f.write_str("var<storage, read>"),
            Bound::Storage { written: true } => f.write_str("var<storage, read_write>"),
        }
    }
}

impl Shader {
    /// `source`, WGSL of one compute shader that is to be run in this one's place: it has the same bindings, or some
    /// of them, any workgroup size, and is dispatched as this one is. `logits` says with constants `TILE_ROWS` and
    /// `TILE_CLASSES` what a workgroup makes; the row kernels have a workgroup for each row.
    ///
    /// # Errors
    /// [`CustomError`] where it is not valid, has not one compute entry point, or binds something else.
    pub fn own_version(&self, source: String) -> Result<OwnShader, CustomError> {
        let wrong = |message: String| CustomError {
            line: None,
            message,
        };
        let (module, info) = checked(&source, ABLE)?;
        let [entry] = module.entry_points.as_slice() else {
            let count = module.entry_points.len();
            return Err(wrong(format!("{count} entry points: a kernel has one")));
        };
        if entry.stage != ShaderStage::Compute {
            return Err(wrong(format!("`{}` is no compute shader", entry.name)));
        }
        let (known, _) = checked(self.source, ABLE)?;
        let known = bound(&known).map_err(wrong)?;
        let found = bound(&module).map_err(wrong)?;
        for (binding, what) in &found {
            match known.get(binding) {
                Some(expected) if expected == what => {}
                Some(expected) => {
                    return Err(wrong(format!(
                        "binding {binding} is {what}, in `{}` it is {expected}",
                        self.kernel
                    )));
                }
                None => {
                    return Err(wrong(format!("`{}` has no binding {binding}", self.kernel)));
                }
            }
        }
        Ok(OwnShader {
            kernel: self.kernel,
            entry: entry.name.clone(),
            workgroup_size: entry.workgroup_size,
            workgroup_bytes: workgroup_bytes(&module),
            bindings: used(&module, &info),
            constants: constants(&module),
            reads_f16: match self.kernel {
                // f16 is read as words of two where a device lacks it.
                "logits" | "row_norms" => {
                    number(&module, EMBEDDINGS).map(|scalar| scalar != Scalar::F32)
                }
                _ => None,
            },
            f16_weights: match number(&module, WEIGHTS) {
                Some(Scalar::F16) if self.kernel == "logits" => {
                    1 + u32::from(number(&module, LOW_WEIGHTS).is_some())
                }
                _ => 0,
            },
            features: needed(&source),
            source,
        })
    }

    /// This shader with other values of its constants, whole numbers all.
    ///
    /// # Errors
    /// [`CustomError`] where it has no such constant, or is not valid with the values.
    pub fn with_constants(&self, values: &[(&str, u32)]) -> Result<OwnShader, CustomError> {
        let mut source = self.source.to_owned();
        for (name, value) in values {
            let start = format!("const {name}: u32 = ");
            let Some(line) = source.lines().find(|line| line.starts_with(&start)) else {
                return Err(CustomError {
                    line: None,
                    message: format!("`{}` has no constant {name}", self.name()),
                });
            };
            source = source.replacen(line, &format!("{start}{value}u;"), 1);
        }
        self.own_version(source)
    }
}

impl OwnShader {
    /// Translates it for `backend`, as [`crate::translate`] does, with all checks.
    ///
    /// # Errors
    /// What naga says, where it cannot.
    pub fn translate(&self, backend: Backend) -> Result<Translation, String> {
        translate_source((&self.source, &self.entry), ABLE, true, backend)
    }
}

/// What a module binds in group 0.
fn bound(module: &Module) -> Result<BTreeMap<u32, Bound>, String> {
    let mut found = BTreeMap::new();
    for (_, variable) in module.global_variables.iter() {
        let Some(at) = &variable.binding else {
            continue;
        };
        if at.group != 0 {
            return Err(format!("group {}: kernels bind group 0", at.group));
        }
        let what = match variable.space {
            AddressSpace::Uniform => {
                let inner = &module.types[variable.ty].inner;
                Bound::Uniform(inner.size(module.to_ctx()))
            }
            AddressSpace::Storage { access } => Bound::Storage {
                written: access.contains(StorageAccess::STORE),
            },
            other => return Err(format!("binding {} is in {other:?}", at.binding)),
        };
        found.insert(at.binding, what);
    }
    Ok(found)
}

/// What the array bound there holds numbers of.
fn number(module: &Module, binding: u32) -> Option<Scalar> {
    let mut variables = module.global_variables.iter();
    let (_, values) = variables.find(|(_, variable)| {
        let at = variable.binding.as_ref();
        at.is_some_and(|at| (at.group, at.binding) == (0, binding))
    })?;
    match module.types[values.ty].inner {
        TypeInner::Array { base, .. } => module.types[base].inner.scalar(),
        _ => None,
    }
}

/// Without which of the features a valid source is none.
fn needed(source: &str) -> Vec<Feature> {
    let all = Feature::ALL.iter().copied();
    all.filter(|feature| checked(source, ABLE.difference(feature.capability())).is_err())
        .collect()
}

/// The bindings that the entry point uses: those of a layout that is made of the shader.
fn used(module: &Module, info: &ModuleInfo) -> Vec<u32> {
    let entry = info.get_entry_point(0);
    let variables = module.global_variables.iter();
    let used = variables.filter(|(handle, _)| !entry[*handle].is_empty());
    let bindings = used.filter_map(|(_, variable)| Some(variable.binding.as_ref()?.binding));
    bindings.collect()
}

fn workgroup_bytes(module: &Module) -> u32 {
    let variables = module.global_variables.iter();
    let shared = variables.filter(|(_, variable)| variable.space == AddressSpace::WorkGroup);
    let bytes = shared.map(|(_, variable)| {
        // Each variable may be moved to a 16-byte boundary.
        let inner = &module.types[variable.ty].inner;
        inner.size(module.to_ctx()).next_multiple_of(16)
    });
    bytes.sum()
}

fn constants(module: &Module) -> BTreeMap<String, u32> {
    let named = module.constants.iter().filter_map(|(_, constant)| {
        match (&constant.name, &module.global_expressions[constant.init]) {
            (Some(name), Expression::Literal(Literal::U32(value))) => Some((name.clone(), *value)),
            _ => None,
        }
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::own_version;
    use crate::{ALL, LOGITS_SMALL_F32, ROW_NORMS_F32, ROW_STATISTICS_PLAIN};

    #[test]
    fn every_shader_is_a_version_of_itself() {
        for shader in ALL {
            let own = shader.own_version(shader.source.into()).unwrap();
            let (size, bytes) = (own.workgroup_size, own.workgroup_bytes);
            assert_eq!(
                (size, bytes),
                (shader.workgroup_size, shader.workgroup_bytes)
            );
            assert_eq!((&*own.entry, own.kernel), (shader.entry, shader.kernel));
            let half = match own.kernel {
                "logits" | "row_norms" => Some(!shader.variant.ends_with("f32")),
                _ => None,
            };
            assert_eq!(own.reads_f16, half, "{}", shader.name());
            assert_eq!(own.features, shader.features, "{}", shader.name());
        }
    }

    #[test]
    fn declarations_say_which_interface_it_is() {
        // The shaders of `peak` have each their own.
        for shader in ALL.iter().filter(|shader| shader.kernel != "peak") {
            let own = own_version(shader.kernel, shader.source.into()).unwrap();
            let parts = match (shader.kernel, shader.variant) {
                ("logits", "matrix_split_16" | "matrix_split_8") => 2,
                ("logits", "matrix_16" | "matrix_8") => 1,
                _ => 0,
            };
            assert_eq!(own.f16_weights, parts, "{}", shader.name());
            let constants = ["TILE_ROWS", "TILE_CLASSES", "DEPTH", "SIZE", "SUBGROUP"];
            assert!(
                parts == 0
                    || constants
                        .iter()
                        .all(|name| own.constants.contains_key(*name))
            );
        }
        // f16 parts of f32 weights are nothing that `logits` has.
        let odd = LOGITS_SMALL_F32.source.to_owned()
            + "@group(0) @binding(5) var<storage, read> low: array<u32>;";
        let error = own_version("logits", odd).unwrap_err();
        assert!(error.message.contains("no binding 5"), "{error}");
        assert!(own_version("nothing", LOGITS_SMALL_F32.source.into()).is_err());
    }

    #[test]
    fn constants_change_what_depends_on_them() {
        let own = ROW_NORMS_F32.with_constants(&[("LANES", 128)]).unwrap();
        assert_eq!(
            (own.workgroup_size, own.workgroup_bytes),
            ([128, 1, 1], 1024)
        );
        let values = [
            ("SIDE", 8),
            ("TILE", 32),
            ("TILE_ROWS", 32),
            ("TILE_CLASSES", 32),
        ];
        let own = LOGITS_SMALL_F32.with_constants(&values).unwrap();
        assert_eq!(own.workgroup_size, [8, 8, 1]);
        assert_eq!(
            (own.constants["TILE_ROWS"], own.constants["LANES"]),
            (32, 64)
        );
        let unknown = ROW_NORMS_F32.with_constants(&[("SPEED", 1)]).unwrap_err();
        assert!(unknown.message.contains("row_norms-f32") && unknown.message.contains("SPEED"));
    }

    #[test]
    fn other_bindings_are_refused_and_fewer_are_not() {
        let versions = |source: &str| ROW_NORMS_F32.own_version(source.into());
        let head = "struct P { rows: u32, dim: u32, a: u32, b: u32 }
            @group(0) @binding(0) var<uniform> p: P;
            @group(0) @binding(1) var<storage, read> values: array<f32>;
            @group(0) @binding(2) var<storage, read_write> norms: array<f32>;";
        let main = "@compute @workgroup_size(32) fn mine() { norms[0] = values[0]; }";
        let own = versions(&format!("{head}{main}")).unwrap();
        assert_eq!((&*own.entry, own.bindings), ("mine", vec![1, 2]));
        let refused = |from: &str, to: &str| {
            let source = format!("{head}{main}").replace(from, to);
            versions(&source).unwrap_err().message
        };
        assert!(refused("binding(1)", "binding(3)").contains("no binding 3"));
        assert!(refused("group(0) @binding(1)", "group(1) @binding(1)").contains("group 1"));
        assert!(
            refused("storage, read>", "storage, read_write>")
                .contains("binding 1 is var<storage, read_write>")
        );
        assert!(refused("b: u32 }", "b: u32, c: vec4<u32> }").contains("a uniform of 32 bytes"));
        assert!(refused("@compute @workgroup_size(32)", "").contains("0 entry points"));
        let wrong = ROW_STATISTICS_PLAIN
            .own_version("fn f() {\n  let x = ;\n}".into())
            .unwrap_err();
        assert_eq!(wrong.line, Some(2), "{wrong}");
    }
}
