//! Tables and numbers for people.

use comfy_table::{CellAlignment, Table, presets};

/// An empty table with a header. Its text is also a Markdown table.
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(header);
    table
}

/// A share in per cent with the given number of decimals: `percent(0.123, 1)` is `12.3 %`.
pub fn percent(share: f64, decimals: usize) -> String {
    format!("{:.decimals$} %", 100.0 * share)
}

/// Aligns columns of numbers to the right. Columns that the table lacks are skipped.
pub(crate) fn align_right(table: &mut Table, columns: impl IntoIterator<Item = usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// Aligns all columns from `first` on to the right.
pub(crate) fn align_right_from(table: &mut Table, first: usize) {
    table
        .column_iter_mut()
        .skip(first)
        .for_each(|column| column.set_cell_alignment(CellAlignment::Right));
}
