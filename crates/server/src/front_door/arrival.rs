//! A browser that comes by a navigation: it is led to the page of its task, so that loading that again
//! hands in nothing, and the page returns once to the address from which it was led away.

use axum::body::Body;
use axum::response::Response;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, LINK, LOCATION, RANGE, SET_COOKIE,
};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use relais_api::fields;
use relais_core::{Joined, Navigation, SessionReply, Task};

use super::answer;
use super::way_back::WayBack;
use crate::answer::accepted::How;
use crate::answer::links;
use crate::answer::problem::Refusal;
use crate::app::App;
use crate::auth::session::{Browser, right_to};
use crate::config::{Route, RouteAccess, ServerConfig};
use crate::proxy::fields::vary_by_prefer;
use crate::request::fetch::Reader;
use crate::request::prefer::Prefer;
use crate::request::sent_by::SentBy;

/// A navigation that may become a session's.
pub(super) struct Arrival {
    browser: Browser,
    is_get: bool,
    /// Whether the browser fetches it ahead: nobody has gone there.
    is_ahead: bool,
    /// By which its page may return.
    navigation: Navigation,
    /// Where it found Relais, if its links lead there: see `Base::for_caller`.
    base: Option<String>,
}

/// Takes out of the request of a person what asks for less than the whole answer. The browser has let
/// go of the copy it had when it is led to the page of the task, or is shown that: there an answer that
/// refers to the copy is none.
///
/// Only where a browser says that it is one, and only of a GET: a program that accepts HTML has its copy
/// still, and a condition of what changes something keeps one change from undoing another.
pub(super) fn ask_for_the_whole(config: &ServerConfig, request: &mut Request<Body>) {
    let fetch = SentBy::of(config, request).fetch;
    let is_shown = fetch.says_itself() && fetch.reader(request.method()) != Reader::Program;
    if *request.method() != Method::GET || !is_shown {
        return;
    }
    for field in [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_MATCH, IF_UNMODIFIED_SINCE, IF_RANGE, RANGE]
    {
        request.headers_mut().remove(field);
    }
}

impl Arrival {
    /// Reads from a request's head whether it is a navigation to be led to the page of its task. It is
    /// not where a 202 is asked for, where no ticket is handed out, and where the cookie would not be
    /// kept; nor is one with an API key, which no browser sends by itself.
    pub(super) fn of(app: &App, route: &Route, request: &mut Request<Body>) -> Option<Box<Self>> {
        let fetch = SentBy::of(&app.config, request).fetch;
        let (method, headers) = (request.method(), request.headers());
        let is_led = fetch.reader(method) == Reader::Navigator
            && route.access == RouteAccess::Ticket
            && !headers.contains_key(fields::API_KEY)
            && !Prefer::of(headers).respond_async;
        if !is_led {
            return None;
        }
        let sent_by = request.extensions().get::<SentBy>()?;
        let browser = app.auth.browser(sent_by, request.version(), headers);
        if !browser.may_be_led() {
            return None;
        }
        let target = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let parts = [route.tenant.as_str(), method.as_str(), target].map(str::as_bytes);
        let mac = &app.auth.mac;
        Some(Box::new(Self {
            browser,
            is_get: *method == Method::GET,
            is_ahead: fetch.is_ahead(),
            navigation: Navigation {
                address: mac.of_address(&parts),
                caller: mac.of_credentials(headers),
            },
            base: app.base.for_caller(headers),
        }))
    }

    /// What it gets if it is the return of a page to its own address: the answer of its task, and once.
    /// What is fetched ahead is no return.
    ///
    /// Where such a return is awaited at this address from another caller, the browser's cookies have
    /// changed meanwhile: it is led back to the page, which stays and links the answer. A request of its
    /// own would run twice what was asked for once.
    ///
    /// # Errors
    /// When the store cannot be read or written, or the answer is damaged.
    pub(super) async fn returns(&self, app: &App) -> Result<Option<Response>, Refusal> {
        if !self.is_get || self.is_ahead {
            return Ok(None);
        }
        let (id, is_other_caller) =
            match app.auth.comes_back(&self.browser, self.navigation).await? {
                SessionReply::Attached(id) => (id, false),
                SessionReply::OtherCaller(id) => (id, true),
                _ => return Ok(None),
            };
        let Some(task) = app.engine.task(id).await? else { return Ok(None) };
        if is_other_caller || !task.life.status().is_terminal() {
            let mut response = self.see_page(app, &task);
            vary_by_prefer(response.headers_mut());
            return Ok(Some(response));
        }
        let mut response = answer::whole(&app.answers, &task, None).await?;
        let headers = response.headers_mut();
        // A part of it, asked for at this address, would be another request.
        headers.remove(ACCEPT_RANGES);
        WayBack::by_session(id).tell(&app.answers, self.base.as_deref(), headers);
        Ok(Some(response))
    }

    /// Leads the browser to the page of its task, which it follows by its session; `None` where there is
    /// no room for one more session, or in it: then the page comes with the 202, and follows by its ticket.
    ///
    /// # Errors
    /// When the task's context cannot be read.
    pub(super) async fn leads_to(
        &self,
        app: &App,
        task: &Task,
        how: &How,
    ) -> Result<Option<Response>, Refusal> {
        let Some(right) = right_to(task)? else { return Ok(None) };
        let joined = Joined { navigation: Some(self.navigation), ..right };
        let cookie = match app.auth.join(&self.browser, joined).await {
            Ok(Some(cookie)) => cookie,
            Ok(None) => return Ok(None),
            Err(refusal) => {
                // The task is made, and somebody waits for it.
                app.answers.note_no_session(&refusal);
                return Ok(None);
            }
        };
        let mut response = self.see_page(app, task);
        let headers = response.headers_mut();
        headers.insert(SET_COOKIE, cookie);
        if let Some(applied) = how.applied.as_deref().and_then(|a| HeaderValue::from_str(a).ok()) {
            headers.insert(fields::PREFERENCE_APPLIED, applied);
        }
        Ok(Some(response))
    }

    /// The way to the page of a task.
    fn see_page(&self, app: &App, task: &Task) -> Response {
        let base = self.base.as_deref().unwrap_or(app.answers.base.as_str());
        let id = task.spec.id.to_string();
        let url = links::to_task(base, &id, None);
        let value = |text: &str| HeaderValue::from_str(text).expect("URLs and ids are ASCII");
        let mut response = Response::default();
        *response.status_mut() = StatusCode::SEE_OTHER;
        let headers = response.headers_mut();
        // A path: it leads to the origin that the browser shows, whatever that is called.
        headers.insert(LOCATION, value(&links::to_task(app.base.path(), &id, None)));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(LINK, value(&links::monitor(&url)));
        headers.insert(HeaderName::from_static(fields::OPERATION_LOCATION), value(&url));
        headers.insert(HeaderName::from_static(fields::TASK), value(&id));
        app.answers.own(response)
    }
}
