//! Whole life cycles over HTTP: submitted, leased, settled; and pushed to a trivial upstream.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use serde_json::{Value, json};

use crate::Bench;
use crate::accept::{found_again, load, task_json};
use crate::bare::Bare;
use crate::http::{Connection, post};
use crate::report::{Goal, Report, median};

/// Measures life cycles with workers: 50 at a time, and one at a time.
pub(crate) async fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    // As many submitters as the workers can follow: the figure is that of whole cycles.
    for (name, max, workers, submitters, goal) in [
        ("life cycles, 50 at a time", 50, 4, 64, 18_000.0),
        ("life cycles, one at a time", 1, 64, 32, 4_000.0),
    ] {
        if !bench.wants(name) {
            continue;
        }
        let mut rates = Vec::new();
        for run in 0..bench.runs {
            let relais = bench.fresh(&format!("cycles-{max}-{run}"), "").await?;
            rates.push(cycles(&relais.address, max, (workers, submitters), bench.span).await?);
            relais.kill().await?;
        }
        report.note(
            name,
            median(rates),
            "/s",
            &Goal::AtLeast(goal),
            &json!({ "workers": workers, "submitters": submitters }),
        );
    }
    Ok(())
}

/// Connections submit one task at a time while workers lease and settle; counts what was
/// settled, until the last task is.
pub(crate) async fn cycles(
    address: &str,
    max: usize,
    (workers, submitters): (usize, usize),
    span: Duration,
) -> anyhow::Result<f64> {
    let settled = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let began = Instant::now();
    let work = try_join_all((0..workers).map(|_| worker(address, max, &settled, &stop)));
    let body = task_json();
    let request = post("/v1/tasks", "", body.as_bytes());
    let submit = async {
        let load = load(address, &request, submitters, span).await?;
        stop.store(true, Ordering::Relaxed);
        Ok::<_, anyhow::Error>(load)
    };
    let (_, load) = tokio::try_join!(work, submit)?;
    let elapsed = began.elapsed().as_secs_f64();
    let cycles = settled.load(Ordering::Relaxed);
    ensure!(cycles > 0, "nothing was settled");
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    let rate = cycles as f64 / elapsed;
    found_again(address, &load.ids).await?;
    eprintln!("  submitted {:.0}/s, settled {rate:.0}/s", load.per_second);
    Ok(rate)
}

async fn worker(
    address: &str,
    max: usize,
    settled: &AtomicU64,
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    let mut connection = Connection::open(address).await?;
    let lease = json!({ "max": max, "wait": "200ms" }).to_string();
    let lease = post("/v1/queues/bench/leases", "", lease.as_bytes());
    let mut tokens: Vec<String> = Vec::new();
    loop {
        if tokens.is_empty() {
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let answer = connection.call(&lease).await?;
            ensure!(answer.status == 200, "{}", String::from_utf8_lossy(answer.body));
            tokens = tokens_of(&answer.json()?);
            continue;
        }
        let items: Vec<Value> = tokens
            .iter()
            .map(|token| json!({ "token": token, "outcome": "succeed", "result": { "ok": true } }))
            .collect();
        let mut settle = json!({ "items": items });
        if max > 1 {
            settle["lease_next"] = json!({ "queue": "bench", "max": max });
        }
        let answer =
            connection.call(&post("/v1/leases/settle", "", settle.to_string().as_bytes())).await?;
        ensure!(answer.status == 200, "{}", String::from_utf8_lossy(answer.body));
        let json = answer.json()?;
        let items = json["items"].as_array().context("no items")?;
        let good = items.iter().filter(|item| item["status"] == 200).count();
        ensure!(good == items.len(), "a settle was refused: {json}");
        settled.fetch_add(good as u64, Ordering::Relaxed);
        tokens = tokens_of(&json);
    }
}

fn tokens_of(answer: &Value) -> Vec<String> {
    let leases = answer["leases"].as_array().map(Vec::as_slice).unwrap_or_default();
    leases.iter().filter_map(|lease| lease["token"].as_str().map(str::to_owned)).collect()
}

/// The front door to a trivial upstream, each task its own call, answered directly.
pub(crate) async fn measure_door(
    bench: &Bench,
    bare: &Bare,
    report: &mut Report,
) -> anyhow::Result<()> {
    let name = "front door to a trivial upstream";
    if !bench.wants(name) {
        return Ok(());
    }
    let route = format!(
        "[[route]]\npath = \"/{{*rest}}\"\nupstream = \"http://{}\"\nmode = \"auto\"\n",
        bare.address
    );
    let body = task_json();
    let request = post("/work", "", body.as_bytes());
    let mut rates = Vec::new();
    for run in 0..bench.runs {
        let relais = bench.fresh(&format!("door-{run}"), &route).await?;
        let load = load(&relais.address, &request, 64, bench.span).await?;
        found_again(&relais.address, &load.ids).await?;
        rates.push(load.per_second);
        relais.kill().await?;
    }
    report.note(name, median(rates), "/s", &Goal::AtLeast(4_000.0), &json!({ "connections": 64 }));
    Ok(())
}
