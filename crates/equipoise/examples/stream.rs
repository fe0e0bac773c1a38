//! Picks among images that a model sees batch by batch: neither the images nor their embeddings are ever all in memory.
//!
//! `cargo run --release -p equipoise --example stream [gpu]`

use std::error::Error;

use burn::nn::{Linear, LinearConfig, Relu};
use burn::tensor::{Device, Distribution, Tensor};
use equipoise::gpu::DeviceChoice;
use equipoise::{Selector, strategies::Base};

const BATCHES: usize = 64;
const BATCH: usize = 256;
const PIXELS: usize = 192;
const DIM: usize = 64;
const CLASSES: usize = 10;

/// A backbone, small enough for an example.
struct Backbone {
    first: Linear,
    second: Linear,
}

impl Backbone {
    fn embed(&self, images: Tensor<2>) -> Tensor<2> {
        let hidden = Relu::new().forward(self.first.forward(images));
        self.second.forward(hidden)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    // On a GPU the selector comes first: it opens the device for burn and for itself.
    let (selector, device) = match std::env::args().nth(1).as_deref() {
        Some("gpu") => Selector::gpu(&DeviceChoice::Any)?,
        _ => (Selector::new(&Device::flex())?, Device::flex()),
    };
    device.seed(7);
    let backbone = Backbone {
        first: LinearConfig::new(PIXELS, 128).init(&device),
        second: LinearConfig::new(128, DIM).init(&device),
    };
    let head = LinearConfig::new(DIM, CLASSES).init(&device);

    let mut scan = selector.strategy(Base).budget(20).scan(&head)?;
    for _ in 0..BATCHES {
        // Here images would be read from somewhere.
        let images = Tensor::<2>::random([BATCH, PIXELS], Distribution::Default, &device);
        scan.push(backbone.embed(images))?;
    }
    println!("{} images went by", scan.rows());
    let selection = scan.finish()?;
    for pick in &selection.picks {
        let (row, class) = (pick.row, pick.class.unwrap_or_default());
        let (batch, place) = (row / BATCH, row % BATCH);
        println!("image {place} of batch {batch} for class {class}");
    }
    println!("float64 settled {} scores", selection.settled);
    if let Some(moved) = selector.transfers() {
        let all = BATCHES * BATCH * DIM * 4;
        println!(
            "{} bytes came from the device, of {all} of embeddings",
            moved.to_host
        );
    }
    device.sync()?;
    Ok(())
}
