//! Which part of a result a request asks for, and of which version (RFC 9110, 13 and 14). Pure.
//!
//! Not here: dates. A result has a tag and no date of its own, so that conditions by date do not
//! hold (13.1.3, 13.1.4), and an `If-Range` with one asks for the whole.

use std::ops::Range;

use http::{HeaderMap, HeaderValue, Method, header};

use crate::answer::etag;

/// A last byte from here on is so far away that none is meant: the end, wherever it will be (RFC 8673, 2).
const VERY_LARGE: u64 = 1 << 40;

/// What a request for a result is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    Bytes(Range<u64>),
    /// The word that the client has it already (304).
    Unchanged,
    /// The word that it is another version than the client wants (412).
    OtherVersion,
    /// The word that it has no such bytes (416).
    Beyond,
}

/// Decides, for a result of `len` bytes with this strong tag.
#[must_use]
pub(crate) fn wanted(method: &Method, headers: &HeaderMap, tag: &HeaderValue, len: u64) -> Part {
    if !etag::may_match(headers, tag) {
        return Part::OtherVersion;
    }
    if etag::is_known(headers, tag) {
        return Part::Unchanged;
    }
    single_range(method, headers, tag).map_or(Part::Whole, |one| range(one, len))
}

/// The one range of bytes that is asked for, of this version. One that cannot be read, or several of
/// them, ask for the whole, which is always right (14.2).
fn single_range<'a>(method: &Method, headers: &'a HeaderMap, tag: &HeaderValue) -> Option<&'a str> {
    // A range of what HEAD does not send means nothing (14.2).
    if *method != Method::GET || !is_of_this_version(headers, tag) {
        return None;
    }
    let mut lines = headers.get_all(header::RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return None };
    let (unit, set) = line.to_str().ok()?.split_once('=')?;
    let mut ranges = set.split(',').map(str::trim).filter(|one| !one.is_empty());
    let (Some(one), None) = (ranges.next(), ranges.next()) else { return None };
    unit.trim().eq_ignore_ascii_case("bytes").then_some(one)
}

/// The first and last byte that are asked for of a result that still grows, which will have this tag; `None`
/// is all of it. A range up to an end that is not known, or that may not come to be, would look whole
/// when it is not: only one with a very large last byte says that it is not meant so (RFC 8673).
#[must_use]
pub(crate) fn growing(
    method: &Method,
    headers: &HeaderMap,
    tag: &HeaderValue,
) -> Option<(u64, u64)> {
    let set = single_range(method, headers, tag)?;
    let (first, last) = set.split_once('-')?;
    // What is echoed is what was sent: no number is cut to the largest.
    let exact = |text: &str| number(text).filter(|number| *number < u64::MAX);
    let (first, last) = (exact(first)?, exact(last)?);
    (first <= last && last >= VERY_LARGE).then_some((first, last))
}

/// Whether a range is wanted of whatever version there is, or of this one:
/// compared strongly (13.1.5).
fn is_of_this_version(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    headers.get_all(header::IF_RANGE).iter().all(|line| line == tag)
}

fn range(one: &str, len: u64) -> Part {
    let Some((first, last)) = one.split_once('-') else { return Part::Whole };
    match (number(first), number(last)) {
        (Some(first), _) if last.is_empty() => within(first, len, len),
        (Some(first), Some(last)) if first <= last => within(first, last.saturating_add(1), len),
        (None, Some(0)) if first.is_empty() => Part::Beyond,
        // The last so many bytes; of nothing they are all there is.
        (None, Some(_)) if first.is_empty() && len == 0 => Part::Whole,
        (None, Some(count)) if first.is_empty() => within(len.saturating_sub(count), len, len),
        _ => Part::Whole,
    }
}

fn within(first: u64, end: u64, len: u64) -> Part {
    if first < len { Part::Bytes(first..end.min(len)) } else { Part::Beyond }
}

