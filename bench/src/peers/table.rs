//! The table: figures one below the other, the servers that have one side by side below it.

use std::fmt::Write as _;

use serde_json::json;

use crate::report::{human, median};

/// Widths of the columns; with bars and blanks a line is 80 characters long.
const WIDTHS: [usize; 4] = [38, 10, 9, 10];

/// One figure of one server, run after run.
struct Row {
    figure: String,
    server: String,
    durable: &'static str,
    values: Vec<f64>,
}

/// All figures, in the order in which they came first.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
    remarks: Vec<String>,
}

impl Table {
    /// Notes a value: prints it as a JSON line, and keeps it.
    pub(crate) fn note(&mut self, figure: &str, server: &str, durable: &'static str, value: f64) {
        let rounded = (value * 1_000.0).round() / 1_000.0;
        println!("{}", json!({ "name": figure, "server": server, "value": rounded }));
        let is_it = |row: &&mut Row| row.figure == figure && row.server == server;
        if let Some(row) = self.rows.iter_mut().find(is_it) {
            row.values.push(value);
            return;
        }
        let (figure, server) = (figure.to_owned(), server.to_owned());
        self.rows.push(Row { figure, server, durable, values: vec![value] });
    }

    /// Adds a line below the table, and says it at once.
    pub(crate) fn remark(&mut self, text: &str) {
        eprintln!("{text}");
        self.remarks.push(text.to_owned());
    }

    /// The table as Markdown, and the remarks.
    pub(crate) fn text(&self) -> String {
        let mut text = line(["figure, and who has it", "durable", "median", "from … to"]);
        let [first, second, third, fourth] = WIDTHS.map(|width| "-".repeat(width - 1));
        writeln!(text, "| {first}- | {second}- | {third}: | {fourth}: |")
            .expect("a string takes all");
        let mut told: Vec<&str> = Vec::new();
        for row in &self.rows {
            let figure = row.figure.as_str();
            if told.contains(&figure) {
                continue;
            }
            told.push(figure);
            text += &line([&format!("**{figure}**"), "", "", ""]);
            let mut servers: Vec<&Row> =
                self.rows.iter().filter(|other| other.figure == figure).collect();
            servers.sort_by(|a, b| a.server.cmp(&b.server));
            for Row { server, durable, values, .. } in servers {
                let least = values.iter().copied().fold(f64::INFINITY, f64::min);
                let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let spread = format!("{}…{}", short(least), short(most));
                text += &line([server, durable, &human(median(values.clone())), &spread]);
            }
        }
        text.push('\n');
        for remark in &self.remarks {
            text.push_str(remark);
            text.push('\n');
        }
        text
    }
}

fn line([first, second, third, fourth]: [&str; 4]) -> String {
    let [a, b, c, d] = WIDTHS;
    format!("| {first:a$} | {second:b$} | {third:>c$} | {fourth:>d$} |\n")
}

/// Few characters: a spread needs no more.
fn short(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{:.1}M", value / 1e6),
        value if value >= 1e4 => format!("{:.0}k", value / 1e3),
        value if value >= 1e3 => format!("{:.1}k", value / 1e3),
        value if value >= 100.0 => format!("{value:.0}"),
        value => format!("{value:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_80_columns_and_each_server_below_its_figure() {
        let mut table = Table::default();
        for value in [1_122_000.0, 980_000.0, 1_300_000.0] {
            table.note("deliveries, /s", "one", "no: memory", value);
        }
        table.note("memory of a follower, KiB", "one", "no: memory", 9.99);
        table.note("deliveries, /s", "Relais 0.1.0 /tasks/{id}/events", "yes: fsync", 322_000.0);
        table.remark("A remark.");
        let text = table.text();
        let (rows, remarks) = text.split_once("\n\n").unwrap();
        assert!(rows.lines().all(|line| line.chars().count() == 80), "{rows}");
        let firsts: Vec<&str> =
            rows.lines().skip(2).map(|line| line.split('|').nth(1).unwrap().trim()).collect();
        let told = ["**deliveries, /s**", "Relais 0.1.0 /tasks/{id}/events", "one"];
        assert_eq!(firsts, [&told[..], &["**memory of a follower, KiB**", "one"]].concat());
        assert!(rows.contains("|   1122000 |  980k…1.3M |"), "{rows}");
        assert_eq!(remarks, "A remark.\n");
    }
}
