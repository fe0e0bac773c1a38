//! From WGSL files to validated modules.

use std::path::{Path, PathBuf};

use naga::valid::{Capabilities, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};

/// A line of the table of kernels. Its file is `name.wgsl`, or `name/file.wgsl` where there are several.
struct Line {
    name: &'static str,
    /// Empty where the kernel has one file.
    file: &'static str,
    /// Tells shaders of one file apart; empty where there is one.
    variant: &'static str,
    imports: &'static [&'static str],
    /// What a device must have, in the words of `Feature` in `lib.rs`.
    features: &'static [&'static str],
    /// Where it runs, in the words of `Backend` in `lib.rs`.
    backends: &'static [&'static str],
}

/// Every backend.
const ANYWHERE: &[&str] = &["Vulkan", "Metal", "Dx12"];

/// A kernel that runs everywhere.
const fn plain(
    name: &'static str,
    file: &'static str,
    variant: &'static str,
    imports: &'static [&'static str],
) -> Line {
    Line {
        name,
        file,
        variant,
        imports,
        features: &[],
        backends: ANYWHERE,
    }
}

/// A kernel for matrix cores. naga's HLSL writer has no matrices: it panics.
const fn cores(line: Line, backends: &'static [&'static str]) -> Line {
    Line {
        features: &["F16", "Matrices"],
        backends,
        ..line
    }
}

/// A kernel that joins lanes by subgroups.
const fn subgroups(line: Line) -> Line {
    Line {
        features: &["Subgroups"],
        ..line
    }
}

/// The imports of the row kernels.
const ROW: &[&str] = &["row_parameters", "row", "reduce_plain"];
const ROW_SUBGROUP: &[&str] = &["row_parameters", "row", "reduce_subgroup"];
const SPREAD: &[&str] = &["row_parameters", "row", "spread", "reduce_plain"];
const SPREAD_SUBGROUP: &[&str] = &["row_parameters", "row", "spread", "reduce_subgroup"];

/// The imports of `logits` lane by lane.
const LANES_F32: &[&str] = &["logits", "lanes", "values_f32"];
const LANES_F16: &[&str] = &["logits", "lanes", "widen", "values_f16"];

/// The imports of `logits` for matrix cores.
const MATRIX_16: &[&str] = &["cores_16", "matrix_16", "logits", "matrix"];
const MATRIX_8: &[&str] = &["cores_8", "matrix_8", "logits", "matrix"];
const SPLIT_16: &[&str] = &["cores_16", "matrix_16", "logits", "matrix", "split_16"];
const SPLIT_8: &[&str] = &["cores_8", "matrix_8", "logits", "matrix", "split_8"];

/// Where matrices of 16×16 and of 8×8 are.
const HAVE_16: &[&str] = &["Vulkan"];
const HAVE_8: &[&str] = &["Vulkan", "Metal"];

/// Kernels, in the order of the table.
const KERNELS: &[Line] = &[
    plain("logits", "small", "f32", LANES_F32),
    plain("logits", "small", "f16", LANES_F16),
    plain("logits", "large", "f32", LANES_F32),
    plain("logits", "large", "f16", LANES_F16),
    cores(plain("logits", "matrix_split", "16", SPLIT_16), HAVE_16),
    cores(plain("logits", "matrix", "16", MATRIX_16), HAVE_16),
    cores(plain("logits", "matrix_split", "8", SPLIT_8), HAVE_8),
    cores(plain("logits", "matrix", "8", MATRIX_8), HAVE_8),
    plain("peak", "fma", "", &["peak"]),
    plain("peak", "copy", "", &["peak"]),
    cores(
        plain("peak", "matrix", "16", &["cores_16", "peak"]),
        HAVE_16,
    ),
    cores(plain("peak", "matrix", "8", &["cores_8", "peak"]), HAVE_8),
    plain("row_norms", "", "f32", &["values_f32", "singly"]),
    plain("row_norms", "", "f16", &["widen", "values_f16", "singly"]),
    plain("row_norms", "", "wide_f32", &["wide_f32"]),
    plain("row_norms", "", "wide_f16", &["widen", "wide_f16"]),
    plain("row_scores", "", "", SPREAD),
    plain("row_statistics", "", "plain", SPREAD),
    subgroups(plain("row_statistics", "", "subgroup", SPREAD_SUBGROUP)),
    plain("class_candidates", "", "plain", ROW),
    subgroups(plain("class_candidates", "", "subgroup", ROW_SUBGROUP)),
    plain("row_keys", "", "", &["row_parameters", "row_key"]),
    plain("nearest", "", "plain", ROW),
    subgroups(plain("nearest", "", "subgroup", ROW_SUBGROUP)),
    plain("gradients", "", "plain", ROW),
    subgroups(plain("gradients", "", "subgroup", ROW_SUBGROUP)),
    plain("nearest_gradient", "", "plain", ROW),
    subgroups(plain("nearest_gradient", "", "subgroup", ROW_SUBGROUP)),
];

