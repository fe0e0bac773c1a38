//! Arguments about how images are made ready.

use clap::{Args, ValueEnum};
use equipoise::pool::{Exif, Interpolation, Preprocess};

use crate::failure::{Failure, Result};

/// How images are made ready for the backbone.
#[derive(Debug, Args)]
pub(crate) struct PreprocessArgs {
    /// Resize, crop, mean and standard deviation at once: imagenet (256, 224), cifar (size left
    /// alone), clip (224, 224, bicubic). By default imagenet's, for a CIFAR network without its
    /// resize and crop
    #[arg(long, value_name = "imagenet|cifar|clip")]
    preprocess: Option<String>,
    /// Make the shorter side N long, or `none`; without --crop the middle N×N pixels stay
    #[arg(long, value_name = "N", value_parser = side)]
    resize: Option<Side>,
    /// Cut out the middle N×N pixels afterwards, or `none`
    #[arg(long, value_name = "N", value_parser = side)]
    crop: Option<Side>,
    /// How pixels between others are made
    #[arg(long, value_enum)]
    interpolation: Option<InterpolationArg>,
    /// What becomes of the orientation that a camera noted; torchvision ignores it
    #[arg(long, value_enum)]
    exif: Option<ExifArg>,
    /// Decode large JPEGs to 1/2, 1/4 or 1/8 of their size where that is no less than --resize:
    /// faster, but a little different from what torchvision makes
    #[arg(long)]
    reduced_jpeg: bool,
    /// Another mean, of colours in 0..1
    #[arg(long, value_name = "R,G,B", value_parser = rgb, requires = "std")]
    mean: Option<Rgb>,
    /// Another standard deviation
    #[arg(long, value_name = "R,G,B", value_parser = rgb, requires = "mean")]
    std: Option<Rgb>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum InterpolationArg {
    Bilinear,
    Bicubic,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ExifArg {
    Ignore,
    Apply,
}

/// A side in pixels, or none.
#[derive(Debug, Clone, Copy)]
struct Side(Option<u32>);

/// Longest side that an image is made to have.
const LONGEST: u32 = 4096;

fn side(text: &str) -> Result<Side, String> {
    match (text, text.parse()) {
        ("none", _) => Ok(Side(None)),
        (_, Ok(side @ 1..=LONGEST)) => Ok(Side(Some(side))),
        _ => Err(format!("a number from 1 to {LONGEST}, or none")),
    }
}

/// Three numbers, one a colour.
type Rgb = [f32; 3];

fn rgb(text: &str) -> Result<Rgb, String> {
    let numbers: Option<Vec<f32>> = text
        .split(',')
        .map(|part| part.trim().parse().ok())
        .collect();
    numbers
        .and_then(|numbers| Rgb::try_from(numbers).ok())
        .filter(|rgb| rgb.iter().all(|value| value.is_finite()))
        .ok_or_else(|| "three numbers with commas between them, as in 0.5,0.5,0.5".into())
}

impl PreprocessArgs {
    /// What was meant, and whether it says how large images are to be.
    ///
    /// # Errors
    /// Wrong usage: an unknown preset, numbers out of their range.
    pub(super) fn meant(self) -> Result<(Preprocess, bool)> {
        let sized = self.preprocess.is_some() || self.resize.is_some() || self.crop.is_some();
        let name = self.preprocess.as_deref().unwrap_or("imagenet");
        let mut preprocess = Preprocess::by_name(name).ok_or_else(|| {
            Failure::usage(format!("there is no preprocessing `{name}`"))
                .with_hint(format!("one of {}", Preprocess::NAMES.join(", ")))
        })?;
        if let (Some(mean), Some(std)) = (self.mean, self.std) {
            if std.iter().any(|std| *std <= 0.0) {
                return Err(Failure::usage("--std: every number must be above 0"));
            }
            (preprocess.mean, preprocess.std) = (mean, std);
        }
        if let Some(Side(resize)) = self.resize {
            (preprocess.resize, preprocess.crop) = (resize, resize);
        }
        if let Some(Side(crop)) = self.crop {
            preprocess.crop = crop;
        }
        if let Some(interpolation) = self.interpolation {
            preprocess.interpolation = match interpolation {
                InterpolationArg::Bilinear => Interpolation::Bilinear,
                InterpolationArg::Bicubic => Interpolation::Bicubic,
            };
        }
        if let Some(exif) = self.exif {
            preprocess.exif = match exif {
                ExifArg::Ignore => Exif::Ignore,
                ExifArg::Apply => Exif::Apply,
            };
        }
        preprocess.reduced_jpeg = self.reduced_jpeg;
        Ok((preprocess, sized))
    }
}
