//! Tables for a person: columns as wide as their widest cell, numbers to the right.
//! It lays out what it is given and decides nothing.

/// A table under construction; every row has as many cells as there are headings.
pub struct Table {
    headings: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with these headings.
    pub fn new(headings: &[&str]) -> Self {
        Self { headings: headings.iter().map(|text| (*text).to_owned()).collect(), rows: Vec::new() }
    }

    /// Appends a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table as text, two spaces between columns, each line indented by two.
    pub fn render(&self) -> String {
        let lines: Vec<&Vec<String>> = std::iter::once(&self.headings).chain(&self.rows).collect();
        let widths: Vec<usize> = (0..self.headings.len())
            .map(|column| {
                lines.iter().filter_map(|line| line.get(column)).map(|cell| width(cell)).max().unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        for line in lines {
            let mut laid_out = String::from(" ");
            for (cell, full) in line.iter().zip(&widths) {
                let pad = " ".repeat(full.saturating_sub(width(cell)));
                laid_out.push(' ');
                if is_number(cell) {
                    laid_out.push_str(&pad);
                    laid_out.push_str(cell);
                } else {
                    laid_out.push_str(cell);
                    laid_out.push_str(&pad);
                }
                laid_out.push(' ');
            }
            text.push_str(laid_out.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Characters that take up room: all but the colour sequences that `steps::paint` writes.
fn width(cell: &str) -> usize {
    let mut shown = 0;
    let mut in_escape = false;
    for character in cell.chars() {
        match character {
            '\u{1b}' => in_escape = true,
            'm' if in_escape => in_escape = false,
            _ if in_escape => {}
            _ => shown += 1,
        }
    }
    shown
}

fn is_number(cell: &str) -> bool {
    cell.starts_with(|first: char| first.is_ascii_digit())
        && !cell.contains(|any: char| {
            any.is_alphabetic() && !matches!(any, 'k' | 'K' | 'B' | 'M' | 'm' | 's' | 'u' | 'x')
        })
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn numbers_stand_right_and_words_left() {
        let mut table = Table::new(&["step", "seconds"]);
        table.row(["build".to_owned(), "3.0".to_owned()]);
        table.row(["\u{1b}[32mok\u{1b}[0m".to_owned(), "120.5".to_owned()]);
        assert_eq!(
            table.render(),
            "  step   seconds\n  build      3.0\n  \u{1b}[32mok\u{1b}[0m       120.5\n"
        );
    }
}
