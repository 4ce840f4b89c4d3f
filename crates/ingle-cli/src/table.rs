//! Rows that are printed as they come: a table for people, or JSON for programs.

use ingle_operator::{inert, shortened};
use serde_json::Value;
use unicode_width::UnicodeWidthStr as _;

use crate::{
    exit::Failed,
    out::{Format, Out},
};

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) title: &'static str,
    pub(crate) width: usize,
}

/// A table that is under way.
pub(crate) struct Table {
    /// Those that the screen has room for.
    columns: Vec<Column>,
    n_rows: usize,
}

impl Table {
    /// Begins a table. The first columns are the most important: those that the screen has no room for
    /// are left out.
    pub(crate) fn begin(out: &mut Out, columns: &[Column]) -> Result<Self, Failed> {
        let mut left = out.columns;
        let mut shown: Vec<Column> = Vec::new();
        for column in columns {
            let gap = if shown.is_empty() { 0 } else { 2 };
            let Some(rest) = left.checked_sub(column.width + gap) else { break };
            left = rest;
            shown.push(*column);
        }
        if shown.is_empty() {
            shown.extend(columns.first().map(|first| Column { width: out.columns, ..*first }));
        }
        let table = Self { columns: shown, n_rows: 0 };
        if out.format == Format::Text {
            let titles = table.columns.iter().map(|column| column.title.to_owned());
            let line = table.line(out, &titles.collect::<Vec<_>>());
            out.title(&line)?;
        }
        Ok(table)
    }

    /// Prints a row.
    pub(crate) fn row(
        &mut self,
        out: &mut Out,
        cells: impl FnOnce() -> Vec<String>,
        json: impl FnOnce() -> Value,
    ) -> Result<(), Failed> {
        self.n_rows += 1;
        if out.format == Format::Text {
            let line = self.line(out, &cells());
            return out.line(&line);
        }
        out.item(&json())
    }

    /// Ends the table, and returns how many rows it has.
    pub(crate) fn end(self, out: &mut Out) -> Result<usize, Failed> {
        out.end_of_items()?;
        Ok(self.n_rows)
    }

    /// Cells in their columns. Where no screen cuts a line off, none is cut.
    fn line(&self, out: &Out, cells: &[String]) -> String {
        let mut line = String::new();
        for (column, cell) in self.columns.iter().zip(cells) {
            let cell = if out.is_terminal { shortened(cell, column.width) } else { inert(cell) };
            let blanks = column.width.saturating_sub(cell.width()) + 2;
            line.push_str(&cell);
            line.extend(std::iter::repeat_n(' ', blanks));
        }
        line.truncate(line.trim_end().len());
        line
    }
}
