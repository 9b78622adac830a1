//! Tables of comma-separated values: rows by the names of their columns, each with the line where it begins.

use csv::{ReaderBuilder, StringRecord, Trim};

use super::source::{Fault, Place, Places};

/// A row.
pub struct Row {
    /// The line where it begins.
    pub place: Place,
    cells: StringRecord,
}

/// A table.
pub struct Table {
    /// The names of its columns, in small letters.
    pub columns: Vec<String>,
    /// Its rows.
    pub rows: Vec<Row>,
}

impl Table {
    /// Reads a table whose first row names its columns.
    ///
    /// # Errors
    /// A row has another number of cells than the first.
    pub fn read(text: &str) -> Result<Self, Fault> {
        let places = Places::of(text);
        let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(text.as_bytes());
        let headers = reader.headers().map_err(|error| fault(&error, &places))?;
        let columns = headers.iter().map(str::to_ascii_lowercase).collect();
        let rows = reader.into_records().map(|record| {
            let cells = record.map_err(|error| fault(&error, &places))?;
            Ok(Row { place: place(cells.position(), &places), cells })
        });
        Ok(Self { columns, rows: rows.collect::<Result<_, Fault>>()? })
    }

    /// What stands in a row below a column; nothing where there is no such column or the cell is empty.
    pub fn cell<'r>(&self, row: &'r Row, column: &str) -> Option<&'r str> {
        let index = self.columns.iter().position(|name| name == column)?;
        row.cells.get(index).filter(|cell| !cell.is_empty())
    }
}

/// Where a row begins. The reader's own line is that of the row before where lines end in two characters.
fn place(position: Option<&csv::Position>, places: &Places<'_>) -> Place {
    let offset = position.and_then(|position| usize::try_from(position.byte()).ok()).unwrap_or(0);
    Place { column: 1, ..places.at_text(offset) }
}

fn fault(error: &csv::Error, places: &Places<'_>) -> Fault {
    let place = place(error.position(), places);
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            let what = format!(
                "{len} cells; expected {expected_len}, as in the first line; put a cell with a comma into quotes"
            );
            Fault::new(place, what)
        }
        _ => Fault::new(place, "no row of a table here"),
    }
}
