//! Moments and spans in words.

use std::time::Duration;

use relais_api::Time;

use super::words::{Counted, Words};

const MINUTE_S: i64 = 60;
const HOUR_S: i64 = 60 * MINUTE_S;
const DAY_S: i64 = 24 * HOUR_S;

/// A moment as it lies to the present: "2 minutes ago", "in 3 hours". Of what is to come the last
/// minute is told in tens of seconds; what should have come does so "any moment now".
///
/// The script says the same, so that what it takes over does not jump.
#[must_use]
pub(super) fn relative(words: &Words, now: Time, moment: Time, is_to_come: bool) -> String {
    let seconds = (moment.as_ms() - now.as_ms()).div_euclid(1_000);
    match (is_to_come, seconds) {
        (true, ..=0) => words.any_moment.to_owned(),
        (true, seconds) => counted(&words.ahead, seconds, 10),
        // A clock that was set: nothing that happened is to come.
        (false, -9..) => words.just_now.to_owned(),
        (false, seconds) => counted(&words.ago, -seconds, 1),
    }
}

/// A span in its largest unit; below a minute in steps of so many seconds, rounded up.
fn counted(words: &Counted, seconds: i64, step: i64) -> String {
    let rounded = |unit: i64| (seconds + unit / 2) / unit;
    let (one, many, count) = match seconds {
        ..=MINUTE_S => {
            let stepped = (seconds + step - 1) / step * step;
            if stepped >= MINUTE_S { (words.minute, "", 1) } else { ("", words.seconds, stepped) }
        }
        _ if rounded(MINUTE_S) < 60 => (words.minute, words.minutes, rounded(MINUTE_S)),
        _ if rounded(HOUR_S) < 24 => (words.hour, words.hours, rounded(HOUR_S)),
        _ => (words.day, words.days, rounded(DAY_S)),
    };
    named(one, many, count)
}

/// How long something lasts, in its largest unit; rounded down, as it is told where it is not to be
/// exceeded.
#[must_use]
pub(super) fn lasting(words: &Words, span: Duration) -> String {
    let words = &words.lasting;
    let seconds = i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    let (one, many, unit) = match seconds {
        ..MINUTE_S => ("", words.seconds, 1),
        MINUTE_S..HOUR_S => (words.minute, words.minutes, MINUTE_S),
        HOUR_S..DAY_S => (words.hour, words.hours, HOUR_S),
        DAY_S.. => (words.day, words.days, DAY_S),
    };
    named(one, many, seconds / unit)
}

/// One of something, or so many.
fn named(one: &str, many: &str, count: i64) -> String {
    match count {
        1 if !one.is_empty() => one.to_owned(),
        count => many.replace('%', &count.to_string()),
    }
}

/// A date and a time of day, UTC: for readers without a script, which would know their own zone.
#[must_use]
pub(super) fn clock(words: &Words, moment: Time) -> String {
    let text = moment.to_string();
    // RFC 3339, as `Time` writes it: 2026-11-29T14:32:05.000Z.
    let number = |from: usize, to: usize| {
        text.get(from..to).and_then(|digits| digits.parse::<usize>().ok()).unwrap_or_default()
    };
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    let month = words.months.get(month.wrapping_sub(1)).copied().unwrap_or_default();
    let time = text.get(11..16).unwrap_or_default();
    format!("{day} {month} {year} {} {time} UTC", words.date_time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::accept::Language;

    fn said(language: Language, seconds: i64, is_to_come: bool) -> String {
        let now = Time::from_ms(1_000_000_000_000);
        let moment = Time::from_ms(now.as_ms() + seconds * 1_000);
        relative(Words::of(language), now, moment, is_to_come)
    }

    #[test]
    fn spans_are_told_in_their_largest_unit() {
        for (seconds, expected) in [
            (-30 * DAY_S, "30 days ago"),
            (-DAY_S, "1 day ago"),
            (-3 * HOUR_S, "3 hours ago"),
            (-100, "2 minutes ago"),
            (-60, "1 minute ago"),
            (-42, "42 seconds ago"),
            (-3, "just now"),
            (0, "just now"),
            (5, "just now"),
        ] {
            assert_eq!(said(Language::English, seconds, false), expected, "{seconds}");
        }
        for (seconds, expected) in [
            (-10, "d’un instant à l’autre"),
            (0, "d’un instant à l’autre"),
            (1, "dans 10 secondes"),
            (31, "dans 40 secondes"),
            (55, "dans 1 minute"),
            (61, "dans 1 minute"),
            (119, "dans 2 minutes"),
            (59 * MINUTE_S + 40, "dans 1 heure"),
            (23 * HOUR_S + HOUR_S / 2, "dans 1 jour"),
            (5 * DAY_S, "dans 5 jours"),
        ] {
            assert_eq!(said(Language::French, seconds, true), expected, "{seconds}");
        }
    }

    #[test]
    fn a_span_is_told_no_longer_than_it_is() {
        for (seconds, english, french) in [
            (3, "3 seconds", "3 secondes"),
            (59, "59 seconds", "59 secondes"),
            (60, "1 minute", "1 minute"),
            (119, "1 minute", "1 minute"),
            (300, "5 minutes", "5 minutes"),
            (7_200, "2 hours", "2 heures"),
            (86_400, "1 day", "1 jour"),
        ] {
            let span = Duration::from_secs(seconds);
            assert_eq!(lasting(Words::of(Language::English), span), english);
            assert_eq!(lasting(Words::of(Language::French), span), french);
        }
    }

    #[test]
    fn a_moment_without_a_zone_is_told_in_utc() {
        let moment: Time = "2026-06-05T04:03:02.001Z".parse().expect("a time");
        assert_eq!(clock(Words::of(Language::English), moment), "5 June 2026 at 04:03 UTC");
        assert_eq!(clock(Words::of(Language::French), moment), "5 juin 2026 à 04:03 UTC");
    }
}
