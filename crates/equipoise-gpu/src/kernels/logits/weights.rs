//! Weights and biases of some classes on the device.

use std::ops::Range;

use equipoise_core::Head;
use equipoise_shaders::LogitsParameters;
use wgpu::{Buffer, BufferUsages};

use super::Path;
use crate::device::Context;

/// Weights and biases of some classes, as one path wants them.
#[derive(Debug)]
pub(crate) struct Weights {
    pub(crate) classes: Range<usize>,
    pub(super) weight: Buffer,
    pub(super) bias: Buffer,
    pub(super) parameters: Buffer,
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
        let usage = BufferUsages::UNIFORM | BufferUsages::COPY_DST;
        let parameters = size_of::<LogitsParameters>() as u64;
        let weights = Weights {
            weight: storage("head weight", bytemuck::cast_slice(weight)),
            bias: storage(
                "head bias",
                bytemuck::cast_slice(&head.bias()[classes.clone()]),
            ),
            parameters: context.buffer("logits parameters", parameters, usage),
            classes,
        };
        // Sends them, so that they do not wait in host memory.
        context.queue.submit([]);
        weights
    }
}
