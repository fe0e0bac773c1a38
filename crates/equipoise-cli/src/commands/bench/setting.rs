//! What is measured on what, and what came of it.

use std::time::Duration;

use equipoise::core::{Head, Pool};
use equipoise::gpu::shaders::OwnShader;
use equipoise::pool::Dtype;

use super::Shape;
use super::peers::Peers;
use super::record::DeviceRecord;
use super::row::Row;
use super::target::Target;

/// A device, and a pool and a head to measure it with.
pub(super) struct Setting<'a> {
    pub(super) target: &'a Target,
    pub(super) device: &'a DeviceRecord,
    pub(super) shape: Shape,
    pub(super) pool: &'a dyn Pool,
    pub(super) head: &'a Head,
    /// Time for each measurement.
    pub(super) budget: Duration,
    /// Parts of names, of which one must be in what is measured; none means all.
    pub(super) only: &'a [String],
    pub(super) own: &'a [Own],
    /// How long one of them may take.
    pub(super) patience: Duration,
    pub(super) peers: Peers,
    /// Whether ours are measured with other constants too.
    pub(super) tuned: bool,
}

/// Somebody's own kernel, as its file was when it was read.
#[derive(Debug, Clone)]
pub(super) struct Own {
    pub(super) label: String,
    pub(super) shader: OwnShader,
}

impl Own {
    /// Whether it is for embeddings stored like that.
    pub(super) fn suits(&self, dtype: Dtype) -> bool {
        let half = self.shader.reads_f16;
        half.is_none_or(|half| half == (dtype == Dtype::F16))
    }

    /// Which embeddings it is for.
    pub(super) fn reads(&self) -> &'static str {
        match self.shader.reads_f16 {
            Some(true) => "it reads f16 embeddings",
            Some(false) => "it reads f32 embeddings",
            None => "it reads no embeddings",
        }
    }
}

/// What a part of the measurements comes to.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) rows: Vec<Row>,
    /// What failed, and why.
    pub(super) failed: Vec<(String, String)>,
    /// What the device cannot do, and why.
    pub(super) left_out: Vec<(String, String)>,
}

impl Found {
    /// Notes what failed, and why.
    pub(super) fn fail(&mut self, what: impl Into<String>, reason: impl Into<String>) {
        self.failed.push((what.into(), reason.into()));
    }

    /// Adds what another part came to.
    pub(super) fn extend(&mut self, part: Found) {
        self.rows.extend(part.rows);
        self.failed.extend(part.failed);
        self.left_out.extend(part.left_out);
    }

    /// Notes what is not measured, and why.
    pub(super) fn leave_out(&mut self, what: impl Into<String>, reason: impl Into<String>) {
        self.left_out.push((what.into(), reason.into()));
    }
}

impl From<Vec<Row>> for Found {
    fn from(rows: Vec<Row>) -> Self {
        Self {
            rows,
            ..Self::default()
        }
    }
}

impl Setting<'_> {
    /// Whether a kernel's variant, or a selection's, was asked for: by a part of its name, or of `/NAME/VARIANT`.
    pub(super) fn wants(&self, name: &str, variant: &str) -> bool {
        let whole = format!("/{name}/{variant}");
        let is_in = |part: &String| match part.contains('/') {
            true => whole.contains(part),
            false => name.contains(part),
        };
        self.only.is_empty() || self.only.iter().any(is_in)
    }
}
