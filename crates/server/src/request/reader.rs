//! Who is going to look at the answer to a request: a program, or a person whose browser shows it.

use http::header::{ORIGIN, REFERER};
use http::{HeaderMap, Method};

use super::accept::{Language, language, names_html};

const MODE: &str = "sec-fetch-mode";
const DEST: &str = "sec-fetch-dest";
const SITE: &str = "sec-fetch-site";
/// What a browser sends, and as `?1`, where a person's own click or key leads it.
const USER: &str = "sec-fetch-user";
/// What it says when it fetches before anybody goes there.
const PURPOSE: &str = "sec-purpose";
/// What a browser says of a call that a script of a page of this origin makes.
const BY_OWN_SCRIPT: [(&str, &[&str]); 3] =
    [(SITE, &["same-origin", "none"]), (MODE, &["cors", "same-origin"]), (DEST, &["empty"])];
/// Fields by which scripts of pages say that it is they who ask.
const OF_SCRIPTS: [&str; 2] = ["x-requested-with", "hx-request"];

/// Destinations (`Sec-Fetch-Dest`) within another page.
const OF_FRAMES: [&str; 5] = ["iframe", "frame", "embed", "object", "fencedframe"];

/// Who is going to look at the answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// A program, which is given documents.
    Program,
    /// A person who looks at it in a frame, or came by a form of a foreign page: a page is shown, but
    /// the browser sends no cookie there, and is given none.
    Guest,
    /// A person whose browser goes where the request leads.
    Navigator,
}

impl Reader {
    /// Judges a request by its head. `is_own` says whether an `Origin` is the one under which Relais
    /// was called.
    ///
    /// What a browser says of itself (`Sec-Fetch-*`, the Fetch Metadata of the W3C) counts
    /// alone where it says anything. Over plain HTTP browsers say so to this machine only: there
    /// `Accept` decides.
    pub(crate) fn of(
        method: &Method,
        headers: &HeaderMap,
        is_own: impl FnOnce(&str) -> bool,
    ) -> Self {
        let said = |name: &str| headers.get(name).map(|value| value.as_bytes());
        let goes_there = if says_itself(headers) {
            let (mode, dest) = (said(MODE), said(DEST));
            match (mode, dest) {
                (Some(b"navigate"), Some(b"document")) => true,
                (Some(b"navigate"), _) if names_html(headers) => false,
                _ => return Self::Program,
            }
        } else {
            if is_script(headers) || !names_html(headers) {
                return Self::Program;
            }
            true
        };
        let is_foreign = || match said(SITE) {
            Some(site) => site == b"cross-site",
            None => headers.get(ORIGIN).is_some_and(|origin| !origin.to_str().is_ok_and(is_own)),
        };
        match *method {
            Method::GET if goes_there => Self::Navigator,
            Method::POST if goes_there && !is_foreign() => Self::Navigator,
            Method::GET | Method::HEAD | Method::POST => Self::Guest,
            // No link and no form sends another method.
            _ => Self::Program,
        }
    }
}

/// Whether a browser says of itself what it does, instead of naming only what it accepts, as programs
/// do, too.
#[must_use]
pub(crate) fn says_itself(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name.as_str().starts_with("sec-fetch-"))
}

/// Whether a person goes to an address by a link, or a form, of a page of this origin that is none of
/// Relais' own. Those send no `Referer`: a page that a foreign link has opened loads itself again,
/// and leads to itself, as one of this origin, without anybody having meant more than that link.
/// Where the browser says nothing of itself nobody knows.
#[must_use]
pub(crate) fn is_led_by_own_page(headers: &HeaderMap) -> bool {
    let says = [(MODE, "navigate"), (DEST, "document"), (SITE, "same-origin"), (USER, "?1")];
    let is_said = |(name, expected): (&str, &str)| {
        let mut values = headers.get_all(name).iter();
        values.next().is_some_and(|value| value == expected) && values.next().is_none()
    };
    says.into_iter().all(is_said) && headers.contains_key(REFERER) && !is_ahead(headers)
}

