//! From WGSL files to validated modules.

use std::path::{Path, PathBuf};

use naga::valid::{Capabilities, ValidationFlags, Validator};

/// Kernels, in the order of the table: name, variant (empty if there is one) and imports.
const KERNELS: &[(&str, &str, &[&str])] = &[
    ("logits", "f32", &["values_f32"]),
    ("logits", "f16", &["values_f16"]),
    ("row_norms", "f32", &["values_f32"]),
    ("row_norms", "f16", &["values_f16"]),
    ("row_statistics", "", &["row"]),
    ("class_candidates", "", &["row"]),
];

/// One kernel with its imports, known to be valid.
pub(crate) struct Kernel {
    pub(crate) name: &'static str,
    pub(crate) variant: &'static str,
    pub(crate) source: String,
    pub(crate) module: naga::Module,
}

/// Reads, joins and validates every kernel under `folder`.
pub(crate) fn kernels(folder: &Path) -> Result<Vec<Kernel>, String> {
    for file in files(folder)? {
        if !KERNELS.iter().any(|(name, ..)| *name == file) {
            return Err(format!(
                "{}/{file}.wgsl is no kernel of build/assemble.rs",
                folder.display()
            ));
        }
    }
    let assemble = |(name, variant, imports): &(&'static str, &'static str, &[&str])| {
        let source = Source::read(folder, name, imports)?;
        Ok(Kernel {
            name,
            variant,
            module: source.validated()?,
            source: source.text,
        })
    };
    KERNELS.iter().map(assemble).collect()
}

fn files(folder: &Path) -> Result<Vec<String>, String> {
    let entries = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let stem = |path: PathBuf| {
        let wgsl = path
            .extension()
            .is_some_and(|extension| extension == "wgsl");
        wgsl.then(|| {
            path.file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into()
        })
    };
    Ok(entries.flatten().filter_map(|e| stem(e.path())).collect())
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

    fn validated(&self) -> Result<naga::Module, String> {
        let module = naga::front::wgsl::parse_str(&self.text).map_err(|error| {
            self.describe(
                error.location(&self.text),
                error.message(),
                &error.emit_to_string(&self.text),
            )
        })?;
        Validator::new(ValidationFlags::all(), Capabilities::empty())
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
