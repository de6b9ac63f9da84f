//! The task API: which path is answered by what. One file per resource.

mod bulk;
pub(crate) mod change;
mod events;
pub(crate) mod later;
mod lease_bodies;
mod leases;
mod list;
pub(crate) mod moments;
mod onward;
mod queues;
mod result;
pub(crate) mod service;
mod session;
mod settles;
pub(crate) mod submit;
mod task;
mod tickets;
pub(crate) mod worker;
mod ws;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{FromRequestParts, Path, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post, put};
use futures_util::FutureExt as _;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode, request};
use relais_api::{codes, paths};
use relais_core::{QueueName, TaskId, limits};
use serde::Serialize;
use tower::ServiceExt as _;

pub(crate) use self::queues::travelling;
use crate::answer::problem::Refusal;
use crate::answer::stored::no_body;
use crate::app::App;
use crate::auth::{Chooser, Visitor};
use crate::connection::{Peer, Side};
use crate::front_door::check::own_paths;
use crate::front_door::table::{Shape, parse, segments};
use crate::request::sent_by::SentBy;
use crate::run_to_end::RunToEnd;
use crate::watch::stream::Streaming;

/// Methods of a resource that is only read.
const READ: &str = "GET, HEAD, OPTIONS";
/// Methods of an action.
const ACT: &str = "POST, OPTIONS";
/// What is said beneath Relais' own paths where no call is.
const NO_SUCH_CALL: &str = "Relais has no such call, and what is beneath its own paths goes to nobody \
                            else: check the path; none ends with a slash (`/v1/openapi.json` has all)";

/// Relais' own paths on one listener, and what their answers have in common.
///
/// This is not a stack of layers: each would clone its service and box its
/// answer, for every request.
pub(crate) struct OwnPaths {
    app: Arc<App>,
    side: Side,
    router: Router,
    /// The paths, and all beneath them; all others are the front door's.
    paths: Vec<Shape>,
    /// The path of calls for leases.
    leases: Shape,
}

impl OwnPaths {
    /// The paths of a listener.
    pub(crate) fn new(app: &Arc<App>, side: Side) -> Self {
        let routes = match side {
            Side::Public => api(),
            Side::Admin => {
                let metrics = resource(get(service::metrics), READ);
                api().route("/metrics", metrics).route("/ui", later::refused())
            }
        };
        Self::with(app, side, routes)
    }

    fn with(app: &Arc<App>, side: Side, routes: Router<Arc<App>>) -> Self {
        let prefix = match side {
            Side::Public => app.config.api_prefix.as_str(),
            Side::Admin => "",
        };
        let paths = own_paths(prefix).map(|(_, shape)| shape).collect();
        let (leases, _) = parse(&format!("{prefix}{}", paths::QUEUE_LEASES))
            .expect("a path of our own, and a prefix that was checked");
        let routes = if prefix.is_empty() { routes } else { Router::new().nest(prefix, routes) };
        let routes =
            routes.fallback(async || Refusal::new(&codes::NOT_FOUND).because(NO_SUCH_CALL));
        Self { app: app.clone(), side, router: routes.with_state(app.clone()), paths, leases }
    }

    /// Whether Relais itself answers what comes for this path.
    pub(crate) fn has(&self, path: &str) -> bool {
        matches!(self.side, Side::Admin) || {
            let segments: Vec<_> = segments(path).collect();
            self.paths.iter().any(|own| own.takes(&segments))
        }
    }

    /// Answers a request. Refusals, and bugs, become problem documents.
    pub(crate) async fn answer(&self, path: &str, mut request: Request) -> Response {
        let is_head = request.method() == Method::HEAD;
        let leases = request.method() == Method::POST
            && self.leases.takes(&segments(path).collect::<Vec<_>>());
        let reads = is_head || request.method() == Method::GET || leases;
        if leases && let Some(peer) = request.extensions().get::<Peer>() {
            // What is leased to somebody who is gone is lost to the others for a while.
            peer.be_patient(Duration::ZERO);
        }
        let fetch = SentBy::of(&self.app.config, &mut request).fetch;
        let page = fetch.page_for(request.method(), request.headers());
        request.extensions_mut().insert(self.side);
        let answering = self.router.clone().oneshot(request);
        let answer = if reads {
            AssertUnwindSafe(answering).catch_unwind().await
        } else {
            // What changes something is not left half done when the caller leaves: what was stored
            // is acted on. A lease sees to that itself.
            AssertUnwindSafe(RunToEnd::new(answering)).catch_unwind().await
        };
        let response = match answer {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(_) => Refusal::internal("a handler panicked").into_response(),
        };
        let mut response = self.app.answers.finish(response, path, page);
        if is_head {
            response.extensions_mut().remove::<Streaming>();
        }
        if matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            // Neither has a body, nor a length of one (RFC 9110, 8.6).
            *response.body_mut() = no_body();
            response.headers_mut().remove(CONTENT_LENGTH);
        }
        self.app.answers.own(response)
    }
}

