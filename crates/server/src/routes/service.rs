//! Relais itself: whether it lives, what it counts, what its errors and calls are.

use std::sync::{Arc, OnceLock};

use axum::extract::{Path, State};
use axum::response::Response;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use relais_api::codes::{self, Code};
use relais_api::health::{Health, HealthStatus};
use relais_store::Health as StoreHealth;

use crate::answer::pages;
use crate::answer::problem::Refusal;
use crate::answer::script;
use crate::app::App;
use crate::auth::{Scope, Visitor};
use crate::observe::metrics::Format;
use crate::request::accept::preferred;
use crate::request::params::Params;
use crate::routes::json;

/// `GET /healthz`: the process lives.
pub(super) async fn health(uri: Uri) -> Result<Response, Refusal> {
    Params::of(&uri, &[])?;
    json(StatusCode::OK, &Health { status: HealthStatus::Ok })
}

/// `GET /readyz`: it takes work.
pub(super) async fn readiness(State(app): State<Arc<App>>, uri: Uri) -> Result<Response, Refusal> {
    Params::of(&uri, &[])?;
    if app.stop.is_leaving() || app.engine.is_draining() {
        return Err(Refusal::new(&codes::SERVER_DRAINING));
    }
    match app.engine.health() {
        StoreHealth::Ready => json(StatusCode::OK, &Health { status: HealthStatus::Ok }),
        StoreHealth::Full => Err(Refusal::new(&codes::STORE_UNAVAILABLE)
            .because("the store is full: it settles, and takes nothing new")),
        StoreHealth::Unavailable(_) => Err(Refusal::new(&codes::STORE_UNAVAILABLE)
            .because("the files of the store are not in their places: nothing is accepted")),
        StoreHealth::Corrupt(text) => Err(Refusal::new(&codes::STORE_UNAVAILABLE)
            .because("the store is damaged")
            .caused_by(format_args!("the store is corrupt: {text}"))),
    }
}

/// `GET /metrics`, on the admin listener: an operator's key, or a call from this machine where
/// there are no keys, shows all tenants; another key its own.
pub(super) async fn metrics(
    State(app): State<Arc<App>>,
    visitor: Visitor,
) -> Result<Response, Refusal> {
    let tenant = match visitor.tenant(Scope::Operator) {
        Ok(_) => None,
        Err(_) => {
            let as_admin = visitor.tenant(Scope::Admin);
            Some(as_admin.or_else(|_| visitor.tenant(Scope::Read))?)
        }
    };
    let format = Format::at(preferred(visitor.headers(), &Format::OFFERS));
    let (engine, certificates, open) = (&app.engine, &app.certificates, app.open_sockets.count());
    let text = app.metrics.text(engine, certificates, open, tenant, format).await?;
    let mut response = Response::new(text.into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// The description of the calls, as JSON: made once, as whoever asks costs nothing else.
#[derive(Debug, Default)]
pub(crate) struct Description(OnceLock<Bytes>);

impl Description {
    fn of(&self, prefix: &str) -> Bytes {
        self.0.get_or_init(|| relais_api::openapi::document(prefix).to_string().into()).clone()
    }
}

/// `GET /v1/openapi.json`.
pub(super) async fn openapi(State(app): State<Arc<App>>, uri: Uri) -> Result<Response, Refusal> {
    Params::of(&uri, &[])?;
    let mut response = Response::new(app.description.of(&app.config.api_prefix).into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
    Ok(response)
}

/// `GET /v1/page/{file}`: what pages show beside their text. It is everybody's.
pub(super) async fn page_file(
    State(app): State<Arc<App>>,
    Path(file): Path<String>,
    uri: Uri,
) -> Result<Response, Refusal> {
    Params::of(&uri, &[])?;
    app.answers.pages.file(&file)
}

/// `GET /v1/client.js`: the client for browsers. `v` names the script that the caller wants to keep.
pub(super) async fn script(headers: HeaderMap, uri: Uri) -> Result<Response, Refusal> {
    let params = Params::of(&uri, &["v"])?;
    Ok(script::script(&headers, params.get("v")))
}

/// `GET /problems/{code}`: what an error means and what to do about it.
pub(super) async fn problem(
    State(app): State<Arc<App>>,
    Path(code): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Refusal> {
    Params::of(&uri, &[])?;
    let code = Code::find(&code).ok_or_else(|| Refusal::new(&codes::NOT_FOUND))?;
    let mut response = match preferred(&headers, &["text/markdown", "text/html"]) {
        0 => pages::markdown(code.page()),
        _ => app.answers.pages.problem(code),
    };
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=3600"));
    Ok(response)
}
