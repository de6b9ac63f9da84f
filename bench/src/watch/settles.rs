//! Tasks that workers settle at a steady rate, each watched by a connection of its own, opened before.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use serde_json::json;

use super::ends::{Ends, Looking};
use super::{Effort, KIB_EACH_MAX};
use crate::Bench;
use crate::accept::task_json;
use crate::http::{Connection, post};
use crate::peers::channel::{CONNECTING, open};
use crate::peers::frames::Frames;
use crate::peers::program::memory;
use crate::peers::readers::Readers;
use crate::peers::relais;
use crate::report::{Goal, Report, histogram, median, quantile_ms};

/// From the settle's answer until whoever watches the task knows.
const SEEN_MS_MAX: f64 = 50.0;
/// Workers that settle in turn, so that the next call need not wait for the answer before.
const WORKERS: usize = 8;
/// Tasks in one call before the measurement: of submits, and of leases.
const AT_ONCE: usize = 500;

/// Measures by SSE and by WebSocket.
pub(super) async fn measure(
    bench: &Bench,
    effort: &Effort,
    report: &mut Report,
) -> anyhow::Result<()> {
    for (path, by) in [("/v1/tasks/{id}/events", "SSE"), (relais::SOCKET, "WebSocket")] {
        let [mut each, mut half, mut most, mut last, mut rate] = [const { Vec::new() }; 5];
        for _ in 0..bench.runs {
            let seen = once(bench, effort, path).await?;
            each.push(seen.kib_each);
            half.push(seen.half_ms);
            most.push(seen.most_ms);
            last.push(seen.last_ms);
            rate.push(seen.per_second);
        }
        let more = json!({
            "tasks": effort.tasks, "batch": effort.batch, "workers": WORKERS, "path": path,
        });
        // What is asked for, but for what the end of the last batch takes.
        let asked = Goal::AtLeast(f64::from(effort.per_second) * 0.98);
        for (name, values, unit, goal) in [
            ("settles: memory of a connection before", each, "KiB", Goal::AtMost(KIB_EACH_MAX)),
            ("settles: rate of answers", rate, "/s", asked),
            ("settles: seen after the answer, p50", half, "ms", Goal::None),
            ("settles: seen after the answer, p99", most, "ms", Goal::AtMost(SEEN_MS_MAX)),
            ("settles: seen after the answer, last", last, "ms", Goal::None),
        ] {
            report.note(&format!("{name}, {by}"), median(values), unit, &goal, &more);
        }
    }
    Ok(())
}

struct Seen {
    kib_each: f64,
    per_second: f64,
    half_ms: f64,
    most_ms: f64,
    last_ms: f64,
}

async fn once(bench: &Bench, effort: &Effort, path: &str) -> anyhow::Result<Seen> {
    let relais = bench.fresh("settles", "lease = \"10m\"").await?;
    let tasks = effort.tasks as usize;
    let leases = lease(&relais.address, tasks).await?;
    let ends = Ends::of(tasks);
    let frames = (path == relais::SOCKET).then(|| Frames::of(tasks));
    let mut readers = Readers::start(tasks, Looking { ends: ends.clone(), frames })?;
    let before = memory(relais.pid)?;
    for first in (0..tasks).step_by(CONNECTING) {
        let some = first..tasks.min(first + CONNECTING);
        let requests: Vec<_> =
            leases[some.clone()].iter().map(|lease| relais::follow(path, &lease.task)).collect();
        let streams = requests.iter().map(|request| open(&relais.address, request));
        for (follower, stream) in some.zip(try_join_all(streams).await?) {
            readers.read(follower, stream)?;
        }
    }
    ends.quiet().await;
    let grown = memory(relais.pid)?.saturating_sub(before);
    let began = Instant::now();
    let settled = settle(&relais.address, &leases, effort, began);
    let (answered, seen) = tokio::try_join!(settled, ends.seen(&mut readers))?;
    drop(readers);
    relais.kill().await?;
    let all = answered.iter().max().context("nothing was settled")?.duration_since(began);
    let mut delays = histogram();
    for (answered, seen) in answered.iter().zip(seen) {
        // Some learn it before the worker does.
        let delay = seen.saturating_duration_since(*answered).as_micros();
        delays.saturating_record(u64::try_from(delay).unwrap_or(u64::MAX));
    }
    let [half_ms, most_ms, last_ms] = [0.5, 0.99, 1.0].map(|part| quantile_ms(&delays, part));
    #[expect(clippy::cast_precision_loss, reason = "sizes are small")]
    let kib_each = grown as f64 / 1024.0 / f64::from(effort.tasks);
    let per_second = f64::from(effort.tasks) / all.as_secs_f64();
    Ok(Seen { kib_each, per_second, half_ms, most_ms, last_ms })
}

