//! Assembles the kernels, validates them with naga and writes the table that the crate includes.
//!
//! A shader that does not parse or validate fails the build, naming its file and line.

#[path = "build/assemble.rs"]
mod assemble;
#[path = "build/emit.rs"]
mod emit;

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=wgsl");
    println!("cargo::rerun-if-changed=build");
    let out = std::env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("wgsl");
    match assemble::kernels(&folder) {
        Ok(kernels) => {
            let path = Path::new(&out).join("shaders.rs");
            std::fs::write(&path, emit::table(&kernels)).expect("cargo's OUT_DIR can be written");
        }
        Err(message) => {
            for line in message.lines() {
                println!("cargo::error={line}");
            }
            std::process::exit(1);
        }
    }
}
