//! What came of a block of rows for the classes' lists, class by class: lists take theirs as a whole.

use crate::engine::{ALL_CLASSES, Candidate, NO_CLASS};

/// Where a row may stand in a class's list.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// Row in the block.
    pub row: u32,
    /// As [`Candidate::lower`].
    pub lower: f32,
    /// As [`Candidate::upper`].
    pub upper: f32,
}

/// What the bounds say of a row's predicted class, whichever class it is a candidate of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Codes {
    /// As [`Candidate::predicted`].
    pub predicted: u32,
    /// As [`Candidate::runner_up`].
    pub runner_up: u32,
    /// As [`Candidate::rival`].
    pub rival: u32,
}

impl Codes {
    /// Those of a row about which the bounds say nothing.
    pub const NONE: Self = Self {
        predicted: NO_CLASS,
        runner_up: NO_CLASS,
        rival: NO_CLASS,
    };
}

/// Candidates of some rows of a block, grouped by class.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Candidates {
    /// Where each class's places begin, and where the last one's end; empty where there are none.
    starts: Vec<u32>,
    places: Vec<Place>,
    /// Rows that have places, ascending.
    rows: Vec<(u32, Codes)>,
    /// Rows about which the bounds say nothing.
    whole: Vec<u32>,
}

impl Candidates {
    /// Those of a list as kernels write it, in any order, for `classes` classes. Candidates of other classes are
    /// left out.
    pub fn of(found: &[Candidate], classes: usize) -> Self {
        let mut candidates = Self::default();
        candidates.group(found, classes);
        candidates
    }

    /// [`Candidates::of`] in the memory of these.
    pub fn group(&mut self, found: &[Candidate], classes: usize) {
        self.clear();
        if found.is_empty() {
            return;
        }
        // Counted one place further on, so that filling in moves each start to where it belongs.
        self.starts.resize(classes + 2, 0);
        for candidate in found {
            match candidate.class {
                ALL_CLASSES => self.whole.push(candidate.row),
                class if (class as usize) < classes => self.starts[class as usize + 2] += 1,
                _ => {}
            }
        }
        let mut sum = 0;
        for start in &mut self.starts {
            sum += *start;
            *start = sum;
        }
        let none = Place {
            row: 0,
            lower: 0.0,
            upper: 0.0,
        };
        self.places.resize(sum as usize, none);
        let mut last = None;
        for candidate in found {
            if candidate.class as usize >= classes {
                continue;
            }
            let next = &mut self.starts[candidate.class as usize + 1];
            self.places[*next as usize] = Place {
                row: candidate.row,
                lower: candidate.lower,
                upper: candidate.upper,
            };
            *next += 1;
            if last != Some(candidate.row) {
                last = Some(candidate.row);
                self.rows.push((candidate.row, candidate.codes()));
            }
        }
        self.starts.pop();
        if !self.rows.is_sorted_by_key(|(row, _)| *row) {
            self.rows.sort_unstable_by_key(|(row, _)| *row);
            self.rows.dedup_by_key(|(row, _)| *row);
        }
    }

    /// Bytes that the memory of two blocks' takes at most, which grows by doubling: so many candidates, of so many
    /// rows, for so many classes, in one part.
    pub fn bytes(candidates: u64, rows: u64, classes: u64) -> u64 {
        let (place, known) = (size_of::<Place>() as u64, size_of::<(u32, Codes)>() as u64);
        4 * (candidates * place + rows * known + 4 * (classes + 2))
    }

    /// Forgets all, and keeps the memory.
    pub fn clear(&mut self) {
        self.starts.clear();
        self.places.clear();
        self.rows.clear();
        self.whole.clear();
    }

    /// How many there are; a row about which the bounds say nothing counts as one.
    pub fn len(&self) -> usize {
        self.places.len() + self.whole.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those of a class.
    pub fn of_class(&self, class: usize) -> &[Place] {
        match self.starts.get(class..class + 2) {
            Some([start, end]) => &self.places[*start as usize..*end as usize],
            _ => &[],
        }
    }

    /// What is known of the rows that have places, ascending by row.
    pub fn rows(&self) -> &[(u32, Codes)] {
        &self.rows
    }

    /// Rows about which the bounds say nothing: candidates of every class.
    pub fn whole(&self) -> &[u32] {
        &self.whole
    }

    /// Each as a kernel writes it: class by class, then the rows about which the bounds say nothing.
    pub fn iter(&self) -> impl Iterator<Item = Candidate> + '_ {
        let classes = self.starts.len().saturating_sub(1);
        let placed = (0..classes).flat_map(move |class| {
            self.of_class(class).iter().map(move |place| {
                let known = self.rows.binary_search_by_key(&place.row, |(row, _)| *row);
                let codes = known.map_or(Codes::NONE, |at| self.rows[at].1);
                Candidate {
                    row: place.row,
                    class: class as u32,
                    predicted: codes.predicted,
                    runner_up: codes.runner_up,
                    rival: codes.rival,
                    lower: place.lower,
                    upper: place.upper,
                }
            })
        });
        placed.chain(self.whole.iter().map(|row| Candidate::unknown(*row)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(row: u32, class: u32) -> Candidate {
        Candidate {
            row,
            class,
            predicted: row % 3,
            runner_up: row,
            rival: NO_CLASS,
            lower: row as f32,
            upper: class as f32,
        }
    }

    #[test]
    fn candidates_come_back_by_class() {
        let found = [
            candidate(5, 2),
            candidate(2, 0),
            Candidate::unknown(3),
            candidate(5, 0),
            candidate(2, 2),
            // Of no class.
            candidate(1, 9),
        ];
        let grouped = Candidates::of(&found, 4);
        assert_eq!(grouped.len(), 5);
        let rows = |class| {
            let places = grouped.of_class(class).iter();
            places.map(|place| place.row).collect::<Vec<_>>()
        };
        let all: Vec<Vec<u32>> = (0..5).map(rows).collect();
        assert_eq!(all, [vec![2, 5], vec![], vec![5, 2], vec![], vec![]]);
        let known = [(2, found[1].codes()), (5, found[0].codes())];
        assert_eq!((grouped.rows(), grouped.whole()), (&known[..], &[3][..]));
        let back: Vec<Candidate> = grouped.iter().collect();
        assert_eq!(back, [found[1], found[3], found[0], found[4], found[2]]);
    }

    #[test]
    fn nothing_is_nothing() {
        let none = Candidates::of(&[], 3);
        assert!(none.is_empty() && none.of_class(1).is_empty() && none.iter().next().is_none());
        let mut again = Candidates::of(&[candidate(1, 1)], 3);
        again.group(&[Candidate::unknown(7)], 3);
        assert_eq!(
            (again.len(), again.whole(), again.rows()),
            (1, &[7][..], &[][..])
        );
    }
}
