//! Whether two sets of measurements differ by more than chance: the Mann–Whitney U test, two-sided.

/// Below this a difference is no chance.
pub(super) const LEVEL: f64 = 0.01;

/// Samples in all up to which every order is counted.
const EXACT: usize = 60;

/// How likely it is that two sets of one distribution lie as far apart as `a` and `b` do; 1 where one is empty. Up to sixty
/// samples without ties it is counted, otherwise by the normal distribution, with ties taken account of.
pub(super) fn p_value(a: &[f64], b: &[f64]) -> f64 {
    let (n, m) = (a.len(), b.len());
    if n == 0 || m == 0 {
        return 1.0;
    }
    let mut all: Vec<(f64, bool)> = a.iter().map(|x| (*x, true)).collect();
    all.extend(b.iter().map(|x| (*x, false)));
    all.sort_by(|x, y| x.0.total_cmp(&y.0));
    // Ranks from 1, ties share the middle of theirs.
    let (mut rank_sum, mut ties, mut start) = (0.0, 0.0, 0);
    while start < all.len() {
        let end = start
            + all[start..]
                .iter()
                .take_while(|x| x.0 == all[start].0)
                .count();
        let count = (end - start) as f64;
        let rank = (start + 1 + end) as f64 / 2.0;
        let of_a = all[start..end].iter().filter(|x| x.1).count() as f64;
        rank_sum += rank * of_a;
        ties += count * count * count - count;
        start = end;
    }
    let (n, m) = (n as f64, m as f64);
    let u = rank_sum - n * (n + 1.0) / 2.0;
    let least = u.min(n * m - u);
    if ties == 0.0 && all.len() <= EXACT {
        return exact(a.len(), b.len(), least.round() as usize);
    }
    let total = n + m;
    let variance = n * m / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)));
    if variance <= 0.0 {
        return 1.0;
    }
    let z = ((n * m / 2.0 - least - 0.5) / variance.sqrt()).max(0.0);
    libm::erfc(z / std::f64::consts::SQRT_2).min(1.0)
}

/// The least that [`p_value`] can be for so many samples: two of all their orders.
pub(super) fn least_p(n: usize, m: usize) -> f64 {
    let (few, many) = (n.min(m), n.max(m));
    let one = (1..=few).map(|i| i as f64 / (many + i) as f64);
    (2.0 * one.product::<f64>()).min(1.0)
}

/// The share of the orders of n and m samples with a U of at most `u`, twice.
fn exact(n: usize, m: usize, u: usize) -> f64 {
    // ways[j][u]: orders of i samples of one set and j of the other with that U.
    let most = n * m;
    let mut ways = vec![vec![0.0f64; most + 1]; m + 1];
    ways.iter_mut().for_each(|of| of[0] = 1.0);
    for _ in 0..n {
        let mut next = vec![vec![0.0f64; most + 1]; m + 1];
        next[0][0] = 1.0;
        for j in 1..=m {
            for u in 0..=most {
                // The largest is of the second set, or of the first: then it exceeds all j.
                let of_first = if u >= j { ways[j][u - j] } else { 0.0 };
                next[j][u] = next[j - 1][u] + of_first;
            }
        }
        ways = next;
    }
    let (below, all) = (
        ways[m][..=u.min(most)].iter().sum::<f64>(),
        ways[m].iter().sum::<f64>(),
    );
    (2.0 * below / all).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(from: usize, count: usize) -> Vec<f64> {
        (from..from + count).map(|x| x as f64).collect()
    }

    #[test]
    fn apart_is_as_unlikely_as_the_orders_are_many() {
        // 2 of C(10, 5) = 252 orders; 2 of C(6, 3) = 20.
        assert!((p_value(&numbers(0, 5), &numbers(5, 5)) - 2.0 / 252.0).abs() < 1e-12);
        assert!((p_value(&numbers(3, 3), &numbers(0, 3)) - 0.1).abs() < 1e-12);
        assert!((least_p(5, 5) - 2.0 / 252.0).abs() < 1e-12 && least_p(3, 3) > LEVEL);
        assert!((least_p(4, 7) - exact(4, 7, 0)).abs() < 1e-12);
        assert_eq!(least_p(0, 9), 1.0);
        // Of as many orders as bench may have to do with.
        assert!(least_p(200, 200) < 1e-100);
    }

    #[test]
    fn known_values_come_out() {
        // U = 4: 12 of the 126 orders of 4 and 5 samples have no more.
        let (a, b) = ([1.0, 2.0, 3.0, 8.0], [4.0, 5.0, 6.0, 7.0, 9.0]);
        assert!((p_value(&a, &b) - 24.0 / 126.0).abs() < 1e-12);
        // Many samples: by the normal distribution, which must be near what is counted.
        let (a, b) = (
            numbers(0, 30),
            numbers(10, 30).iter().map(|x| x + 0.5).collect::<Vec<_>>(),
        );
        let counted = p_value(&a, &b);
        let tied: Vec<f64> = b.iter().map(|x| x - 0.5).collect();
        assert!((p_value(&a, &tied) - counted).abs() < 0.01);
    }

    #[test]
    fn the_same_is_no_difference() {
        let same = vec![2.0; 9];
        assert_eq!(p_value(&same, &same), 1.0);
        assert_eq!(p_value(&[], &same), 1.0);
        let (even, odd) = (
            (0..20).map(|i| f64::from(2 * i)).collect::<Vec<_>>(),
            (0..20).map(|i| f64::from(2 * i + 1)).collect::<Vec<_>>(),
        );
        assert!(p_value(&even, &odd) > 0.5);
    }
}
