//! The front door: requests that are not for Relais itself become tasks, or are passed on, as their
//! route says.
//!
//! Read in this order: `table` (which route), `mode` (proxy or task), `task` (from a request to a
//! task), `handover` (how long its client waits), `answer` (what it gets). Not
//! here: Relais' own paths.

mod answer;
mod arrival;
mod caller;
pub(crate) mod check;
mod form;
mod handover;
mod mode;
pub(crate) mod options;
mod repeat;
pub(crate) mod table;
mod task;
mod trace;
mod upload;
mod way_back;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::Request;
use relais_api::{codes, fields};
use relais_core::TaskId;
use relais_engine::{Attending, Engine, EngineError, Submission, Submitted};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use self::arrival::{Arrival, ask_for_the_whole};
use self::check::RouteProblem;
use self::handover::{Ears, Waiting};
use self::mode::{Patience, Way, way};
use self::table::{Found, Table, is_ambiguous};
use self::way_back::WayBack;
use crate::answer::cors;
use crate::answer::pace::refuse_submission;
use crate::answer::problem::Refusal;
use crate::app::App;
use crate::config::{CorsBy, HostHeader, Mode, Route, Upstream};
use crate::connection::Peer;
use crate::proxy::fields::{PreferIs, vary_by_prefer};
use crate::proxy::{Proxy, Target};
use crate::request::prefer::Prefer;
use crate::request::sent_by::SentBy;

/// How long the fallback's upstream may take to begin its answer.
const FALLBACK_TIMEOUT: Duration = Duration::from_secs(600);

/// Why an address with a ticket goes to no upstream.
const TICKET_STAYS: &str = "the query has a ticket of Relais, which no upstream may see, and this is no \
                            path of Relais: correct the path (or `api_prefix`, if the operator set one)";

/// Takes the requests that are not for Relais itself.
pub(crate) struct FrontDoor {
    app: Arc<App>,
    table: Table,
    proxy: Proxy,
}

impl FrontDoor {
    /// Compiles the routes.
    ///
    /// # Errors
    /// The first route that cannot be served.
    pub(crate) fn new(app: Arc<App>, tracker: TaskTracker) -> Result<Self, RouteProblem> {
        if let Some(problem) = check::validate_routes(&app.config).into_iter().next() {
            return Err(problem);
        }
        let table = Table::new(&app.config.routes).map_err(|(route, why)| RouteProblem {
            route: Some(route),
            path: app.config.routes[route].path.clone(),
            why: why.to_owned(),
        })?;
        let proxy = Proxy {
            engine: app.engine.clone(),
            config: app.config.clone(),
            stop: app.stop.clone(),
            tracker,
        };
        Ok(Self { app, table, proxy })
    }

    /// Answers a request.
    pub(crate) async fn take(&self, mut request: Request<Body>) -> Response {
        let path = request.uri().path().to_owned();
        let fetch = SentBy::of(&self.app.config, &mut request).fetch;
        let page = fetch.page_for(request.method(), request.headers());
        match self.dispatch(request).await {
            Ok(response) => response,
            Err(refusal) => self.app.answers.refuse_to(page, &refusal, &path),
        }
    }

    async fn dispatch(&self, request: Request<Body>) -> Result<Response, Refusal> {
        let Some(peer) = request.extensions().get::<Peer>().cloned() else {
            return Err(Refusal::internal("a request came by no connection"));
        };
        if self.app.auth.has_ticket(request.uri()) {
            return Err(Refusal::new(&codes::NOT_FOUND).because(TICKET_STAYS));
        }
        let path = request.uri().path();
        if !self.table.is_open() && is_ambiguous(path) {
            return Err(Refusal::new(&codes::AMBIGUOUS_PATH));
        }
        if let Some(method) = cors::method_of_preflight(&request)
            && let Found::Route(index, _) = self.table.find(method, path)
            && self.app.config.routes[index].cors == CorsBy::Relais
        {
            return Ok(self.app.answers.own(cors::preflight(method, request.headers())));
        }
        let found = self.table.find(request.method().as_str(), path);
        let fallback = &self.app.config.fallback;
        let is_for_an_upstream = matches!(found, Found::Route(..)) || fallback.is_some();
        if is_for_an_upstream && self.app.engine.is_draining() {
            return Err(Refusal::draining());
        }
        match (found, fallback) {
            (Found::Route(index, names), _) => {
                let route = &self.app.config.routes[index];
                let response =
                    match way(route, Prefer::of(request.headers()), cors::is_preflight(&request)) {
                        // Boxed, so that neither way holds room for the other.
                        Way::Sync(upstream) => {
                            Box::pin(self.pass_on(route, upstream, request, &peer)).await
                        }
                        Way::Task(patience) => {
                            Box::pin(self.take_in(route, &names, request, &peer, &patience)).await
                        }
                    }?;
                Ok(match route.cors {
                    CorsBy::Upstream => response,
                    CorsBy::Relais => self.app.answers.own(response),
                })
            }
            (Found::Methods(_) | Found::Nothing, Some(fallback)) => {
                let said = self.app.config.upstream_host.clone();
                let target = Target {
                    upstream: fallback.clone(),
                    host: said.unwrap_or_else(|| HostHeader::usual_for(fallback)),
                    prefer: PreferIs::Theirs,
                    timeout: FALLBACK_TIMEOUT,
                };
                Box::pin(self.proxy.forward(request, &peer, &target)).await
            }
            (Found::Methods(methods), None) => {
                let why =
                    "a route takes this path, but none with this method, and no `fallback` is set";
                Err(Refusal::new(&codes::METHOD_NOT_ALLOWED).because(why).allow(methods.join(", ")))
            }
            (Found::Nothing, None) => {
                let why = "no route takes this path, and no `fallback` is set: \
                           add a `[[route]]` for it, or correct the path";
                Err(Refusal::new(&codes::NOT_FOUND).because(why))
            }
        }
    }

