//! A browser that comes by a navigation: it is led to the page of its task, so that loading that again
//! hands in nothing, and the page returns once to the address from which it was led away.

use axum::body::Body;
use axum::response::Response;
use http::header::{CACHE_CONTROL, LINK, LOCATION, SET_COOKIE};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use relais_api::fields;
use relais_core::{Joined, Task};
use relais_engine::envelope;

use crate::answer::accepted::How;
use crate::answer::links;
use crate::answer::pages::path_of;
use crate::answer::problem::Refusal;
use crate::app::App;
use crate::auth::cookie::is_own_origin;
use crate::auth::session::{Browser, Return, right_to};
use crate::config::{Route, RouteAccess};
use crate::connection::Peer;
use crate::request::prefer::Prefer;
use crate::request::reader::{Reader, is_ahead};

/// A navigation that may become a session's.
pub(super) struct Arrival {
    browser: Browser,
    is_get: bool,
    /// Whether the browser fetches it ahead: nobody has gone there.
    is_ahead: bool,
    /// Path and query.
    target: String,
    /// The HMAC of tenant, caller, method and target by which its page may return; `None` for one that
    /// would not find its way.
    request: Option<[u8; 32]>,
}

impl Arrival {
    /// Reads from a request's head whether it is a navigation to be led to the page of its task. It is
    /// not where a 202 is asked for, where no ticket is handed out, and where no browser would keep the
    /// cookie; nor is one with an API key, which no browser sends by itself.
    pub(super) fn of(app: &App, route: &Route, request: &Request<Body>) -> Option<Box<Self>> {
        let (method, headers) = (request.method(), request.headers());
        let is_own = |origin: &str| is_own_origin(&app.config, headers, origin);
        let is_led = Reader::of(method, headers, is_own) == Reader::Navigator
            && route.access == RouteAccess::Ticket
            && !headers.contains_key(fields::API_KEY)
            && !Prefer::of(headers).respond_async;
        if !is_led {
            return None;
        }
        let peer = request.extensions().get::<Peer>()?.address.ip();
        let browser = app.auth.browser(peer, request.version(), headers);
        if !browser.keeps_cookies() {
            return None;
        }
        let target = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let caller = app.auth.mac.of_credentials(headers);
        let request = app.auth.mac.of_navigation(&[
            route.tenant.as_str().as_bytes(),
            caller.as_ref().map_or(&[], |caller| &caller[..]),
            method.as_str().as_bytes(),
            target.as_bytes(),
        ]);
        let (is_get, is_ahead) = (*method == Method::GET, is_ahead(headers));
        let target = target.to_owned();
        Some(Box::new(Self { browser, is_get, is_ahead, target, request: Some(request) }))
    }

    /// The task whose page returns by this navigation to its own address.
    ///
    /// Where such a return is awaited at this address and this is not it, the caller has become another:
    /// its cookies changed meanwhile. It is a request of its own then, whose page stays where it is: it
    /// could go on for ever like this. What is fetched ahead is no return.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub(super) async fn returns_to(&mut self, app: &App) -> Result<Option<Task>, Refusal> {
        let may_return = self.is_get && !self.is_ahead;
        let Some(request) = self.request.filter(|_| may_return) else { return Ok(None) };
        let open = match app.auth.use_mark(&self.browser, request).await? {
            Return::To(id) => {
                let task = app.engine.task(id).await?;
                return Ok(task.filter(|task| task.life.status().is_terminal()));
            }
            Return::Not { open } => open,
        };
        for id in open {
            if let Some(task) = app.engine.task(id).await?
                && task.spec.request.as_ref().is_some_and(|line| line.method == "GET")
                && envelope::context_of(&task)?.presented.called_target == self.target
            {
                self.request = None;
            }
        }
        Ok(None)
    }

    /// Leads the browser to the page of its task, which it follows by its session; `None` where there is
    /// no room for one more session: then the page comes with the 202, and follows by its ticket.
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
        let joined = Joined { request: self.request, ..right };
        let cookie = match app.auth.join(&self.browser, joined).await {
            Ok(Some(cookie)) => cookie,
            Ok(None) => return Ok(None),
            Err(refusal) => {
                // The task is made, and somebody waits for it.
                tracing::debug!(code = refusal.code().code, "a browser was given no session");
                return Ok(None);
            }
        };
        let base = how.base.as_deref().unwrap_or(app.answers.base.as_str());
        let id = task.spec.id.to_string();
        let url = links::to_task(base, &id, None);
        let value = |text: &str| HeaderValue::from_str(text).expect("URLs and ids are ASCII");
        let mut response = Response::default();
        *response.status_mut() = StatusCode::SEE_OTHER;
        let headers = response.headers_mut();
        // A path: it leads to the origin that the browser shows, whatever that is called.
        headers.insert(LOCATION, value(path_of(&url)));
        headers.insert(SET_COOKIE, cookie);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(LINK, value(&links::monitor(&url)));
        headers.insert(HeaderName::from_static(fields::OPERATION_LOCATION), value(&url));
        headers.insert(HeaderName::from_static(fields::TASK), value(&id));
        if let Some(applied) = how.applied.as_deref().and_then(|a| HeaderValue::from_str(a).ok()) {
            headers.insert(fields::PREFERENCE_APPLIED, applied);
        }
        Ok(Some(app.answers.own(response)))
    }
}
