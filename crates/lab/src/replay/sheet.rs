//! CSV files with a header, whose errors say file, line and column.

use std::fs::File;
use std::path::Path;
use std::str::FromStr;

use csv::{Reader, StringRecord};

use super::ReplayError;

/// A line: the cells of the columns that were asked for.
pub(super) struct Line<'a, const N: usize> {
    file: &'a Path,
    columns: &'a [&'static str; N],
    places: &'a [usize; N],
    cells: &'a StringRecord,
}

impl<const N: usize> Line<'_, N> {
    /// The cell of column `i`, counted as they were asked for.
    pub(super) fn text(&self, i: usize) -> &str {
        self.cells.get(self.places[i]).unwrap_or_default().trim()
    }

    /// The cell as a value; `wanted` says what it should be.
    pub(super) fn value<T: FromStr>(&self, i: usize, wanted: &str) -> Result<T, ReplayError> {
        self.text(i).parse().map_err(|_| self.wrong(i, wanted))
    }

    /// The cell as a number that is finite and not negative.
    pub(super) fn number(&self, i: usize, wanted: &str) -> Result<f64, ReplayError> {
        let number: f64 = self.value(i, wanted)?;
        if number.is_finite() && number >= 0.0 { Ok(number) } else { Err(self.wrong(i, wanted)) }
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
    pub(super) fn wrong(&self, i: usize, wanted: &str) -> ReplayError {
        let line = self.cells.position().map_or(0, csv::Position::line);
        let what = format!("is `{}`, must be {wanted}", self.text(i));
        ReplayError::Cell { file: self.file.display().to_string(), line, column: self.columns[i], what }
    }
}

/// Every line of a file, parsed; `columns` are those that it must have.
///
/// # Errors
/// [`ReplayError::File`]: it can't be read, or a column is missing; and whatever `parse` says.
pub(super) fn read<const N: usize, T>(
    file: &Path,
    columns: [&'static str; N],
    mut parse: impl FnMut(&Line<N>) -> Result<T, ReplayError>,
) -> Result<Vec<T>, ReplayError> {
    let failed = |what: String| ReplayError::File { file: file.display().to_string(), what };
    // Opened here rather than by csv, so that the message about a missing file is the system's alone.
    let mut rows = Reader::from_reader(File::open(file).map_err(|e| failed(e.to_string()))?);
    let header = rows.headers().map_err(|e| failed(e.to_string()))?.clone();
    let mut places = [0; N];
    for (place, column) in places.iter_mut().zip(columns) {
        let found = header.iter().position(|name| name.trim() == column);
        *place = found.ok_or_else(|| {
            let known: Vec<&str> = header.iter().collect();
            failed(format!("line 1 has no column `{column}`, only {}", known.join(", ")))
        })?;
    }
    let (mut cells, mut parsed) = (StringRecord::new(), Vec::new());
    while rows.read_record(&mut cells).map_err(|e| failed(e.to_string()))? {
        parsed.push(parse(&Line { file, columns: &columns, places: &places, cells: &cells })?);
    }
    Ok(parsed)
}
