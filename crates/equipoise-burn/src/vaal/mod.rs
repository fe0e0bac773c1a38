//! VAAL: Sinha, Ebrahimi and Darrell, *Variational Adversarial Active Learning* (arXiv 1904.00370).
//!
//! A variational autoencoder learns to encode labelled and unlabelled images alike, a discriminator to tell their
//! codes apart; the images whose codes it takes for unlabelled are unlike what is labelled. The task's model
//! has no part in it, so that it is trained beside, when rows are picked.

mod network;

use burn::module::Module;
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::activation::log_sigmoid;
use burn::tensor::{Device, Tensor, TensorData};
use equipoise_core::random::{Philox, Purpose};

use crate::models::COLOURS;
use crate::tune::Images;
use crate::{Error, ModelDevice};
use network::{Autoencoder, Code, Discriminator};

/// Images that are encoded at once where nothing learns.
const TOGETHER: usize = 256;

/// Sizes and weights.
#[derive(Debug, Clone, PartialEq)]
pub struct VaalOptions {
    /// Sides of the images, a power of 2 of at least 16.
    pub side: usize,
    /// Channels after the encoder's first stage; they double three times.
    pub width: usize,
    /// Numbers of a code.
    pub latent: usize,
    /// Weight of the codes' divergence from a normal distribution.
    pub beta: f64,
    /// Weight of looking labelled to the discriminator.
    pub adversary: f64,
    /// Steps of either.
    pub steps: usize,
    /// Labelled images a step, and as many unlabelled.
    pub batch: usize,
    /// Adam's learning rate for both.
    pub learning_rate: f64,
    /// Seed of first weights, order and noise.
    pub seed: u64,
    /// The round: another stream of random numbers.
    pub round: u32,
}

impl VaalOptions {
    /// Stages of the encoder: it ends at 2×2.
    fn stages(&self) -> u32 {
        self.side.ilog2() - 1
    }

    fn check(&self) -> Result<(), Error> {
        let wrong = |option, value: String, hint| {
            Err(Error::Option {
                option,
                value,
                hint,
            })
        };
        if !self.side.is_power_of_two() || self.side < 16 {
            return wrong(
                "vaal's side",
                self.side.to_string(),
                "a power of 2 of at least 16",
            );
        }
        for (name, value) in [
            ("vaal's width", self.width),
            ("vaal's latent", self.latent),
            ("vaal's steps", self.steps),
        ] {
            if value == 0 {
                return wrong(name, "0".into(), "at least 1");
            }
        }
        if self.batch < 2 {
            return wrong("vaal's batch", self.batch.to_string(), "at least 2");
        }
        for (name, value, least) in [
            ("vaal's beta", self.beta, 0.0),
            ("vaal's adversary", self.adversary, 0.0),
            (
                "vaal's learning rate",
                self.learning_rate,
                f64::MIN_POSITIVE,
            ),
        ] {
            if !(value.is_finite() && value >= least) {
                return wrong(name, value.to_string(), "a positive number");
            }
        }
        Ok(())
    }
}

/// Trains from first weights and says of each unlabelled row how labelled it looks, as a logit: the smallest are
/// VAAL's picks. `images` are of `options.side` squared, in −1 to 1.
///
/// With the mean squared error of a pixel, the divergence of a code over the number of an image's values,
/// and the cross-entropies, the autoencoder minimises error + beta · divergence + adversary · (both kinds look
/// labelled), and the discriminator (labelled look labelled, unlabelled do not).
///
/// # Errors
/// [`Error::Option`], [`Error::NoLabels`], [`Error::Image`], [`Error::Diverged`], [`Error::Device`].
pub fn vaal(
    images: &dyn Images,
    labelled: &[usize],
    unlabelled: &[usize],
    options: &VaalOptions,
    device: &ModelDevice,
) -> Result<Vec<f32>, Error> {
    options.check()?;
    if labelled.is_empty() {
        return Err(Error::NoLabels);
    }
    let place = device.burn().clone().autodiff();
    let seed = options.seed ^ (u64::from(options.round) << 40);
    let mut autoencoder = Autoencoder::new(options, seed, &place);
    let mut discriminator = Discriminator::new(options, seed, &place);
    let adam = || AdamConfig::new().init();
    let (mut of_autoencoder, mut of_discriminator) = (adam(), adam());
    let rate = options.learning_rate;
    let mut drawing = Drawing {
        images,
        options,
        place: &place,
        step: 0,
    };
    for step in 0..options.steps {
        drawing.step = step;
        let known = drawing.batch(labelled, 0)?;
        let unknown = drawing.batch(unlabelled, 1)?;
        let parts = [(known.clone(), 0), (unknown.clone(), 1)];
        let losses = parts.map(|(images, kind)| {
            let code = autoencoder.encode(images.clone());
            let error = drawing.reconstruction(&autoencoder, images, &code, kind);
            let looks = discriminator.logits(code.mean);
            error + log_sigmoid(looks).mean().neg() * options.adversary
        });
        let [of_known, of_unknown] = losses;
        let loss = of_known + of_unknown;
        let value = loss.clone().inner().try_into_scalar::<f32>();
        if !value.map_err(|error| device.failed(error))?.is_finite() {
            return Err(Error::Diverged { epoch: 0, step });
        }
        let gradients = GradientsParams::from_grads(loss.backward(), &autoencoder);
        autoencoder = of_autoencoder.step(rate, autoencoder, gradients);
        // The codes as they are; nothing flows back into them.
        let code = |images| autoencoder.encode(images).mean.detach();
        let known = log_sigmoid(discriminator.logits(code(known)));
        let unknown = log_sigmoid(discriminator.logits(code(unknown)).neg());
        let loss = known.mean().neg() + unknown.mean().neg();
        let gradients = GradientsParams::from_grads(loss.backward(), &discriminator);
        discriminator = of_discriminator.step(rate, discriminator, gradients);
    }
    let (autoencoder, discriminator) = (autoencoder.valid(), discriminator.valid());
    let mut scores = Vec::with_capacity(unlabelled.len());
    for rows in unlabelled.chunks(TOGETHER) {
        let ready = drawing.ready(rows, device.burn())?;
        let looks = discriminator.logits(autoencoder.encode(ready).mean);
        let looks = looks.try_into_vec_as::<f32>();
        scores.extend(looks.map_err(|error| device.failed(error))?);
    }
    Ok(scores)
}