/// Whether a page of another origin leads there, as far as the browser says.
#[must_use]
pub(crate) fn is_led_by_foreign_page(headers: &HeaderMap) -> bool {
    headers.get(SITE).is_some_and(|site| site != "same-origin" && site != "none")
}

/// Whether whoever asks means to: a program, which says nothing of this, or a script of a page of this
/// origin. A page of another origin leads a browser wherever it wants, and a picture or a player asks
/// for what a link has named.
///
/// `is_own` is as in [`Reader::of`]: it decides where a browser names its `Origin` alone.
#[must_use]
pub(crate) fn asks_by_itself(headers: &HeaderMap, is_own: impl Fn(&str) -> bool) -> bool {
    let fits = |(name, known): &(&str, &[&str])| {
        headers.get_all(*name).iter().all(|said| known.iter().any(|known| said == known))
    };
    let mut origins = headers.get_all(ORIGIN).iter();
    BY_OWN_SCRIPT.iter().all(fits)
        && (headers.contains_key(SITE) || origins.all(|origin| origin.to_str().is_ok_and(&is_own)))
}

/// Whether a person goes there with a GET, now, and in a window of its own.
#[must_use]
pub(crate) fn is_visit(method: &Method, headers: &HeaderMap) -> bool {
    let reader = Reader::of(method, headers, |_| true);
    *method == Method::GET && reader == Reader::Navigator && !is_ahead(headers)
}

/// Whether the browser fetches a page before anybody goes there, and perhaps nobody will.
#[must_use]
pub(crate) fn is_ahead(headers: &HeaderMap) -> bool {
    headers.contains_key(PURPOSE)
}

/// Whether the answer is shown within another page.
#[must_use]
pub(crate) fn is_framed(headers: &HeaderMap) -> bool {
    headers.get(DEST).is_some_and(|dest| OF_FRAMES.iter().any(|frame| dest == frame))
}

/// Whether the script of a page says that it asks.
#[must_use]
pub(crate) fn is_script(headers: &HeaderMap) -> bool {
    OF_SCRIPTS.iter().any(|name| headers.contains_key(*name))
}

