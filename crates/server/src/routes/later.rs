//! What the contract names and this version does not have: paths, and fields of requests that are to
//! become tasks. Refused by name, so that nobody takes them for done, or their absence for a typing
//! mistake.

use std::sync::Arc;

use axum::Router;
use axum::routing::{MethodRouter, any};
use http::HeaderMap;
use relais_api::codes;

use crate::answer::problem::Refusal;
use crate::app::App;

/// Fields that ask for something of later orders.
const FIELDS: [&str; 3] = ["relais-await", "relais-callback", "relais-webhook"];

/// Paths of later orders.
const PATHS: [&str; 13] = [
    "/v1/callbacks/{token}",
    "/v1/resources/{name}",
    "/v1/schedules",
    "/v1/schedules/{name}",
    "/v1/webhooks",
    "/v1/webhooks/{id}",
    "/v1/push",
    "/v1/push/{id}",
    "/v1/ws",
    "/v1/nodes",
    "/v1/session",
    "/v1/tasks/{id}/tickets",
    "/v1/tasks/{id}/deliveries",
];

/// Refuses a request that asks by a field for what is not there.
///
/// # Errors
/// Names the field.
pub(crate) fn refuse_fields(headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(field) = FIELDS.into_iter().find(|field| headers.contains_key(*field)) else {
        return Ok(());
    };
    let why = format!("`{field}` is not available in this version: leave it out");
    Err(Refusal::new(&codes::NOT_AVAILABLE).because(why))
}

/// Adds the paths of later orders.
pub(super) fn add(routes: Router<Arc<App>>) -> Router<Arc<App>> {
    PATHS.into_iter().fold(routes, |routes, path| routes.route(path, refused()))
}

/// Whatever is asked: it is not there yet.
pub(super) fn refused() -> MethodRouter<Arc<App>> {
    any(async || Refusal::new(&codes::NOT_AVAILABLE))
}
