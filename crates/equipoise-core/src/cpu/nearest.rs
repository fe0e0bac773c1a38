//! Kernel `nearest`: which of some centres is nearest to a row.

use super::row::{ordered, unordered};
use crate::engine::Nearest;

/// What is known of a row with logits `z`, padded with [`super::row::NO_LOGIT`], whose argmax is `p`.
#[inline(always)]
pub(crate) fn run(z: &[f32], p: usize, tolerance: f32) -> Nearest {
    let mut second = i32::MIN;
    for (index, z) in (0u32..).zip(z) {
        let other = if index == p as u32 {
            i32::MIN
        } else {
            ordered(*z)
        };
        second = second.max(other);
    }
    Nearest {
        tolerance,
        centre: p as u32,
        top: z[p],
        second: unordered(second),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::row::{LANES, NO_LOGIT};

    #[test]
    fn the_second_may_equal_the_first() {
        let mut z = [NO_LOGIT; LANES];
        z[0] = -4.0;
        assert_eq!(run(&z, 0, 0.5).second, NO_LOGIT);
        z[5] = -1.0;
        let found = run(&z, 5, 0.5);
        assert_eq!((found.centre, found.top, found.second), (5, -1.0, -4.0));
        z[9] = -1.0;
        assert_eq!(run(&z, 5, 0.5).second, -1.0);
    }
}
