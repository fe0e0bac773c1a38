//! The images that a store was embedded from, as networks take them.

use std::sync::{Mutex, PoisonError};

use equipoise_burn::{Change, ImageBatch, Images};
use equipoise_core::random::{Philox, Purpose};
use equipoise_pool::{Augmentation, Image, ImageLookup, Preprocess};
use rayon::prelude::*;

use crate::{DataSet, Error, Result};

/// The images that a store was embedded from.
pub(crate) struct StoredImages<'a> {
    pub(crate) data: &'a DataSet,
    preprocess: Preprocess,
    lookup: Mutex<ImageLookup>,
}

impl<'a> StoredImages<'a> {
    /// As the store's images were made ready.
    ///
    /// # Errors
    /// Where the pool is no store.
    pub(crate) fn new(data: &'a DataSet) -> Result<Self> {
        let manifest = data.pool.manifest().ok_or_else(|| {
            Error::data(format!(
                "{}: no store, so its images are not known; hint: `equipoise embed` makes one",
                data.pool.path().display()
            ))
        })?;
        Ok(Self {
            data,
            preprocess: manifest.info.preprocess,
            lookup: Mutex::default(),
        })
    }

    /// The same images as squares in −1 to 1.
    pub(crate) fn squares(self, side: usize) -> Self {
        let side = Some(side as u32);
        Self {
            preprocess: Preprocess {
                resize: side,
                crop: side,
                mean: [0.5; 3],
                std: [0.5; 3],
                ..self.preprocess
            },
            ..self
        }
    }

    fn read(&self, row: usize) -> Result<Vec<u8>, equipoise_burn::Error> {
        let failed = |reason: String| equipoise_burn::Error::Image { row, reason };
        let uri = self.data.pool.ids().uri(row);
        let uri = uri.ok_or_else(|| failed("the store does not say where it is".into()))?;
        // A panic elsewhere leaves the lookup as it was.
        let mut lookup = self.lookup.lock().unwrap_or_else(PoisonError::into_inner);
        lookup.read(&uri).map_err(|error| failed(error.to_string()))
    }
}

impl Images for StoredImages<'_> {
    fn batch(
        &self,
        rows: &[usize],
        change: Option<Change>,
    ) -> Result<ImageBatch, equipoise_burn::Error> {
        let encoded: Vec<(usize, Vec<u8>)> = rows
            .iter()
            .map(|row| Ok((*row, self.read(*row)?)))
            .collect::<Result<_, equipoise_burn::Error>>()?;
        let ready = |(row, bytes): &(usize, Vec<u8>)| {
            let image = match change {
                None => self.preprocess.apply(bytes),
                Some(change) => Augmentation {
                    preprocess: &self.preprocess,
                    random: Philox::new(
                        change.seed,
                        Purpose::Augmentation,
                        change.round,
                        change.epoch,
                    ),
                }
                .apply(bytes, *row),
            };
            image.map_err(|bad| equipoise_burn::Error::Image {
                row: *row,
                reason: bad.reason,
            })
        };
        let images: Vec<Image> = encoded.par_iter().map(ready).collect::<Result<_, _>>()?;
        let mut batch = ImageBatch::default();
        for (image, row) in images.into_iter().zip(rows) {
            if batch.values.is_empty() {
                (batch.height, batch.width) = (image.height, image.width);
            }
            if (image.height, image.width) != (batch.height, batch.width) {
                return Err(equipoise_burn::Error::Image {
                    row: *row,
                    reason: format!(
                        "{}×{} pixels among images of {}×{}; hint: embed with --crop",
                        image.width, image.height, batch.width, batch.height
                    ),
                });
            }
            batch.values.extend(image.values);
        }
        Ok(batch)
    }
}
