//! What a fresh server holds, what an idle follower costs, and how fast events reach ten thousand.

use std::time::Duration;

use serde_json::json;

use crate::Bench;
use crate::peers::{channel, relais};
use crate::report::{Goal, Report, median};

/// Followers of one task.
const FOLLOWERS: usize = 10_000;
/// Events of a burst.
const BURST: usize = 100;
/// Starts of a fresh server in one run: its memory comes in steps of 2 MiB, as the kernel gives out
/// large pages, so that one start says little.
const STARTS: usize = 7;
/// How long after a start a server's memory is read: what it starts in the background stands then.
const SETTLED: Duration = Duration::from_secs(1);

/// Measures memory of a fresh server and of idle followers, and the spread of events.
pub(crate) async fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    if !bench.wants("followers") {
        return Ok(());
    }
    measure_fresh(bench, report).await?;
    for (path, transport, kib, ms) in [
        ("/v1/tasks/{id}/events", "SSE, HTTP/1.1", 1.0, 50.0),
        ("/v1/events?task={id}", "SSE, HTTP/1.1", 1.0, 50.0),
        (relais::SOCKET, "WebSocket", 3.0, 120.0),
    ] {
        let [mut each, mut last, mut rate] = [const { Vec::new() }; 3];
        for _ in 0..bench.runs {
            let followed = relais::start(bench, path).await?;
            let spread = channel::measure(&followed, FOLLOWERS, BURST).await?;
            followed.server.end().await?;
            each.push(spread.kib_each);
            last.push(spread.last_ms);
            rate.push(spread.per_second);
        }
        let more = json!({ "path": path, "followers": FOLLOWERS, "transport": transport });
        for (name, values, unit, goal) in [
            ("followers: memory each", each, "KiB", Goal::AtMost(kib)),
            ("followers: one event to all", last, "ms", Goal::AtMost(ms)),
            ("followers: deliveries in a burst", rate, "/s", Goal::AtLeast(1_000_000.0)),
        ] {
            report.note(&format!("{name}, {path}"), median(values), unit, &goal, &more);
        }
    }
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
