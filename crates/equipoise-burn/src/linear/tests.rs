use super::*;
use crate::Schedule;

/// Rows around a corner per class, some classes nearer to each other.
fn rows(count: usize, dim: usize, classes: usize, seed: u64) -> (Vec<f32>, Vec<u32>) {
    let random = Philox::new(seed, Purpose::Drawing, 0, 0);
    let labels: Vec<u32> = (0..count).map(|row| (row % classes) as u32).collect();
    let mut values = Vec::with_capacity(count * dim);
    for (row, label) in labels.iter().enumerate() {
        for column in 0..dim {
            let noise = random.uniform((row * dim + column) as u64) - 0.5;
            let centre = f64::from(u8::from(column % classes == *label as usize));
            values.push((5.0 + 3.0 * centre + 4.0 * noise) as f32);
        }
    }
    (values, labels)
}

fn options() -> Sgd {
    Sgd {
        epochs: 30,
        batch: 32,
        learning_rate: 0.1,
        schedule: Schedule::Cosine,
        momentum: 0.9,
        weight_decay: 1e-4,
        patience: None,
        class_weights: false,
        seed: 3,
        round: 0,
    }
}

fn of<'a>(
    (values, labels): &'a (Vec<f32>, Vec<u32>),
    dim: usize,
    classes: usize,
) -> LabelledEmbeddings<'a> {
    LabelledEmbeddings {
        values,
        dim,
        labels,
        classes,
    }
}

fn accuracy(head: &Head, rows: &LabelledEmbeddings<'_>) -> f64 {
    let right = rows.values.chunks_exact(rows.dim).zip(rows.labels);
    let right = right.filter(|(x, label)| {
        let logit = |class: usize| -> f32 {
            let weight = head.class_weight(class);
            let product: f32 = std::iter::zip(weight, *x).map(|(w, x)| w * x).sum();
            product + head.bias()[class]
        };
        let best = (0..rows.classes).max_by(|a, b| logit(*a).total_cmp(&logit(*b)));
        best == Some(**label as usize)
    });
    right.count() as f64 / rows.labels.len() as f64
}

#[test]
fn a_head_learns_and_training_repeats_itself() {
    let (seen, unseen) = (rows(400, 12, 4, 1), rows(200, 12, 4, 2));
    let (seen, unseen) = (of(&seen, 12, 4), of(&unseen, 12, 4));
    let device = ModelDevice::cpu();
    let fit = train_linear(&seen, Some(&unseen), &options(), true, &device).unwrap();
    let reached = accuracy(&fit.head, &unseen);
    assert!(reached > 0.9, "{reached}");
    // Folding back rounds, and a row on a boundary may change sides.
    assert!((fit.evaluation_accuracy.unwrap() - reached).abs() < 0.011);
    assert_eq!(fit.epochs, 30);
    assert_eq!(
        train_linear(&seen, Some(&unseen), &options(), true, &device).unwrap(),
        fit
    );
    let other = Sgd {
        seed: 4,
        ..options()
    };
    assert_ne!(
        train_linear(&seen, Some(&unseen), &other, true, &device).unwrap(),
        fit
    );
}

/// One step from zero, worked out by hand: the softmax is 1/2 each.
#[test]
fn the_first_step_is_the_gradient() {
    let rows = (vec![1.0, 2.0, -3.0, 1.0], vec![0, 1]);
    let rows = of(&rows, 2, 2);
    let options = Sgd {
        epochs: 1,
        batch: 2,
        learning_rate: 0.5,
        weight_decay: 0.0,
        ..options()
    };
    let fit = train_linear(&rows, None, &options, false, &ModelDevice::cpu()).unwrap();
    assert_eq!((fit.best_epoch, fit.evaluation_accuracy), (1, None));
    // Class 0: the mean of −x/2 of the first row and +x/2 of the second, times −0.5.
    assert_eq!(fit.head.class_weight(0), [0.5, 0.125]);
    assert_eq!(fit.head.class_weight(1), [-0.5, -0.125]);
    assert_eq!(fit.head.bias(), [0.0, 0.0]);
}

#[test]
fn momentum_decay_and_class_weights_are_pytorchs() {
    // torch.optim.SGD(lr 0.5, momentum 0.5, weight_decay 0.1), two steps over one row of each class,
    // CrossEntropyLoss(weight=[1, 3]), weights zero at first; made with PyTorch 2.11.
    let rows = (vec![1.0, 2.0, -3.0, 1.0], vec![0, 1]);
    let place = ModelDevice::cpu();
    let seen = Examples::new(&of(&rows, 2, 2), None, &place);
    let mut learner = Learner::new(2, 2, Some(vec![1.0, 3.0]), &place);
    let options = Sgd {
        batch: 2,
        momentum: 0.5,
        weight_decay: 0.1,
        ..options()
    };
    learner.epoch(&seen, &[0, 1], 0.5, &options);
    learner.epoch(&seen, &[0, 1], 0.5, &options);
    let head = learner.head(None, &place).unwrap();
    let near = |found: &[f32], expected: &[f32]| {
        let far = std::iter::zip(found, expected).any(|(a, b)| (a - b).abs() > 1e-6);
        assert!(!far, "{found:?} {expected:?}");
    };
    near(head.class_weight(0), &[0.9642473, -0.0163846]);
    near(head.bias(), &[-0.1471122, 0.1471122]);
}

#[test]
fn patience_ends_training_and_the_best_epoch_is_kept() {
    let (seen, unseen) = (rows(64, 4, 2, 1), rows(64, 4, 2, 9));
    let options = Sgd {
        patience: Some(3),
        epochs: 500,
        schedule: Schedule::Constant,
        ..options()
    };
    let device = ModelDevice::cpu();
    let fit = train_linear(
        &of(&seen, 4, 2),
        Some(&of(&unseen, 4, 2)),
        &options,
        true,
        &device,
    )
    .unwrap();
    assert_eq!(fit.epochs, fit.best_epoch + 3);
}

#[test]
fn weights_even_out_the_classes() {
    let weights = class_weights(&[0, 0, 0, 2], 3);
    assert_eq!(weights, [4.0 / 6.0, 0.0, 2.0]);
}

#[test]
fn wrong_input_is_named() {
    let device = ModelDevice::cpu();
    let good = rows(8, 2, 2, 1);
    let refused = |values: Vec<f32>, labels: Vec<u32>, options: &Sgd| {
        let rows = (values, labels);
        let failed = train_linear(&of(&rows, 2, 2), None, options, true, &device);
        failed.unwrap_err().to_string()
    };
    let (values, labels) = good.clone();
    assert!(refused(vec![], vec![], &options()).contains("no labelled rows"));
    assert!(refused(values[1..].to_vec(), labels.clone(), &options()).contains("15 numbers"));
    let mut bad = values.clone();
    bad[5] = f32::NAN;
    assert!(refused(bad, labels.clone(), &options()).contains("row 2"));
    assert!(refused(values.clone(), vec![7; 8], &options()).contains("label 7"));
    let wild = Sgd {
        learning_rate: 1e38,
        weight_decay: 1e3,
        ..options()
    };
    assert!(refused(values, labels, &wild).contains("lower the learning rate"));
}
