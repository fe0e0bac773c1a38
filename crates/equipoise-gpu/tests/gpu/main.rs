//! Tests of the GPU engine, in one binary.

mod common;
mod engine;
mod limits;
mod names;
