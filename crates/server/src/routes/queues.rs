//! `/v1/queues/{queue}`: policy, counts, pausing.

mod policy;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};
use relais_api::queue::{Latency, Quantiles, Throughput};
use relais_api::{Counts, Queue, QueueList, Span, codes};
use relais_core::{Policy, QueueName, TenantName, limits};
use relais_engine::Engine;
use relais_engine::measure::pace::WINDOW;
use relais_store::{QueueChange, QueueStats, Queues};

pub(crate) use self::policy::travelling;
use crate::answer::problem::Refusal;
use crate::app::App;
use crate::auth::{Scope, Visitor};
use crate::request::incoming;
use crate::request::params::Params;
use crate::routes::list::PAGE;
use crate::routes::{OneQueue, PageItems, json};

/// `GET /v1/queues`: those of the caller's tenant that anything came into, page by page.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    uri: Uri,
) -> Result<Response, Refusal> {
    let params = Params::of(&uri, &["after", "limit"])?;
    let tenant = visitor.tenant(Scope::Read)?;
    let limit = params.number("limit", 1..=limits::LIST_PAGE_MAX as u64)?.unwrap_or(PAGE) as usize;
    let after: Option<QueueName> = params.parse("after", "the `next` of the page before")?;
    // One more tells whether another page follows.
    let which = Queues::Of { tenant: tenant.clone(), after, limit: limit + 1 };
    let queues = app.engine.queues(which).await?;
    let mut items = PageItems::of("items");
    let mut last = None;
    for stats in &queues {
        let policy = app.engine.policies().of(&tenant, &stats.queue);
        let item = document(&app.engine, &tenant, &stats.queue, &policy, Some(stats));
        if items.count == limit || !items.takes(&item)? {
            break;
        }
        last = Some(item.name);
    }
    let is_cut = items.count < queues.len();
    items.page(&QueueList { items: Vec::new(), next: last.filter(|_| is_cut) })
}

/// `GET /v1/queues/{queue}`.
pub(super) async fn read(
    State(app): State<Arc<App>>,
    OneQueue(queue): OneQueue,
    visitor: Visitor,
    uri: Uri,
) -> Result<Response, Refusal> {
    Params::of(&uri, &[])?;
    let tenant = visitor.tenant(Scope::Read)?;
    present(&app.engine, &tenant, &queue).await
}

/// `PUT /v1/queues/{queue}`.
pub(super) async fn define(
    State(app): State<Arc<App>>,
    OneQueue(queue): OneQueue,
    visitor: Visitor,
    uri: Uri,
    body: Body,
) -> Result<Response, Refusal> {
    Params::of(&uri, &[])?;
    let tenant = visitor.tenant(Scope::Admin)?;
    let policy: relais_api::Policy = incoming::json(&app.bodies, &visitor, body).await?;
    let policy = policy::from_document(policy)?;
    let change = QueueChange::Policy(Some(Box::new(policy)));
    change_queue(&app.engine, &tenant, &queue, change).await
}

/// `POST /v1/queues/{queue}/pause`.
pub(super) async fn pause(
    State(app): State<Arc<App>>,
    OneQueue(queue): OneQueue,
    visitor: Visitor,
    uri: Uri,
    body: Body,
) -> Result<Response, Refusal> {
    Params::of(&uri, &[])?;
    let tenant = visitor.tenant(Scope::Admin)?;
    incoming::nothing(&app.bodies, &visitor, body).await?;
    change_queue(&app.engine, &tenant, &queue, QueueChange::Pause).await
}

/// `POST /v1/queues/{queue}/resume`.
pub(super) async fn resume(
    State(app): State<Arc<App>>,
    OneQueue(queue): OneQueue,
    visitor: Visitor,
    uri: Uri,
    body: Body,
) -> Result<Response, Refusal> {
    Params::of(&uri, &[])?;
    let tenant = visitor.tenant(Scope::Admin)?;
    incoming::nothing(&app.bodies, &visitor, body).await?;
    change_queue(&app.engine, &tenant, &queue, QueueChange::Resume).await
}

async fn change_queue(
    engine: &Engine,
    tenant: &TenantName,
    queue: &QueueName,
    change: QueueChange,
) -> Result<Response, Refusal> {
    exists(engine, tenant, queue)?;
    engine.change_queue(tenant.clone(), queue.clone(), change).await?;
    present(engine, tenant, queue).await
}

fn exists(engine: &Engine, tenant: &TenantName, queue: &QueueName) -> Result<(), Refusal> {
    match engine.policies().find(tenant, queue) {
        Some(_) => Ok(()),
        None => Err(Refusal::new(&codes::QUEUE_NOT_FOUND)),
    }
}

async fn present(
    engine: &Engine,
    tenant: &TenantName,
    queue: &QueueName,
) -> Result<Response, Refusal> {
    let policy = engine.policies().find(tenant, queue);
    let policy = policy.ok_or_else(|| Refusal::new(&codes::QUEUE_NOT_FOUND))?;
    // A queue into which nothing ever came does not exist in the store yet.
    let stats = engine.queue(tenant, queue).await?;
    json(StatusCode::OK, &document(engine, tenant, queue, &policy, stats.as_ref()))
}

fn document(
    engine: &Engine,
    tenant: &TenantName,
    queue: &QueueName,
    policy: &Policy,
    stats: Option<&QueueStats>,
) -> Queue {
    let lately = engine.meters().lately(tenant, queue, engine.now());
    let counts = stats.map_or_else(Counts::default, |stats| {
        let [queued, running, waiting, succeeded, failed, canceled] = stats.counts;
        let scheduled = stats.scheduled;
        let queued = queued.saturating_sub(scheduled);
        Counts { queued, scheduled, running, waiting, succeeded, failed, canceled }
    });
    Queue {
        name: queue.to_string(),
        policy: policy::to_document(policy),
        paused: stats.is_some_and(|stats| stats.is_paused),
        defined_in_file: engine.policies().is_defined(queue),
        counts,
        throughput: lately.map(|lately| Throughput {
            window: Span::from_ms(WINDOW.as_millis() as u64),
            accepted_per_s: rounded(lately.accepted_per_s),
            finished_per_s: rounded(lately.finished_per_s),
        }),
        // Both or none: a queue without a finished attempt has nothing to estimate from.
        latency: lately.and_then(|lately| {
            Some(Latency { wait: quantiles(lately.wait?), run: quantiles(lately.run?) })
        }),
    }
}

fn quantiles(measured: relais_engine::measure::pace::Quantiles) -> Quantiles {
    let span = |time: Duration| Span::from_ms(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    Quantiles { p50: span(measured.p50), p90: span(measured.p90) }
}

/// To a thousandth: more would look exact.
fn rounded(per_second: f64) -> f64 {
    (per_second * 1_000.0).round() / 1_000.0
}
