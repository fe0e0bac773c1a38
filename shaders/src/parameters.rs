//! Twins of the shaders' uniform structs; their layouts are asserted at build time.

use bytemuck::{Pod, Zeroable};

/// What `logits` is told.
#[derive(Debug, Clone, Copy, PartialEq, Default, Pod, Zeroable)]
#[repr(C)]
pub struct LogitsParameters {
    /// Rows of the block.
    pub rows: u32,
    /// Columns of the embeddings and the head, M.
    pub dim: u32,
    /// Classes of the head, C.
    pub classes: u32,
    /// First class of the slice.
    pub first: u32,
    /// Classes of the slice.
    pub count: u32,
    /// 0, which the shader's compiler cannot know.
    pub zero: u32,
    /// What the matrix variants multiply their sums by: they scale the head to fit f16.
    pub unscale: f32,
    /// Uniform structs are a multiple of 16 bytes.
    pub padding: u32,
}

/// What `row_norms` is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Pod, Zeroable)]
#[repr(C)]
pub struct NormsParameters {
    /// Rows of the block.
    pub rows: u32,
    /// Columns of the embeddings, M.
    pub dim: u32,
    /// Uniform structs are a multiple of 16 bytes.
    pub padding_0: u32,
    /// See `padding_0`.
    pub padding_1: u32,
}

/// What the row kernels are told.
#[derive(Debug, Clone, Copy, PartialEq, Default, Pod, Zeroable)]
#[repr(C)]
pub struct RowParameters {
    /// Rows of the block.
    pub rows: u32,
    /// Classes of the head, C.
    pub classes: u32,
    /// First predicted class of the slice of the scale table.
    pub first: u32,
    /// Predicted classes of the slice.
    pub count: u32,
    /// Candidates that the list holds.
    pub capacity: u32,
    /// Where the block's norms begin.
    pub first_norm: u32,
    /// Factor of the norm in a row's tolerance.
    pub slope: f32,
    /// What is added.
    pub offset: f32,
    /// Above this norm, nothing is known.
    pub largest_norm: f32,
    /// Uniform structs are a multiple of 16 bytes.
    pub padding_0: u32,
    /// See `padding_0`.
    pub padding_1: u32,
    /// See `padding_0`.
    pub padding_2: u32,
}

/// What `gradients` is told of bounds: `equipoise_core::engine::GradientTolerance`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Pod, Zeroable)]
#[repr(C)]
pub struct GradientParameters {
    /// Tolerance of products with centres' embeddings: factor of the norm.
    pub embedding_slope: f32,
    /// What is added.
    pub embedding_offset: f32,
    /// Above this norm, nothing is known.
    pub embedding_largest_norm: f32,
    /// Tolerance of products with centres' gradients: factor of the norm.
    pub gradient_slope: f32,
    /// What is added.
    pub gradient_offset: f32,
    /// Above this norm, nothing is known.
    pub gradient_largest_norm: f32,
    /// Largest norm of a centre's embedding.
    pub largest_embedding: f32,
    /// Largest norm of a centre's gradient.
    pub largest_gradient: f32,
    /// Largest bias of a centre.
    pub largest_bias: f32,
    /// Relative rounding of a gradient's numbers.
    pub base: f32,
    /// Relative rounding of a few operations.
    pub unit: f32,
    /// Uniform structs are a multiple of 16 bytes.
    pub padding: f32,
}

/// What the `peak` kernels are told.
#[derive(Debug, Clone, Copy, PartialEq, Default, Pod, Zeroable)]
#[repr(C)]
pub struct PeakParameters {
    /// Times that a lane does its work.
    pub rounds: u32,
    /// Elements to copy.
    pub count: u32,
    /// A number to compute with.
    pub factor: f32,
    /// Another.
    pub summand: f32,
}
