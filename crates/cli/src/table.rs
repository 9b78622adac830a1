//! Tables for a person: columns as wide as their widest cell on a terminal, two blanks between them, never a tab.
//! Every cell is escaped when it is made, so that no name can act on the terminal or break a row.

use unicode_width::UnicodeWidthStr;

use crate::escape::shown;
use crate::terminal::{Styles, Tone};

/// One cell, escaped.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell with this text.
    pub fn new(text: impl AsRef<str>) -> Self {
        Self::toned(text, Tone::Plain)
    }

    /// A cell that says more by its colour.
    pub fn toned(text: impl AsRef<str>, tone: Tone) -> Self {
        Self { text: shown(text.as_ref()), tone }
    }

    /// A cell for what may be absent.
    pub fn or_dash(text: Option<impl AsRef<str>>) -> Self {
        text.map_or_else(|| Self::new("-"), Self::new)
    }

    /// A state of a key, a claim, an application, an event: green works, yellow does not yet or not now, red is over.
    pub fn state(text: impl AsRef<str>) -> Self {
        let tone = match text.as_ref() {
            "active" | "rotating" | "VALID" | "yes" => Tone::Good,
            "unclaimed" | "expiring" | "disabled" | "suspended" | "open" | "refused" => Tone::Warning,
            "overdue" | "expired" | "revoked" | "retired" | "void" | "alarm" | "no" => Tone::Bad,
            _ => Tone::Plain,
        };
        Self::toned(text, tone)
    }

    fn width(&self) -> usize {
        self.text.width()
    }
}

/// A table under construction.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<Cell>>,
    empty: bool,
}

impl Table {
    /// A table with these headings.
    pub fn new(headings: &[&str]) -> Self {
        Self {
            rows: vec![headings.iter().map(|text| Cell::toned(text, Tone::Heading)).collect()],
            empty: true,
        }
    }

    /// Appends a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
        self.empty = false;
    }

    /// Whether it has no row but its headings.
    pub fn is_empty(&self) -> bool {
        self.empty
    }

    /// The table as text.
    pub fn render(&self, styles: Styles) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                self.rows.iter().filter_map(|row| row.get(column)).map(Cell::width).max().unwrap_or(0)
            })
            .collect();
        let mut out = String::new();
        for row in &self.rows {
            let mut pad = 0;
            for (cell, full) in row.iter().zip(&widths) {
                // The blanks come before the next cell that has a text, so that no line ends in any.
                if !cell.text.is_empty() {
                    out.extend(std::iter::repeat_n(' ', std::mem::take(&mut pad)));
                    let [open, close] = styles.around(cell.tone);
                    out.extend([open.as_str(), &cell.text, &close]);
                }
                pad = full.saturating_sub(cell.width()).saturating_add(pad).saturating_add(2);
            }
            out.push('\n');
        }
        out
    }
}

/// One thing: a line for each of its fields.
#[derive(Debug, Default)]
pub struct Card {
    table: Table,
}

impl Card {
    /// A card without fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a field.
    #[must_use]
    pub fn field(mut self, name: &str, cell: Cell) -> Self {
        self.table.row([Cell::toned(name, Tone::Heading), cell]);
        self
    }

    /// The card as text.
    pub fn render(&self, styles: Styles) -> String {
        self.table.render(styles)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_by_what_is_seen() {
        let mut table = Table::new(&["NAME", "STATE"]);
        assert!(table.is_empty());
        table.row([Cell::new("株式会社"), Cell::state("active")]);
        table.row([Cell::new("a\u{1b}[2J\n"), Cell::or_dash(None::<&str>)]);
        table.row([Cell::new(""), Cell::new("b")]);
        table.row([Cell::new("c"), Cell::new("")]);
        assert_eq!(
            table.render(Styles::OFF),
            "NAME          STATE\n\
             株式会社      active\n\
             a\\u{1b}[2J\\n  -\n\
             \x20             b\n\
             c\n"
        );
    }

    #[test]
    fn styles_add_nothing_but_colour() {
        let mut table = Table::new(&["A", "B"]);
        table.row([Cell::state("revoked"), Cell::new("x")]);
        let styled = table.render(Styles::ON);
        assert!(styled.contains("\u{1b}[1mA\u{1b}[0m"), "{styled:?}");
        assert!(styled.contains("\u{1b}[31mrevoked\u{1b}[0m  x"), "{styled:?}");
        let mut bare = styled;
        for code in ["\u{1b}[0m", "\u{1b}[1m", "\u{1b}[31m"] {
            bare = bare.replace(code, "");
        }
        assert_eq!(bare, table.render(Styles::OFF));
    }
}
