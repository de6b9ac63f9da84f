//! Moments and durations as they travel: RFC 3339 in UTC with milliseconds, and `"1h30m"`.
//!
//! Nothing here asks what time it is.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};

const MS_PER_DAY: u64 = 24 * 60 * 60 * 1000;

/// A moment in milliseconds since 1970-01-01T00:00:00Z, within the years 0000 to 9999.
///
/// Written as RFC 3339 in UTC with exactly three digits of a second
/// (`2026-11-22T10:00:05.000Z`); read from any RFC 3339 text, whatever its offset. Finer digits
/// are cut off towards the past; a leap second reads as the second before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(i64);

impl Time {
    /// The earliest moment RFC 3339 can write: 0000-01-01T00:00:00.000Z.
    pub const MIN: Self = Self(-62_167_219_200_000);
    /// The latest moment RFC 3339 can write: 9999-12-31T23:59:59.999Z.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// The moment `ms` milliseconds after 1970; outside `MIN..=MAX` it becomes the nearer end.
    #[must_use]
    pub const fn from_ms(ms: i64) -> Self {
        if ms < Self::MIN.0 {
            Self::MIN
        } else if ms > Self::MAX.0 {
            Self::MAX
        } else {
            Self(ms)
        }
    }

    /// Milliseconds since 1970, negative before it.
    #[must_use]
    pub const fn as_ms(self) -> i64 {
        self.0
    }

    /// The RFC 3339 text, in ASCII.
    fn text(self) -> [u8; 24] {
        let days = self.0.div_euclid(MS_PER_DAY as i64);
        let ms = self.0.rem_euclid(MS_PER_DAY as i64) as u32;
        let (year, month, day) = civil(days);
        let mut text = *b"0000-00-00T00:00:00.000Z";
        digits(&mut text[0..4], year);
        digits(&mut text[5..7], month);
        digits(&mut text[8..10], day);
        digits(&mut text[11..13], ms / 3_600_000);
        digits(&mut text[14..16], ms / 60_000 % 60);
        digits(&mut text[17..19], ms / 1000 % 60);
        digits(&mut text[20..23], ms % 1000);
        text
    }
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar.
///
/// Days are counted from 1 March of the year 0 in eras of 400 years, so that the leap day is the
/// last of its year and no table is needed.
fn civil(days: i64) -> (u32, u32, u32) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year as u32, month as u32, day as u32)
}

/// Writes `value` in decimal, right-aligned, over a field of zeros.
fn digits(field: &mut [u8], mut value: u32) {
    for digit in field.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(std::str::from_utf8(&self.text()).expect("the text is ASCII"))
    }
}

/// Text that is not a moment of RFC 3339. It is not repeated: it may be a
/// secret in the wrong place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text is not a time: write it as RFC 3339, for example \"2026-11-22T10:00:05Z\"")]
pub struct InvalidTime;

impl FromStr for Time {
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        parse_time(text.as_bytes()).ok_or(InvalidTime)
    }
}

/// Reads the form `date-time` of RFC 3339 5.6, and nothing more.
fn parse_time(text: &[u8]) -> Option<Time> {
    let (head, rest) = text.split_at_checked(19)?;
    let fits = head.iter().zip(b"0000-00-00T00:00:00").all(|(byte, form)| match form {
        b'0' => byte.is_ascii_digit(),
        form => byte.eq_ignore_ascii_case(form),
    });
    if !fits {
        return None;
    }
    let field = |from: usize, to: usize| number(&head[from..to]);
    let (year, month, day) = (field(0, 4)?, field(5, 7)?, field(8, 10)?);
    let (hour, minute, second) = (field(11, 13)?, field(14, 16)?, field(17, 19)?);
    let date_fits = (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day);
    if !date_fits || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (ms, offset) = fraction(rest)?;
    let offset_s = offset_seconds(offset)?;
    let of_day = hour * 3600 + minute * 60 + second.min(59);
    let seconds = days_since_1970(year, month, day) * 86_400 + of_day - offset_s;
    let ms = seconds * 1000 + ms;
    (Time::MIN.0..=Time::MAX.0).contains(&ms).then_some(Time(ms))
}

/// Splits one to nine digits after a point, as milliseconds, from what follows; 0 without a point.
fn fraction(rest: &[u8]) -> Option<(i64, &[u8])> {
    let Some(fraction) = rest.strip_prefix(b".") else { return Some((0, rest)) };
    let len = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=9).contains(&len) {
        return None;
    }
    let (digits, rest) = fraction.split_at(len);
    let mut ms = *b"000";
    for (place, digit) in ms.iter_mut().zip(digits) {
        *place = *digit;
    }
    Some((number(&ms)?, rest))
}

/// The seconds by which local time is ahead of UTC.
fn offset_seconds(offset: &[u8]) -> Option<i64> {
    let (sign, hours, minutes) = match offset {
        [b'Z' | b'z'] => return Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            (*sign, number(&[*h1, *h2])?, number(&[*m1, *m2])?)
        }
        _ => return None,
    };
    let seconds = hours * 3600 + minutes * 60;
    let fits = hours <= 23 && minutes <= 59;
    fits.then_some(if sign == b'-' { -seconds } else { seconds })
}

/// A few ASCII digits as a number; `None` when one is something else.
fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0'))
    })
}

const fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The reverse of [`civil`].
const fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let year_of_era = year.rem_euclid(400);
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    year.div_euclid(400) * 146_097 + day_of_era - 719_468
}