/// The language of the page that is shown instead of a document for programs; `None` where no person
/// looks at the answer itself.
#[must_use]
pub(crate) fn page_for(method: &Method, headers: &HeaderMap) -> Option<Language> {
    let reader = Reader::of(method, headers, |_| true);
    (reader != Reader::Program).then(|| language(headers))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::Reader::{Guest, Navigator, Program};
    use super::*;

    const FIREFOX: &str = "accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    const CHROMIUM: &str = "accept: text/html,application/xhtml+xml,application/xml;q=0.9,\
                            image/avif,image/webp,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7";
    const JAVA: &str = "accept: text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2";
    const OURS: &str = "http://shop.example";
    const GOES: &str = "sec-fetch-mode: navigate";
    const DOCUMENT: &str = "sec-fetch-dest: document";
    const CROSS: &str = "sec-fetch-site: cross-site";

    fn judged(method: &Method, fields: &[&'static str]) -> Reader {
        let mut headers = HeaderMap::new();
        for field in fields {
            let (name, value) = field.split_once(": ").expect("a field");
            headers.append(name, HeaderValue::from_static(value));
        }
        Reader::of(method, &headers, |origin| origin == OURS)
    }

    #[test]
    fn a_browser_that_says_what_it_does_is_believed() {
        for (method, fields, expected) in [
            // A link, an address that was typed, a form of ours and of a sister site.
            (
                Method::GET,
                &[CHROMIUM, GOES, DOCUMENT, "sec-fetch-site: same-origin"][..],
                Navigator,
            ),
            (Method::GET, &[FIREFOX, GOES, DOCUMENT, "sec-fetch-site: none"], Navigator),
            (Method::POST, &[CHROMIUM, GOES, DOCUMENT, "sec-fetch-site: same-origin"], Navigator),
            (Method::POST, &[CHROMIUM, GOES, DOCUMENT, "sec-fetch-site: same-site"], Navigator),
            (Method::GET, &["accept: */*", GOES, DOCUMENT], Navigator),
            // A link of a foreign page brings the Lax cookie; a form of one does not.
            (Method::GET, &[CHROMIUM, GOES, DOCUMENT, CROSS], Navigator),
            (Method::POST, &[CHROMIUM, GOES, DOCUMENT, CROSS], Guest),
            (Method::POST, &[FIREFOX, GOES, DOCUMENT, CROSS, "origin: http://shop.example"], Guest),
            // Only part of it is said.
            (Method::POST, &[FIREFOX, GOES, DOCUMENT, "origin: https://evil.example"], Guest),
            (Method::POST, &[FIREFOX, GOES, DOCUMENT, "origin: http://shop.example"], Navigator),
            (Method::GET, &[GOES], Program),
            (Method::GET, &[FIREFOX, DOCUMENT], Program),
            (Method::GET, &[FIREFOX, "sec-fetch-site: same-origin"], Program),
            // Frames and the like.
            (Method::GET, &[CHROMIUM, GOES, "sec-fetch-dest: iframe"], Guest),
            (Method::POST, &[FIREFOX, GOES, "sec-fetch-dest: iframe"], Guest),
            (Method::GET, &[FIREFOX, GOES, "sec-fetch-dest: frame"], Guest),
            (Method::GET, &[CHROMIUM, GOES, "sec-fetch-dest: object"], Guest),
            (Method::GET, &[CHROMIUM, GOES, "sec-fetch-dest: embed"], Guest),
            // Scripts, whatever they accept: fetch, htmx, Turbo, jQuery.
            (
                Method::GET,
                &["accept: */*", "sec-fetch-mode: cors", "sec-fetch-dest: empty"],
                Program,
            ),
            (Method::POST, &[FIREFOX, "sec-fetch-mode: cors", "sec-fetch-dest: empty"], Program),
            (Method::GET, &[FIREFOX, "sec-fetch-mode: same-origin"], Program),
            (
                Method::GET,
                &["accept: text/html", "hx-request: true", "sec-fetch-mode: cors"],
                Program,
            ),
            // Pictures and styles.
            (Method::GET, &["accept: image/*", "sec-fetch-mode: no-cors"], Program),
        ] {
            assert_eq!(judged(&method, fields), expected, "{method} {fields:?}");
        }
    }

    #[test]
    fn only_a_persons_own_click_on_a_page_of_the_application_leads_by_it() {
        let all = [
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-user", "?1"),
            ("referer", "http://shop.example/orders"),
        ];
        let headers = |fields: &[(&'static str, &'static str)]| {
            let pairs = fields.iter().map(|(name, value)| {
                (http::HeaderName::from_static(name), HeaderValue::from_static(value))
            });
            pairs.collect::<HeaderMap>()
        };
        assert!(is_led_by_own_page(&headers(&all)));
        for left_out in 0..all.len() {
            let mut fields = all.to_vec();
            let (name, _) = fields.remove(left_out);
            assert!(!is_led_by_own_page(&headers(&fields)), "without {name}");
        }
        for (name, value) in [
            ("sec-fetch-mode", "cors"),
            ("sec-fetch-dest", "iframe"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "none"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-user", "?0"),
            ("sec-purpose", "prefetch;prerender"),
        ] {
            let mut changed = headers(&all);
            changed.insert(name, HeaderValue::from_static(value));
            assert!(!is_led_by_own_page(&changed), "{name}: {value}");
        }
        let mut twice = headers(&all);
        twice.append("sec-fetch-site", HeaderValue::from_static("cross-site"));
        assert!(!is_led_by_own_page(&twice), "two values");
    }

    #[test]
    fn programs_and_scripts_of_this_origin_ask_by_themselves() {
        let says = |site, mode, dest| {
            vec![("sec-fetch-site", site), ("sec-fetch-mode", mode), ("sec-fetch-dest", dest)]
        };
        for (fields, expected) in [
            (vec![], true),
            (vec![("accept", "text/html")], true),
            // `fetch` of Node.
            (vec![("sec-fetch-mode", "cors")], true),
            (says("same-origin", "cors", "empty"), true),
            (says("same-origin", "same-origin", "empty"), true),
            (says("none", "cors", "empty"), true),
            ([says("same-origin", "cors", "empty"), vec![("origin", OURS)]].concat(), true),
            (says("cross-site", "cors", "empty"), false),
            (says("same-site", "cors", "empty"), false),
            (says("cross-site", "no-cors", "empty"), false),
            (says("cross-site", "no-cors", "image"), false),
            // What is within a document that a link has opened.
            (says("same-origin", "no-cors", "video"), false),
            (says("same-origin", "cors", "image"), false),
            (says("same-origin", "navigate", "empty"), false),
            (
                [says("none", "cors", "empty"), vec![("sec-fetch-site", "cross-site")]].concat(),
                false,
            ),
            // Plain HTTP off this machine.
            (vec![("origin", OURS)], true),
            (vec![("origin", "https://evil.example")], false),
            (vec![("origin", "null")], false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in &fields {
                headers.append(*name, HeaderValue::from_static(value));
            }
            assert_eq!(asks_by_itself(&headers, |origin| origin == OURS), expected, "{fields:?}");
        }
    }

    #[test]
    fn where_nothing_is_said_what_is_accepted_decides() {
        for (method, fields, expected) in [
            (Method::GET, &[FIREFOX][..], Navigator),
            (Method::GET, &[CHROMIUM], Navigator),
            (Method::POST, &[CHROMIUM], Navigator),
            (Method::POST, &[CHROMIUM, "origin: http://shop.example"], Navigator),
            (Method::POST, &[CHROMIUM, "origin: https://evil.example"], Guest),
            (Method::POST, &[CHROMIUM, "origin: null"], Guest),
            (Method::GET, &[CHROMIUM, "origin: https://evil.example"], Navigator),
            (Method::HEAD, &[CHROMIUM], Guest),
            // No browser goes anywhere by these: it is a program that accepts HTML (Java does by itself).
            (Method::PUT, &[CHROMIUM], Program),
            (Method::DELETE, &[JAVA], Program),
            (Method::PATCH, &[JAVA], Program),
            // curl, httpx, fetch, htmx, axios, jQuery, Turbo.
            (Method::POST, &["accept: */*"], Program),
            (Method::POST, &[], Program),
            (Method::GET, &["accept: */*", "hx-request: true"], Program),
            (Method::GET, &["accept: text/html, */*", "hx-request: true"], Program),
            (Method::GET, &["accept: application/json, text/plain, */*"], Program),
            (
                Method::GET,
                &["accept: text/html, */*; q=0.01", "x-requested-with: XMLHttpRequest"],
                Program,
            ),
            // HTML is liked less than what programs want, or not named at all.
            (Method::GET, &["accept: text/html;q=0.9, application/json"], Program),
            (Method::GET, &["accept: text/html;q=0.5, */*"], Program),
            (Method::GET, &["accept: text/html;q=0"], Program),
            (Method::GET, &["accept: text/*"], Program),
            (Method::GET, &["accept: text/html, application/json"], Navigator),
            // Not below it: the order of a list says nothing (RFC 9110, 12.5.1).
            (Method::GET, &["accept: application/json, text/html"], Navigator),
            (Method::GET, &["accept: application/json;q=0.5", "accept: TEXT/HTML"], Navigator),
        ] {
            assert_eq!(judged(&method, fields), expected, "{method} {fields:?}");
        }
    }
}