fn api() -> Router<Arc<App>> {
    tasks().merge(workers()).merge(others())
}

fn tasks() -> Router<Arc<App>> {
    let one = get(task::read).merge(delete(change::erase));
    Router::new()
        .route(
            paths::TASKS,
            resource(get(list::list).post(submit::submit), "GET, HEAD, POST, OPTIONS"),
        )
        .route(paths::TASK_BATCH, resource(post(submit::submit_batch), ACT))
        .route(paths::TASK_CANCEL_MANY, resource(post(bulk::cancel), ACT))
        .route(paths::TASK_RETRY_MANY, resource(post(bulk::retry), ACT))
        .route(paths::TASK, resource(one, "GET, HEAD, DELETE, OPTIONS"))
        .route(paths::TASK_RESULT, resource(get(result::read), READ))
        .route(paths::TASK_EVENTS, resource(get(events::of_task), READ))
        .route(paths::TASK_WHY, resource(get(task::why), READ))
        .route(paths::TASK_CANCEL, resource(post(change::cancel), ACT))
        .route(paths::TASK_RETRY, resource(post(change::retry), ACT))
        .route(paths::TASK_TICKETS, resource(post(tickets::renew), ACT))
        .route(
            paths::SESSION,
            resource(get(session::list).delete(session::forget_all), "GET, HEAD, DELETE, OPTIONS"),
        )
        .route(paths::SESSION_FORGET_ALL, resource(post(session::forget_all_by_form), ACT))
        .route(
            paths::SESSION_TASK,
            resource(post(session::join).delete(session::forget), "POST, DELETE, OPTIONS"),
        )
        .route(paths::SESSION_FORGET, resource(post(session::forget_by_form), ACT))
        .route(paths::EVENTS, resource(get(events::of_many), READ))
        .route(paths::SOCKET, resource(get(ws::open), READ))
}

fn workers() -> Router<Arc<App>> {
    Router::new()
        .route(paths::QUEUE_LEASES, resource(post(leases::lease), ACT))
        .route(paths::LEASES_HEARTBEAT, resource(post(leases::heartbeat), ACT))
        .route(paths::LEASES_SETTLE, resource(post(settles::settle), ACT))
        .route(paths::LEASES_INPUT, resource(get(lease_bodies::input), READ))
        .route(paths::LEASES_RESULT, resource(put(lease_bodies::store_result), "PUT, OPTIONS"))
}

fn others() -> Router<Arc<App>> {
    let queue = get(queues::read).put(queues::define);
    later::add(Router::new())
        .route(paths::QUEUES, resource(get(queues::list), READ))
        .route(paths::QUEUE, resource(queue, "GET, HEAD, PUT, OPTIONS"))
        .route(paths::QUEUE_PAUSE, resource(post(queues::pause), ACT))
        .route(paths::QUEUE_RESUME, resource(post(queues::resume), ACT))
        .route(paths::OPENAPI, resource(get(service::openapi), READ))
        .route(paths::HEALTH, resource(get(service::health), READ))
        .route(paths::READY, resource(get(service::readiness), READ))
        .route(paths::SCRIPT, resource(get(service::script), READ))
        .route(paths::PAGE_FILE, resource(get(service::page_file), READ))
        .route(paths::PROBLEM, resource(get(service::problem), READ))
}

/// A path: its methods, `OPTIONS`, and a refusal of all others that says which there are.
fn resource(methods: MethodRouter<Arc<App>>, allow: &'static str) -> MethodRouter<Arc<App>> {
    methods
        .options(async move || (StatusCode::NO_CONTENT, [(ALLOW, allow)]))
        .fallback(async move || Refusal::new(&codes::METHOD_NOT_ALLOWED).allow(allow))
}

/// Relais' own paths on the public listener; all others are not found.
pub fn api_router(app: &Arc<App>) -> Router {
    router(app, Side::Public)
}

/// All of the admin listener.
pub fn admin_router(app: &Arc<App>) -> Router {
    router(app, Side::Admin)
}

fn router(app: &Arc<App>, side: Side) -> Router {
    let own = Arc::new(OwnPaths::new(app, side));
    Router::new().fallback(async move |request: Request| {
        let path = request.uri().path().to_owned();
        own.answer(&path, request).await
    })
}

impl FromRequestParts<Arc<App>> for Visitor {
    type Rejection = Refusal;

    async fn from_request_parts(
        parts: &mut request::Parts,
        app: &Arc<App>,
    ) -> Result<Self, Refusal> {
        Self::of(&app.auth, parts).await
    }
}

impl FromRequestParts<Arc<App>> for Chooser {
    type Rejection = Refusal;

    async fn from_request_parts(
        parts: &mut request::Parts,
        app: &Arc<App>,
    ) -> Result<Self, Refusal> {
        Self::of(&app.auth, parts).await
    }
}

/// The task that a path names. What is no id names no task.
struct OneTask(TaskId);