/// A duration in whole milliseconds, from 0 to ten years of 365 days.
///
/// Travels as text: whole numbers, each with its unit, from the largest unit to the smallest, each
/// unit once: `"250ms"`, `"30s"`, `"5m"`, `"1h30m"`, `"7d"`. Written without the parts that are
/// zero and with no part larger than it has to be (`"90m"` is written `"1h30m"`), and `"0s"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(u64);

/// Units from the largest; the order of a compound duration.
const UNITS: [(&str, u64); 5] =
    [("d", MS_PER_DAY), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);
    /// The longest duration there is: ten years of 365 days.
    pub const MAX: Self = Self(3650 * MS_PER_DAY);

    /// A duration of `ms` milliseconds; a longer one than [`Span::MAX`] becomes that.
    #[must_use]
    pub const fn from_ms(ms: u64) -> Self {
        if ms > Self::MAX.0 { Self::MAX } else { Self(ms) }
    }

    /// A duration of `s` seconds; a longer one than [`Span::MAX`] becomes that.
    #[must_use]
    pub const fn from_secs(s: u64) -> Self {
        Self::from_ms(s.saturating_mul(1000))
    }

    /// How many milliseconds it has.
    #[must_use]
    pub const fn as_ms(self) -> u64 {
        self.0
    }

    /// The same duration in the type of the standard library.
    #[must_use]
    pub const fn as_duration(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.pad("0s");
        }
        let mut rest = self.0;
        let mut text = String::new();
        for (unit, ms) in UNITS {
            if rest >= ms {
                text.push_str(&(rest / ms).to_string());
                text.push_str(unit);
                rest %= ms;
            }
        }
        f.pad(&text)
    }
}

/// Text that is not a duration, and why. It is not repeated: it may be a secret in the wrong place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the text is not a duration: {why}; \
     write for example \"250ms\", \"30s\", \"1h30m\" or \"7d\""
)]
pub struct InvalidSpan {
    why: &'static str,
}

impl FromStr for Span {
    type Err = InvalidSpan;

    fn from_str(text: &str) -> Result<Self, InvalidSpan> {
        parse_span(text).map_err(|why| InvalidSpan { why })
    }
}

fn parse_span(text: &str) -> Result<Span, &'static str> {
    const TOO_LONG: &str = "the longest is ten years, \"3650d\"";
    match text.bytes().next() {
        None => return Err("it is empty"),
        Some(b'-') => return Err("it cannot be negative"),
        Some(_) if text.contains(char::is_whitespace) => return Err("there is a space in it"),
        Some(_) => {}
    }
    let mut total: u64 = 0;
    let mut units = UNITS.as_slice();
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        if number.is_empty() {
            return Err("each part is a whole number and a unit");
        }
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(letters);
        if unit.is_empty() {
            return Err(if tail.starts_with(['.', ',']) {
                "numbers are whole"
            } else {
                "a number has no unit (ms, s, m, h, d)"
            });
        }
        let Some(place) = units.iter().position(|(name, _)| *name == unit) else {
            let known = UNITS.iter().any(|(name, _)| *name == unit);
            return Err(if known {
                "units go from the largest to the smallest, each once"
            } else {
                "the units are ms, s, m, h and d"
            });
        };
        let (_, ms) = units[place];
        units = &units[place + 1..];
        let number: u64 = number.parse().map_err(|_| TOO_LONG)?;
        let part = number.checked_mul(ms).ok_or(TOO_LONG)?;
        total = total.checked_add(part).filter(|ms| *ms <= Span::MAX.0).ok_or(TOO_LONG)?;
        rest = tail;
    }
    Ok(Span(total))
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.text();
        serializer.serialize_str(std::str::from_utf8(&text).expect("the text is ASCII"))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TimeVisitor;
        impl Visitor<'_> for TimeVisitor {
            type Value = Time;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time such as \"2026-11-22T10:00:05Z\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Time, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(TimeVisitor)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SpanVisitor;
        impl SpanVisitor {
            // Seconds and milliseconds are both common guesses, so a bare number is never taken.
            fn number<E: Error>(self) -> E {
                E::custom("a number has no unit: write a duration as text, for example \"30s\"")
            }
        }
        impl Visitor<'_> for SpanVisitor {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"30s\" or \"1h30m\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Span, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: Error>(self, _: u64) -> Result<Span, E> {
                Err(self.number())
            }

            fn visit_i64<E: Error>(self, _: i64) -> Result<Span, E> {
                Err(self.number())
            }

            fn visit_f64<E: Error>(self, _: f64) -> Result<Span, E> {
                Err(self.number())
            }
        }
        // Any, because a number gets an answer of its own.
        deserializer.deserialize_any(SpanVisitor)
    }
}

impl utoipa::PartialSchema for Time {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some("A moment, RFC 3339; answers are in UTC with milliseconds."))
            .examples(["2026-11-22T10:00:05.000Z"])
            .into()
    }
}

impl utoipa::ToSchema for Time {
    fn name() -> Cow<'static, str> {
        "Time".into()
    }
}

impl utoipa::PartialSchema for Span {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some(SPAN_PATTERN))
            .min_length(Some(2))
            .description(Some(
                "A duration: whole numbers with units d, h, m, s, ms; at most 3650d.",
            ))
            .examples(["30s", "1h30m"])
            .into()
    }
}

impl utoipa::ToSchema for Span {
    fn name() -> Cow<'static, str> {
        "Span".into()
    }
}

/// Durations as a regular expression. It is narrower than the parser: parts short enough that no
/// text it allows is over ten years.
const SPAN_PATTERN: &str =
    "^([0-9]{1,3}d)?([0-9]{1,4}h)?([0-9]{1,4}m)?([0-9]{1,5}s)?([0-9]{1,6}ms)?$";
