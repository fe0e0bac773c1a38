//! Weights and biases of some classes on the device.

use std::ops::Range;

use equipoise_core::Head;
use wgpu::{Buffer, BufferUsages};

use super::variants::{Arithmetic, Matrices};
use super::{Path, split};
use crate::device::Context;

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
    pub(crate) fn weights(&self, context: &Context, head: &Head, classes: Range<usize>) -> Weights {
        let dim = head.dim();
        let weight = &head.weight()[classes.start * dim..classes.end * dim];
        let storage = |label, bytes: &[u8]| {
            let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST;
            let buffer = context.buffer(label, bytes.len() as u64, usage);
            context.write(&buffer, bytes);
            buffer
        };
        let (parts, unscale) = match self.arithmetic {
            Arithmetic::Lanes { .. } => {
                let whole = storage("head weight", bytemuck::cast_slice(weight));
                (vec![whole], 1.0)
            }
            Arithmetic::Matrices(Matrices { parts, depth, .. }) => {
                // The whole head's, as the bound is relative to its largest weight.
                let scale = split::scale(head.weight()).unwrap_or(1.0);
                let padding = [self.tile[1], depth];
                let split = split::split(weight, dim, scale, parts, padding);
                let parts = split.parts.iter();
                let parts = parts.map(|part| storage("head part", bytemuck::cast_slice(part)));
                (parts.collect(), split.unscale)
            }
        };
        let bias = bytemuck::cast_slice(&head.bias()[classes.clone()]);
        let weights = Weights {
            parts,
            bias: storage("head bias", bias),
            unscale,
            classes,
        };
        // Sends them, so that they do not wait in host memory.
        context.queue.submit([]);
        weights
    }
}
