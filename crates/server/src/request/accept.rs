//! `Accept`: which of several forms the client would rather have (RFC 9110, 12.5.1).

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::{HeaderMap, Method, header, request};

/// The place in `offers` of the form the client likes best; of equals the first. A client that
/// accepts none of them gets the first: an answer it did not ask for is more use than a refusal.
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

/// Which forms the client would have, for a handler that has no other use of the fields.
#[derive(Debug)]
pub(crate) struct Accepts {
    /// Lines of `Accept` alone.
    lines: HeaderMap,
    is_get: bool,
}

impl Accepts {
    pub(crate) fn form(&self, offers: &[&str]) -> usize {
        preferred(&self.lines, offers)
    }

    /// Whether the answer itself is asked for, and not its head alone.
    pub(crate) const fn is_get(&self) -> bool {
        self.is_get
    }
}

impl<S: Sync> FromRequestParts<S> for Accepts {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut request::Parts, _: &S) -> Result<Self, Infallible> {
        let lines = parts.headers.get_all(header::ACCEPT).iter();
        let lines = lines.map(|line| (header::ACCEPT, line.clone())).collect();
        Ok(Self { lines, is_get: parts.method == Method::GET })
    }
}

/// The languages of pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    /// Of everybody who asks for none of the others.
    English,
    /// For whoever likes it better.
    French,
}

/// The language that the client likes best (RFC 9110, 12.5.4).
#[must_use]
pub(crate) fn language(headers: &HeaderMap) -> Language {
    let lines = headers.get_all(header::ACCEPT_LANGUAGE).iter();
    let ranges = lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(','));
    let mut liked = [("en", 0), ("fr", 0)];
    for range in ranges {
        let (tag, quality) = weighted(range);
        let primary = tag.split('-').next().unwrap_or_default();
        for (language, best) in &mut liked {
            if primary.eq_ignore_ascii_case(language) {
                *best = quality.unwrap_or(0).max(*best);
            }
        }
    }
    if liked[1].1 > liked[0].1 { Language::French } else { Language::English }
}

/// What a script is coded with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// For whoever wants none, or one that there is not.
    Identity,
    Gzip,
    Brotli,
}

/// The coding that the client likes best (RFC 9110, 12.5.3), of equals the smaller. One that names none
/// may be no browser, and gets none.
#[must_use]
pub(crate) fn coding(headers: &HeaderMap) -> Coding {
    let lines = headers.get_all(header::ACCEPT_ENCODING).iter();
    let ranges: Vec<_> = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(weighted)
        .collect();
    let liking = |offer: &str| {
        let named = |name: &str| ranges.iter().find(|(range, _)| range.eq_ignore_ascii_case(name));
        named(offer).or_else(|| named("*")).and_then(|(_, quality)| *quality).unwrap_or(0)
    };
    let offers = [
        (Coding::Brotli, liking("br")),
        (Coding::Gzip, liking("gzip")),
        (Coding::Identity, liking("identity")),
    ];
    let mut best = (Coding::Identity, 0);
    for offer in offers {
        if offer.1 > best.1 {
            best = offer;
        }
    }
    best.0
}

/// Whether HTML is named, and liked no less than JSON and than everything else: what browsers send,
/// and hardly a program.
#[must_use]
pub(crate) fn names_html(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let ranges: Vec<Range<'_>> =
        lines.flat_map(|line| line.split(',')).filter_map(Range::parse).collect();
    let liking = |kind: &str| {
        let named = ranges.iter().find(|range| range.kind.eq_ignore_ascii_case(kind));
        named.map_or(0, |range| range.quality)
    };
    let html = liking("text/html");
    html > 0 && html >= liking("application/json") && html >= liking("*/*")
}

/// An item of a list, and its quality in thousandths; `None` for one that is no number.
fn weighted(text: &str) -> (&str, Option<u32>) {
    let mut parts = text.split(';');
    let item = parts.next().unwrap_or_default().trim();
    let quality = parts
        .filter_map(|part| part.trim().split_once('='))
        .find(|(name, _)| name.eq_ignore_ascii_case("q"))
        .map_or(Some(1.0), |(_, value)| value.trim().parse::<f32>().ok());
    (item, quality.map(|quality| (quality.clamp(0.0, 1.0) * 1_000.0) as u32))
}

struct Range<'a> {
    kind: &'a str,
    /// In thousandths.
    quality: u32,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (kind, quality) = weighted(text);
        let quality = quality?;
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
    fn a_script_is_coded_as_the_client_likes_it_best() {
        for (line, expected) in [
            ("", Coding::Identity),
            ("gzip, deflate, br, zstd", Coding::Brotli),
            ("gzip, deflate", Coding::Gzip),
            ("GZIP;q=0.5", Coding::Gzip),
            ("br;q=0.5, gzip", Coding::Gzip),
            ("br;q=0, *", Coding::Gzip),
            ("*", Coding::Brotli),
            ("identity, br;q=0.1", Coding::Identity),
            ("br;q=0, gzip;q=0", Coding::Identity),
            ("identity;q=0", Coding::Identity),
            ("br;q=much, compress", Coding::Identity),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, line.parse().expect("a field"));
            assert_eq!(coding(&headers), expected, "{line}");
        }
    }

    const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

    fn fields(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, http::HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn the_language_that_is_liked_best_is_spoken() {
        for (line, expected) in [
            ("fr", Language::French),
            ("fr-CA, en;q=0.8", Language::French),
            ("en-GB;q=0.7, FR;q=0.8", Language::French),
            ("de, fr;q=0.5", Language::French),
            ("en, fr", Language::English),
            ("fr;q=0, *", Language::English),
            ("fr;q=x", Language::English),
            ("fry", Language::English),
            ("", Language::English),
        ] {
            assert_eq!(language(&fields(&[("accept-language", line)])), expected, "{line}");
        }
    }

    #[test]
    fn the_best_liked_form_is_chosen() {
        const TASK: [&str; 3] = ["application/json", "text/html", "text/event-stream"];
        const EVENTS: [&str; 2] = ["text/event-stream", "application/json"];
        for (accept, offers, expected) in [
            (None, &TASK[..], 0),
            (Some("*/*"), &TASK, 0),
            (Some(BROWSER), &TASK, 1),
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
