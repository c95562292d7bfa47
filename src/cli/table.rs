//! Tables for people.

use comfy_table::{Table, presets};

/// An empty table; its rows are Markdown too.
pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(header);
    table
}

/// Per cent with so many decimals.
pub(super) fn percent(x: f64, decimals: usize) -> String {
    format!("{:.decimals$} %", 100.0 * x)
}
