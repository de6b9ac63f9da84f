//! How long one request waits when nothing else is going on: for its 202, and for its result.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, bail};
use relais_client::SubmitRequest;

use super::meter::Meter;
use super::{Plan, Waiting, work};

/// One task at a time, run by one worker and followed on a stream of its own.
pub(super) async fn measure(
    plan: &Arc<Plan>,
    request: &Arc<SubmitRequest>,
    meter: &Meter,
) -> anyhow::Result<(Waiting, Waiting, Vec<String>)> {
    let measured = tokio::select! {
        measured = one_at_a_time(plan, request, meter) => measured,
        // Each task is settled before its result is seen: at the end the worker holds nothing.
        ended = work_for_ever(plan) => match ended? {},
    };
    meter.finish();
    measured
}

async fn one_at_a_time(
    plan: &Plan,
    request: &SubmitRequest,
    meter: &Meter,
) -> anyhow::Result<(Waiting, Waiting, Vec<String>)> {
    let (mut to_202, mut to_result, mut ids) = (Waiting::new(), Waiting::new(), Vec::new());
    while meter.begin() {
        let sent = Instant::now();
        let accepted = plan.client.submit(request.clone()).await.context("could not submit")?;
        to_202.note(sent.elapsed());
        let id = accepted.task.id.clone();
        let mut events = plan.client.following(&accepted).follow(&id, 0);
        loop {
            let event = events.next().await.with_context(|| format!("could not follow {id}"))?;
            let Some(event) = event else { bail!("the events of {id} ended without an outcome") };
            match event.kind.as_str() {
                "succeeded" => break,
                "failed" | "canceled" => bail!("{id} {}", event.kind),
                _ => {}
            }
        }
        to_result.note(sent.elapsed());
        meter.done(1);
        ids.push(id);
    }
    Ok((to_202, to_result, ids))
}

async fn work_for_ever(plan: &Plan) -> anyhow::Result<Infallible> {
    loop {
        let leases = work::lease(plan, 1).await?;
        if !leases.is_empty() {
            work::settle(plan, leases, false).await?;
        }
    }
}
