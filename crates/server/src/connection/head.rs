//! Response heads written without the HTTP library: the last word on a connection it gave up, and the
//! first on one that was taken back from it.

use axum::response::Response;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode};
use relais_core::Timestamp;

/// A head that ends the connection after its body: `body_len` is announced, or the body is chunked.
pub(crate) fn closing(
    status: StatusCode,
    fields: &HeaderMap,
    body_len: Option<usize>,
    now: Timestamp,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    let reason = status.canonical_reason().unwrap_or_default();
    out.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).as_bytes());
    for (name, value) in fields {
        if [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name) {
            continue;
        }
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    if !fields.contains_key(DATE) {
        out.extend_from_slice(format!("date: {}\r\n", http_date(now)).as_bytes());
    }
    match body_len {
        Some(len) => out.extend_from_slice(format!("content-length: {len}\r\n").as_bytes()),
        None => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    out.extend_from_slice(b"connection: close\r\n\r\n");
    out
}

/// A whole answer of Relais' own, as bytes. Its body must be at hand.
pub(crate) async fn whole(response: Response, now: Timestamp) -> Bytes {
    let (parts, body) = response.into_parts();
    // Documents of Relais are small; what is not there at once would be a mistake, and is left out.
    let body = axum::body::to_bytes(body, 64 << 10).await.unwrap_or_default();
    let mut out = closing(parts.status, &parts.headers, Some(body.len()), now);
    out.extend_from_slice(&body);
    out.into()
}

/// A moment as HTTP says it (RFC 9110, 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(moment: Timestamp) -> String {
    let seconds = moment.as_ms().div_euclid(1_000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
        [usize::try_from(days.rem_euclid(7)).expect("below 7")];
    // Civil from days (Howard Hinnant's algorithm): March-based years of 400-year eras.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let (month, is_early) =
        if shifted_month < 10 { (shifted_month + 3, 0) } else { (shifted_month - 9, 1) };
    let year = year_of_era + era * 400 + is_early;
    let months =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months[usize::try_from(month - 1).expect("1 to 12")];
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_http() {
        for (seconds, expected) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 GMT"),
            (1_798_761_599, "Thu, 31 Dec 2026 23:59:59 GMT"),
        ] {
            assert_eq!(http_date(Timestamp::from_ms(seconds * 1_000)), expected);
        }
    }
}
