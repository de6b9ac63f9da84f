//! What a browser says of the request that it sends: the Fetch Metadata of the W3C (`Sec-Fetch-*`), and
//! `Origin`. Read once, and judged here alone. From it: who is going to look at the answer, a program, or a
//! person whose browser shows it.

use http::header::{HOST, ORIGIN, REFERER};
use http::{HeaderMap, HeaderValue, Method};

use super::accept::{Language, language, names_html};
use crate::config::ServerConfig;

const MODE: &str = "sec-fetch-mode";
const DEST: &str = "sec-fetch-dest";
const SITE: &str = "sec-fetch-site";
/// What a browser sends, and as `?1`, where a person's own click or key leads it.
const USER: &str = "sec-fetch-user";
/// What it says when it fetches before anybody goes there.
const PURPOSE: &str = "sec-purpose";
/// Fields by which scripts of pages say that it is they who ask.
const OF_SCRIPTS: [&str; 2] = ["x-requested-with", "hx-request"];

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

/// What a browser says of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fetch {
    mode: Said<Mode>,
    dest: Said<Dest>,
    site: Said<Site>,
    origin: Said<Origin>,
    /// Whether it says anything of itself, instead of naming only what it accepts, as programs do, too.
    says_itself: bool,
    /// Whether a person's own click or key leads it.
    is_by_user: bool,
    is_ahead: bool,
    is_script: bool,
    has_referer: bool,
    accepts_html: bool,
}

