//! `POST /imports/now`: the import as it always was, whose caller waits; and a file to try it with.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::sync::Semaphore;

use crate::import::{self, RealPace, Summary};
use crate::limits::{IMPORTS_RUNNING_MAX, SAMPLE_LINES_MAX};
use crate::sample;
use crate::serve::{Refusal, Shop};

/// The imports that callers wait for.
#[derive(Debug)]
pub(crate) struct Imports {
    per_line: Duration,
    running: Arc<Semaphore>,
}

impl Imports {
    pub(crate) fn new(per_line: Duration) -> Self {
        Self { per_line, running: Arc::new(Semaphore::new(IMPORTS_RUNNING_MAX)) }
    }
}

/// Imports the file in the body, and answers when it is done.
pub(crate) async fn now(
    State(shop): State<Arc<Shop>>,
    body: Bytes,
) -> Result<Json<Summary>, Refusal> {
    let busy = |what: &str| Refusal(StatusCode::SERVICE_UNAVAILABLE, what.into());
    let slot = Arc::clone(&shop.imports.running).try_acquire_owned();
    let slot = slot.map_err(|_| busy("too many imports at once"))?;
    let per_line = shop.imports.per_line;
    // A thread of its own, as it sleeps; it goes on also when its caller has left.
    let work = tokio::task::spawn_blocking(move || {
        let done = import::import(&body, None, &mut RealPace::new(per_line), &mut io::sink());
        drop(slot);
        done
    });
    let done = work.await.map_err(|_| busy("the shop is closing"))?;
    let refused =
        |error: import::ImportError| Refusal(StatusCode::UNPROCESSABLE_ENTITY, error.to_string());
    done.map(Json).map_err(refused)
}

#[derive(Deserialize)]
pub(crate) struct Asked {
    lines: Option<u64>,
}

/// A file of products, the same each time.
pub(crate) async fn products(
    State(shop): State<Arc<Shop>>,
    Query(asked): Query<Asked>,
) -> Result<Response, Refusal> {
    let lines = asked.lines.unwrap_or(SAMPLE_LINES);
    if lines > SAMPLE_LINES_MAX {
        let what = format!("lines is {SAMPLE_LINES_MAX} at most");
        return Err(Refusal(StatusCode::BAD_REQUEST, what));
    }
    let mut file = Vec::new();
    let options = sample::Options { lines, bad_every: Some(BAD_EVERY), seed: shop.seed };
    sample::write(options, &mut file).expect("memory takes what is written");
    let fields = [
        (header::CONTENT_TYPE, "text/csv"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"products.csv\""),
        (header::CACHE_CONTROL, "private, max-age=3600"),
    ];
    Ok((fields, file).into_response())
}

/// What the page imports.
const SAMPLE_LINES: u64 = 25_000;
/// Few enough bad lines that the result is a small one.
const BAD_EVERY: u64 = 1_000;
