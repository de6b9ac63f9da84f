//! Options of a task that its caller sets by header, where the route allows it.

use std::fmt::Display;
use std::time::Duration;

use http::HeaderMap;
use relais_api::{Span, Time, codes};
use relais_core::{LaneKey, Priority, Timestamp, limits, name};
use relais_engine::Deadline;

use crate::problem::Refusal;

/// The known options: the field, and the word by which a route allows it.
const KNOWN: [(&str, &str); 7] = [
    ("relais-delay", "delay"),
    ("relais-run-at", "run-at"),
    ("relais-priority", "priority"),
    ("relais-lane", "lane"),
    ("relais-deadline", "deadline"),
    ("relais-label", "label"),
    ("relais-webhook", "webhook"),
];

/// What a caller asked for.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Options {
    /// When the task may start.
    pub(crate) run_at: Option<Timestamp>,
    /// How urgent it is.
    pub(crate) priority: Priority,
    /// Its lane.
    pub(crate) lane: Option<LaneKey>,
    /// By when it must be done.
    pub(crate) deadline: Option<Deadline>,
    /// Its labels.
    pub(crate) labels: Vec<(String, String)>,
}

impl Options {
    /// Reads the options of a request.
    ///
    /// # Errors
    /// For a known option that the route does not allow, and for one that cannot be read.
    pub(crate) fn of(
        headers: &HeaderMap,
        allow: &[String],
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        for (field, word) in KNOWN {
            if headers.contains_key(field) && !allow.iter().any(|allowed| allowed == word) {
                return Err(Refusal::new(&codes::OPTION_NOT_ALLOWED)
                    .because(format!("the route does not allow `{field}`")));
            }
        }
        if headers.contains_key("relais-webhook") {
            return Err(Refusal::new(&codes::NOT_AVAILABLE)
                .because("`relais-webhook` is not available in this version"));
        }
        let delay = one(headers, "relais-delay", |text| text.parse::<Span>())?;
        let run_at = one(headers, "relais-run-at", |text| text.parse::<Time>())?;
        let run_at = match (delay, run_at) {
            (Some(_), Some(_)) => {
                return Err(invalid("relais-run-at", "goes not together with `relais-delay`"));
            }
            (Some(delay), None) => Some(now.plus(delay.as_duration())),
            (None, at) => at.map(|at| Timestamp::from_ms(at.as_ms())),
        };
        let horizon = now.plus(limits::HORIZON_MAX);
        if run_at.is_some_and(|at| at > horizon) {
            return Err(invalid("relais-run-at", "is too far away"));
        }
        Ok(Self {
            run_at,
            priority: one(headers, "relais-priority", priority)?.unwrap_or_default(),
            lane: one(headers, "relais-lane", |text| text.parse::<LaneKey>())?,
            deadline: one(headers, "relais-deadline", deadline)?,
            labels: labels(headers)?,
        })
    }
}

/// The value of an option that may be given once.
fn one<T, E: Display>(
    headers: &HeaderMap,
    field: &'static str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<Option<T>, Refusal> {
    let mut lines = headers.get_all(field).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(invalid(field, "is given twice"));
    }
    let text = std::str::from_utf8(line.as_bytes()).map_err(|_| invalid(field, "is not UTF-8"))?;
    parse(text.trim()).map(Some).map_err(|why| invalid(field, why))
}

fn priority(text: &str) -> Result<Priority, String> {
    let level = text.parse().ok().and_then(Priority::new);
    let range = limits::PRIORITY_RANGE;
    level.ok_or_else(|| format!("is not a whole number from {} to {}", range.start(), range.end()))
}

/// A time, or a duration counted from the first start.
fn deadline(text: &str) -> Result<Deadline, String> {
    if let Ok(at) = text.parse::<Time>() {
        return Ok(Deadline::At(Timestamp::from_ms(at.as_ms())));
    }
    let span = text.parse::<Span>().map_err(|_| "is neither a time nor a duration".to_owned())?;
    if span == Span::ZERO {
        return Err("leaves no time".to_owned());
    }
    Ok(Deadline::After(Duration::from_millis(span.as_ms())))
}

