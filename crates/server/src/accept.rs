//! `Accept`: which of several forms the client would rather have (RFC 9110, 12.5.1).

use http::{HeaderMap, header};

/// The place in `offers` of the form the client likes best; of equals the first. A client that accepts
/// none of them gets the first: an answer it did not ask for is more use than a refusal.
#[must_use]
pub(crate) fn preferred(headers: &HeaderMap, offers: &[&str]) -> usize {
    let lines = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let ranges: Vec<Range<'_>> =
        lines.flat_map(|line| line.split(',')).filter_map(Range::parse).collect();
    let mut best = (0, 0);
    for (index, offer) in offers.iter().enumerate() {
        let quality = quality(&ranges, offer);
        if quality > best.1 {
            best = (index, quality);
        }
    }
    best.0
}

struct Range<'a> {
    kind: &'a str,
    /// In thousandths.
    quality: u32,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';');
        let kind = parts.next()?.trim();
        let quality = parts
            .filter_map(|part| part.trim().split_once('='))
            .find(|(name, _)| name.eq_ignore_ascii_case("q"))
            .map_or(Some(1.0), |(_, value)| value.trim().parse::<f32>().ok())?;
        let quality = (quality.clamp(0.0, 1.0) * 1_000.0) as u32;
        kind.contains('/').then_some(Self { kind, quality })
    }

    /// How exactly the range names the offer; `None` if it does not.
    fn fits(&self, offer: &str) -> Option<u8> {
        if self.kind == "*/*" {
            return Some(0);
        }
        if self.kind.eq_ignore_ascii_case(offer) {
            return Some(2);
        }
        let folder = self.kind.strip_suffix('*')?;
        let begins = offer.get(..folder.len())?;
        (folder.ends_with('/') && begins.eq_ignore_ascii_case(folder)).then_some(1)
    }
}

/// The quality of the most exact range that names the offer.
fn quality(ranges: &[Range<'_>], offer: &str) -> u32 {
    let fitting = ranges.iter().filter_map(|range| Some((range.fits(offer)?, range.quality)));
    fitting.max_by_key(|(exactness, _)| *exactness).map_or(0, |(_, quality)| quality)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_liked_form_is_chosen() {
        const TASK: [&str; 3] = ["application/json", "text/html", "text/event-stream"];
        const EVENTS: [&str; 2] = ["text/event-stream", "application/json"];
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for (accept, offers, expected) in [
            (None, &TASK[..], 0),
            (Some("*/*"), &TASK, 0),
            (Some(browser), &TASK, 1),
            (Some("text/event-stream"), &TASK, 2),
            (Some("TEXT/HTML;q=0.5, application/json;q=0.4"), &TASK, 1),
            (Some("text/*"), &TASK, 1),
            (Some("image/png"), &TASK, 0),
            (Some("application/json;q=0, */*;q=0.1"), &TASK, 1),
            (Some("*/*"), &EVENTS, 0),
            (Some("application/json"), &EVENTS, 1),
            (Some("application/json, text/event-stream"), &EVENTS, 0),
            (Some("application/json, text/event-stream;q=0.9"), &EVENTS, 1),
            (Some(",;q=x,/"), &EVENTS, 0),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(header::ACCEPT, accept.parse().expect("a field"));
            }
            assert_eq!(preferred(&headers, offers), expected, "{accept:?} {offers:?}");
        }
    }
}
