//! Weights and biases of some classes on the device.

use std::ops::Range;

use equipoise_core::Head;
use half::f16;
use wgpu::{Buffer, BufferUsages};

use super::variants::{Arithmetic, Matrices};
use super::{Path, split};
use crate::GpuError;
use crate::device::{Context, SENT};

/// Weights and biases of some classes, as one path wants them.
#[derive(Debug)]
pub(crate) struct Weights {
    pub(crate) classes: Range<usize>,
    /// One, or as many as the weights are split in.
    pub(super) parts: Vec<Buffer>,
    pub(super) bias: Buffer,
    /// What sums of products with `parts` are multiplied by.
    pub(super) unscale: f32,
}

impl Path {
    /// Copies the weights and biases of `classes` to the device.
    pub(crate) fn weights(
        &self,
        context: &Context,
        head: &Head,
        classes: Range<usize>,
    ) -> Result<Weights, GpuError> {
        let dim = head.dim();
        let weight = &head.weight()[classes.start * dim..classes.end * dim];
        let storage = |label, bytes: usize| {
            let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST;
            context.buffer(label, bytes as u64, usage)
        };
        let (parts, unscale) = match self.arithmetic {
            Arithmetic::Lanes { .. } => {
                let whole = storage("head weight", size_of_val(weight));
                context.send(&whole, 0, bytemuck::cast_slice(weight))?;
                (vec![whole], 1.0)
            }
            Arithmetic::Matrices(Matrices { parts, depth, .. }) => {
                // The whole head's, as the bound is relative to its largest weight.
                let scale = split::scale(head.weight()).unwrap_or(1.0);
                let tile = self.tile[1] as usize;
                let line = size_of::<f16>() * dim.next_multiple_of(depth as usize);
                let bytes = classes.len().next_multiple_of(tile) * line;
                let made = (0..parts).map(|_| storage("head part", bytes));
                let made: Vec<Buffer> = made.collect();
                // Whole tiles at a time: only the last is padded.
                let piece = (SENT / line / tile).max(1) * tile;
                let offsets = (0..).step_by(piece * line);
                let mut unscale = 1.0;
                for (offset, weight) in offsets.zip(weight.chunks(piece * dim)) {
                    let padding = [self.tile[1], depth];
                    let split = split::split(weight, dim, scale, parts, padding);
                    for (buffer, part) in made.iter().zip(&split.parts) {
                        context.send(buffer, offset, bytemuck::cast_slice(part))?;
                    }
                    unscale = split.unscale;
                }
                (made, unscale)
            }
        };
        let bias = &head.bias()[classes.clone()];
        let biases = storage("head bias", size_of_val(bias));
        context.send(&biases, 0, bytemuck::cast_slice(bias))?;
        Ok(Weights {
            parts,
            bias: biases,
            unscale,
            classes,
        })
    }
}
