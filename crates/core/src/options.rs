//! What a submitter asks of a task, judged by one rule whichever door it comes by.
//!
//! A door reads its own spelling (a header field, a member of JSON) into [`Asked`]; what may be
//! asked is decided here, so that what one door refuses as senseless no other takes.

use std::time::Duration;

use crate::limits;
use crate::name::{InvalidName, LaneKey, free_text};
use crate::task::Priority;
use crate::time::{InWords, Timestamp};

/// By when a task must be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    /// At this moment.
    At(Timestamp),
    /// So long after its first `run_at`.
    After(Duration),
}

/// What is asked: read, and not judged.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Asked {
    /// When it may start.
    pub run_at: Option<Timestamp>,
    /// How long from now it may start.
    pub delay: Option<Duration>,
    /// How urgent it is.
    pub priority: Option<i64>,
    /// The lane that it waits in.
    pub lane: Option<String>,
    /// By when it must be done.
    pub deadline: Option<Deadline>,
    /// Its labels, in order.
    pub labels: Vec<(String, String)>,
    /// How long it is kept after its end.
    pub retention: Option<Duration>,
}

/// What a task is given: each value is within its limits.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Options {
    /// When it may start; `None` is at once.
    pub run_at: Option<Timestamp>,
    /// How urgent it is.
    pub priority: Priority,
    /// The lane that it waits in; `None` if it names none.
    pub lane: Option<LaneKey>,
    /// By when it must be done; `None` is the queue's.
    pub deadline: Option<Deadline>,
    /// Its labels, in order.
    pub labels: Vec<(String, String)>,
    /// How long it is kept after its end; `None` is the queue's.
    pub retention: Option<Duration>,
}

/// The options there are. Each door has its own name for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OptionName {
    /// When the task may start.
    RunAt,
    /// How long from now it may start.
    Delay,
    /// How urgent it is.
    Priority,
    /// The lane that it waits in.
    Lane,
    /// By when it must be done.
    Deadline,
    /// One of its labels.
    Label,
    /// How long it is kept after its end.
    Retention,
}

impl OptionName {
    /// Those that a caller may set by a header field, where the route allows it. How long a task is
    /// kept is its queue's.
    pub const BY_FIELD: [Self; 6] =
        [Self::Delay, Self::RunAt, Self::Priority, Self::Lane, Self::Deadline, Self::Label];

    /// The word as a configuration spells it, and as the header field has it after `Relais-`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RunAt => "run-at",
            Self::Delay => "delay",
            Self::Priority => "priority",
            Self::Lane => "lane",
            Self::Deadline => "deadline",
            Self::Label => "label",
            Self::Retention => "retention",
        }
    }
}

/// An option that cannot be had, fit for "field x: {error}". It repeats no value that was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct InvalidOption {
    /// The option that is wrong.
    pub option: OptionName,
    /// What is wrong with it.
    pub why: String,
    /// The number of values that was passed, if that is what is wrong.
    pub limit: Option<u64>,
}

impl InvalidOption {
    /// The option is wrong because of this.
    pub fn new(option: OptionName, why: impl Into<String>) -> Self {
        Self { option, why: why.into(), limit: None }
    }
}

impl Asked {
    /// Judges what is asked at `now`.
    ///
    /// # Errors
    /// Names the first option that cannot be had.
    pub fn judge(self, now: Timestamp) -> Result<Options, InvalidOption> {
        let run_at = self.run_at(now)?;
        Ok(Options {
            run_at,
            priority: self.priority()?,
            lane: self.lane()?,
            deadline: self.deadline(run_at.unwrap_or(now), now)?,
            retention: self
                .retention
                .map(|span| more_than_nothing(OptionName::Retention, span))
                .transpose()?,
            labels: labels(self.labels)?,
        })
    }

    fn run_at(&self, now: Timestamp) -> Result<Option<Timestamp>, InvalidOption> {
        match (self.delay, self.run_at) {
            (Some(_), Some(_)) => {
                Err(InvalidOption::new(OptionName::Delay, "give run_at or delay"))
            }
            (Some(delay), None) => Ok(Some(now.plus(within_horizon(OptionName::Delay, delay)?))),
            (None, Some(moment)) => {
                within_horizon(OptionName::RunAt, moment.since(now))?;
                Ok(Some(moment))
            }
            (None, None) => Ok(None),
        }
    }

    fn priority(&self) -> Result<Priority, InvalidOption> {
        let Some(level) = self.priority else { return Ok(Priority::default()) };
        i8::try_from(level).ok().and_then(Priority::new).ok_or_else(|| {
            let (low, high) = (limits::PRIORITY_RANGE.start(), limits::PRIORITY_RANGE.end());
            InvalidOption::new(OptionName::Priority, format!("must be from {low} to {high}"))
        })
    }

    fn lane(&self) -> Result<Option<LaneKey>, InvalidOption> {
        let lane = self.lane.as_deref().map(str::parse).transpose();
        lane.map_err(|why: InvalidName| InvalidOption::new(OptionName::Lane, why.to_string()))
    }