/// What one field says. No browser sends one twice: whoever does has said nothing that anybody could rely on,
/// and nothing that is for those who say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said<T> {
    /// It is not there.
    Not,
    This(T),
    /// It is there more than once.
    Doubled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Navigate,
    Cors,
    SameOrigin,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dest {
    Document,
    /// Within another page.
    Frame,
    /// A script's own call.
    Empty,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Site {
    /// A page of ours.
    Ours,
    /// No page: a person's own doing.
    Nobody,
    /// A page of a sister of ours, or something new.
    Sister,
    /// A page of another site.
    Foreign,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// That under which Relais was called.
    Own,
    Other,
}

impl<T: Copy + PartialEq> Said<T> {
    fn of(headers: &HeaderMap, name: &str, read: impl FnOnce(&HeaderValue) -> T) -> Self {
        let mut lines = headers.get_all(name).iter();
        match (lines.next(), lines.next()) {
            (None, _) => Self::Not,
            (Some(line), None) => Self::This(read(line)),
            (Some(_), Some(_)) => Self::Doubled,
        }
    }

    fn is(self, one: T) -> bool {
        self == Self::This(one)
    }

    /// Whether it says one of these, or is not there.
    fn is_at_most(self, these: &[T]) -> bool {
        match self {
            Self::Not => true,
            Self::This(one) => these.contains(&one),
            Self::Doubled => false,
        }
    }
}

impl Fetch {
    /// Reads it from the fields of a request.
    pub(crate) fn of(config: &ServerConfig, headers: &HeaderMap) -> Self {
        let mode = Said::of(headers, MODE, |mode| match mode.as_bytes() {
            b"navigate" => Mode::Navigate,
            b"cors" => Mode::Cors,
            b"same-origin" => Mode::SameOrigin,
            _ => Mode::Other,
        });
        let dest = Said::of(headers, DEST, |dest| match dest.as_bytes() {
            b"document" => Dest::Document,
            b"iframe" | b"frame" | b"embed" | b"object" | b"fencedframe" => Dest::Frame,
            b"empty" => Dest::Empty,
            _ => Dest::Other,
        });
        let site = Said::of(headers, SITE, |site| match site.as_bytes() {
            b"same-origin" => Site::Ours,
            b"none" => Site::Nobody,
            b"cross-site" => Site::Foreign,
            _ => Site::Sister,
        });
        let origin = Said::of(headers, ORIGIN.as_str(), |origin| {
            if is_own(config, headers, origin) { Origin::Own } else { Origin::Other }
        });
        Self {
            mode,
            dest,
            site,
            origin,
            says_itself: headers.keys().any(|name| name.as_str().starts_with("sec-fetch-")),
            is_by_user: Said::of(headers, USER, |user| user == "?1").is(true),
            is_ahead: headers.contains_key(PURPOSE),
            is_script: OF_SCRIPTS.iter().any(|name| headers.contains_key(*name)),
            has_referer: headers.contains_key(REFERER),
            accepts_html: names_html(headers),
        }
    }

    /// Who is going to look at the answer to a request with this method.
    ///
    /// What a browser says of itself counts alone where it says anything. Over plain HTTP browsers say so to
    /// this machine only: there `Accept` decides.
    pub(crate) fn reader(&self, method: &Method) -> Reader {
        let goes_there = if self.says_itself {
            match (self.mode, self.dest) {
                (Said::This(Mode::Navigate), Said::This(Dest::Document)) => true,
                (Said::This(Mode::Navigate), _) if self.accepts_html => false,
                _ => return Reader::Program,
            }
        } else {
            if self.is_script || !self.accepts_html {
                return Reader::Program;
            }
            true
        };
        match *method {
            Method::GET if goes_there => Reader::Navigator,
            Method::POST if goes_there && !self.is_by_foreign_form() => Reader::Navigator,
            Method::GET | Method::HEAD | Method::POST => Reader::Guest,
            // No link and no form sends another method.
            _ => Reader::Program,
        }
    }

    /// Whether the browser leaves its cookies at home, if it is a form that is sent.
    fn is_by_foreign_form(&self) -> bool {
        match self.site {
            Said::This(site) => site == Site::Foreign,
            Said::Doubled => true,
            Said::Not => !self.origin.is_at_most(&[Origin::Own]),
        }
    }

    /// The language of the page that is shown instead of a document for programs; `None` where no person
    /// looks at the answer itself. `headers` are those that it was read from.
    pub(crate) fn page_for(&self, method: &Method, headers: &HeaderMap) -> Option<Language> {
        (self.reader(method) != Reader::Program).then(|| language(headers))
    }

    /// Whether a person goes there with a GET, now, and in a window of its own.
    pub(crate) fn is_visit(&self, method: &Method) -> bool {
        *method == Method::GET && self.reader(method) == Reader::Navigator && !self.is_ahead
    }

    /// Whether a browser says of itself what it does, instead of naming only what it accepts, as programs
    /// do, too.
    pub(crate) const fn says_itself(&self) -> bool {
        self.says_itself
    }

    /// Whether a person goes to an address by a link, or a form, of a page of this origin that is none of
    /// Relais' own. Those send no `Referer`: a page that a foreign link has opened loads itself again,
    /// and leads to itself, as one of this origin, without anybody having meant more than that link.
    /// Where the browser says nothing of itself nobody knows.
    pub(crate) fn is_led_by_own_page(&self) -> bool {
        self.mode.is(Mode::Navigate)
            && self.dest.is(Dest::Document)
            && self.site.is(Site::Ours)
            && self.is_by_user
            && self.has_referer
            && !self.is_ahead
    }

    /// Whether a page of another origin leads there, as far as the browser says.
    pub(crate) fn is_led_by_foreign_page(&self) -> bool {
        !self.site.is_at_most(&[Site::Ours, Site::Nobody])
    }

    /// Whether whoever asks means to: a program, which says nothing of this, or a script of a page of this
    /// origin. A page of another origin leads a browser wherever it wants, and a picture or a player asks
    /// for what a link has named.
    pub(crate) fn asks_by_itself(&self) -> bool {
        self.site.is_at_most(&[Site::Ours, Site::Nobody])
            && self.mode.is_at_most(&[Mode::Cors, Mode::SameOrigin])
            && self.dest.is_at_most(&[Dest::Empty])
            // Where a browser names its `Origin` alone, that decides.
            && (self.site != Said::Not || self.origin.is_at_most(&[Origin::Own]))
    }

    /// Whether a page of Relais' own origin sent the request: by `Sec-Fetch-Site`, or where that is not
    /// sent by `Origin`. An origin that may read answers (`cors_origins`) is not Relais' own.
    pub(crate) fn is_same_origin(&self) -> bool {
        match self.site {
            Said::Not => self.names_own_origin(),
            site => site.is(Site::Ours),
        }
    }

    /// Whether it names, in `Origin`, that under which Relais was called.
    pub(crate) fn names_own_origin(&self) -> bool {
        self.origin.is(Origin::Own)
    }

    /// The `Origin` of a page that is none of ours; `None` where no page is named, or ours. `headers` are
    /// those that it was read from.
    ///
    /// # Errors
    /// When it is there more than once.
    pub(crate) fn foreign_origin<'a>(
        &self,
        headers: &'a HeaderMap,
    ) -> Result<Option<&'a HeaderValue>, Doubled> {
        match self.origin {
            Said::Not | Said::This(Origin::Own) => Ok(None),
            Said::This(Origin::Other) => Ok(headers.get(ORIGIN)),
            Said::Doubled => Err(Doubled),
        }
    }

    /// Whether a page of another site may have led a browser to a call without credentials to `host`, which is
    /// this machine.
    pub(crate) fn is_of_another_site(&self, headers: &HeaderMap, host: &str) -> bool {
        match self.site {
            // A page that tells nobody its address sends its forms with `Origin: null`.
            Said::This(Site::Ours) => false,
            Said::Not | Said::This(Site::Nobody) => {
                !headers.get_all(ORIGIN).iter().all(|origin| is_at(origin, host))
            }
            Said::This(Site::Sister | Site::Foreign) | Said::Doubled => true,
        }
    }

    /// Whether the browser fetches a page before anybody goes there, and perhaps nobody will.
    pub(crate) const fn is_ahead(&self) -> bool {
        self.is_ahead
    }

    /// Whether the answer is shown within another page, or it is not known in what.
    pub(crate) fn is_framed(&self) -> bool {
        self.dest.is(Dest::Frame) || self.dest == Said::Doubled
    }

    /// Whether the script of a page says that it asks.
    pub(crate) const fn is_script(&self) -> bool {
        self.is_script
    }
}

