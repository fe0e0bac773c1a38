//! The demo's image folders: a long-tailed pool and a balanced test set.

use std::path::{Path, PathBuf};

use image::RgbImage;
use rayon::prelude::*;

use super::draw::{Set, draw};
use super::figures::DEMO;
use crate::failure::{Failure, Result};

/// Images of the most frequent class.
const MOST: f64 = 900.0;
/// How many times fewer the rarest class has.
const IMBALANCE: f64 = 40.0;
/// Test images of each class.
const TEST: usize = 60;

/// Pool images of each class: an exponential from [`MOST`] to its [`IMBALANCE`]th part.
pub(crate) fn pool_counts() -> Vec<usize> {
    let last = (DEMO.len() - 1) as f64;
    (0..DEMO.len())
        .map(|class| (MOST * IMBALANCE.powf(-(class as f64) / last)).round() as usize)
        .collect()
}

/// Test images of each class.
pub(crate) fn test_counts() -> Vec<usize> {
    vec![TEST; DEMO.len()]
}

/// Draws `counts[class]` images of each class of `set` as PNG files in class folders of `folder`.
///
/// # Errors
/// Where a file cannot be written.
pub(crate) fn write(folder: &Path, seed: u64, set: Set, counts: &[usize]) -> Result<()> {
    for (class, (figure, count)) in DEMO.iter().zip(counts).enumerate() {
        let class_folder = folder.join(figure.name);
        std::fs::create_dir_all(&class_folder)
            .map_err(|error| Failure::from(error).at(&class_folder))?;
        (0..*count).into_par_iter().try_for_each(|index| {
            let path = image_path(folder, class, index);
            let image = draw(figure, seed, set, class, index);
            image
                .save(&path)
                .map_err(|error| Failure::from(error).at(&path))
        })?;
    }
    Ok(())
}

/// The file of image `index` of a class.
fn image_path(folder: &Path, class: usize, index: usize) -> PathBuf {
    let name = DEMO[class].name;
    folder.join(name).join(format!("{name}-{index:04}.png"))
}

/// The images with these ids (paths inside `folder`), by class in the order of [`DEMO`].
///
/// # Errors
/// Where a file cannot be read.
pub(crate) fn by_class(folder: &Path, ids: &[String]) -> Result<Vec<Vec<RgbImage>>> {
    let mut images = vec![Vec::new(); DEMO.len()];
    for id in ids {
        let path = folder.join(id);
        let image = image::open(&path).map_err(|error| Failure::from(error).at(&path))?;
        let class = DEMO
            .iter()
            .position(|figure| id.starts_with(&format!("{}/", figure.name)));
        if let Some(class) = class {
            images[class].push(image.into_rgb8());
        }
    }
    Ok(images)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_has_a_long_tail_and_two_thousand_images_or_more() {
        let counts = pool_counts();
        assert!(counts.is_sorted_by(|more, fewer| more > fewer));
        assert!(counts.iter().sum::<usize>() >= 2000);
        assert!(counts[0] / counts[counts.len() - 1] >= 30);
    }

    #[test]
    fn files_are_the_same_for_a_seed_and_found_again_by_id() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for folder in [&one, &two] {
            write(folder.path(), 5, Set::Pool, &[2, 1]).unwrap();
        }
        let id = format!("{0}/{0}-0001.png", DEMO[0].name);
        let read = |folder: &tempfile::TempDir| std::fs::read(folder.path().join(&id)).unwrap();
        assert_eq!(read(&one), read(&two));
        let found = by_class(one.path(), &[id]).unwrap();
        assert_eq!((found[0].len(), found[1].len()), (1, 0));
    }
}