/// One kernel with its imports, known to be valid.
pub(crate) struct Kernel {
    pub(crate) name: &'static str,
    pub(crate) file: &'static str,
    pub(crate) variant: &'static str,
    pub(crate) features: &'static [&'static str],
    pub(crate) backends: &'static [&'static str],
    pub(crate) source: String,
    pub(crate) module: naga::Module,
}

impl Line {
    /// Where the file lies, without its extension.
    fn path(&self) -> String {
        match self.file {
            "" => self.name.into(),
            file => format!("{}/{file}", self.name),
        }
    }

    fn read(&self, folder: &Path) -> Result<Kernel, String> {
        let source = Source::read(folder, &self.path(), self.imports)?;
        Ok(Kernel {
            name: self.name,
            file: self.file,
            variant: self.variant,
            features: self.features,
            backends: self.backends,
            module: source.validated(capabilities(self.features))?,
            source: source.text,
        })
    }
}

/// What naga has to allow for `features`.
fn capabilities(features: &[&str]) -> Capabilities {
    let needed = features.iter().map(|feature| match *feature {
        "F16" => Capabilities::SHADER_FLOAT16,
        "Matrices" => Capabilities::COOPERATIVE_MATRIX,
        "Subgroups" => Capabilities::SUBGROUP,
        other => panic!("no feature is called {other}"),
    });
    needed.fold(Capabilities::empty(), Capabilities::union)
}

/// Reads, joins and validates every kernel under `folder`.
pub(crate) fn kernels(folder: &Path) -> Result<Vec<Kernel>, String> {
    for file in files(folder)? {
        if !KERNELS.iter().any(|line| line.path() == file) {
            return Err(format!(
                "{}/{file}.wgsl is no kernel of build/assemble.rs",
                folder.display()
            ));
        }
    }
    KERNELS.iter().map(|line| line.read(folder)).collect()
}

/// Paths of the kernels' files under `folder`, without their extension.
fn files(folder: &Path) -> Result<Vec<String>, String> {
    let mut files = Vec::new();
    for (stem, path) in entries(folder)? {
        match path.is_dir() {
            true if stem == "import" => {}
            true => {
                let inside = entries(&path)?.into_iter();
                files.extend(inside.map(|(file, _)| format!("{stem}/{file}")));
            }
            false => files.push(stem),
        }
    }
    Ok(files)
}

/// Stems and paths of what lies in `folder`.
fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>, String> {
    let entries = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let named = paths.filter_map(|path| {
        let stem = path.file_stem()?.to_string_lossy().into_owned();
        Some((stem, path))
    });
    Ok(named.collect())
}

/// Joined files, and where in the text each begins.
struct Source {
    text: String,
    parts: Vec<(PathBuf, u32)>,
}

impl Source {
    fn read(folder: &Path, name: &str, imports: &[&str]) -> Result<Self, String> {
        let mut source = Self {
            text: String::new(),
            parts: Vec::new(),
        };
        let imports = imports.iter().map(|import| format!("import/{import}.wgsl"));
        for file in imports.chain([format!("{name}.wgsl")]) {
            let path = folder.join(file);
            let text =
                std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            let lines_before = source.text.matches('\n').count() as u32;
            source.parts.push((path, lines_before));
            source.text.push_str(&text);
            if !text.ends_with('\n') {
                source.text.push('\n');
            }
        }
        Ok(source)
    }

    fn validated(&self, allowed: Capabilities) -> Result<naga::Module, String> {
        let module = naga::front::wgsl::parse_str(&self.text).map_err(|error| {
            self.describe(
                error.location(&self.text),
                error.message(),
                &error.emit_to_string(&self.text),
            )
        })?;
        Validator::new(ValidationFlags::all(), allowed)
            .subgroup_stages(ShaderStages::COMPUTE)
            .subgroup_operations(SubgroupOperationSet::all())
            .validate(&module)
            .map_err(|error| {
                let cause = causes(error.as_inner());
                self.describe(
                    error.location(&self.text),
                    &cause,
                    &error.emit_to_string(&self.text),
                )
            })?;
        Ok(module)
    }

    /// `file:line:column: message`, then naga's own drawing of the place.
    fn describe(
        &self,
        location: Option<naga::SourceLocation>,
        message: &str,
        drawing: &str,
    ) -> String {
        let kernel = self
            .parts
            .last()
            .expect("a kernel has at least its own file");
        let place = match location {
            Some(at) => {
                let holds = |(_, before): &&(PathBuf, u32)| *before < at.line_number;
                let (path, before) = self.parts.iter().rev().find(holds).unwrap_or(kernel);
                format!(
                    "{}:{}:{}",
                    path.display(),
                    at.line_number - before,
                    at.line_position
                )
            }
            None => kernel.0.display().to_string(),
        };
        format!("{place}: {message}\n{drawing}")
    }
}

/// An error and what caused it, in one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}
