//! Pages for people: a task, live in a browser, and what a problem means. No framework, no foreign
//! content: each page may only do what its own script does, and shows whose it is.

mod asked;
mod asking;
mod brand;
mod html;
mod list;
mod markdown;
mod moment;
mod ticket;
mod told;
mod words;

use aws_lc_rs::digest;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, StatusCode};
use relais_api::{Code, Task, codes, paths};
use relais_core::Grace;
use relais_engine::Access;

use self::html::Html;
pub(crate) use self::list::ListView;
pub(crate) use self::ticket::{View, Way};
pub(crate) use self::told::Told;
use self::words::Words;
use crate::answer::problem::Refusal;
use crate::config::Page;
use crate::request::accept::Language;

const STYLE: &str = include_str!("pages/page.css");
const FRAME: &str = include_str!("pages/frame.html");
const SCRIPT: &str = include_str!("pages/ticket.js");

/// Where the page of a task leads by itself.
#[derive(Debug)]
pub(crate) enum Onward {
    /// It shows how the task stands, and stays.
    Stays,
    /// When the task is over it loads itself again, and is told.
    WhenOver,
    /// To this address, at once.
    Now(String),
}

/// What all pages of a configuration have in common.
pub(crate) struct Pages {
    page: Page,
    /// The path before those of Relais. A page is read under the origin that its links lead to: all of
    /// them are paths.
    base: String,
    style: String,
    /// What they may do: their own style and script, and calls and forms to where they came from.
    policy: HeaderValue,
}

/// What is on a page.
struct Content<'a> {
    language: &'static str,
    title: &'a str,
    main: &'a Html,
    /// In the head, for browsers without scripts.
    refresh: &'a Html,
    /// Whether it has the script.
    is_live: bool,
}

impl Pages {
    /// The pages of an operator, where `base` is the path before those of Relais.
    #[must_use]
    pub(crate) fn new(page: &Page, base: &str) -> Self {
        let style = brand::colours(page) + STYLE;
        let policy = format!(
            "default-src 'none'; style-src {}; script-src {}; img-src 'self' data:; connect-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'self'",
            hash(&style),
            hash(SCRIPT)
        );
        let policy = HeaderValue::from_str(&policy).expect("ASCII");
        Self { page: page.clone(), base: base.to_owned(), style, policy }
    }

    /// The page of a task, which leads to its answer if there is one.
    #[must_use]
    pub(crate) fn ticket(&self, view: &View<'_>) -> Response {
        let ticket = view.ticket();
        self.page(&Content {
            language: view.told.words().code,
            title: &ticket.title,
            main: &ticket.main,
            refresh: &ticket.refresh,
            is_live: true,
        })
    }

    /// The page of what a browser follows.
    #[must_use]
    pub(crate) fn list(&self, list: &ListView<'_>) -> Response {
        let words = list.words();
        let (main, refresh) = (list.main(&self.base), Html::default());
        let (language, title) = (words.code, words.list.title);
        let is_live = true;
        self.page(&Content { language, title, main: &main, refresh: &refresh, is_live })
    }

    /// The page of a task without all that does not change: for its script.
    #[must_use]
    pub(crate) fn part(&self, view: &View<'_>) -> Response {
        self.html(view.ticket().main.into_string(), view.told.words().code)
    }

    /// What a person is shown whose request was refused, or could not be passed on.
    #[must_use]
    pub(crate) fn refused(&self, code: &Code, language: Language) -> Response {
        let words = Words::of(language);
        let message = code.message().and_then(|message| message.0.get(words.code).cloned());
        let (title, next) = words.refusal(code);
        let mut main = Html::default();
        main.markup("<main>\n<p class=\"state bad\">").text(words.states.failed);
        main.markup("</p>\n<h1>").text(title).markup("</h1>\n");
        main.given(message, |html, message| {
            html.markup("<p id=\"lead\">").text(&message).markup("</p>\n");
        });
        main.markup("<p>").text(next).markup("</p>\n<p id=\"number\">").text(code.title);
        main.markup(" (<code>").text(code.code).markup("</code>)</p>\n</main>\n");
        self.still(words.code, title, &main)
    }

    /// What a person is shown whose task is seen by credentials of its caller alone. `url` is the whole
    /// address of its result.
    #[must_use]
    pub(crate) fn asking(
        &self,
        task: &Task,
        url: &str,
        grace: Option<Grace>,
        access: &Access,
        language: Language,
    ) -> Response {
        let (title, main) = asking::main_of(task, url, grace, access, language);
        self.still(Words::of(language).code, title, &main)
    }

    /// The page of a problem, which is written in English.
    #[must_use]
    pub(crate) fn problem(&self, code: &Code) -> Response {
        let mut main = Html::default();
        main.markup("<main>\n");
        markdown::render(code.page(), &mut main);
        main.markup("</main>\n");
        self.still(Words::of(Language::English).code, code.code, &main)
    }

