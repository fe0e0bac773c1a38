//! Whether candidates can be those of their shard: what is read is not to be trusted.

use equipoise_core::strategies::{Listed, ShardList, shard_rows};

use super::Candidates;

/// What makes them nothing that a scan of their shard could have left.
pub(super) fn problem(candidates: &Candidates) -> Option<String> {
    let question = &candidates.question;
    let shard = Shard {
        rows: shard_rows(question.pool_rows, candidates.shard, question.shards),
        name: format!("{}/{}", candidates.shard + 1, question.shards),
        classes: question.classes.len() as u64,
    };
    let mut lists = candidates.lists.iter().enumerate();
    let of_list = |(list, of)| Some(format!("list {list}: {}", shard.list(of)?));
    lists
        .find_map(of_list)
        .or_else(|| shard.nonfinite(&candidates.nonfinite))
        .or_else(|| together(candidates))
}

/// The rows that are in a list, each once, ascending.
pub(super) fn listed(lists: &[ShardList]) -> Vec<usize> {
    let entries = lists.iter().flat_map(|list| &list.entries);
    let mut rows: Vec<usize> = entries.map(|entry| entry.row).collect();
    rows.sort_unstable();
    rows.dedup();
    rows
}

/// What the rows listed, those left out and the names say against each other.
fn together(candidates: &Candidates) -> Option<String> {
    let (listed, names) = (listed(&candidates.lists), &candidates.names);
    let both = |row: &&usize| listed.binary_search(row).is_ok();
    if let Some(row) = candidates.nonfinite.iter().find(both) {
        return Some(format!("row {row} is listed, and left out as not finite"));
    }
    let available = candidates.question.available;
    let found = listed.len() + candidates.nonfinite.len();
    if found > available {
        return Some(format!(
            "it is of {found} rows, and {available} are available"
        ));
    }
    let all_named = || {
        let named = listed.iter().all(|row| names.contains_key(row));
        named && names.len() == listed.len()
    };
    (!names.is_empty() && !all_named()).then(|| "its names are not those of its rows".into())
}

/// What can be in a shard.
struct Shard {
    rows: std::ops::Range<usize>,
    name: String,
    classes: u64,
}

impl Shard {
    fn row(&self, row: usize) -> Option<String> {
        let (rows, name) = (&self.rows, &self.name);
        let beyond = || {
            format!(
                "row {row} is none of shard {name}, rows {} to {}",
                rows.start, rows.end
            )
        };
        (!rows.contains(&row)).then(beyond)
    }

    fn entry(&self, entry: &Listed) -> Option<String> {
        if let Some(beyond) = self.row(entry.row) {
            return Some(beyond);
        }
        if entry.key.is_nan() || entry.score.is_nan() {
            return Some(format!(
                "the key or score of row {} is no number",
                entry.row
            ));
        }
        let mut classes = std::iter::once(entry.predicted).chain(entry.runner_up);
        let beyond = classes.find(|class| u64::from(*class) >= self.classes);
        beyond.map(|class| format!("row {}: there is no class {class}", entry.row))
    }

    fn list(&self, list: &ShardList) -> Option<String> {
        if let Some(problem) = list.entries.iter().find_map(|entry| self.entry(entry)) {
            return Some(problem);
        }
        let in_order = |pair: &[Listed]| pair[0].order(&pair[1]).is_lt();
        if !list.entries.windows(2).all(in_order) {
            return Some("it is not in the order of its keys".into());
        }
        let mut rows: Vec<usize> = list.entries.iter().map(|entry| entry.row).collect();
        rows.sort_unstable();
        let twice = rows.windows(2).find(|pair| pair[0] == pair[1]);
        twice.map(|pair| format!("row {} is there twice", pair[0]))
    }

    fn nonfinite(&self, rows: &[usize]) -> Option<String> {
        if !rows.is_sorted_by(|a, b| a < b) {
            return Some("its rows left out as not finite do not ascend".into());
        }
        let beyond = rows.iter().find_map(|row| self.row(*row));
        beyond.map(|beyond| format!("of those left out as not finite, {beyond}"))
    }
}