    async fn pass_on(
        &self,
        route: &Route,
        upstream: &Upstream,
        request: Request<Body>,
        peer: &Peer,
    ) -> Result<Response, Refusal> {
        let policy = self.app.engine.policies().of(&route.tenant, &route.queue);
        let depends_on_prefer = route.mode == Mode::Prefer;
        let prefer = if depends_on_prefer { PreferIs::Ours } else { PreferIs::Theirs };
        let target = Target {
            upstream: upstream.clone(),
            host: route.upstream_host.clone(),
            prefer,
            timeout: policy.attempt_timeout,
        };
        // In a box, because it is large, and every connection has room for the largest answer in the making.
        let mut response = Box::pin(self.proxy.forward(request, peer, &target)).await?;
        if depends_on_prefer {
            vary_by_prefer(response.headers_mut());
        }
        Ok(response)
    }

    /// Answers a request that is to become a task, or is the return of a page to its task.
    async fn take_in(
        &self,
        route: &Route,
        names: &[(String, String)],
        mut request: Request<Body>,
        peer: &Peer,
        patience: &Patience,
    ) -> Result<Response, Refusal> {
        let arrival = Arrival::of(&self.app, route, &mut request);
        if let Some(arrival) = &arrival
            && let Some(response) = Box::pin(arrival.returns(&self.app)).await?
        {
            return Ok(response);
        }
        ask_for_the_whole(&self.app.config, &mut request);
        self.hand_in(route, names, request, peer, patience, arrival.as_deref()).await
    }

    /// Makes a task of a request, and answers for it.
    async fn hand_in(
        &self,
        route: &Route,
        names: &[(String, String)],
        request: Request<Body>,
        peer: &Peer,
        patience: &Patience,
        arrival: Option<&Arrival>,
    ) -> Result<Response, Refusal> {
        let app = &self.app;
        let method = request.method().clone();
        // Another Relais stores what it is given: signs of ours would count there as bytes of the answer.
        let is_stored = request.headers().contains_key(fields::TASK);
        let keepalive = route.keepalive.filter(|_| !is_stored);
        // Thousands wait at once: what was only needed to read the request is gone by then.
        let read = Box::pin(task::read(app, route, names, request));
        let (submitter, submission) = read.await?;
        // The patience is counted from the end of the upload.
        let until = Instant::now() + patience.wait;
        let id = app.engine.draw_id();
        let waits = !patience.wait.is_zero();
        // Listening before the task exists, so that nothing of it is missed.
        let ears = waits.then(|| Ears::of(app, id, patience.wait));
        if waits && route.abandon.is_some() {
            peer.be_patient(Duration::ZERO);
        }
        let submission = Submission { is_attended: waits, ..submission };
        let submitting = submit(&app.engine, id, submission);
        let (submitted, attending) = submitting.await.map_err(Refusal::internal)?;
        let submitted = submitted.map_err(|error| {
            refuse_submission(&app.engine, &submitter.tenant, &route.queue, error)
        })?;
        let waiting = Waiting { app, submitter: &submitter, patience, until, arrival, keepalive };
        let (task, place) = match submitted {
            Submitted::New(task, place) => (task, place),
            Submitted::Attached { task, same } => {
                let is_shown = same && !submitter.repeat.is_by_stranger();
                return match task {
                    Some(task) if is_shown => {
                        let way_back = WayBack::to(&task, route, &submitter, method);
                        Box::pin(waiting.join(&way_back, task)).await
                    }
                    task => Box::pin(waiting.repeated(task.as_ref(), same)).await,
                };
            }
        };
        let Some(ears) = ears else {
            let estimate = app.engine.estimate_at(&task, &place);
            return Box::pin(waiting.ticket(&task, estimate)).await;
        };
        let way_back = WayBack::to(&task, route, &submitter, method);
        drop(task);
        waiting.answer(&way_back, id, ears, attending).await
    }
}

/// Submits a task to its end, even if the client leaves meanwhile: a task that is stored and not
/// made known would wait for nobody.
fn submit(
    engine: &Engine,
    id: TaskId,
    submission: Submission,
) -> JoinHandle<(Result<Submitted, EngineError>, Attending)> {
    let engine = engine.clone();
    let is_attended = submission.is_attended;
    tokio::spawn(async move {
        let submitted = engine.submit(id, submission).await;
        // Dropped with the rest of what nobody came for, it says that its client has left.
        let attending = match &submitted {
            Ok(Submitted::New(task, _)) if is_attended => engine.attend_accepted(task),
            _ => Attending::default(),
        };
        (submitted, attending)
    })
}
