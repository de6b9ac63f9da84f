//! Tables that fit the terminal and lose nothing: columns that have no room go to lines of their
//! own below their row, each value with its heading. In a pipe a row is one line. Columns that are
//! empty in each row are left out.

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

    pub(super) fn print(self) -> anyhow::Result<()> {
        // A program that reads a pipe wants a row on a line.
        let width = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        show::line(&self.telling().render(width))
    }

    /// The table without the columns that say nothing of any row.
    fn telling(mut self) -> Self {
        let [headings, rows @ ..] = self.rows.as_slice() else { return self };
        let says = |column: usize| rows.iter().any(|row| !row[column].is_empty());
        // The first is what rows are called by; without a row all headings are told.
        let told: Vec<bool> = (0..headings.len())
            .map(|column| column == 0 || rows.is_empty() || says(column))
            .collect();
        for row in &mut self.rows {
            let mut told = told.iter();
            row.retain(|_| told.next() == Some(&true));
        }
        self
    }

    /// The table without a line end; `width` in columns of the terminal.
    pub(super) fn render(&self, width: Option<usize>) -> String {
        let natural = self.natural();
        let kept = width.map_or(natural.len(), |width| fitting(&natural, width));
        let first = width.map_or(natural[0], |width| natural[0].min(width));
        let mut lines = Vec::new();
        for (number, row) in self.rows.iter().enumerate() {
            let cells = row.iter().zip(&natural).take(kept).enumerate();
            let cells = cells.map(|(column, (cell, natural))| {
                pad(cell, if column == 0 { first } else { *natural })
            });
            lines.push(cells.collect::<Vec<_>>().join(GAP).trim_end().to_owned());
            if number > 0 && kept < row.len() {
                lines.extend(self.below(row, kept, width.unwrap_or(usize::MAX)));
            }
        }
        lines.join("\n")
    }

    /// The columns of a row that have no room beside the others. What says nothing is left out.
    fn below(&self, row: &[String], kept: usize, width: usize) -> Vec<String> {
        let folded = self.rows[0].iter().zip(row).skip(kept);
        let told = folded.filter(|(_, cell)| !matches!(cell.as_str(), "" | "-"));
        let told = told.map(|(heading, cell)| format!("{} {cell}", heading.to_lowercase()));
        wrap(&told.collect::<Vec<_>>(), width.saturating_sub(INDENT.len()).max(WRAP_MIN))
            .into_iter()
            .map(|line| format!("{INDENT}{line}"))
            .collect()
    }

    fn natural(&self) -> Vec<usize> {
        let columns = self.rows[0].len();
        let widest = |column: usize| self.rows.iter().map(|row| row[column].width()).max();
        (0..columns).map(|column| widest(column).unwrap_or(0)).collect()
    }
}

/// How many columns, from the first on, have room beside each other.
fn fitting(natural: &[usize], width: usize) -> usize {
    let mut taken = natural[0];
    let beside = natural.iter().skip(1).take_while(|next| {
        taken += GAP.len() + **next;
        taken <= width
    });
    1 + beside.count()
}

/// Texts on as few lines as they need: broken between them, then between words, then anywhere.
fn wrap(texts: &[String], width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for text in texts {
        let line = lines.last_mut().expect("there is one");
        if line.is_empty() {
            line.push_str(text);
        } else if line.width() + GAP.len() + text.width() <= width {
            line.push_str(GAP);
            line.push_str(text);
        } else {
            lines.push(text.clone());
        }
        while let Some((line, rest)) = broken(lines.last().expect("there is one"), width) {
            lines.pop();
            lines.extend([line, rest]);
        }
    }
    lines.retain(|line| !line.is_empty());
    lines
}

/// The part of a line that fits, and the rest; `None` if all of it fits.
fn broken(line: &str, width: usize) -> Option<(String, String)> {
    if line.width() <= width {
        return None;
    }
    let end = cut_at(line, width);
    let word_end = line[..end].rfind(' ').filter(|at| *at > 0 && !line[end..].starts_with(' '));
    let (line, rest) = line.split_at(word_end.unwrap_or(end));
    Some((line.trim_end().to_owned(), rest.trim_start().to_owned()))
}

/// How many bytes of a text fit.
fn cut_at(text: &str, width: usize) -> usize {
    let mut taken = 0;
    for (at, c) in text.char_indices() {
        taken += c.width().unwrap_or(0);
        if taken > width {
            return if at == 0 { c.len_utf8() } else { at };
        }
    }
    text.len()
}

fn pad(cell: &str, width: usize) -> String {
    let natural = cell.width();
    if natural <= width {
        return format!("{cell}{}", " ".repeat(width - natural));
    }
    // Only what a row is called by may have less room than it needs, on a very narrow terminal.
    let cut = &cell[..cut_at(cell, width.saturating_sub(1)).min(cell.len())];
    format!("{cut}…")
}

const GAP: &str = "  ";
/// What begins a line that belongs to the row above it.
const INDENT: &str = "    ";
/// A line below a row has that much room at least, however narrow the terminal is.
const WRAP_MIN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn tasks() -> Table {
        let mut table = Table::new(["ID", "STATUS", "LANE", "DETAIL"]);
        let id = "task_01jdk3v5x8e2rbk0t6q9z4m7ha".to_owned();
        let detail = "out-of-paper: Put paper into tray two, then press the green button. 日本語";
        table.row([id.clone(), "failed".into(), "c-17".into(), detail.into()]);
        table.row([id, "queued".into(), "-".into(), String::new()]);
        table
    }

    #[test]
    fn in_a_pipe_a_row_is_a_line() {
        let mut table = Table::new(["ID", "TEXT"]);
        table.row(["a".into(), "日本語 and more".into()]);
        table.row(["bcd".into(), "x\ny".into()]);
        assert_eq!(table.render(None), "ID   TEXT\na    日本語 and more\nbcd  x y");
        assert_eq!(tasks().render(None).lines().count(), 3);
    }

    #[test]
    fn a_column_that_is_empty_in_each_row_is_left_out() {
        // A hundred tasks without lane and labels were shown on lines of over a hundred columns.
        let headings = ["ID", "LANE", "LABELS", "DETAIL"];
        let mut table = Table::new(headings);
        table.row(["a", "", "", "x"].map(str::to_owned));
        table.row(["b", "", "n=1", ""].map(str::to_owned));
        assert_eq!(table.telling().render(None), "ID  LABELS  DETAIL\na           x\nb   n=1");
        assert_eq!(Table::new(headings).telling().render(None), "ID  LANE  LABELS  DETAIL");
    }

    #[test]
    fn what_has_no_room_goes_below_its_row_and_is_whole() {
        // At 80 columns a table of tasks lost the reason of each failure.
        let expected = "\
ID                               STATUS  LANE
task_01jdk3v5x8e2rbk0t6q9z4m7ha  failed  c-17
    detail out-of-paper: Put paper into tray two, then press the green button.
    日本語
task_01jdk3v5x8e2rbk0t6q9z4m7ha  queued  -";
        assert_eq!(tasks().render(Some(80)), expected);
    }

    #[test]
    fn no_line_is_longer_than_the_terminal() {
        for width in 12..120 {
            let lines = tasks().render(Some(width));
            assert!(lines.lines().all(|line| line.width() <= width), "{width}: {lines}");
            let words: String = lines.split_whitespace().collect();
            assert!(
                words.contains("Putpaperintotraytwo,thenpressthegreenbutton.日本語"),
                "{lines}"
            );
        }
    }
}
