//! Tables of text, for terminals.

use std::fmt;

/// A table: the first column is aligned to the left, the others to the right.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
    rules: Vec<usize>,
}

impl Table {
    /// A table with these headings.
    pub fn new<S: Into<String>>(headings: impl IntoIterator<Item = S>) -> Self {
        let mut table = Self::default();
        table.row(headings);
        table.rule();
        table
    }

    /// Adds a row of cells; rows may differ in length.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Adds a line across the table, below what is there.
    pub fn rule(&mut self) {
        self.rules.push(self.rows.len());
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        (0..columns).map(width).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        let rule = "-".repeat(widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1));
        for (index, row) in self.rows.iter().enumerate() {
            if self.rules.contains(&index) {
                writeln!(f, "{rule}")?;
            }
            let mut line = String::new();
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                if column == 0 {
                    line += &format!("{cell:<width$}");
                } else {
                    line += &format!("  {cell:>width$}");
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        if self.rules.contains(&self.rows.len()) {
            writeln!(f, "{rule}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(["class", "base", "random"]);
        table.row(["ring", "10", "3"]);
        table.rule();
        table.row(["all", "100"]);
        let expected = "class  base  random\n-------------------\nring     10       3\n\
                        -------------------\nall     100\n";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn a_table_of_nothing_is_empty() {
        assert_eq!(Table::default().to_string(), "");
    }
}
