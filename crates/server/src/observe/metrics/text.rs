//! The two formats that collectors read: that of Prometheus (0.0.4) and OpenMetrics (1.0).
//!
//! They differ in how a counter's family is named, and in the end. Not here: what there is to tell.

use std::fmt::{Display, Write as _};

use relais_engine::measure::tally::{BUCKETS, Histogram};

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// `text/plain; version=0.0.4`.
    Prometheus,
    /// `application/openmetrics-text; version=1.0.0`.
    OpenMetrics,
}

impl Format {
    /// The media types, the one for whoever says nothing first.
    pub(crate) const OFFERS: [&str; 2] = ["text/plain", "application/openmetrics-text"];

    /// The one at this place among [`Format::OFFERS`].
    pub(crate) fn at(place: usize) -> Self {
        if place == 0 { Self::Prometheus } else { Self::OpenMetrics }
    }

    /// Its media type, whole.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The labels of a sample.
pub(crate) type Labels<'a> = [(&'a str, &'a str)];

/// A text in the making.
pub(crate) struct Writer {
    format: Format,
    out: String,
    /// The family whose samples come now.
    name: String,
}

impl Writer {
    pub(crate) fn new(format: Format) -> Self {
        Self { format, out: String::with_capacity(16 << 10), name: String::new() }
    }

    /// A family of what only rises; `name` is without `_total`.
    pub(crate) fn counter(&mut self, name: &str, help: &str) {
        self.begin(&format!("{name}_total"), "counter", help);
    }

    /// A family of what rises and falls.
    pub(crate) fn gauge(&mut self, name: &str, help: &str) {
        self.begin(name, "gauge", help);
    }

    /// A family of durations.
    pub(crate) fn histogram(&mut self, name: &str, help: &str) {
        self.begin(name, "histogram", help);
    }

    fn begin(&mut self, name: &str, kind: &str, help: &str) {
        self.name = format!("relais_{name}");
        let family = match self.format {
            Format::Prometheus => &self.name,
            Format::OpenMetrics => self.name.strip_suffix("_total").unwrap_or(&self.name),
        };
        // Writing to a string cannot fail.
        let _ = write!(self.out, "# HELP {family} {help}.\n# TYPE {family} {kind}\n");
    }

    /// A sample of the family.
    pub(crate) fn sample(&mut self, labels: &Labels<'_>, value: impl Display) {
        self.line("", labels, None, value);
    }

    /// The samples of a histogram.
    pub(crate) fn spread(&mut self, labels: &Labels<'_>, spread: &Histogram) {
        let mut count = 0;
        for (bucket, in_bucket) in spread.counts.iter().enumerate() {
            count += in_bucket;
            let end = BUCKETS.get(bucket).map_or("+Inf".to_owned(), |end| format!("{end:?}"));
            self.line("_bucket", labels, Some(&end), count);
        }
        self.line("_sum", labels, None, spread.sum);
        self.line("_count", labels, None, count);
    }

    fn line(&mut self, suffix: &str, labels: &Labels<'_>, end: Option<&str>, value: impl Display) {
        let Self { out, name, .. } = self;
        let _ = write!(out, "{name}{suffix}");
        let labels = labels.iter().copied().chain(end.map(|end| ("le", end)));
        let mut open = '{';
        for (label, value) in labels {
            let _ = write!(out, "{open}{label}=\"{}\"", escaped(value));
            open = ',';
        }
        if open == ',' {
            out.push('}');
        }
        let _ = writeln!(out, " {value}");
    }

    /// The whole text.
    pub(crate) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
        self.out
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: Format) -> String {
        let mut writer = Writer::new(format);
        writer.counter("tasks_accepted", "Tasks accepted");
        writer.sample(&[("queue", "a\"b")], 3);
        writer.gauge("draining", "1 if the server is stopping");
        writer.sample(&[], 0);
        writer.finish()
    }

    #[test]
    fn both_formats_name_a_counter_their_own_way_and_only_one_has_an_end() {
        let rest = "# HELP relais_draining 1 if the server is stopping.\n\
                    # TYPE relais_draining gauge\nrelais_draining 0\n";
        let sample = "relais_tasks_accepted_total{queue=\"a\\\"b\"} 3\n";
        assert_eq!(
            written(Format::Prometheus),
            format!(
                "# HELP relais_tasks_accepted_total Tasks accepted.\n\
                 # TYPE relais_tasks_accepted_total counter\n{sample}{rest}"
            )
        );
        assert_eq!(
            written(Format::OpenMetrics),
            format!(
                "# HELP relais_tasks_accepted Tasks accepted.\n\
                 # TYPE relais_tasks_accepted counter\n{sample}{rest}# EOF\n"
            )
        );
    }

    #[test]
    fn the_buckets_of_a_histogram_add_up() {
        let mut writer = Writer::new(Format::Prometheus);
        writer.histogram("x_seconds", "Durations");
        let mut spread = Histogram { sum: 1.5, ..Histogram::default() };
        spread.counts[0] = 2;
        spread.counts[BUCKETS.len()] = 1;
        writer.spread(&[("queue", "q")], &spread);
        let text = writer.finish();
        for line in [
            "relais_x_seconds_bucket{queue=\"q\",le=\"0.01\"} 2\n",
            "relais_x_seconds_bucket{queue=\"q\",le=\"3600.0\"} 2\n",
            "relais_x_seconds_bucket{queue=\"q\",le=\"+Inf\"} 3\n",
            "relais_x_seconds_sum{queue=\"q\"} 1.5\n",
            "relais_x_seconds_count{queue=\"q\"} 3\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }
}
