//! Paths of later orders: refused by name, so that nobody takes their absence for a typing mistake.

use std::sync::Arc;

use axum::Router;
use axum::routing::any;
use relais_api::codes;

use crate::app::App;
use crate::problem::Refusal;

/// What the contract names and this version does not have.
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

/// Adds the paths of later orders.
pub(super) fn add(routes: Router<Arc<App>>) -> Router<Arc<App>> {
    PATHS.into_iter().fold(routes, |routes, path| {
        routes.route(path, any(async || Refusal::new(&codes::NOT_AVAILABLE)))
    })
}
