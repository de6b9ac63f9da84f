//! Workers that lease and settle, and whole life cycles.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use relais_api::lease::Outcome;
use relais_client::{
    Lease, LeaseNext, LeaseRequest, RawJson, Settle, SettleRequest, Span, SubmitRequest,
};
use tokio::task::JoinSet;

use super::meter::Meter;
use super::{Plan, Rate, accept};

/// Works off what waits; the rate of leases and settles alone.
pub(super) async fn clear(plan: &Arc<Plan>, meter: &Meter) -> anyhow::Result<Rate> {
    let all_sent = Arc::new(AtomicBool::new(true));
    let took = all_workers(plan, meter, &all_sent).await?;
    meter.finish();
    Ok(Rate { count: meter.count(), took })
}

/// Submits while workers lease and settle; the rate of tasks that went all the way.
pub(super) async fn cycles(
    plan: &Arc<Plan>,
    request: &Arc<SubmitRequest>,
    meter: &Meter,
) -> anyhow::Result<(Rate, Vec<String>)> {
    let all_sent = Arc::new(AtomicBool::new(false));
    // Only what is settled counts.
    let sent = meter.unseen();
    let submit = async {
        let load = accept::submit(plan, request, &sent).await?;
        all_sent.store(true, Ordering::Release);
        Ok(load)
    };
    let (load, took) = tokio::try_join!(submit, all_workers(plan, meter, &all_sent))?;
    meter.finish();
    Ok((Rate { count: meter.count(), took }, load.ids))
}

/// Runs all workers until nothing is left; how long it took to the last settle.
async fn all_workers(
    plan: &Arc<Plan>,
    meter: &Meter,
    all_sent: &Arc<AtomicBool>,
) -> anyhow::Result<Duration> {
    let mut workers = JoinSet::new();
    for _ in 0..plan.workers {
        let (plan, meter, all_sent) = (plan.clone(), meter.clone(), all_sent.clone());
        workers.spawn(async move { worker(&plan, &meter, &all_sent).await });
    }
    let mut last = meter.began();
    while let Some(ended) = workers.join_next().await {
        last = last.max(ended??);
    }
    Ok(last - meter.began())
}

/// Leases and settles until all is sent and nothing is left; when it settled last.
async fn worker(plan: &Plan, meter: &Meter, all_sent: &AtomicBool) -> anyhow::Result<Instant> {
    let mut last = meter.began();
    let mut leases = Vec::new();
    loop {
        if leases.is_empty() {
            // Asked before the lease: what is sent while it waits is still found.
            let is_last = all_sent.load(Ordering::Acquire);
            leases = lease(plan, BATCH).await?;
            if leases.is_empty() && is_last {
                return Ok(last);
            }
            continue;
        }
        let settled = leases.len() as u64;
        leases = settle(plan, leases, true).await?;
        last = Instant::now();
        meter.done(settled);
    }
}

/// Leases up to `max` tasks, waiting a little for the first.
pub(super) async fn lease(plan: &Plan, max: u32) -> anyhow::Result<Vec<Lease>> {
    let (wait, worker) = (Some(LEASE_WAIT), Some(NAME.to_owned()));
    let request = LeaseRequest { max: Some(max), wait, worker };
    plan.client.lease(&plan.queue, &request).await.context("could not lease")
}

/// Settles what was leased, as done; gives what was leased next, if that is wanted.
pub(super) async fn settle(
    plan: &Plan,
    leases: Vec<Lease>,
    go_on: bool,
) -> anyhow::Result<Vec<Lease>> {
    let result = RawJson::from_value(&serde_json::json!({ "ok": true }))?;
    let settles = leases.into_iter().map(|lease| Settle {
        result: Some(result.clone()),
        ..Settle::new(lease.token, Outcome::Succeed)
    });
    let next =
        LeaseNext { queue: plan.queue.clone(), max: Some(BATCH), worker: Some(NAME.to_owned()) };
    let request = SettleRequest {
        items: settles.map(Into::into).collect(),
        lease_next: go_on.then_some(next),
    };
    let said = plan.client.settle(&request).await.context("could not settle")?;
    for item in &said.items {
        let problem = item.problem.as_ref().map_or("", |problem| &problem.code);
        ensure!(item.status == 200, "a settle was refused: {} {problem}", item.status);
    }
    Ok(said.leases)
}

/// Tasks in one lease and one settle.
const BATCH: u32 = 50;
/// How long a lease waits for the first task.
const LEASE_WAIT: Span = Span::from_ms(500);
/// The name of the workers.
const NAME: &str = "relais-bench";
