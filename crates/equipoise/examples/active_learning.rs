//! An active-learning loop around a training loop: a network learns to tell images, of which one kind is rare.
//!
//! `cargo run --release -p equipoise --example active_learning`

use std::error::Error;

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig, Relu};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use equipoise::{Selector, strategies::Base};

const SIDE: usize = 12;
const IMAGES: usize = 1500;

#[derive(Module, Debug)]
struct Network {
    conv: Conv2d,
    head: Linear,
}

impl Network {
    fn new(device: &Device) -> Self {
        Self {
            conv: Conv2dConfig::new([1, 32], [5, 5]).init(device),
            head: LinearConfig::new(32, 3).init(device),
        }
    }

    fn embed(&self, images: Tensor<4>) -> Tensor<2> {
        let found: Tensor<3> = Relu::new().forward(self.conv.forward(images)).flatten(2, 3);
        found.max_dim(2).flatten(1, 2)
    }
}

/// The kind of an image: lines across, lines down, and, one time in ten, a cross of both.
fn kind(image: usize) -> usize {
    if image % 10 == 7 { 2 } else { image % 2 }
}

fn images(first: usize, count: usize, device: &Device) -> Tensor<4> {
    let pixel = |image: usize, x: usize, y: usize| {
        let (across, down) = (y == image / 10 % SIDE, x == image / 3 % SIDE);
        [across, down, across || down][kind(image)] as u8 as f32
    };
    let all = (first..first + count)
        .flat_map(|image| (0..SIDE * SIDE).map(move |at| pixel(image, at % SIDE, at / SIDE)));
    let shape = [count, 1, SIDE, SIDE];
    let noise = Tensor::random(shape, Distribution::Normal(0.0, 0.4), device);
    Tensor::from_data(TensorData::new(all.collect(), shape), device) + noise
}

fn train(pool: &Tensor<4>, labelled: &[usize], device: &Device) -> Network {
    let device = device.clone().autodiff();
    let mut network = Network::new(&device);
    let mut optimizer = AdamConfig::new().init();
    let rows = |of: Vec<i32>| Tensor::<1, Int>::from_ints(&of[..], &device);
    let chosen = rows(labelled.iter().map(|row| *row as i32).collect());
    let targets = rows(labelled.iter().map(|row| kind(*row) as i32).collect());
    let inputs = Tensor::from_data(pool.to_data(), &device).select(0, chosen);
    for _ in 0..80 {
        let logits = network.head.forward(network.embed(inputs.clone()));
        let loss = CrossEntropyLossConfig::new()
            .init(&device)
            .forward(logits, targets.clone());
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        network = optimizer.step(0.01, network, gradients);
    }
    network
}

fn main() -> Result<(), Box<dyn Error>> {
    let device = Device::flex();
    device.seed(1);
    let (pool, test) = (images(0, IMAGES, &device), images(IMAGES, 500, &device));
    let selector = Selector::new(&device)?;
    let mut labelled: Vec<usize> = (0..15).map(|i| i * 97 % IMAGES).collect();
    for round in 0..4 {
        let network = train(&pool, &labelled, &device);
        let found = network
            .head
            .forward(network.embed(test.clone()))
            .argmax(1)
            .into_data();
        let right = found
            .iter::<i64>()
            .zip(IMAGES..)
            .filter(|(f, i)| *f == kind(*i) as i64);
        let rare = labelled.iter().filter(|row| kind(**row) == 2).count();
        let (count, share) = (labelled.len(), right.count() as f64 / 5.0);
        println!("round {round}: {count} labels, {rare} of the rare kind, {share:.1}% right");
        let query = selector.strategy(Base).budget(15).exclude(labelled.clone());
        let picked = query.select(network.embed(pool.clone()), &network.head)?;
        labelled.extend(picked.rows());
    }
    Ok(())
}
