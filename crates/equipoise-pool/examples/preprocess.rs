//! Times decoding and preprocessing of a folder of images, on one thread and on all:
//! `cargo run --release -p equipoise-pool --example preprocess -- FOLDER`. The images are read
//! beforehand. benches/peers/preprocess.py runs it beside Pillow.

use std::time::Instant;

use equipoise_pool::{Preprocess, Source, decode};
use rayon::prelude::*;

/// As in the command line: see its allocator.rs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Of so many runs the median counts.
const RUNS: usize = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args()
        .nth(1)
        .ok_or("a folder of images is needed")?;
    let source = Source::open(&folder, None)?;
    let images: Vec<Vec<u8>> = source
        .stream(0)
        .map(|item| Ok(item?.1?))
        .collect::<Result<_, Box<dyn std::error::Error>>>()?;
    let settings = Preprocess::IMAGENET;
    let rate = |what: &(dyn Fn() + Sync)| {
        let mut seconds: Vec<f64> = (0..RUNS)
            .map(|_| {
                let started = Instant::now();
                what();
                started.elapsed().as_secs_f64()
            })
            .collect();
        seconds.sort_by(f64::total_cmp);
        images.len() as f64 / seconds[RUNS / 2]
    };
    // On a thread of its own, as `equipoise embed` does it.
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    let decoded = alone.install(|| rate(&|| images.iter().for_each(|image| drop(decode(image)))));
    let one =
        alone.install(|| rate(&|| images.iter().for_each(|image| drop(settings.apply(image)))));
    let all = rate(&|| {
        images
            .par_iter()
            .for_each(|image| drop(settings.apply(image)))
    });
    let threads = rayon::current_num_threads();
    println!(
        r#"{{"images": {}, "decode_only": {decoded:.1}, "one_thread": {one:.1}, "threads": {threads}, "all_threads": {all:.1}}}"#,
        images.len(),
    );
    Ok(())
}
