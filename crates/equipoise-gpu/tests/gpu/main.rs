//! Tests of the GPU engine, in one binary.

mod common;
mod custom;
mod engine;
mod limits;
mod names;
mod pools;
mod scores;