/// A task that a worker has.
struct Lease {
    task: String,
    token: String,
}

/// Submits so many tasks and leases them.
async fn lease(address: &str, tasks: usize) -> anyhow::Result<Vec<Lease>> {
    let mut connection = Connection::open(address).await?;
    let ask = json!({ "max": AT_ONCE, "wait": "5s" }).to_string();
    let ask = post("/v1/queues/bench/leases", "", ask.as_bytes());
    let mut leases = Vec::with_capacity(tasks);
    while leases.len() < tasks {
        let count = AT_ONCE.min(tasks - leases.len());
        let batch = format!("[{}]", vec![task_json(); count].join(","));
        let answer = connection.call(&post("/v1/tasks/batch", "", batch.as_bytes())).await?;
        ensure!(answer.status < 300, "{}{}", answer.head, String::from_utf8_lossy(answer.body));
        let answer = connection.call(&ask).await?.json()?;
        let some = answer["leases"].as_array().context("no leases")?;
        ensure!(!some.is_empty(), "no task was leased: {answer}");
        for lease in some {
            let text = |member: &str| lease[member].as_str().map(str::to_owned);
            let (task, token) = text("task").zip(text("token")).context("an odd lease")?;
            leases.push(Lease { task, token });
        }
    }
    Ok(leases)
}

/// Settles all, so many a second: each batch when its moment has come. Answers when each settle was answered.
async fn settle(
    address: &str,
    leases: &[Lease],
    effort: &Effort,
    began: Instant,
) -> anyhow::Result<Vec<Instant>> {
    let batches: Vec<&[Lease]> = leases.chunks(effort.batch as usize).collect();
    let every = Duration::from_secs_f64(f64::from(effort.batch) / f64::from(effort.per_second));
    let workers = (0..WORKERS).map(|worker| {
        let (batches, mut number) = (&batches, worker);
        async move {
            let mut connection = Connection::open(address).await?;
            let mut answered = Vec::new();
            while let Some(batch) = batches.get(number) {
                let items: Vec<_> = batch
                    .iter()
                    .map(|lease| {
                        json!({ "token": lease.token, "outcome": "succeed", "result": { "ok": true } })
                    })
                    .collect();
                let request = json!({ "items": items }).to_string();
                let request = post("/v1/leases/settle", "", request.as_bytes());
                let moment = began + every * u32::try_from(number)?;
                tokio::time::sleep_until(moment.into()).await;
                let answer = connection.call(&request).await?;
                let at = Instant::now();
                let answer = answer.json()?;
                let items = answer["items"].as_array().context("no items")?;
                let is_good = items.iter().all(|item| item["status"] == 200);
                ensure!(is_good && items.len() == batch.len(), "a settle was refused: {answer}");
                answered.push((number, at));
                number += WORKERS;
            }
            Ok::<_, anyhow::Error>(answered)
        }
    });
    let mut answered: Vec<_> = try_join_all(workers).await?.concat();
    answered.sort_unstable();
    let each = answered.iter().zip(&batches).flat_map(|((_, at), of)| vec![*at; of.len()]);
    Ok(each.collect())
}
