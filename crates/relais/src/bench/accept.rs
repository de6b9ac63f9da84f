//! How many requests a second are accepted durably, and that none of them is lost.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use relais_client::SubmitRequest;
use tokio::task::JoinSet;

use super::figures::Proof;
use super::meter::Meter;
use super::{Plan, Rate, Until, Waiting};

/// What one load found.
pub(super) struct Load {
    pub(super) rate: Rate,
    pub(super) waiting: Waiting,
    pub(super) ids: Vec<String>,
}

/// A closed loop: each connection sends its next request when it has the answer.
pub(super) async fn load(
    plan: &Arc<Plan>,
    request: &Arc<SubmitRequest>,
    meter: &Meter,
) -> anyhow::Result<Load> {
    let load = submit(plan, request, meter).await?;
    meter.finish();
    Ok(load)
}

/// The same for a measurement that goes on afterwards.
pub(super) async fn submit(
    plan: &Arc<Plan>,
    request: &Arc<SubmitRequest>,
    meter: &Meter,
) -> anyhow::Result<Load> {
    let mut loops = JoinSet::new();
    for _ in 0..plan.connections {
        let (plan, request, meter) = (plan.clone(), request.clone(), meter.clone());
        loops.spawn(async move { one_after_the_other(&plan, &request, &meter).await });
    }
    let (mut waiting, mut ids) = (Waiting::new(), Vec::new());
    while let Some(ended) = loops.join_next().await {
        let (one, some) = ended??;
        waiting.add(&one);
        ids.extend(some);
    }
    let rate = Rate { count: waiting.count(), took: meter.began().elapsed() };
    Ok(Load { rate, waiting, ids })
}

async fn one_after_the_other(
    plan: &Plan,
    request: &SubmitRequest,
    meter: &Meter,
) -> anyhow::Result<(Waiting, Vec<String>)> {
    // A refusal is a finding, not something to wait out.
    let client = plan.client.with_attempts(1);
    let (mut waiting, mut ids) = (Waiting::new(), Vec::new());
    while meter.begin() {
        let sent = Instant::now();
        let accepted = client.submit(request.clone()).await.context("could not submit")?;
        waiting.note(sent.elapsed());
        ids.push(accepted.task.id);
        meter.done(1);
    }
    Ok((waiting, ids))
}

/// Looks up each of these tasks.
pub(super) async fn found_again(
    plan: &Arc<Plan>,
    ids: Vec<String>,
    name: &'static str,
) -> anyhow::Result<Proof> {
    let meter = Meter::start(name, Until::Tasks(ids.len() as u64), ids.len() as u64);
    let ids = Arc::new(ids);
    let mut loops = JoinSet::new();
    for first in 0..plan.connections {
        let (plan, ids, meter) = (plan.clone(), ids.clone(), meter.clone());
        loops.spawn(async move {
            let mut proof = Proof::default();
            for id in ids.iter().skip(first).step_by(plan.connections) {
                proof.note(id.clone(), is_there(&plan, id).await?);
                meter.done(1);
            }
            anyhow::Ok(proof)
        });
    }
    let mut proof = Proof::default();
    while let Some(ended) = loops.join_next().await {
        proof.add(ended??);
    }
    meter.finish();
    Ok(proof)
}

async fn is_there(plan: &Plan, id: &str) -> anyhow::Result<bool> {
    match plan.client.task(id).await {
        Ok(task) => Ok(task.id == id),
        Err(error) if matches!(error.status(), Some(404 | 410)) => Ok(false),
        Err(error) => Err(error).with_context(|| format!("could not look up {id}")),
    }
}
