//! Whose turn it is among engines that share a scan, and how many rows each is given.
//!
//! Answers are used in order, so that in the time in which every block in flight is collected once, an engine with d blocks
//! in flight does d of them. Nobody waits where all take as long for that: rows are dealt by what a row cost each engine
//! of late. That is known where its answers were waited for twice while it had work all the time. Where one is there before it is
//! wanted, the engine could do more, and is taken to be faster, the more often the more so, down to the host's own time for its rows,
//! which is all of a CPU's. At first each does a small block alone, which costs too much a row. One that cannot do a row in the time of
//! the others' blocks would only hold them up, and is left out.

use std::collections::VecDeque;
use std::ops::Range;

/// Below this part of a block's time, collecting it is not waiting for it, and a pause is none.
const SHORT: f64 = 0.02;

/// What rows are taken to cost an engine that was not waited for in a round of its blocks, of what they were taken to cost before:
/// at least, and in the first round after its cost was measured.
const FASTER: (f64, f64) = (0.3, 0.98);

/// In smaller blocks nobody is left out.
const WORTH_A_SHARE: usize = 64;

/// Rows of the block that an engine does alone, at most.
const FIRST: usize = 1024;

/// How much the last measurement counts.
const LAST: f64 = 0.5;

/// See the module.
#[derive(Debug)]
pub(crate) struct Turns {
    members: Vec<Member>,
    /// Blocks in flight, oldest first.
    flying: VecDeque<Flight>,
}

#[derive(Debug)]
struct Member {
    /// Most blocks in flight.
    depth: usize,
    /// Most rows of a block.
    max_rows: usize,
    /// Blocks in flight.
    flying: usize,
    /// Seconds a row, once something is known.
    cost: Option<f64>,
    /// Whether that was measured with work all the time.
    measured: bool,
    /// Blocks since that were not waited for.
    early: usize,
    /// Whether it gets no more rows.
    left_out: bool,
    /// When an answer was last waited for, since blocks were last discarded: it was done just then.
    end: Option<f64>,
    /// Rows collected since.
    since: usize,
}

/// A block in flight.
#[derive(Debug, Clone, Copy)]
struct Flight {
    member: usize,
    rows: usize,
    /// When it was submitted.
    at: f64,
    /// Seconds that submitting took.
    spent: f64,
    /// Whether the engine had no other block then.
    alone: bool,
}

impl Turns {
    /// For engines of so many blocks in flight, and rows in a block, each.
    pub(crate) fn new(members: impl IntoIterator<Item = (usize, usize)>) -> Self {
        let members = members.into_iter().map(|(depth, max_rows)| Member {
            depth,
            max_rows,
            flying: 0,
            cost: None,
            measured: false,
            early: 0,
            left_out: false,
            end: None,
            since: 0,
        });
        Self {
            members: members.collect(),
            flying: VecDeque::new(),
        }
    }

    /// Most blocks in flight, of all together.
    pub(crate) fn depth(&self) -> usize {
        match self.unknown() {
            Some(_) => 1,
            None => self.takers().map(|member| member.depth).sum(),
        }
    }

