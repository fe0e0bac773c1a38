//! The number at a place in the order of many.

use crate::vectorised::vectorised;

/// The `count`-th smallest number, `count` ≥ 1; +∞ where there are fewer.
pub(crate) fn nth_smallest(numbers: impl Iterator<Item = f64>, count: usize) -> f64 {
    /// So few are kept in order while looking through the numbers.
    const FEW: usize = 64;
    /// More than the cache near a core holds are not looked through again and again.
    const MANY: usize = 1 << 14;
    if count > FEW {
        // Integers in the order of the numbers.
        let flip = |bits: i64| bits ^ ((bits >> 63) as u64 >> 1) as i64;
        let mut bits: Vec<i64> = numbers.map(|x| flip(x.to_bits() as i64)).collect();
        let nth = match bits.len() {
            length if length < count => return f64::INFINITY,
            ..=MANY => vectorised(
                #[inline(always)]
                || nth_by_halves(&bits, count),
            ),
            _ => *bits.select_nth_unstable(count - 1).1,
        };
        return f64::from_bits(flip(nth) as u64);
    }
    let mut smallest = vec![f64::INFINITY; count];
    for number in numbers {
        if number < smallest[count - 1] {
            let place = smallest.partition_point(|other| *other <= number);
            smallest.copy_within(place..count - 1, place + 1);
            smallest[place] = number;
        }
    }
    smallest[count - 1]
}

/// The `count`-th smallest of as many numbers or more, by halving what it may be: to count those that are not above a guess takes
/// no branch for each, and soon few are left.
#[inline(always)]
fn nth_by_halves(numbers: &[i64], count: usize) -> i64 {
    /// So few are put in order.
    const LEFT: usize = 24;
    let (mut low, mut high) = (i64::MAX, i64::MIN);
    for number in numbers {
        low = low.min(*number);
        high = high.max(*number);
    }
    // It is one of those from `low` to `high`; so many are below, and so many not above.
    let (mut below, mut within) = (0, numbers.len());
    while within - below > LEFT && low < high {
        // Rounded down: below `high`.
        let guess = low.wrapping_add((high.abs_diff(low) / 2) as i64);
        let mut not_above = 0;
        for number in numbers {
            not_above += i64::from(*number <= guess);
        }
        match (not_above as usize) < count {
            true => (low, below) = (guess + 1, not_above as usize),
            false => (high, within) = (guess, not_above as usize),
        }
    }
    if low == high {
        return low;
    }
    let (mut left, mut found) = ([0; LEFT + 1], 0);
    for number in numbers {
        left[found] = *number;
        found += usize::from((low <= *number) & (*number <= high));
    }
    left[..found].sort_unstable();
    left[count - below - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nth_smallest_is_found_among_few_and_many() {
        let numbers: Vec<f64> = (0..500).map(|i| f64::from(i * 37 % 500)).collect();
        for count in [1, 2, 63, 64, 65, 300, 500] {
            let found = nth_smallest(numbers.iter().copied(), count);
            assert_eq!(found, count as f64 - 1.0);
        }
        // Many of them equal, in both signs, without an end.
        let alike = |i: u32| match i % 7 {
            0 => f64::INFINITY,
            1 => -0.0,
            2 => 0.0,
            3 => f64::NEG_INFINITY,
            4 => f64::from(i % 3),
            _ => -f64::from(i),
        };
        let numbers: Vec<f64> = (0..500).map(alike).collect();
        let mut in_order = numbers.clone();
        in_order.sort_by(f64::total_cmp);
        for count in 1..=500 {
            let found = nth_smallest(numbers.iter().copied(), count);
            assert_eq!(found, in_order[count - 1], "{count}");
        }
        let many = (0..30_011u64).map(|i| (i * 37 % 30_011) as f64);
        for count in [65, 20_000, 30_011] {
            assert_eq!(nth_smallest(many.clone(), count), count as f64 - 1.0);
        }
        for count in [501, 3] {
            let few = numbers.iter().take(count.min(501) - 1).copied();
            assert_eq!(nth_smallest(few, count), f64::INFINITY);
        }
    }
}
