//! Shaders in which somebody's own function stands.

use naga::valid::{
    Capabilities, ModuleInfo, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator,
};

use crate::ROW_KEYS;

/// The function that stands in the shader as it is.
const DEFAULT: &str = include_str!("../wgsl/import/row_key.wgsl");

/// What is wrong with somebody's WGSL.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CustomError {
    /// Its line, from 1; none where the whole is wrong.
    pub line: Option<u32>,
    /// What naga says.
    pub message: String,
}

impl std::fmt::Display for CustomError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for CustomError {}

/// Kernel `row_keys` with `function`, WGSL that defines `fn row_key(row: u32) -> f32`, and may define what else it
/// needs. It may call `classes() -> u32` and `logit(row: u32, c: u32) -> f32`, and use the constants of
/// `wgsl/import/row_parameters.wgsl`.
///
/// # Errors
/// [`CustomError`] where it is not valid WGSL in its place.
pub fn row_keys_with(function: &str) -> Result<String, CustomError> {
    let before = ROW_KEYS.source.find(DEFAULT).unwrap_or_default();
    let skipped = ROW_KEYS.source[..before].matches('\n').count() as u32;
    let lines = function.lines().count() as u32;
    let source = ROW_KEYS
        .source
        .replacen(DEFAULT, &format!("{function}\n"), 1);
    checked(&source, Capabilities::empty()).map_err(|error| CustomError {
        line: error
            .line
            .and_then(|line| line.checked_sub(skipped))
            .filter(|line| (1..=lines).contains(line)),
        ..error
    })?;
    Ok(source)
}

/// WGSL parsed and validated, with what naga says where it is not valid.
pub(crate) fn checked(
    source: &str,
    capabilities: Capabilities,
) -> Result<(naga::Module, ModuleInfo), CustomError> {
    let wrong = |location: Option<naga::SourceLocation>, message: String| CustomError {
        line: location.map(|at| at.line_number),
        message,
    };
    let module = naga::front::wgsl::parse_str(source)
        .map_err(|error| wrong(error.location(source), error.message().into()))?;
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .subgroup_stages(ShaderStages::COMPUTE)
        .subgroup_operations(SubgroupOperationSet::all())
        .validate(&module)
        .map_err(|error| {
            let (mut message, mut next) = (
                String::new(),
                Some(error.as_inner() as &dyn std::error::Error),
            );
            while let Some(cause) = next {
                message += &format!("{}{cause}", if message.is_empty() { "" } else { ": " });
                next = cause.source();
            }
            wrong(error.location(source), message)
        })?;
    Ok((module, info))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_stands_in_its_own_place() {
        assert_eq!(row_keys_with(DEFAULT.trim_end()).unwrap(), ROW_KEYS.source);
    }

    #[test]
    fn errors_name_the_line_of_the_function() {
        let unknown =
            row_keys_with("fn row_key(row: u32) -> f32 {\n    return sin_h(1.0);\n}").unwrap_err();
        assert_eq!(unknown.line, Some(2), "{unknown}");
        assert!(unknown.to_string().contains("sin_h"), "{unknown}");
        let mistyped =
            row_keys_with("\nfn row_key(row: u32) -> f32 {\n    return row;\n}").unwrap_err();
        assert!((2..=3).contains(&mistyped.line.unwrap()), "{mistyped}");
        let missing = row_keys_with("fn other(row: u32) -> f32 { return 1.0; }").unwrap_err();
        assert!(missing.message.contains("row_key"), "{missing}");
        let clash =
            row_keys_with("fn row_key(row: u32) -> f32 { return 1.0; }\nconst LANES: u32 = 1u;");
        assert!(clash.is_err());
    }
}
