use super::*;
use crate::tune::{Change, ImageBatch};

/// Images that are bright above or below, by whether their row is odd.
struct Halves;

impl Images for Halves {
    fn batch(&self, rows: &[usize], _: Option<Change>) -> Result<ImageBatch, Error> {
        let mut values = Vec::new();
        for row in rows {
            let random = Philox::new(*row as u64, Purpose::Drawing, 0, 0);
            for place in 0..3 * 16 * 16 {
                let lower = place % 256 / 16 >= 8;
                let bright = if lower == (row % 2 == 1) { 0.6 } else { -0.6 };
                values.push((bright + 0.4 * (random.uniform(place as u64) - 0.5)) as f32);
            }
        }
        Ok(ImageBatch {
            values,
            height: 16,
            width: 16,
        })
    }
}

fn options() -> VaalOptions {
    VaalOptions {
        side: 16,
        width: 4,
        latent: 4,
        beta: 1.0,
        adversary: 0.1,
        steps: 40,
        batch: 8,
        learning_rate: 2e-3,
        seed: 1,
        round: 1,
    }
}

#[test]
fn what_is_unlike_the_labelled_looks_unlabelled() {
    // Only images bright above are labelled.
    let labelled: Vec<usize> = (0..40).map(|row| 2 * row).collect();
    let unlabelled: Vec<usize> = (100..160).collect();
    let device = ModelDevice::cpu();
    let scores = vaal(&Halves, &labelled, &unlabelled, &options(), &device).unwrap();
    let mut order: Vec<usize> = (0..unlabelled.len()).collect();
    order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
    let unlike = order[..20]
        .iter()
        .filter(|place| unlabelled[**place] % 2 == 1)
        .count();
    assert!(unlike >= 18, "{unlike} of 20: {scores:?}");
    assert_eq!(
        vaal(&Halves, &labelled, &unlabelled, &options(), &device).unwrap(),
        scores
    );
    let other = VaalOptions {
        round: 2,
        ..options()
    };
    assert_ne!(
        vaal(&Halves, &labelled, &unlabelled, &other, &device).unwrap(),
        scores
    );
}

#[test]
fn images_come_back_smaller_than_they_went() {
    // 16, 32 and 64 pixels a side: the networks fit them.
    let place = ModelDevice::cpu();
    for side in [16, 32, 64] {
        let options = VaalOptions {
            side,
            width: 2,
            ..options()
        };
        let autoencoder = Autoencoder::new(&options, 0, place.burn());
        let images = Tensor::<4>::zeros([2, 3, side, side], place.burn());
        let code = autoencoder.encode(images);
        assert_eq!(code.mean.dims(), [2, 4]);
        assert_eq!(autoencoder.decode(code.mean).dims(), [2, 3, side, side]);
    }
}

#[test]
fn wrong_options_are_named() {
    let refused = |change: &dyn Fn(&mut VaalOptions)| {
        let mut options = options();
        change(&mut options);
        let failed = vaal(&Halves, &[0], &[1], &options, &ModelDevice::cpu());
        failed.unwrap_err().to_string()
    };
    assert!(refused(&|options| options.side = 24).contains("side is 24"));
    assert!(refused(&|options| options.side = 32).contains("32×32 expected, 16×16 found"));
    assert!(refused(&|options| options.batch = 1).contains("batch"));
    assert!(refused(&|options| options.beta = f64::NAN).contains("beta"));
    let none = vaal(&Halves, &[], &[1], &options(), &ModelDevice::cpu());
    assert!(none.unwrap_err().to_string().contains("no labelled rows"));
}
