//! Tests of the GPU engine, in one binary.

mod common;
mod custom;
mod engine;
mod limits;
mod names;
mod picks;
mod pools;
mod scores;