fn labels(headers: &HeaderMap) -> Result<Vec<(String, String)>, Refusal> {
    const FIELD: &str = "relais-label";
    let mut labels: Vec<(String, String)> = Vec::new();
    for line in headers.get_all(FIELD) {
        let text = std::str::from_utf8(line.as_bytes());
        let text = text.map_err(|_| invalid(FIELD, "is not UTF-8"))?;
        let pair = text.split_once('=').ok_or_else(|| invalid(FIELD, "is not `key=value`"))?;
        let (key, value) = (pair.0.trim(), pair.1.trim());
        for part in [key, value] {
            name::free_text(part, limits::LABEL_BYTES_MAX).map_err(|why| invalid(FIELD, why))?;
        }
        if labels.iter().any(|(other, _)| other == key) {
            return Err(invalid(FIELD, "names a key twice"));
        }
        labels.push((key.to_owned(), value.to_owned()));
    }
    if labels.len() > limits::LABELS_MAX {
        return Err(invalid(FIELD, format_args!("may be given {} times", limits::LABELS_MAX)));
    }
    Ok(labels)
}

fn invalid(field: &str, why: impl Display) -> Refusal {
    Refusal::new(&codes::INVALID_OPTION).because(format!("`{field}`: {why}"))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const NOW: Timestamp = Timestamp::from_ms(1_000_000);

    fn read(fields: &[(&'static str, &'static str)]) -> Result<Options, &'static str> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let allow = KNOWN.map(|(_, word)| word.to_owned());
        Options::of(&headers, &allow, NOW).map_err(|refusal| refusal.code().code)
    }

    #[test]
    fn options_are_read() {
        let options = read(&[
            ("relais-delay", "1h30m"),
            ("relais-priority", "-3"),
            ("relais-lane", "customer 17"),
            ("relais-deadline", "2h"),
            ("relais-label", "order=A-1"),
            ("relais-label", "note = a=b"),
            ("relais-other", "x"),
        ])
        .expect("all are good");
        assert_eq!(options.run_at, Some(Timestamp::from_ms(1_000_000 + 5_400_000)));
        assert_eq!(options.priority.get(), -3);
        assert_eq!(options.lane.as_ref().map(LaneKey::as_str), Some("customer 17"));
        assert_eq!(options.deadline, Some(Deadline::After(Duration::from_secs(7_200))));
        let labels = [("order", "A-1"), ("note", "a=b")];
        assert_eq!(options.labels, labels.map(|(k, v)| (k.to_owned(), v.to_owned())));
        let at = read(&[("relais-run-at", "1970-01-01T01:00:00Z")]).expect("a time");
        assert_eq!(at.run_at, Some(Timestamp::from_ms(3_600_000)));
        assert_eq!(read(&[]), Ok(Options::default()));
    }

    #[test]
    fn absurd_options_are_refused() {
        // P53: 0, −1, 1e99, NaN…
        for (field, value) in [
            ("relais-delay", "-1s"),
            ("relais-delay", "1e99"),
            ("relais-delay", "NaN"),
            ("relais-delay", ""),
            ("relais-delay", "99999999d"),
            ("relais-run-at", "9999-12-31T00:00:00Z"),
            ("relais-run-at", "tomorrow"),
            ("relais-priority", "11"),
            ("relais-priority", "high"),
            ("relais-lane", ""),
            ("relais-deadline", "0s"),
            ("relais-deadline", "soon"),
            ("relais-label", "x"),
            ("relais-label", "=x"),
            ("relais-label", "x="),
        ] {
            assert_eq!(read(&[(field, value)]), Err("invalid-option"), "{field}: {value}");
        }
        let twice = [("relais-priority", "1"), ("relais-priority", "2")];
        assert_eq!(read(&twice), Err("invalid-option"));
        let both = [("relais-delay", "1s"), ("relais-run-at", "2030-01-01T00:00:00Z")];
        assert_eq!(read(&both), Err("invalid-option"));
        assert_eq!(read(&[("relais-webhook", "http://x")]), Err("not-available"));
    }

    #[test]
    fn a_known_option_that_the_route_does_not_allow_is_refused() {
        let mut headers = HeaderMap::new();
        headers.insert("relais-webhook", HeaderValue::from_static("http://x"));
        let allow = ["delay".to_owned()];
        let refused = Options::of(&headers, &allow, NOW).expect_err("webhooks are off by default");
        assert_eq!(refused.code().code, "option-not-allowed");
    }
}