/// A field that may be there once was there more often.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Doubled;

/// Whether an `Origin` is that under which Relais was called: that of the public URL, else of `Host`.
fn is_own(config: &ServerConfig, headers: &HeaderMap, origin: &HeaderValue) -> bool {
    match &config.public_url {
        Some(url) => origin.as_bytes().eq_ignore_ascii_case(url.as_str().as_bytes()),
        None => {
            let host = headers.get(HOST).and_then(|host| host.to_str().ok());
            host.is_some_and(|host| is_at(origin, host))
        }
    }
}

/// Whether an `Origin` has this authority, whatever its scheme.
fn is_at(origin: &HeaderValue, authority: &str) -> bool {
    let named = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    named.is_some_and(|(_, named)| named.eq_ignore_ascii_case(authority))
}

#[cfg(test)]
mod tests {
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

    /// What is said by these fields to a server that is called [`OURS`].
    fn said(fields: &[(&'static str, &'static str)]) -> Fetch {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let public_url = Some(OURS.parse().expect("a URL"));
        Fetch::of(&ServerConfig { public_url, ..ServerConfig::on_loopback() }, &headers)
    }

    fn judged(method: &Method, fields: &[&'static str]) -> Reader {
        let fields = fields.iter().map(|field| field.split_once(": ").expect("a field"));
        said(&fields.collect::<Vec<_>>()).reader(method)
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
        assert!(said(&all).is_led_by_own_page());
        for left_out in 0..all.len() {
            let mut fields = all.to_vec();
            let (name, _) = fields.remove(left_out);
            assert!(!said(&fields).is_led_by_own_page(), "without {name}");
        }
        for (name, value) in [
            ("sec-fetch-mode", "cors"),
            ("sec-fetch-dest", "iframe"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "none"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-user", "?0"),
        ] {
            let changed = all.map(|(one, said)| (one, if one == name { value } else { said }));
            assert!(!said(&changed).is_led_by_own_page(), "{name}: {value}");
        }
        let ahead = [&all[..], &[("sec-purpose", "prefetch;prerender")]].concat();
        assert!(!said(&ahead).is_led_by_own_page());
    }

    /// One place took the first of two for said, another none.
    #[test]
    fn a_field_that_is_there_twice_speaks_for_nobody() {
        let page = |more| {
            let once = [
                ("accept", "text/html"),
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", "document"),
                ("sec-fetch-site", "same-origin"),
                ("sec-fetch-user", "?1"),
                ("referer", OURS),
            ];
            said(&[&once[..], more].concat())
        };
        let once = page(&[]);
        assert!(once.is_led_by_own_page() && once.is_same_origin() && !once.is_framed());
        assert_eq!(once.reader(&Method::POST), Navigator);
        let site = page(&[("sec-fetch-site", "same-origin")]);
        assert!(!site.is_led_by_own_page() && !site.is_same_origin());
        assert!(site.is_led_by_foreign_page());
        assert_eq!(site.reader(&Method::POST), Guest);
        assert!(site.is_of_another_site(&HeaderMap::new(), "localhost"));
        let dest = page(&[("sec-fetch-dest", "document")]);
        assert!(dest.is_framed() && dest.reader(&Method::GET) == Guest);
        assert_eq!(page(&[("sec-fetch-mode", "navigate")]).reader(&Method::GET), Program);
        let script = [("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors")];
        assert!(said(&script).asks_by_itself());
        assert!(!said(&[script[0], script[0], script[1]]).asks_by_itself());
        assert!(!said(&[("origin", OURS), ("origin", OURS)]).asks_by_itself());
        assert!(!said(&[("origin", OURS), ("origin", OURS)]).is_same_origin());
        assert!(page(&[("sec-fetch-user", "?1")]).is_same_origin());
        assert!(!page(&[("sec-fetch-user", "?1")]).is_led_by_own_page());
    }

    #[test]
    fn only_a_page_of_ours_is_of_the_same_origin() {
        let asks = |url: Option<&str>, fields: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, HeaderValue::from_static(value));
            }
            let public_url = url.map(|url| url.parse().expect("a URL"));
            let config = ServerConfig { public_url, ..ServerConfig::on_loopback() };
            Fetch::of(&config, &headers).is_same_origin()
        };
        for (fields, expected) in [
            (&[("host", "localhost:1")][..], false),
            (&[("host", "localhost:1"), ("sec-fetch-site", "same-origin")], true),
            (&[("host", "localhost:1"), ("sec-fetch-site", "same-site")], false),
            (&[("host", "localhost:1"), ("sec-fetch-site", "cross-site")], false),
            (&[("host", "localhost:1"), ("sec-fetch-site", "none")], false),
            (
                &[("host", "a"), ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "none")],
                false,
            ),
            (&[("host", "a"), ("sec-fetch-site", "cross-site"), ("origin", "http://a")], false),
            (&[("host", "localhost:1"), ("origin", "http://localhost:1")], true),
            (&[("host", "localhost:1"), ("origin", "http://localhost:2")], false),
            (&[("host", "localhost:1"), ("origin", "null")], false),
            (&[("host", "a"), ("origin", "http://a"), ("origin", "http://a")], false),
            (&[("origin", "http://a")], false),
        ] {
            assert_eq!(asks(None, fields), expected, "{fields:?}");
        }
        let url = Some("https://Shop.example");
        for (origin, expected) in [
            ("https://shop.example", true),
            ("http://shop.example", false),
            ("https://shop.example.evil.example", false),
            ("https://shop.example/app", false),
        ] {
            assert_eq!(asks(url, &[("host", "127.0.0.1"), ("origin", origin)]), expected);
        }
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
            assert_eq!(said(&fields).asks_by_itself(), expected, "{fields:?}");
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
