//! A file with millions of tasks: start-up, lists, rates beside an empty one, bytes per task.

use std::time::Instant;

use anyhow::{Context as _, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::Bench;
use crate::accept::{found_again, load, task_json};
use crate::http::{Connection, get, post};
use crate::process::{Relais, folder_bytes};
use crate::report::{Goal, Report, histogram, median, quantile_ms};

/// Pages of which the median is taken: of twenty it is that of a cold start.
const PAGES: usize = 300;
/// Tasks in one call.
const BATCH: usize = 1_000;

/// Measures with `--large` finished tasks and a quarter as many queued.
pub(crate) async fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    if !bench.wants("large") {
        return Ok(());
    }
    let relais = bench.fresh("large", "").await?;
    let folder = bench.folder.join("large");
    fill(&relais.address, bench.large).await?;
    let finished_bytes = folder_bytes(&folder)?;
    #[expect(clippy::cast_precision_loss, reason = "a ratio needs no precision")]
    let each = finished_bytes as f64 / bench.large.max(1) as f64;
    let more = json!({ "tasks": bench.large, "note": "database and WAL, 200-byte inputs" });
    report.note("large: disk per finished task", each, "bytes", &Goal::AtMost(1_200.0), &more);
    queue_up(&relais.address, bench.large / 4).await?;
    relais.kill().await?;
    let began = Instant::now();
    let relais = Relais::start(&bench.relais, &folder, "").await?;
    let startup = began.elapsed().as_secs_f64();
    report.note("large: start-up after a kill", startup, "s", &Goal::AtMost(2.0), &json!({}));
    lists(&relais, report).await?;
    rates(bench, &relais, report).await?;
    relais.kill().await
}

/// Submits and settles `count` tasks.
async fn fill(address: &str, count: u64) -> anyhow::Result<()> {
    let bar = progress(count, "filling with finished tasks")?;
    let mut connection = Connection::open(address).await?;
    let submit = batch_of("done");
    let lease = json!({ "max": BATCH }).to_string();
    let lease = post("/v1/queues/done/leases", "", lease.as_bytes());
    for _ in 0..count / BATCH as u64 {
        let answer = connection.call(&submit).await?;
        ensure!(answer.status == 200, "{}", answer.head);
        let answer = connection.call(&lease).await?;
        ensure!(answer.status == 200, "{}", answer.head);
        let leases = answer.json()?;
        let leases = leases["leases"].as_array().context("no leases")?;
        let items: Vec<Value> = leases
            .iter()
            .map(|lease| json!({ "token": lease["token"], "outcome": "succeed", "result": { "ok": true } }))
            .collect();
        let settle = json!({ "items": items }).to_string();
        let answer = connection.call(&post("/v1/leases/settle", "", settle.as_bytes())).await?;
        ensure!(answer.status == 200, "{}", answer.head);
        bar.inc(BATCH as u64);
    }
    bar.finish_and_clear();
    Ok(())
}

/// Submits `count` tasks that nobody takes.
async fn queue_up(address: &str, count: u64) -> anyhow::Result<()> {
    let bar = progress(count, "filling with queued tasks")?;
    let mut connection = Connection::open(address).await?;
    let submit = batch_of("waiting");
    for _ in 0..count / BATCH as u64 {
        let answer = connection.call(&submit).await?;
        ensure!(answer.status == 200, "{}", answer.head);
        bar.inc(BATCH as u64);
    }
    bar.finish_and_clear();
    Ok(())
}

/// Pages of lists, each kind of filter.
async fn lists(relais: &Relais, report: &mut Report) -> anyhow::Result<()> {
    let mut connection = Connection::open(&relais.address).await?;
    for filter in
        ["", "queue=done&", "status=queued&", "status=failed&", "queue=done&status=succeeded&"]
    {
        let mut latency = histogram();
        for _ in 0..PAGES {
            let began = Instant::now();
            let answer = connection.call(&get(&format!("/v1/tasks?{filter}limit=50"), "")).await?;
            ensure!(answer.status == 200, "{}", answer.head);
            latency.saturating_record(u64::try_from(began.elapsed().as_micros())?);
        }
        let name = format!("large: list page, filter {filter:?}");
        let value = quantile_ms(&latency, 0.5);
        report.note(&name, value, "ms", &Goal::AtMost(20.0), &json!({}));
    }
    Ok(())
}

/// Accept and claim rates beside those of an empty file.
async fn rates(bench: &Bench, relais: &Relais, report: &mut Report) -> anyhow::Result<()> {
    let body = task_json();
    let request = post("/v1/tasks", "", body.as_bytes());
    let (mut accepts, mut claims) = (vec![], vec![]);
    for run in 0..bench.runs {
        let empty = bench.fresh(&format!("empty-{run}"), "").await?;
        let low = load(&empty.address, &request, 64, bench.span).await?.per_second;
        let high = load(&relais.address, &request, 64, bench.span).await?;
        found_again(&relais.address, &high.ids).await?;
        let high = high.per_second;
        accepts.push(high / low);
        let low = claim_rate(&empty.address, "bench").await?;
        let high = claim_rate(&relais.address, "waiting").await?;
        claims.push(high / low);
        empty.kill().await?;
    }
    let goal = Goal::AtLeast(0.8);
    report.note(
        "large: accept rate of that on an empty file",
        median(accepts),
        "",
        &goal,
        &json!({}),
    );
    report.note(
        "large: claim rate of that on an empty file",
        median(claims),
        "",
        &goal,
        &json!({}),
    );
    Ok(())
}

/// Leases 50 at a time, 200 times.
async fn claim_rate(address: &str, queue: &str) -> anyhow::Result<f64> {
    let mut connection = Connection::open(address).await?;
    let lease = json!({ "max": 50 }).to_string();
    let lease = post(&format!("/v1/queues/{queue}/leases"), "", lease.as_bytes());
    let began = Instant::now();
    let mut taken = 0;
    for _ in 0..200 {
        let answer = connection.call(&lease).await?;
        ensure!(answer.status == 200, "{}", answer.head);
        taken += answer.json()?["leases"].as_array().map_or(0, Vec::len);
    }
    ensure!(taken > 0, "nothing to claim in {queue}");
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    Ok(taken as f64 / began.elapsed().as_secs_f64())
}

fn batch_of(queue: &str) -> Vec<u8> {
    let body = task_json().replace("\"bench\"", &format!("{queue:?}"));
    post("/v1/tasks/batch", "", format!("[{}]", vec![body.as_str(); BATCH].join(",")).as_bytes())
}

fn progress(count: u64, what: &'static str) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{msg} {bar:40} {human_pos}/{human_len} {per_sec}")?;
    Ok(ProgressBar::new(count).with_style(style).with_message(what))
}