/// What a step draws at random.
struct Drawing<'a> {
    images: &'a dyn Images,
    options: &'a VaalOptions,
    place: &'a Device,
    step: usize,
}

impl Drawing<'_> {
    /// The images of a step, of labelled (0) or unlabelled rows (1): each row once, in random order, before
    /// one comes again.
    fn batch(&self, rows: &[usize], kind: u32) -> Result<Tensor<4>, Error> {
        let place = |number: usize| {
            let (cycle, place) = (number / rows.len(), number % rows.len());
            (cycle, place)
        };
        let first = self.step * self.options.batch;
        let mut orders: Vec<(usize, Vec<usize>)> = Vec::new();
        let mut chosen = Vec::with_capacity(self.options.batch);
        for number in first..first + self.options.batch {
            let (cycle, place) = place(number);
            if orders.last().is_none_or(|(of, _)| *of != cycle) {
                let step = 2 * cycle as u32 + kind;
                let (seed, round) = (self.options.seed, self.options.round);
                let random = Philox::new(seed, Purpose::Vaal, round, step);
                orders.push((cycle, random.permutation(rows.len())));
            }
            if let Some((_, order)) = orders.last() {
                chosen.push(rows[order[place]]);
            }
        }
        self.ready(&chosen, self.place)
    }

    fn ready(&self, rows: &[usize], place: &Device) -> Result<Tensor<4>, Error> {
        let batch = self.images.batch(rows, None)?;
        let side = self.options.side;
        if (batch.height, batch.width) != (side, side) {
            return Err(Error::Shape {
                what: "images",
                expected: format!("{side}×{side}"),
                found: format!("{}×{}", batch.height, batch.width),
            });
        }
        let shape = [rows.len(), COLOURS, side, side];
        Ok(Tensor::from_data(
            TensorData::new(batch.values, shape),
            place,
        ))
    }

    /// The autoencoder's error on images, with the divergence of their codes.
    fn reconstruction(
        &self,
        autoencoder: &Autoencoder,
        images: Tensor<4>,
        code: &Code,
        kind: u32,
    ) -> Tensor<1> {
        let [count, latent] = code.mean.dims();
        let noise = self.noise(count * latent, kind);
        let noise = Tensor::<2>::from_data(TensorData::new(noise, [count, latent]), self.place);
        let deviation = (code.log_variance.clone() * 0.5).exp();
        let point = code.mean.clone() + noise * deviation;
        let error = autoencoder.decode(point) - images;
        let divergence = code.mean.clone().powi_scalar(2) + code.log_variance.clone().exp()
            - code.log_variance.clone()
            - 1.0;
        let values = (COLOURS * self.options.side * self.options.side) as f64;
        let divergence = divergence.sum() / (2.0 * count as f64 * values);
        error.powi_scalar(2).mean() + divergence * self.options.beta
    }

    /// Normally distributed numbers of variance 1.
    fn noise(&self, count: usize, kind: u32) -> Vec<f32> {
        let (seed, round) = (self.options.seed, self.options.round);
        let random = Philox::new(seed, Purpose::VaalNoise, round, 2 * self.step as u32 + kind);
        crate::train::normal(&random, count, 2)
    }
}

#[cfg(test)]
mod tests;
