//! `/v1/queues/{queue}`: policy, counts, pausing.

mod policy;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};
use relais_api::{Counts, Queue, QueueList, codes};
use relais_core::{Policy, QueueName, TenantName};
use relais_store::{QueueChange, QueueStats};

pub(crate) use self::policy::travelling;
use crate::app::App;
use crate::auth::{Scope, Visitor};
use crate::incoming;
use crate::params::Params;
use crate::problem::Refusal;
use crate::routes::change::SMALL_BODY_BYTES_MAX;
use crate::routes::{OneQueue, json};

/// `GET /v1/queues`: those of the caller's tenant that anything came into.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    uri: Uri,
) -> Result<Response, Refusal> {
    Params::of(&uri, &[])?;
    let tenant = visitor.tenant(&app, Scope::Read)?;
    let mut queues = app.engine.queues().await?;
    queues.retain(|stats| stats.tenant == tenant);
    queues.sort_by(|one, other| one.queue.cmp(&other.queue));
    let items = queues.iter().map(|stats| {
        let policy = app.engine.policies().of(&tenant, &stats.queue);
        document(&app, &stats.queue, &policy, Some(stats))
    });
    json(StatusCode::OK, &QueueList { items: items.collect() })
}

/// `GET /v1/queues/{queue}`.
pub(super) async fn read(
    State(app): State<Arc<App>>,
    OneQueue(queue): OneQueue,
    visitor: Visitor,
    uri: Uri,
) -> Result<Response, Refusal> {
    Params::of(&uri, &[])?;
    let tenant = visitor.tenant(&app, Scope::Read)?;
    present(&app, &tenant, &queue).await
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
    let tenant = visitor.tenant(&app, Scope::Admin)?;
    let policy: relais_api::Policy =
        incoming::json(visitor.headers(), body, SMALL_BODY_BYTES_MAX).await?;
    let policy = policy::from_document(policy)?;
    let change = QueueChange::Policy(Some(Box::new(policy)));
    change_queue(&app, &tenant, &queue, change).await
}

/// `POST /v1/queues/{queue}/pause`.
pub(super) async fn pause(
    State(app): State<Arc<App>>,
    OneQueue(queue): OneQueue,
    visitor: Visitor,
    uri: Uri,
) -> Result<Response, Refusal> {
    Params::of(&uri, &[])?;
    let tenant = visitor.tenant(&app, Scope::Admin)?;
    change_queue(&app, &tenant, &queue, QueueChange::Pause).await
}

/// `POST /v1/queues/{queue}/resume`.
pub(super) async fn resume(
    State(app): State<Arc<App>>,
    OneQueue(queue): OneQueue,
    visitor: Visitor,
    uri: Uri,
) -> Result<Response, Refusal> {
    Params::of(&uri, &[])?;
    let tenant = visitor.tenant(&app, Scope::Admin)?;
    change_queue(&app, &tenant, &queue, QueueChange::Resume).await
}

async fn change_queue(
    app: &App,
    tenant: &TenantName,
    queue: &QueueName,
    change: QueueChange,
) -> Result<Response, Refusal> {
    exists(app, tenant, queue)?;
    app.engine.change_queue(tenant.clone(), queue.clone(), change).await?;
    present(app, tenant, queue).await
}

fn exists(app: &App, tenant: &TenantName, queue: &QueueName) -> Result<(), Refusal> {
    match app.engine.policies().find(tenant, queue) {
        Some(_) => Ok(()),
        None => Err(Refusal::new(&codes::QUEUE_NOT_FOUND)),
    }
}

async fn present(app: &App, tenant: &TenantName, queue: &QueueName) -> Result<Response, Refusal> {
    let policy = app.engine.policies().find(tenant, queue);
    let policy = policy.ok_or_else(|| Refusal::new(&codes::QUEUE_NOT_FOUND))?;
    let queues = app.engine.queues().await?;
    // A queue into which nothing ever came does not exist in the store yet.
    let stats = queues.iter().find(|stats| stats.tenant == *tenant && stats.queue == *queue);
    json(StatusCode::OK, &document(app, queue, &policy, stats))
}

fn document(app: &App, queue: &QueueName, policy: &Policy, stats: Option<&QueueStats>) -> Queue {
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
        defined_in_file: app.engine.policies().is_defined(queue),
        counts,
        throughput: None,
        latency: None,
    }
}
