//! Versions of kernels: ours, ours with other constants, and somebody's own.

use std::borrow::Cow;
use std::sync::Arc;

use equipoise_shaders::OwnShader;

use crate::GpuError;
use crate::device::Context;
use crate::kernels::Kernel;
use crate::kernels::class_candidates::ClassCandidates;
use crate::kernels::gradients::Gradients;
use crate::kernels::logits::{Path, Weights};
use crate::kernels::nearest::Nearest;
use crate::kernels::nearest_gradient::NearestGradient;
use crate::kernels::row_norms::RowNorms;
use crate::kernels::row_scores::RowScores;
use crate::kernels::row_statistics::RowStatistics;

/// A compiled version of a kernel.
#[derive(Debug, Clone)]
pub struct KernelVersion {
    pub(super) kernel: &'static str,
    pub(super) variant: String,
    pub(super) source: Cow<'static, str>,
    pub(super) compiled: Compiled,
}

impl KernelVersion {
    /// The kernel's name.
    pub fn kernel(&self) -> &'static str {
        self.kernel
    }

    /// Which version it is.
    pub fn variant(&self) -> &str {
        &self.variant
    }

    /// Whether matrix cores multiply.
    pub fn by_matrices(&self) -> bool {
        self.source.contains("enable wgpu_cooperative_matrix")
    }

    /// The WGSL that was compiled.
    pub fn source(&self) -> &str {
        &self.source
    }
}

/// A kernel, ready to be recorded.
#[derive(Debug, Clone)]
pub(crate) enum Compiled {
    /// With the head as it wants it, on so many rows of the block.
    Logits {
        path: Path,
        weights: Arc<Vec<Weights>>,
        rows: u32,
    },
    RowNorms(RowNorms),
    RowStatistics(RowStatistics),
    ClassCandidates(ClassCandidates),
    RowScores(RowScores),
    Nearest(Nearest),
    Gradients(Gradients),
    NearestGradient(NearestGradient),
}

impl Compiled {
    /// A version of any kernel but `logits`.
    pub(super) fn own(context: &Context, label: &str, own: &OwnShader) -> Result<Self, GpuError> {
        let kernel = || Kernel::of_own(context, label, own);
        Ok(match own.kernel {
            "row_norms" => Self::RowNorms(RowNorms::of(kernel())),
            "row_statistics" => Self::RowStatistics(RowStatistics::of(kernel())),
            "class_candidates" => Self::ClassCandidates(ClassCandidates::of(kernel())),
            "row_scores" => Self::RowScores(RowScores::of(kernel())),
            "nearest" => Self::Nearest(Nearest::of(kernel())),
            "gradients" => Self::Gradients(Gradients::of(kernel())),
            "nearest_gradient" => Self::NearestGradient(NearestGradient::of(kernel())),
            other => {
                return Err(GpuError::Wgsl {
                    of: other.into(),
                    message: "no kernel that is timed by itself".into(),
                });
            }
        })
    }
}
