//! What was measured: a JSON line at once, a table at the end.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// One figure beside its goal.
struct Row {
    name: String,
    value: f64,
    unit: &'static str,
    goal: String,
    is_met: Option<bool>,
    /// Whether less of it is better.
    is_cost: bool,
}

#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

/// What a figure should be.
pub(crate) enum Goal {
    /// At least.
    AtLeast(f64),
    /// At most.
    AtMost(f64),
    /// Nothing promised.
    None,
}

impl Report {
    /// Notes a figure: prints it as a JSON line, and keeps it for the table.
    pub(crate) fn note(
        &mut self,
        name: &str,
        value: f64,
        unit: &'static str,
        goal: &Goal,
        more: &Value,
    ) {
        let (text, is_met) = match goal {
            Goal::AtLeast(least) => (format!("≥ {least}"), Some(value >= *least)),
            Goal::AtMost(most) => (format!("≤ {most}"), Some(value <= *most)),
            Goal::None => (String::new(), None),
        };
        println!(
            "{}",
            json!({ "name": name, "value": round(value), "unit": unit, "goal": text, "met": is_met, "more": more })
        );
        self.rows.push(Row {
            name: name.to_owned(),
            value,
            unit,
            goal: text,
            is_met,
            is_cost: unit != "/s" && !matches!(goal, Goal::AtLeast(_)),
        });
    }

    /// The table, as Markdown.
    pub(crate) fn table(&self) -> String {
        let mut text = String::from("| figure | measured | goal | |\n|---|---|---|---|\n");
        for row in &self.rows {
            let mark = match row.is_met {
                Some(true) => "met",
                Some(false) => "missed",
                None => "",
            };
            let value = human(row.value);
            writeln!(text, "| {} | {value} {} | {} | {mark} |", row.name, row.unit, row.goal)
                .expect("a string takes all");
        }
        text
    }

    /// A table of this program's medians beside another's, as Markdown. Both noted the same figures, as
    /// often as they had turns. "Worse" says by how much a figure is, whether it should be high or low.
    pub(crate) fn table_beside(&self, other: &Self) -> String {
        let head = "| figure | this build | the other | this / other | worse by |";
        let mut text = format!("{head}\n|---|---|---|---|---|\n");
        let mut told = BTreeSet::new();
        for row in &self.rows {
            if !told.insert(row.name.as_str()) {
                continue;
            }
            let (own, others) = (self.median_of(&row.name), other.median_of(&row.name));
            let ratio = own / others;
            let loss = if row.is_cost { ratio - 1.0 } else { 1.0 - ratio } * 100.0;
            let worse = if loss > 0.0 { format!("{loss:.1} %") } else { String::new() };
            let (name, unit) = (&row.name, row.unit);
            let (own, others) = (human(own), human(others));
            writeln!(text, "| {name} | {own} {unit} | {others} {unit} | {ratio:.3} | {worse} |")
                .expect("a string takes all");
        }
        text
    }

    fn median_of(&self, name: &str) -> f64 {
        let of_name = self.rows.iter().filter(|row| row.name == name);
        median(of_name.map(|row| row.value).collect())
    }
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A histogram of microseconds, up to a minute.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("constant bounds are valid")
}

/// A quantile in milliseconds.
#[expect(clippy::cast_precision_loss, reason = "latencies are small")]
pub(crate) fn quantile_ms(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1_000.0
}

fn round(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

/// Two digits behind the point, or none where there are three before it.
pub(crate) fn human(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}
