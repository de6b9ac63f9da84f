//! The trace that a request belongs to (W3C Trace Context).

use http::HeaderMap;
use relais_engine::Chance;

/// The trace of a request: the one it came with if that is valid, else a new one.
pub(super) fn traceparent(headers: &HeaderMap, chance: &dyn Chance) -> (String, bool) {
    let mut lines = headers.get_all("traceparent").iter();
    let given = match (lines.next(), lines.next()) {
        (Some(line), None) => line.to_str().ok().and_then(parse),
        _ => None,
    };
    let is_given = given.is_some();
    let trace = given.unwrap_or_else(|| {
        let parent = (chance.bits() >> 64) | 1;
        format!("00-{:032x}-{:016x}-00", chance.bits() | 1, parent & u128::from(u64::MAX))
    });
    (trace, is_given)
}

/// A valid `traceparent` as version 00 writes it. Of a later version the part that is known.
fn parse(text: &str) -> Option<String> {
    let text = text.trim();
    let (known, rest) = text.split_at_checked(55)?;
    let mut parts = known.split('-');
    let version = hex(parts.next()?, 2)?;
    let trace = hex(parts.next()?, 32)?;
    let parent = hex(parts.next()?, 16)?;
    let flags = hex(parts.next()?, 2)?;
    let is_over = parts.next().is_none();
    let may_go_on =
        if version == "00" { rest.is_empty() } else { rest.is_empty() || rest.starts_with('-') };
    let is_zero = |text: &str| text.bytes().all(|byte| byte == b'0');
    let is_valid = is_over && may_go_on && version != "ff" && !is_zero(trace) && !is_zero(parent);
    is_valid.then(|| format!("00-{trace}-{parent}-{flags}"))
}

fn hex(text: &str, len: usize) -> Option<&str> {
    let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (text.len() == len && is_hex).then_some(text)
}

#[cfg(test)]
mod tests {
    use relais_engine::SeededChance;

    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_valid_trace_goes_on_and_any_other_begins_anew() {
        assert_eq!(parse(VALID).as_deref(), Some(VALID));
        let later = format!("cc{}-more", &VALID[2..]);
        assert_eq!(parse(&later).as_deref(), Some(VALID));
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.x",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-é1",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        let mut headers = HeaderMap::new();
        let chance = SeededChance::new(1);
        let (new, is_given) = traceparent(&headers, &chance);
        assert!(!is_given && parse(&new).is_some(), "{new}");
        headers.append("traceparent", VALID.parse().expect("a field"));
        assert_eq!(traceparent(&headers, &chance), (VALID.to_owned(), true));
        headers.append("traceparent", VALID.parse().expect("a field"));
        assert!(!traceparent(&headers, &chance).1, "two are none");
    }
}
