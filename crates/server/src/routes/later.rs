//! What the contract names and this version does not have: paths, and fields of requests that are to
//! become tasks. Refused by name, so that nobody takes them for done, or their absence for a typing
//! mistake.

use std::sync::Arc;

use axum::Router;
use axum::routing::{MethodRouter, any};
use http::HeaderMap;
use relais_api::{codes, fields, paths};

use crate::answer::problem::Refusal;
use crate::app::App;

/// Refuses a request that asks by a field for what is not there.
///
/// # Errors
/// Names the field.
pub(crate) fn refuse_fields(headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(field) = fields::LATER.into_iter().find(|field| headers.contains_key(*field)) else {
        return Ok(());
    };
    let why = format!("`{field}` is not available in this version: leave it out");
    Err(Refusal::new(&codes::NOT_AVAILABLE).because(why))
}

/// Adds the paths of later orders.
pub(super) fn add(routes: Router<Arc<App>>) -> Router<Arc<App>> {
    paths::LATER.into_iter().fold(routes, |routes, path| routes.route(path, refused()))
}

/// Whatever is asked: it is not there yet.
pub(super) fn refused() -> MethodRouter<Arc<App>> {
    any(async || Refusal::new(&codes::NOT_AVAILABLE))
}
