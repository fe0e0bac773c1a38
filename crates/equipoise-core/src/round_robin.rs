//! Taking turns: one from each group, round after round, for as long as a group has some left.
//!
//! That fills the groups as water fills a basin: shares are as even as the groups' sizes allow.

/// How many each group gives to `budget`, which is at most all there are. The last round, where it is not
/// whole, is served in order.
pub(crate) fn shares(sizes: &[usize], budget: usize) -> Vec<usize> {
    let mut ascending = sizes.to_vec();
    ascending.sort_unstable();
    // Every group gives `level`, or all it has; some of the larger ones give one more.
    let (mut level, mut rest) = (0, budget);
    for (index, size) in ascending.iter().enumerate() {
        let groups = ascending.len() - index;
        let rounds = (size - level).min(rest / groups);
        level += rounds;
        rest -= rounds * groups;
        if level < *size {
            break;
        }
    }
    let share = |size: &usize| {
        let more = *size > level && rest > 0;
        rest -= usize::from(more);
        level.min(*size) + usize::from(more)
    };
    sizes.iter().map(share).collect()
}

/// The groups' items in turns.
pub(crate) fn in_turns<T>(groups: Vec<Vec<T>>) -> Vec<T> {
    let count = groups.iter().map(Vec::len).sum();
    let mut items = Vec::with_capacity(count);
    let mut groups: Vec<_> = groups.into_iter().map(Vec::into_iter).collect();
    while !groups.is_empty() {
        groups.retain_mut(|group| {
            items.extend(group.next());
            group.len() > 0
        });
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_go_round_and_leave_out_who_has_none() {
        let groups = vec![vec![0, 1, 2], vec![], vec![10], vec![20, 21]];
        assert_eq!(in_turns(groups), [0, 10, 20, 1, 21, 2]);
    }

    proptest::proptest! {
        #[test]
        fn shares_are_what_turns_give(
            sizes in proptest::collection::vec(0usize..9, 0..8), budget in 0usize..60,
        ) {
            let groups = sizes.iter().enumerate();
            let groups = groups.map(|(group, size)| vec![group; *size]).collect();
            let budget = budget.min(sizes.iter().sum());
            let mut taken = vec![0; sizes.len()];
            for group in &in_turns(groups)[..budget] {
                taken[*group] += 1;
            }
            proptest::prop_assert_eq!(shares(&sizes, budget), taken);
        }
    }
}
