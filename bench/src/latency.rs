//! How long one request waits at a calm pace: for its 202, and for its result on a stream.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Bench;
use crate::accept::task_json;
use crate::bare::Bare;
use crate::http::{Connection, header, post};
use crate::report::{Goal, Report, histogram, median, quantile_ms};

/// 50 requests a second.
const PACE: Duration = Duration::from_millis(20);

/// Measures both latencies.
pub(crate) async fn measure(bench: &Bench, bare: &Bare, report: &mut Report) -> anyhow::Result<()> {
    if !bench.wants("latency") {
        return Ok(());
    }
    let route = format!(
        "[[route]]\npath = \"/{{*rest}}\"\nupstream = \"http://{}\"\nmode = \"async\"\n",
        bare.address
    );
    let [mut accept50, mut accept99, mut result50, mut result99] = [const { Vec::new() }; 4];
    for run in 0..bench.runs {
        let relais = bench.fresh(&format!("latency-{run}"), &route).await?;
        let (accepts, results) = paced(&relais.address, bench.span).await?;
        accept50.push(quantile_ms(&accepts, 0.50));
        accept99.push(quantile_ms(&accepts, 0.99));
        result50.push(quantile_ms(&results, 0.50));
        result99.push(quantile_ms(&results, 0.99));
        relais.kill().await?;
    }
    for (name, values, most) in [
        ("latency: submit → 202, p50", accept50, 2.0),
        ("latency: submit → 202, p99", accept99, 6.0),
        ("latency: submit → result on SSE, p50", result50, 3.0),
        ("latency: submit → result on SSE, p99", result99, 8.0),
    ] {
        report.note(name, median(values), "ms", &Goal::AtMost(most), &json!({ "pace": "50/s" }));
    }
    Ok(())
}

type Latencies = (hdrhistogram::Histogram<u64>, hdrhistogram::Histogram<u64>);

async fn paced(address: &str, span: Duration) -> anyhow::Result<Latencies> {
    let body = task_json();
    let request = post("/work", "", body.as_bytes());
    let mut connection = Connection::open(address).await?;
    let (mut accepts, mut results) = (histogram(), histogram());
    let mut ticks = tokio::time::interval(PACE);
    let until = Instant::now() + span;
    while Instant::now() < until {
        ticks.tick().await;
        let started = Instant::now();
        let answer = connection.call(&request).await?;
        ensure!(answer.status == 202, "{}", answer.head);
        accepts.saturating_record(micros(started));
        let location =
            header(answer.head, "operation-location").context("no Operation-Location")?;
        let path = location.splitn(4, '/').nth(3).context("no path")?;
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let stream = format!("/{path}/events?{query}");
        follow_to_the_end(address, &stream).await?;
        results.saturating_record(micros(started));
    }
    Ok((accepts, results))
}

/// Opens a stream and reads it until the task is over.
async fn follow_to_the_end(address: &str, path: &str) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let head =
        format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut seen = Vec::new();
    loop {
        let read = stream.read_buf(&mut seen).await?;
        let text = String::from_utf8_lossy(&seen);
        if text.contains("event: succeeded") {
            return Ok(());
        }
        ensure!(read > 0, "the stream ended early: {text}");
    }
}

fn micros(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX)
}