    /// A page that follows nothing.
    fn still(&self, language: &'static str, title: &str, main: &Html) -> Response {
        let refresh = &Html::default();
        self.page(&Content { language, title, main, refresh, is_live: false })
    }

    fn page(&self, content: &Content<'_>) -> Response {
        let mut title = Html::default();
        title.text(content.title).given(self.page.name.as_deref(), |html, name| {
            html.text(" – ").text(name);
        });
        let script = if content.is_live {
            ["<script>", SCRIPT, "</script>\n"].concat()
        } else {
            String::new()
        };
        let (logo, header) = (self.logo(), self.header());
        // Else browsers ask for one where the service is that the page is not of.
        let icon = logo.as_ref().map_or("data:,", Html::as_str);
        let values = [
            ("language", content.language),
            ("title", title.as_str()),
            ("icon", icon),
            ("style", &self.style),
            ("refresh", content.refresh.as_str()),
            ("header", header.as_str()),
            ("main", content.main.as_str()),
            ("script", &script),
        ];
        self.html(fill(FRAME, &values), content.language)
    }

    /// Where the logo is, if there is one.
    fn logo(&self) -> Option<Html> {
        let logo = self.page.logo.as_ref()?;
        let mut html = Html::default();
        html.text(&self.base).text(&paths::PAGE_FILE.replace("{file}", &logo.file));
        Some(html)
    }

    /// Whose page it is, if that is said.
    fn header(&self) -> Html {
        let mut html = Html::default();
        let name = self.page.name.as_deref();
        match (self.logo(), name) {
            (Some(logo), name) => {
                html.markup("<header><img src=\"").html(&logo).markup("\" alt=\"");
                html.text(name.unwrap_or_default()).markup("\"></header>\n");
            }
            (None, Some(name)) => {
                html.markup("<header>").text(name).markup("</header>\n");
            }
            (None, None) => {}
        }
        html
    }

    /// A file that pages are made of.
    ///
    /// # Errors
    /// When there is none of this name: not any more, or it never was.
    pub(crate) fn file(&self, file: &str) -> Result<Response, Refusal> {
        let logo = self.page.logo.as_ref().filter(|logo| logo.file == file);
        let logo = logo.ok_or_else(|| Refusal::new(&codes::NOT_FOUND))?;
        let mut response = answer(logo.bytes.clone().into(), logo.media_type);
        let headers = response.headers_mut();
        // Another picture has another name.
        let kept = HeaderValue::from_static("public, max-age=31536000, immutable");
        headers.insert(CACHE_CONTROL, kept);
        // An SVG that is opened by itself runs nothing and calls nobody.
        let policy = HeaderValue::from_static(
            "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox",
        );
        headers.insert(CONTENT_SECURITY_POLICY, policy);
        Ok(response)
    }

    fn html(&self, page: String, language: &'static str) -> Response {
        let mut response = answer(page.into(), "text/html; charset=utf-8");
        let headers = response.headers_mut();
        headers.insert(CONTENT_SECURITY_POLICY, self.policy.clone());
        headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(language));
        // A ticket in the page's address stays here.
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        // It is one reader's, and old at once.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// Markdown as it is written.
#[must_use]
pub(crate) fn markdown(text: &'static str) -> Response {
    answer(text.into(), "text/markdown; charset=utf-8")
}

/// Leads a browser whose form was taken to the page of its task, which has this path: loading that again
/// sends nothing.
///
/// # Errors
/// Never, as links are ASCII.
pub(crate) fn see(page: &str) -> Result<Response, Refusal> {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::SEE_OTHER;
    let there = HeaderValue::from_str(page).map_err(Refusal::internal)?;
    response.headers_mut().insert(LOCATION, there);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// A page instead of a document: with the document's status and fields, but for what is said of the
/// content.
#[must_use]
pub(crate) fn in_place_of(document: Response, page: Response) -> Response {
    let (mut head, _) = document.into_parts();
    let (own, body) = page.into_parts();
    head.headers.extend(own.headers);
    Response::from_parts(head, body)
}

fn answer(body: axum::body::Body, kind: &'static str) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Puts values, escaped already, where the template names them. One pass: a value that looks like a
/// name is left alone.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(template.len() + 16_384);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let (name, after) = after.split_once("}}").expect("the template closes each name");
        let value = values.iter().find(|(known, _)| *known == name);
        out.push_str(value.expect("the template names known values").1);
        rest = after;
    }
    out.push_str(rest);
    out
}

fn hash(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(digest::digest(&digest::SHA256, text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_become_placeholders() {
        assert_eq!(fill("a{{x}}b{{y}}", &[("x", "{{y}}"), ("y", "1")]), "a{{y}}b1");
    }
}