    /// The members that are not left out.
    fn takers(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| !member.left_out)
    }

    /// Says how many blocks each may have in flight: members that are several themselves learn it.
    pub(crate) fn let_fly(&mut self, depths: impl Iterator<Item = usize>) {
        for (member, depth) in self.members.iter_mut().zip(depths) {
            member.depth = depth.max(1);
        }
    }

    /// A member about which nothing is known.
    fn unknown(&self) -> Option<usize> {
        self.members.iter().position(|member| member.cost.is_none())
    }

    /// Who takes the next block, which has `rows` rows at most, and how many of them. Blocks in flight are at most [`Turns::depth`],
    /// unless engines are left out meanwhile.
    pub(crate) fn next(&mut self, rows: usize) -> (usize, usize) {
        if let Some(unknown) = self.unknown() {
            return (unknown, rows.min(FIRST));
        }
        for index in 0..self.members.len() {
            self.members[index].left_out |= rows >= WORTH_A_SHARE && self.share(index, rows) < 1.0;
        }
        let load = |index: &usize| {
            let member = &self.members[*index];
            member.flying as f64 / member.depth as f64
        };
        // Never one that is full; one that is left out only where that has just come to be.
        let order = |index: &usize| (load(index) >= 1.0, self.members[*index].left_out);
        let all = 0..self.members.len();
        let next = all.min_by(|a, b| {
            let by_load = load(a).total_cmp(&load(b));
            order(a).cmp(&order(b)).then(by_load)
        });
        let next = next.unwrap_or(0);
        let share = self.share(next, rows) as usize;
        (next, share.clamp(1, rows.max(1)))
    }

    /// Rows, `rows` at most, whose blocks take the member as long as the others' take them.
    fn share(&self, index: usize, rows: usize) -> f64 {
        let of_round = |member: &Member| member.cost.unwrap_or(0.0) * member.depth as f64;
        let rounds = self.takers().map(|member| {
            let rows = rows.min(member.max_rows);
            of_round(member) * rows as f64
        });
        let shortest = rounds.fold(f64::INFINITY, f64::min);
        match shortest / of_round(&self.members[index]) {
            share if share <= rows as f64 => share,
            // It takes no time, or no more than the others.
            _ => rows as f64,
        }
    }

    /// Says that a member took a block of so many rows, and when that began and ended, in seconds from any moment on.
    pub(crate) fn submitted(&mut self, member: usize, rows: usize, at: Range<f64>) {
        self.flying.push_back(Flight {
            member,
            rows,
            at: at.start,
            spent: at.end - at.start,
            alone: self.members[member].flying == 0,
        });
        self.members[member].flying += 1;
    }

    /// Whose the oldest block in flight is.
    pub(crate) fn oldest(&self) -> Option<usize> {
        self.flying.front().map(|flight| flight.member)
    }

    /// Says that the oldest block has been collected, and when that began and ended.
    pub(crate) fn collected(&mut self, at: Range<f64>) {
        let Some(flight) = self.flying.pop_front() else {
            return;
        };
        let member = &mut self.members[flight.member];
        member.flying -= 1;
        member.since += flight.rows;
        let (rows, waited) = (flight.rows.max(1) as f64, at.end - at.start);
        // At most: it may have begun later, and been done earlier.
        let mut took = (at.end - flight.at) / rows;
        let (mut measured, mut busy) = (false, false);
        member.early += 1;
        if waited > SHORT * (at.end - flight.at) {
            let went_on = |end: &f64| flight.at - end <= SHORT * (at.end - end);
            let since = member.end.filter(went_on).map(|end| at.end - end);
            busy = since.is_some();
            measured = flight.alone || busy;
            if let Some(since) = since {
                took = since / member.since.max(1) as f64;
            }
            (member.end, member.since, member.early) = (Some(at.end), 0, 0);
        }
        member.cost = Some(match member.cost {
            None => took,
            Some(cost) if measured => cost + LAST * (took - cost),
            Some(cost) => {
                let (least, first) = FASTER;
                let depth = member.depth as f64;
                let faster = match member.measured {
                    true => first.powf(1.0 + member.early as f64 / depth).max(least),
                    false => least,
                };
                (faster.powf(1.0 / depth) * cost)
                    .max((flight.spent + waited) / rows)
                    .min(took)
            }
        });
        // Of a first block alone, what it takes whatever its rows is most.
        member.measured |= busy;
    }

    /// Forgets the blocks in flight.
    pub(crate) fn discard(&mut self) {
        self.flying.clear();
        for member in &mut self.members {
            (member.flying, member.since) = (0, 0);
            member.end = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device with a clock of its own.
    struct Device {
        /// Seconds a row, and a block.
        cost: (f64, f64),
        depth: usize,
        max_rows: usize,
        /// Whether it computes while a block is submitted, as a CPU does.
        at_once: bool,
        free: f64,
    }

    fn device(cost: (f64, f64), depth: usize, at_once: bool) -> Device {
        Device {
            cost,
            depth,
            max_rows: 10_000,
            at_once,
            free: 0.0,
        }
    }

    /// Seconds for so many rows, submitted and collected as a scan does it.
    fn scanned(devices: &mut [Device], rows: usize) -> f64 {
        let mut turns = Turns::new(devices.iter().map(|d| (d.depth, d.max_rows)));
        let (mut now, mut left, mut size) = (0.0f64, rows, 100);
        let mut ready = VecDeque::new();
        while left > 0 || !ready.is_empty() {
            if left > 0 && ready.len() < turns.depth() {
                let (index, most) = turns.next(size.min(left));
                let device = &mut devices[index];
                let taken = most.min(device.max_rows);
                let done = now.max(device.free) + device.cost.1 + device.cost.0 * taken as f64;
                device.free = done;
                let begun = now;
                now = if device.at_once { done } else { now + 1e-6 };
                turns.submitted(index, taken, begun..now);
                ready.push_back(done);
                left -= taken;
                size = (size * 2).min(10_000);
                continue;
            }
            let begun = now;
            now = now.max(ready.pop_front().unwrap_or(now)) + 1e-6;
            turns.collected(begun..now);
        }
        now
    }

    /// Seconds that some devices take together and the fastest of them alone, and would take if nobody ever waited.
    fn compared(kinds: &[(f64, f64, usize, bool)], rows: usize) -> [f64; 3] {
        let of = |kinds: &[(f64, f64, usize, bool)]| {
            let devices = kinds
                .iter()
                .map(|(row, block, depth, at_once)| device((*row, *block), *depth, *at_once));
            scanned(&mut devices.collect::<Vec<_>>(), rows)
        };
        let alone = kinds.iter().map(|one| of(&[*one])).fold(f64::MAX, f64::min);
        let rates = kinds
            .iter()
            .map(|(row, block, ..)| 1.0 / (row + block / 1e4));
        [of(kinds), alone, rows as f64 / rates.sum::<f64>()]
    }

    #[test]
    fn slow_engines_do_not_hold_up_fast_ones() {
        const BLOCK: f64 = 1e-5;
        for kinds in [
            &[(1e-6, BLOCK, 3, false), (1e-6, BLOCK, 3, false)][..],
            &[(1e-6, BLOCK, 3, false), (1e-5, BLOCK, 3, false)],
            &[(1e-6, BLOCK, 3, false), (1e-4, BLOCK, 3, false)],
            &[(1e-5, BLOCK, 1, true), (1e-6, BLOCK, 3, false)],
            &[(1e-6, BLOCK, 3, false), (3e-5, BLOCK, 1, true)],
            &[(1e-5, BLOCK, 3, false), (1e-6, BLOCK, 1, true)],
            &[
                (1e-6, BLOCK, 3, false),
                (3e-6, BLOCK, 2, false),
                (1e-5, BLOCK, 1, true),
            ],
            &[(1e-6, BLOCK, 1, false), (2e-6, BLOCK, 1, false)],
        ] {
            let [together, alone, ideal] = compared(kinds, 3_000_000);
            assert!(
                together < 1.01 * alone,
                "{kinds:?}: {together}, alone {alone}"
            );
            assert!(
                together < 1.1 * ideal,
                "{kinds:?}: {together}, ideally {ideal}"
            );
        }
    }

    #[test]
    fn blocks_that_take_long_whatever_their_rows_cost_little_together() {
        // A GPU beside a CPU, and devices that answer late, however little they are asked.
        for kinds in [
            [(3e-8, 5e-4, 3, false), (2e-6, 1e-5, 1, true)],
            [(2e-6, 1e-5, 1, true), (3e-8, 5e-4, 3, false)],
            [(3e-8, 5e-4, 3, false), (1e-5, 1e-5, 1, true)],
            [(1e-6, 1e-5, 3, false), (1e-5, 0.2, 3, false)],
            [(1e-6, 1e-5, 1, true), (1e-5, 0.02, 3, false)],
        ] {
            let [together, alone, _] = compared(&kinds, 10_000_000);
            assert!(
                together < alone + 1.0,
                "{kinds:?}: {together}, alone {alone}"
            );
            assert!(
                together < 1.5 * alone,
                "{kinds:?}: {together}, alone {alone}"
            );
        }
    }

    #[test]
    fn blocks_that_are_discarded_are_nobodys() {
        let mut turns = Turns::new([(2, 10), (1, 10)]);
        for member in 0..2 {
            assert_eq!((turns.depth(), turns.next(10).0), (1, member));
            turns.submitted(member, 10, 0.0..1.0);
            turns.collected(1.0..2.0);
        }
        assert_eq!((turns.depth(), turns.next(10)), (3, (0, 5)));
        turns.submitted(0, 5, 2.0..3.0);
        assert_eq!((turns.next(10), turns.oldest()), ((1, 10), Some(0)));
        turns.discard();
        assert_eq!((turns.next(10).0, turns.oldest()), (0, None));
    }
}
