//! A batch of images in parts, as many images at once as the device's memory holds.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::Error;

/// Embeddings of `images` (of `pixels` numbers each), `together` images at a time, and how many there
/// were at a time where memory held fewer: then a part is halved, down to a single image.
///
/// `launch` begins a part and `read` ends it: the next part is launched before one is read, so that
/// the device works on one while the other's results, and the next one's pixels, are under way.
pub(crate) fn embed<T>(
    images: &[f32],
    pixels: usize,
    mut together: usize,
    launch: impl Fn(&[f32]) -> Result<T, Error>,
    read: impl Fn(T) -> Result<Vec<f32>, Error>,
) -> Result<(Vec<f32>, Option<usize>), Error> {
    let mut values = Vec::new();
    let (mut done, mut reduced) = (0, None);
    while done < images.len() {
        match stretch(
            &images[done..],
            pixels * together,
            &launch,
            &read,
            &mut values,
        ) {
            Ok(()) => break,
            Err((more, error)) => {
                done += more;
                if together == 1 || !is_out_of_memory(&error) {
                    return Err(error);
                }
                together = together.div_ceil(2);
                reduced = Some(together);
            }
        }
    }
    Ok((values, reduced))
}

/// Embeds all `images` in parts of `size` numbers, or says for how many it did before it failed.
fn stretch<T>(
    images: &[f32],
    size: usize,
    launch: impl Fn(&[f32]) -> Result<T, Error>,
    read: impl Fn(T) -> Result<Vec<f32>, Error>,
    values: &mut Vec<f32>,
) -> Result<(), (usize, Error)> {
    let mut done = 0;
    let mut finish = |(launched, length): (T, usize)| match read(launched) {
        Ok(read) => {
            values.extend(read);
            done += length;
            Ok(())
        }
        Err(error) => Err((done, error)),
    };
    let mut before = None;
    for part in images.chunks(size) {
        let launched = match launch(part) {
            Ok(launched) => launched,
            Err(error) => {
                // What was launched before may still come out.
                let read = before.map_or(Ok(()), &mut finish);
                return Err(read.err().unwrap_or((done, error)));
            }
        };
        if let Some(before) = before.replace((launched, part.len())) {
            finish(before)?;
        }
    }
    before.map_or(Ok(()), finish)
}

/// What `work` makes, or the message of its panic.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    // Nothing of what it touched is used again but by calls that begin anew.
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        text.unwrap_or("the device failed").to_owned()
    })
}

/// Whether a device failed for want of memory, as far as its words tell: burn hands on a text.
fn is_out_of_memory(error: &Error) -> bool {
    let Error::Device { reason, .. } = error else {
        return false;
    };
    let reason = reason.to_lowercase();
    [
        "out of memory",
        "outofmemory",
        "not enough memory",
        "memory allocation",
        "buffer too big",
    ]
    .iter()
    .any(|words| reason.contains(words))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn failed(reason: &str) -> Error {
        Error::Device {
            device: "test".into(),
            reason: reason.into(),
        }
    }

    type Embedded = Result<(Vec<f32>, Option<usize>), Error>;

    /// Embeds ten images of two numbers, each to its first, on a device that holds `most`.
    fn with_memory_for(most: usize, when_read: bool) -> (Embedded, usize) {
        let images: Vec<f32> = (0..20).map(|i| (i / 2) as f32).collect();
        let launches = Cell::new(0);
        let too_many = |images: usize| match images > most {
            true => Err(failed("Out of Memory: 3 GiB")),
            false => Ok(()),
        };
        let launch = |images: &[f32]| {
            launches.set(launches.get() + 1);
            if !when_read {
                too_many(images.len() / 2)?;
            }
            Ok(images.iter().copied().step_by(2).collect::<Vec<f32>>())
        };
        let read = |values: Vec<f32>| too_many(values.len()).map(|()| values);
        (embed(&images, 2, 4, launch, read), launches.get())
    }

    #[test]
    fn parts_are_halved_until_memory_holds_them() {
        let all: Vec<f32> = (0..10).map(|i| i as f32).collect();
        for when_read in [false, true] {
            for (most, reduced) in [(4, None), (3, Some(2)), (2, Some(2)), (1, Some(1))] {
                let (embedded, _) = with_memory_for(most, when_read);
                let (values, found) = embedded.unwrap();
                assert_eq!(
                    (values, found),
                    (all.clone(), reduced),
                    "{most} {when_read}"
                );
            }
            let error = with_memory_for(0, when_read).0.unwrap_err();
            assert!(error.to_string().contains("Out of Memory"), "{error}");
        }
        assert_eq!(with_memory_for(4, true).1, 3);
    }

    #[test]
    fn other_failures_are_not_tried_again() {
        let launches = Cell::new(0);
        let launch = |_: &[f32]| {
            launches.set(launches.get() + 1);
            Err::<Vec<f32>, _>(failed("the device is lost"))
        };
        assert!(embed(&[0.0; 8], 1, 4, launch, Ok).is_err());
        assert_eq!(launches.get(), 1);
    }

    #[test]
    fn a_panic_is_its_message() {
        assert_eq!(caught(|| 3), Ok(3));
        let text = caught(|| -> u32 { panic!("out of {}", "memory") });
        assert_eq!(text, Err("out of memory".into()));
    }
}
