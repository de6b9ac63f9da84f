//! What an idle follower costs, and how fast one event reaches ten thousand.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Bench;
use crate::http::{Connection, post};
use crate::report::{Goal, Report, median};

/// Followers of one task.
const FOLLOWERS: usize = 10_000;
/// Starts of a fresh server in one run: its memory comes in steps of 2 MiB, as the kernel gives out
/// large pages, so that one start says little.
const STARTS: usize = 7;
/// How long after a start a server's memory is read: what it starts in the background stands then.
const SETTLED: Duration = Duration::from_secs(1);

/// Measures memory of a fresh server and of idle followers, and the spread of one event.
pub(crate) async fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    if !bench.wants("followers") {
        return Ok(());
    }
    measure_fresh(bench, report).await?;
    let [mut each, mut spread] = [const { Vec::new() }; 2];
    for run in 0..bench.runs {
        let relais = bench.fresh(&format!("followers-{run}"), "").await?;
        tokio::time::sleep(SETTLED).await;
        let before = relais.rss_bytes()?;
        let mut connection = Connection::open(&relais.address).await?;
        let submit = json!({ "queue": "bench", "input": 1, "delay": "1h" }).to_string();
        let answer = connection.call(&post("/v1/tasks", "", submit.as_bytes())).await?;
        let task = answer.json()?;
        let id = task["id"].as_str().context("no id")?.to_owned();
        let mut followers = Vec::with_capacity(FOLLOWERS);
        for _ in 0..FOLLOWERS {
            followers.push(follow(&relais.address, &id).await?);
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        let after = relais.rss_bytes()?;
        #[expect(clippy::cast_precision_loss, reason = "memory sizes are small")]
        {
            each.push(after.saturating_sub(before) as f64 / 1024.0 / FOLLOWERS as f64);
        }
        let started = Instant::now();
        let cancel = post(&format!("/v1/tasks/{id}/cancel"), "", b"{}");
        let answer = connection.call(&cancel).await?;
        ensure!(answer.status == 200, "{}", answer.head);
        for stream in &mut followers {
            until_seen(stream, "event: canceled").await?;
        }
        spread.push(started.elapsed().as_secs_f64() * 1_000.0);
        relais.kill().await?;
    }
    let more = json!({ "followers": FOLLOWERS, "transport": "SSE, HTTP/1.1" });
    report.note("followers: RSS each", median(each), "KiB", &Goal::AtMost(4.0), &more);
    report.note(
        "followers: one event to all",
        median(spread),
        "ms",
        &Goal::AtMost(200.0),
        &json!({}),
    );
    Ok(())
}

/// Memory of a server that has nothing to do yet.
async fn measure_fresh(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let mut fresh = Vec::new();
    for start in 0..bench.runs * STARTS {
        let relais = bench.fresh(&format!("fresh-{start}"), "").await?;
        tokio::time::sleep(SETTLED).await;
        #[expect(clippy::cast_precision_loss, reason = "memory sizes are small")]
        fresh.push(relais.rss_bytes()? as f64 / f64::from(1 << 20));
        relais.kill().await?;
    }
    report.note("fresh server: RSS", median(fresh), "MiB", &Goal::AtMost(30.0), &json!({}));
    Ok(())
}

async fn follow(address: &str, id: &str) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    let head = format!(
        "GET /v1/tasks/{id}/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    until_seen(&mut stream, "event: accepted").await?;
    Ok(stream)
}

async fn until_seen(stream: &mut TcpStream, word: &str) -> anyhow::Result<()> {
    let mut seen = Vec::with_capacity(1024);
    loop {
        let read = stream.read_buf(&mut seen).await?;
        if String::from_utf8_lossy(&seen).contains(word) {
            return Ok(());
        }
        ensure!(read > 0, "a stream ended early: {}", String::from_utf8_lossy(&seen));
    }
}
