//! CSV files with a header. Errors name the file, the line and the column.

use std::fs::File;
use std::path::Path;
use std::str::FromStr;

use csv::{Reader, StringRecord};

use super::ReplayError;

/// A line: the cells of the requested columns.
pub(super) struct Line<'a, const N: usize> {
    file: &'a Path,
    columns: &'a [&'static str; N],
    positions: &'a [usize; N],
    cells: &'a StringRecord,
}

impl<const N: usize> Line<'_, N> {
    /// The cell of the requested column `i`, from 0.
    pub(super) fn text(&self, i: usize) -> &str {
        self.cells.get(self.positions[i]).unwrap_or_default().trim()
    }

    /// The cell as a value. `expected` describes a valid value.
    pub(super) fn value<T: FromStr>(&self, i: usize, expected: &str) -> Result<T, ReplayError> {
        self.text(i).parse().map_err(|_| self.wrong(i, expected))
    }

    /// The cell as a number that is finite and not negative.
    pub(super) fn number(&self, i: usize, expected: &str) -> Result<f64, ReplayError> {
        let number: f64 = self.value(i, expected)?;
        if number.is_finite() && number >= 0.0 { Ok(number) } else { Err(self.wrong(i, expected)) }
    }

    /// The cell as 0 or 1.
    pub(super) fn label(&self, i: usize) -> Result<bool, ReplayError> {
        match self.text(i) {
            "0" => Ok(false),
            "1" => Ok(true),
            _ => Err(self.wrong(i, "0 or 1")),
        }
    }

    /// An error about the cell.
    pub(super) fn wrong(&self, i: usize, expected: &str) -> ReplayError {
        let line = self.cells.position().map_or(0, csv::Position::line);
        let what = format!("is `{}`, must be {expected}", self.text(i));
        ReplayError::Cell { file: self.file.to_owned(), line, column: self.columns[i], what }
    }
}

/// Parses every line of a file that must have `columns`.
///
/// # Errors
/// [`ReplayError`] if the file cannot be read, if a column is missing, or from `parse`.
pub(super) fn read<const N: usize, T>(
    file: &Path,
    columns: [&'static str; N],
    mut parse: impl FnMut(&Line<N>) -> Result<T, ReplayError>,
) -> Result<Vec<T>, ReplayError> {
    let failed = |source| ReplayError::Csv { file: file.to_owned(), source };
    // Opened here and not by csv, so that the message about a missing file is that of the system.
    let opened =
        File::open(file).map_err(|source| ReplayError::Read { file: file.to_owned(), source });
    let mut rows = Reader::from_reader(opened?);
    let header = rows.headers().map_err(failed)?.clone();
    let positions = positions(file, &header, &columns)?;
    let (mut cells, mut parsed) = (StringRecord::new(), Vec::new());
    while rows.read_record(&mut cells).map_err(failed)? {
        let line = Line { file, columns: &columns, positions: &positions, cells: &cells };
        parsed.push(parse(&line)?);
    }
    Ok(parsed)
}

/// The position of each column in the header.
fn positions<const N: usize>(
    file: &Path,
    header: &StringRecord,
    columns: &[&'static str; N],
) -> Result<[usize; N], ReplayError> {
    let mut positions = [0; N];
    for (position, column) in positions.iter_mut().zip(columns) {
        let found = header.iter().position(|name| name.trim() == *column);
        *position = found.ok_or_else(|| {
            let known: Vec<&str> = header.iter().collect();
            let what = format!("line 1 has no column `{column}`, only {}", known.join(", "));
            ReplayError::File { file: file.to_owned(), what }
        })?;
    }
    Ok(positions)
}
