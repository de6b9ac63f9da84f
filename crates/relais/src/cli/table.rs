//! Tables that fit the terminal: the widest columns give way first, but for the first one. It has what a
//! row is called by, which half of it is not.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::show;

/// Rows under headings.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new<const N: usize>(headings: [&str; N]) -> Self {
        Self { rows: vec![headings.map(str::to_owned).to_vec()] }
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| show::clean(&cell)).to_vec());
    }

    pub(super) fn print(&self) -> anyhow::Result<()> {
        // In a pipe nothing is cut: a program reads it.
        let width = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        show::line(&self.render(width))
    }

    /// The table without a line end; `width` in columns of the terminal.
    pub(super) fn render(&self, width: Option<usize>) -> String {
        let widths = fit(&self.natural(), width);
        let lines = self.rows.iter().map(|row| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| pad(cell, *width));
            cells.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn natural(&self) -> Vec<usize> {
        let columns = self.rows[0].len();
        let widest = |column: usize| self.rows.iter().map(|row| row[column].width()).max();
        (0..columns).map(|column| widest(column).unwrap_or(0)).collect()
    }
}

/// Takes from the widest column until all fit.
fn fit(natural: &[usize], width: Option<usize>) -> Vec<usize> {
    let mut widths = natural.to_vec();
    let Some(width) = width else { return widths };
    let gaps = GAP.len() * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > width {
        let Some(widest) = widths.iter_mut().skip(1).max() else { break };
        if *widest <= COLUMN_MIN {
            break;
        }
        *widest -= 1;
    }
    widths
}

fn pad(cell: &str, width: usize) -> String {
    let natural = cell.width();
    if natural <= width {
        return format!("{cell}{}", " ".repeat(width - natural));
    }
    let mut cut = String::new();
    let mut taken = 0;
    for c in cell.chars() {
        let wide = c.width().unwrap_or(0);
        if taken + wide >= width {
            break;
        }
        taken += wide;
        cut.push(c);
    }
    format!("{cut}…{}", " ".repeat(width - taken - 1))
}

const GAP: &str = "  ";
const COLUMN_MIN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_fits_the_terminal_and_is_whole_in_a_pipe() {
        let mut table = Table::new(["ID", "TEXT"]);
        table.row(["a".into(), "日本語 long enough to be cut".into()]);
        table.row(["bcd".into(), "x\ny".into()]);
        let whole = table.render(None);
        assert_eq!(whole, "ID   TEXT\na    日本語 long enough to be cut\nbcd  x y");
        for width in 12..40 {
            let lines = table.render(Some(width));
            assert!(lines.lines().all(|line| line.width() <= width), "{width}: {lines}");
        }
        assert!(table.render(Some(15)).contains('…'));
        let mut table = Table::new(["ID", "TEXT", "MORE"]);
        table.row(["task_01jdk3v5x8e2rbk0t6q9z4m7ha".into(), "x".repeat(40), "y".repeat(20)]);
        let lines = table.render(Some(80));
        assert!(lines.contains("task_01jdk3v5x8e2rbk0t6q9z4m7ha  x"), "an id is whole: {lines}");
        assert!(lines.lines().all(|line| line.width() <= 80), "{lines}");
    }
}