    fn deadline(
        &self,
        run_at: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Deadline>, InvalidOption> {
        let name = OptionName::Deadline;
        match self.deadline {
            None => Ok(None),
            Some(Deadline::After(span)) => {
                more_than_nothing(name, span).map(|span| Some(Deadline::After(span)))
            }
            Some(Deadline::At(moment)) => {
                within_horizon(name, moment.since(now))?;
                if moment <= run_at.max(now) {
                    return Err(InvalidOption::new(name, "must be after the task may run"));
                }
                Ok(Some(Deadline::At(moment)))
            }
        }
    }
}

/// Checks the name and the value of a label: free text, of which the value may be empty.
///
/// # Errors
/// Says what is wrong.
pub fn check_label(name: &str, value: &str) -> Result<(), String> {
    let max = limits::LABEL_BYTES_MAX;
    free_text(name, max).map_err(|error| format!("the name of a label {error}"))?;
    if name.contains('=') {
        return Err("the name of a label must not contain '='".to_owned());
    }
    if value.len() > max {
        return Err(format!("the value of a label must have at most {max} bytes"));
    }
    if value.chars().any(char::is_control) {
        return Err(format!("the value of a label {}", InvalidName::Control));
    }
    Ok(())
}

fn labels(labels: Vec<(String, String)>) -> Result<Vec<(String, String)>, InvalidOption> {
    let refuse = |why: String| InvalidOption::new(OptionName::Label, why);
    if labels.len() > limits::LABELS_MAX {
        let limit = Some(limits::LABELS_MAX as u64);
        let why = format!("at most {} labels", limits::LABELS_MAX);
        return Err(InvalidOption { limit, ..refuse(why) });
    }
    for (place, (name, value)) in labels.iter().enumerate() {
        check_label(name, value).map_err(refuse)?;
        if labels[..place].iter().any(|(other, _)| other == name) {
            return Err(refuse("the name of a label is given twice".to_owned()));
        }
    }
    Ok(labels)
}

fn within_horizon(option: OptionName, span: Duration) -> Result<Duration, InvalidOption> {
    if span <= limits::HORIZON_MAX {
        return Ok(span);
    }
    let max = InWords(limits::HORIZON_MAX);
    Err(InvalidOption::new(option, format!("must be within {max}")))
}

fn more_than_nothing(option: OptionName, span: Duration) -> Result<Duration, InvalidOption> {
    if span.is_zero() {
        return Err(InvalidOption::new(option, "must be longer than nothing"));
    }
    within_horizon(option, span)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_ms(1_000_000);

    fn wrong(asked: Asked) -> Option<OptionName> {
        asked.judge(NOW).err().map(|error| error.option)
    }

    #[test]
    fn a_deadline_leaves_time_to_run() {
        let second = Duration::from_secs(1);
        let by = |deadline| Asked { deadline: Some(deadline), ..Asked::default() };
        for (deadline, is_good) in [
            (Deadline::At(NOW.plus(second)), true),
            (Deadline::At(NOW), false),
            (Deadline::At(Timestamp::EPOCH), false),
            (Deadline::At(NOW.plus(limits::HORIZON_MAX).plus(second)), false),
            (Deadline::After(second), true),
            (Deadline::After(Duration::ZERO), false),
            (Deadline::After(limits::HORIZON_MAX + second), false),
        ] {
            let expected = (!is_good).then_some(OptionName::Deadline);
            assert_eq!(wrong(by(deadline)), expected, "{deadline:?}");
        }
        let later = Asked { delay: Some(2 * second), ..by(Deadline::At(NOW.plus(second))) };
        assert_eq!(wrong(later), Some(OptionName::Deadline), "dead before it may start");
    }

    #[test]
    fn options_are_judged_at_their_limits() {
        let label = |name: &str, value: &str| Asked {
            labels: vec![(name.to_owned(), value.to_owned())],
            ..Asked::default()
        };
        assert_eq!(wrong(label("a", "")), None, "a value may be empty");
        assert_eq!(wrong(label("", "a")), Some(OptionName::Label));
        assert_eq!(wrong(label("a=b", "c")), Some(OptionName::Label));
        assert_eq!(wrong(label("a", &"x".repeat(129))), Some(OptionName::Label));
        let many = |count: usize| Asked {
            labels: (0..count).map(|n| (n.to_string(), String::new())).collect(),
            ..Asked::default()
        };
        assert_eq!(wrong(many(16)), None);
        assert_eq!(many(17).judge(NOW).expect_err("one too many").limit, Some(16));
        let mut twice = label("a", "1");
        twice.labels.push(("a".to_owned(), "2".to_owned()));
        assert_eq!(wrong(twice), Some(OptionName::Label));
        for (level, is_good) in [(-10, true), (10, true), (11, false), (i64::MAX, false)] {
            let asked = Asked { priority: Some(level), ..Asked::default() };
            assert_eq!(wrong(asked), (!is_good).then_some(OptionName::Priority), "{level}");
        }
        let both = Asked { delay: Some(Duration::ZERO), run_at: Some(NOW), ..Asked::default() };
        assert_eq!(wrong(both), Some(OptionName::Delay));
    }
}
