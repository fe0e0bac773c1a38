//! Kernels of somebody's own, in files.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use equipoise::gpu::shaders::{ALL, OwnShader, own_version};

use crate::failure::{Failure, Result};

/// Kernels that are timed by themselves.
const KERNELS: [&str; 8] = [
    "logits",
    "row_norms",
    "row_statistics",
    "class_candidates",
    "row_scores",
    "nearest_gradient",
    "nearest",
    "gradients",
];

/// A file, and the kernel that it is a version of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnKernel {
    pub(crate) path: PathBuf,
    pub(crate) kernel: &'static str,
}

/// `KERNEL=FILE`, or a file whose name begins with the kernel's: `row_norms-mine.wgsl`.
impl FromStr for OwnKernel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = KERNELS.join(", ");
        if let Some((name, path)) = text.split_once('=') {
            let kernel = KERNELS.into_iter().find(|kernel| *kernel == name);
            let kernel = kernel.ok_or(format!("no kernel is called `{name}`: {known}"))?;
            return Ok(Self {
                path: path.into(),
                kernel,
            });
        }
        let stem = Path::new(text).file_stem().unwrap_or_default();
        let stem = stem.to_string_lossy();
        let begins = |kernel: &&str| {
            let rest = stem.strip_prefix(kernel);
            rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
        };
        match KERNELS.into_iter().find(|kernel| begins(kernel)) {
            Some(kernel) => Ok(Self {
                path: text.into(),
                kernel,
            }),
            None => Err(format!(
                "which kernel is it? Write KERNEL=FILE, or let the file's name begin with the kernel's: {known}"
            )),
        }
    }
}

impl OwnKernel {
    /// What tables call it.
    pub(super) fn label(&self) -> String {
        let name = self.path.file_name().unwrap_or(self.path.as_os_str());
        name.to_string_lossy().into_owned()
    }

    /// The shader as it is in the file now.
    ///
    /// # Errors
    /// Where the file cannot be read, or is no version of the kernel.
    pub(super) fn read(&self) -> Result<OwnShader> {
        let source = std::fs::read_to_string(&self.path)
            .map_err(|error| Failure::from(error).at(&self.path))?;
        own_version(self.kernel, source).map_err(|error| {
            let of = ALL.iter().find(|shader| shader.kernel == self.kernel);
            Failure::new(format!("no version of `{}`: {error}", self.kernel))
                .at(&self.path)
                .with_hint(format!(
                    "`equipoise bench --dump DIR` writes {}.wgsl, which is one",
                    of.map_or_else(String::new, |of| of.name())
                ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_say_which_kernel_it_is() {
        let kernel = |text: &str| text.parse::<OwnKernel>().map(|own| own.kernel);
        assert_eq!(kernel("row_norms.wgsl"), Ok("row_norms"));
        assert_eq!(kernel("a/nearest_gradient-2.wgsl"), Ok("nearest_gradient"));
        assert_eq!(kernel("nearest.mine.wgsl"), Ok("nearest"));
        assert_eq!(kernel("gradients=nearest.wgsl"), Ok("gradients"));
        for other in [
            "mine.wgsl",
            "row_normsx.wgsl",
            "peak=a.wgsl",
            "nearest_2.wgsl",
            "",
        ] {
            let said = kernel(other).unwrap_err();
            assert!(said.contains("row_statistics"), "{other}: {said}");
        }
        for kernel in KERNELS {
            assert!(ALL.iter().any(|shader| shader.kernel == kernel));
        }
    }
}
