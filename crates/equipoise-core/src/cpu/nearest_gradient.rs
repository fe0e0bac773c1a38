//! Kernel `nearest_gradient`: which of some centres is nearest to a row's gradient embedding.

use super::row::{LANES, ordered, unordered};
use crate::engine::{Nearest, UNREACHABLE};

/// The nearest of the centres whose products with the row's embedding are `a`, with its gradient `b`; `bias`
/// holds −‖g‖²‖x‖²/2 of each. All are padded, `bias` with −[`UNREACHABLE`].
#[inline(always)]
pub(crate) fn run(a: &[f32], b: &[f32], bias: &[f32], tolerance: f32) -> Nearest {
    let mut most = [ordered(-UNREACHABLE); LANES];
    let mut second = most;
    let mut place = [0u32; LANES];
    let chunks = a.chunks_exact(LANES).zip(b.chunks_exact(LANES));
    for (chunk, ((a, b), bias)) in (0u32..).zip(chunks.zip(bias.chunks_exact(LANES))) {
        for lane in 0..LANES {
            let score = ordered(a[lane] * b[lane] + bias[lane]);
            let better = score > most[lane];
            second[lane] = second[lane].max(if better { most[lane] } else { score });
            place[lane] = if better { chunk } else { place[lane] };
            most[lane] = most[lane].max(score);
        }
    }
    let mut best = 0;
    for lane in 1..LANES {
        let key = |lane: usize| (-i64::from(most[lane]), place[lane], lane);
        if key(lane) < key(best) {
            best = lane;
        }
    }
    let others = (0..LANES).map(|lane| {
        if lane == best {
            second[lane]
        } else {
            most[lane]
        }
    });
    Nearest {
        tolerance,
        centre: place[best] * LANES as u32 + best as u32,
        top: unordered(most[best]),
        second: others.max().map_or(-UNREACHABLE, unordered),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_and_the_second_are_found_wherever_they_are() {
        let mut bias = [-UNREACHABLE; 3 * LANES];
        bias[..40].fill(-1.0);
        for (first, second) in [(0, 1), (1, 0), (5, 5 + LANES), (39, 7), (7, 39), (20, 4)] {
            let (mut a, mut b) = ([0.0f32; 3 * LANES], [0.5f32; 3 * LANES]);
            (a[first], a[second]) = (3.0, 2.0);
            let found = run(&a, &b, &bias, 0.0);
            let found = (found.centre, found.top, found.second);
            assert_eq!(found, (first as u32, 0.5, 0.0));
            // Equal ones: the lowest comes first.
            (a[second], b[second]) = (1.5, 1.0);
            let found = run(&a, &b, &bias, 0.0);
            let found = (found.centre, found.top, found.second);
            assert_eq!(found, (first.min(second) as u32, 0.5, 0.5));
        }
        bias[1..].fill(-UNREACHABLE);
        assert_eq!(
            run(&[0.0; 3 * LANES], &[0.0; 3 * LANES], &bias, 0.0).second,
            -UNREACHABLE
        );
    }
}
