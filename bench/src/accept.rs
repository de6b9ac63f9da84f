//! How many requests a second are accepted durably, beside a bare server.

use std::time::{Duration, Instant};

use anyhow::ensure;
use futures_util::future::try_join_all;
use hdrhistogram::Histogram;
use memchr::memmem;
use serde_json::json;

use crate::Bench;
use crate::bare::Bare;
use crate::http::{Connection, get, post};
use crate::report::{Goal, Report, histogram, median, quantile_ms};

/// Tasks in one batch.
const BATCH: usize = 1_000;
/// Connections that look ids up after a load.
const LOOKERS: usize = 64;
/// What an id in a document begins with; the id ends with the next quote.
const ID: &[u8] = b"\"id\":\"task_";

/// What one load found.
pub(crate) struct Load {
    pub(crate) per_second: f64,
    pub(crate) latency: Histogram<u64>,
    /// The task of each 202.
    pub(crate) ids: Vec<String>,
}

/// A 200-byte task for workers.
pub(crate) fn task_json() -> String {
    let start = r#"{"queue":"bench","input":{"text":""#;
    let end = r#""}}"#;
    format!("{start}{}{end}", "x".repeat(200 - start.len() - end.len()))
}

/// Accepts with 64 and 256 connections, and in batches.
pub(crate) async fn measure(bench: &Bench, bare: &Bare, report: &mut Report) -> anyhow::Result<()> {
    let body = task_json();
    let request = post("/v1/tasks", "", body.as_bytes());
    for (connections, goal) in [(64, 0.45), (256, 0.55)] {
        let name = format!("accept, {connections} connections");
        if !bench.wants(&name) {
            continue;
        }
        let (mut rates, mut ratios, mut p99s, mut p50s) = (vec![], vec![], vec![], vec![]);
        for run in 0..bench.runs {
            let ceiling = load(&bare.address, &request, connections, bench.span).await?;
            let relais = bench.fresh(&format!("accept-{connections}-{run}"), "").await?;
            let load = load(&relais.address, &request, connections, bench.span).await?;
            found_again(&relais.address, &load.ids).await?;
            rates.push(load.per_second);
            ratios.push(load.per_second / ceiling.per_second);
            p50s.push(quantile_ms(&load.latency, 0.50));
            p99s.push(quantile_ms(&load.latency, 0.99));
            relais.kill().await?;
        }
        let more =
            json!({ "settings": "200-byte JSON, tickets, fsync before the 202", "ratios": ratios });
        report.note(&format!("{name}: rate"), median(rates), "/s", &Goal::None, &more);
        report.note(
            &format!("{name}: of bare"),
            median(ratios),
            "",
            &Goal::AtLeast(goal),
            &json!({}),
        );
        report.note(&format!("{name}: p50"), median(p50s), "ms", &Goal::None, &json!({}));
        let p99 = if connections == 64 { Goal::AtMost(8.0) } else { Goal::None };
        report.note(&format!("{name}: p99"), median(p99s), "ms", &p99, &json!({}));
    }
    batches(bench, bare, report, &body, &request).await
}

async fn batches(
    bench: &Bench,
    bare: &Bare,
    report: &mut Report,
    body: &str,
    single: &[u8],
) -> anyhow::Result<()> {
    if !bench.wants("batch accept") {
        return Ok(());
    }
    let batch = format!("[{}]", vec![body; BATCH].join(","));
    let request = post("/v1/tasks/batch", "", batch.as_bytes());
    let (mut rates, mut ratios) = (vec![], vec![]);
    for run in 0..bench.runs {
        let ceiling = load(&bare.address, single, 64, bench.span).await?;
        let relais = bench.fresh(&format!("batch-{run}"), "").await?;
        let load = load(&relais.address, &request, 4, bench.span).await?;
        #[expect(clippy::cast_precision_loss, reason = "a thousand")]
        let tasks = load.per_second * BATCH as f64;
        rates.push(tasks);
        ratios.push(tasks / ceiling.per_second);
        #[expect(clippy::cast_possible_truncation, reason = "a few hundred batches")]
        let batches = load.latency.len() as usize;
        ensure!(load.ids.len() == batches * BATCH, "not each task of a batch was accepted");
        found_again(&relais.address, &load.ids).await?;
        relais.kill().await?;
    }
    report.note(
        "batch accept: tasks",
        median(rates),
        "/s",
        &Goal::None,
        &json!({ "batch": BATCH }),
    );
    let goal = Goal::AtLeast(0.9);
    report.note("batch accept: tasks of bare requests", median(ratios), "", &goal, &json!({}));
    Ok(())
}

/// A closed loop: each connection sends its next request when it has the answer.
pub(crate) async fn load(
    address: &str,
    request: &[u8],
    connections: usize,
    span: Duration,
) -> anyhow::Result<Load> {
    let until = Instant::now() + span;
    let clients = (0..connections).map(|_| async move {
        let mut connection = Connection::open(address).await?;
        let mut latency = histogram();
        let mut ids = Vec::new();
        while Instant::now() < until {
            let started = Instant::now();
            let answer = connection.call(request).await?;
            ensure!(answer.status < 300, "{}{}", answer.head, String::from_utf8_lossy(answer.body));
            match answer.id() {
                Some(id) => ids.push(id.to_owned()),
                None => ids.extend(ids_in(answer.body)),
            }
            let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
            latency.saturating_record(micros);
        }
        Ok::<_, anyhow::Error>((latency, ids))
    });
    let began = Instant::now();
    let mut latency = histogram();
    let mut ids = Vec::new();
    for (one, some) in try_join_all(clients).await? {
        latency.add(one)?;
        ids.extend(some);
    }
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    let per_second = latency.len() as f64 / began.elapsed().as_secs_f64();
    Ok(Load { per_second, latency, ids })
}

/// The tasks that a batch's answer names.
fn ids_in(body: &[u8]) -> impl Iterator<Item = String> {
    memmem::find_iter(body, ID).filter_map(|at| {
        let id = &body[at + ID.len() - b"task_".len()..];
        let end = id.iter().position(|byte| *byte == b'"')?;
        Some(String::from_utf8_lossy(&id[..end]).into_owned())
    })
}

/// Every 202 is found again by its id.
pub(crate) async fn found_again(address: &str, ids: &[String]) -> anyhow::Result<()> {
    // Its log, not its state: that would count the tasks before it.
    let log = |id: &str| get(&format!("/v1/tasks/{id}/events"), "Accept: application/json\r\n");
    known(address, ids, log).await
}

/// Every id is known, as the answer to the request that `ask` makes of it shows: with 200, or with
/// 470, by which Restate says that there is no result yet.
pub(crate) async fn known(
    address: &str,
    ids: &[String],
    ask: fn(&str) -> Vec<u8>,
) -> anyhow::Result<()> {
    let look = |ids: &'_ [String]| {
        let ids = ids.to_vec();
        async move {
            let mut connection = Connection::open(address).await?;
            for id in ids {
                let answer = connection.call(&ask(&id)).await?;
                let is_known = matches!(answer.status, 200 | 470);
                ensure!(is_known, "{id} was accepted and is gone: {}", answer.head);
            }
            Ok(())
        }
    };
    let shares = ids.chunks(ids.len().div_ceil(LOOKERS).max(1));
    try_join_all(shares.map(look)).await?;
    eprintln!("  {} accepted, each found again", ids.len());
    Ok(())
}