impl FromRequestParts<Arc<App>> for OneTask {
    type Rejection = Refusal;

    async fn from_request_parts(
        parts: &mut request::Parts,
        app: &Arc<App>,
    ) -> Result<Self, Refusal> {
        let id = Path::<String>::from_request_parts(parts, app).await.ok();
        let id = id.and_then(|Path(id)| id.parse().ok());
        id.map(Self).ok_or_else(|| Refusal::new(&codes::TASK_NOT_FOUND))
    }
}

/// The queue that a path names.
struct OneQueue(QueueName);

impl FromRequestParts<Arc<App>> for OneQueue {
    type Rejection = Refusal;

    async fn from_request_parts(
        parts: &mut request::Parts,
        app: &Arc<App>,
    ) -> Result<Self, Refusal> {
        let name = Path::<String>::from_request_parts(parts, app).await.ok();
        let name = name.and_then(|Path(name)| name.parse().ok());
        name.map(Self).ok_or_else(|| Refusal::new(&codes::QUEUE_NOT_FOUND))
    }
}

/// A page in the making, as JSON. Each item is encoded once, before the next is made: a thousand of
/// them hold megabytes.
struct PageItems {
    /// The page up to the latest item.
    json: Vec<u8>,
    count: usize,
}

impl PageItems {
    /// An empty page, of which this member, the first, is the list.
    fn of(list: &str) -> Self {
        Self { json: ["{\"", list, "\":["].concat().into_bytes(), count: 0 }
    }

    /// Takes one more item where there is room for it; the first always fits. Items vary in size, and
    /// whoever asked for them may not read them, so that their bytes are bounded, not only their number.
    fn takes<T: Serialize>(&mut self, item: &T) -> Result<bool, Refusal> {
        let before = self.json.len();
        self.push(item)?;
        Ok(self.has_room_since(before))
    }

    /// The same for an item that is JSON already.
    fn takes_json(&mut self, item: &[u8]) -> bool {
        let before = self.json.len();
        self.separate();
        self.json.extend_from_slice(item);
        self.has_room_since(before)
    }

    /// Whether the item that began at `before` fits; it is taken back otherwise.
    fn has_room_since(&mut self, before: usize) -> bool {
        let fits = self.count == 1 || self.json.len() <= limits::PAGE_BYTES_MAX;
        if !fits {
            self.json.truncate(before);
            self.count -= 1;
        }
        fits
    }

    /// Begins one more item.
    fn separate(&mut self) {
        if self.count > 0 {
            self.json.push(b',');
        }
        self.count += 1;
    }

    /// Takes one more item: where their number is that of what was asked for.
    fn push<T: Serialize>(&mut self, item: &T) -> Result<(), Refusal> {
        self.separate();
        serde_json::to_writer(&mut self.json, item).map_err(Refusal::internal)
    }

    /// The page; `rest` is its document with an empty list, and says what comes behind.
    fn page<T: Serialize>(mut self, rest: &T) -> Result<Response, Refusal> {
        let rest = serde_json::to_vec(rest).map_err(Refusal::internal)?;
        let list = rest.iter().position(|byte| *byte == b'[').map_or(0, |bracket| bracket + 1);
        let (before, behind) = rest.split_at(list);
        if before.is_empty() || !self.json.starts_with(before) {
            return Err(Refusal::internal("a page whose first member is another"));
        }
        self.json.extend_from_slice(behind);
        Ok(json_bytes(StatusCode::OK, self.json))
    }
}

/// A document as an answer.
fn json<T: Serialize>(status: StatusCode, document: &T) -> Result<Response, Refusal> {
    let body = serde_json::to_vec(document).map_err(Refusal::internal)?;
    Ok(json_bytes(status, body))
}

fn json_bytes(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use relais_engine::{Config, Engine, SeededChance, SystemClock};
    use relais_store::MemoryStore;

    use super::*;
    use crate::config::ServerConfig;

    #[tokio::test]
    async fn a_bug_is_a_problem_too_and_its_words_stay_inside() {
        let store = Arc::new(MemoryStore::new());
        let chance = Arc::new(SeededChance::new(1));
        let clock = Arc::new(SystemClock::start());
        let engine = Engine::start(Config::default(), store, clock, chance).await.unwrap();
        let app = App::new(ServerConfig::on_loopback(), engine).await.unwrap();
        let buggy = Router::new()
            .route("/", get(async || -> StatusCode { panic!("the secret") }))
            .route("/", post(async || -> StatusCode { panic!("the secret") }));
        let own = OwnPaths::with(&app, Side::Public, buggy);
        for method in [Method::GET, Method::POST] {
            let request = Request::builder().method(method).uri("/").body(Body::empty()).unwrap();
            let response = own.answer("/", request).await;
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
            assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
            let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
            let text = String::from_utf8_lossy(&body);
            assert!(text.contains("\"internal\"") && !text.contains("secret"), "{text}");
        }
    }
}