/// A number of digits alone; one that is too large is larger than any body.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: HeaderValue = HeaderValue::from_static("\"t-1-1\"");

    fn of(method: &Method, fields: &[(header::HeaderName, &'static str)], len: u64) -> Part {
        let fields = fields.iter().cloned();
        let headers = fields.map(|(name, value)| (name, HeaderValue::from_static(value))).collect();
        wanted(method, &headers, &TAG, len)
    }

    #[test]
    fn a_range_of_bytes_is_answered_with_them() {
        for (line, expected) in [
            ("bytes=0-0", Part::Bytes(0..1)),
            ("bytes=0-99", Part::Bytes(0..100)),
            ("bytes=10-19", Part::Bytes(10..20)),
            ("bytes=10-", Part::Bytes(10..100)),
            ("bytes=99-99", Part::Bytes(99..100)),
            ("bytes=90-1000", Part::Bytes(90..100)),
            ("bytes=90-99999999999999999999999999", Part::Bytes(90..100)),
            ("bytes=-1", Part::Bytes(99..100)),
            ("bytes=-100", Part::Bytes(0..100)),
            ("bytes=-1000", Part::Bytes(0..100)),
            ("BYTES=1-2", Part::Bytes(1..3)),
            ("bytes= 1-2 ,", Part::Bytes(1..3)),
            // Behind the end, or none at all.
            ("bytes=100-", Part::Beyond),
            ("bytes=100-200", Part::Beyond),
            ("bytes=99999999999999999999999999-", Part::Beyond),
            ("bytes=-0", Part::Beyond),
            // Several, another unit, and what is no range.
            ("bytes=0-1,5-6", Part::Whole),
            ("bytes=0-1, 1000-", Part::Whole),
            ("lines=0-1", Part::Whole),
            ("bytes=5-4", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=", Part::Whole),
            ("bytes=1", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("bytes=1-2-3", Part::Whole),
            ("bytes=0x1-2", Part::Whole),
            ("bytes 0-1", Part::Whole),
            ("", Part::Whole),
        ] {
            assert_eq!(of(&Method::GET, &[(header::RANGE, line)], 100), expected, "{line}");
            let head = of(&Method::HEAD, &[(header::RANGE, line)], 100);
            assert_eq!(head, Part::Whole, "HEAD {line}");
        }
        let two = [(header::RANGE, "bytes=0-1"), (header::RANGE, "bytes=0-1")];
        assert_eq!(of(&Method::GET, &two, 100), Part::Whole);
    }

    #[test]
    fn of_an_empty_body_there_is_no_first_byte() {
        for (line, expected) in [
            ("bytes=0-", Part::Beyond),
            ("bytes=0-0", Part::Beyond),
            ("bytes=-0", Part::Beyond),
            ("bytes=-5", Part::Whole),
        ] {
            assert_eq!(of(&Method::GET, &[(header::RANGE, line)], 0), expected, "{line}");
        }
    }

    #[test]
    fn of_what_grows_only_a_range_without_an_end_is_given() {
        let asked = |method: &Method, line: &'static str, of: Option<&'static str>| {
            let of = of.map(|tag| (header::IF_RANGE, tag));
            let fields = [(header::RANGE, line)].into_iter().chain(of);
            let fields = fields.map(|(name, value)| (name, HeaderValue::from_static(value)));
            growing(method, &fields.collect(), &TAG)
        };
        let far = 1 << 40;
        for (line, expected) in [
            ("bytes=0-1099511627776", Some((0, far))),
            ("bytes=7-1099511627776", Some((7, far))),
            ("bytes=1099511627776-1099511627776", Some((far, far))),
            ("bytes=7-9007199254740991", Some((7, (1 << 53) - 1))),
            ("bytes=7-1099511627775", None),
            ("bytes=7-99", None),
            ("bytes=7-", None),
            ("bytes=-1099511627776", None),
            ("bytes=1099511627777-1099511627776", None),
            ("bytes=7-99999999999999999999999999", None),
            ("bytes=0-1,7-1099511627776", None),
            ("lines=7-1099511627776", None),
        ] {
            assert_eq!(asked(&Method::GET, line, None), expected, "{line}");
            assert_eq!(asked(&Method::GET, line, Some("\"t-1-1\"")), expected, "{line}");
            assert_eq!(asked(&Method::GET, line, Some("W/\"t-1-1\"")), None, "{line}");
            assert_eq!(asked(&Method::GET, line, Some("\"t-1-2\"")), None, "{line}");
            assert_eq!(asked(&Method::HEAD, line, None), None, "{line}");
        }
    }

    #[test]
    fn a_range_is_of_the_version_that_it_names() {
        let bytes = Part::Bytes(0..2);
        for (line, expected) in [
            ("\"t-1-1\"", &bytes),
            ("W/\"t-1-1\"", &Part::Whole),
            ("\"t-2-1\"", &Part::Whole),
            ("*", &Part::Whole),
            ("Sat, 01 Aug 2026 10:00:00 GMT", &Part::Whole),
        ] {
            let fields = [(header::RANGE, "bytes=0-1"), (header::IF_RANGE, line)];
            assert_eq!(of(&Method::GET, &fields, 100), *expected, "{line}");
        }
        // Without a range it says nothing, and behind the end it is the whole, not 416.
        assert_eq!(of(&Method::GET, &[(header::IF_RANGE, "\"t-1-1\"")], 100), Part::Whole);
        let other = [(header::RANGE, "bytes=100-"), (header::IF_RANGE, "\"t-2-1\"")];
        assert_eq!(of(&Method::GET, &other, 100), Part::Whole);
    }

    #[test]
    fn conditions_are_looked_at_in_their_order_and_before_ranges() {
        let date = (header::IF_MODIFIED_SINCE, "Sat, 01 Aug 2036 10:00:00 GMT");
        let range = (header::RANGE, "bytes=0-1");
        let (same, weak, other) = ("\"t-1-1\"", "W/\"t-1-1\"", "\"x\"");
        for (fields, expected) in [
            (vec![(header::IF_NONE_MATCH, same)], Part::Unchanged),
            (vec![(header::IF_NONE_MATCH, weak)], Part::Unchanged),
            (vec![(header::IF_NONE_MATCH, "\"x\", \"t-1-1\"")], Part::Unchanged),
            (vec![(header::IF_NONE_MATCH, "*")], Part::Unchanged),
            (vec![(header::IF_NONE_MATCH, other)], Part::Whole),
            (vec![(header::IF_NONE_MATCH, same), range.clone()], Part::Unchanged),
            (vec![(header::IF_NONE_MATCH, other), range.clone()], Part::Bytes(0..2)),
            (vec![(header::IF_MATCH, same)], Part::Whole),
            (vec![(header::IF_MATCH, "*")], Part::Whole),
            (vec![(header::IF_MATCH, "\"x\", \"t-1-1\""), range.clone()], Part::Bytes(0..2)),
            (vec![(header::IF_MATCH, weak)], Part::OtherVersion),
            (vec![(header::IF_MATCH, other), range.clone()], Part::OtherVersion),
            (vec![(header::IF_MATCH, other), (header::IF_NONE_MATCH, same)], Part::OtherVersion),
            (vec![date], Part::Whole),
        ] {
            assert_eq!(of(&Method::GET, &fields, 100), expected, "{fields:?}");
            let of_head = if matches!(expected, Part::Bytes(_)) { Part::Whole } else { expected };
            assert_eq!(of(&Method::HEAD, &fields, 100), of_head, "HEAD {fields:?}");
        }
    }
}
