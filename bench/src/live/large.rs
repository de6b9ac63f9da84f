//! What a large answer with many readers costs in memory while it comes.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use serde_json::json;

use super::Effort;
use super::reader::Reader;
use super::upstream::{Expected, Upstream};
use crate::Bench;
use crate::http::{get, post};
use crate::process::Relais;
use crate::report::{Goal, Report, median};

/// What the server may grow by: a piece under way for each reader, and what an allocator keeps.
const GROWN_MIB_MAX: f64 = 32.0;
/// How often memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Measures by how much a fresh server grows, at most, while one answer is stored and read.
pub(super) async fn measure(
    bench: &Bench,
    effort: &Effort,
    upstream: &Upstream,
    report: &mut Report,
) -> anyhow::Result<()> {
    let route = format!(
        "[[route]]\npath = \"/{{*rest}}\"\nupstream = \"http://{}\"\nmode = \"auto\"\nwait = \"55s\"\n",
        upstream.address
    );
    let mut grown = Vec::new();
    for run in 0..bench.runs {
        let relais = bench.fresh(&format!("live-large-{run}"), &route).await?;
        // What is set up once is not of this answer.
        read_by_all(&relais, effort.readers, 1 << 20).await?;
        let before = relais.rss_bytes()?;
        let most = read_by_all(&relais, effort.readers, effort.large_mib << 20).await?;
        #[expect(clippy::cast_precision_loss, reason = "memory sizes are small")]
        grown.push(most.saturating_sub(before) as f64 / f64::from(1 << 20));
        relais.kill().await?;
    }
    let more = json!({ "answer": format!("{} MiB", effort.large_mib), "readers": effort.readers });
    let goal = Goal::AtMost(GROWN_MIB_MAX);
    report.note("live, memory: a large answer, RSS more", median(grown), "MiB", &goal, &more);
    Ok(())
}

/// One answer of so many bytes, read by its caller and `readers` more; answers the most memory seen meanwhile.
async fn read_by_all(relais: &Relais, readers: usize, bytes: u64) -> anyhow::Result<u64> {
    let expected = Arc::new(Expected::new());
    let request = post(&format!("/large/{bytes}"), "", b"");
    let caller = Reader::open(&relais.address, &request).await?;
    caller.ensure_status("200")?;
    let task = caller.field("relais-task")?;
    let request = Arc::new(get(&format!("/v1/tasks/{task}/result?live"), ""));
    let mut all = vec![tokio::spawn(read(caller, bytes, expected.clone()))];
    for _ in 0..readers {
        let (address, request) = (relais.address.clone(), request.clone());
        let expected = expected.clone();
        all.push(tokio::spawn(async move {
            let reader = Reader::open(&address, &request).await?;
            reader.ensure_status("200")?;
            read(reader, bytes, expected).await
        }));
    }
    let mut looks = tokio::time::interval(LOOK_EVERY);
    let mut most = 0;
    let mut reading = std::pin::pin!(try_join_all(all));
    loop {
        tokio::select! {
            read = &mut reading => {
                for reader in read? {
                    reader?;
                }
                return Ok(most.max(relais.rss_bytes()?));
            }
            _ = looks.tick() => most = most.max(relais.rss_bytes()?),
        }
    }
}

/// Reads an answer to its end, and compares each byte.
async fn read(mut reader: Reader, bytes: u64, expected: Arc<Expected>) -> anyhow::Result<()> {
    let (mut offset, mut piece) = (0, Vec::new());
    while reader.more(&mut piece).await.with_context(|| format!("at {offset}"))? {
        ensure!(expected.is_at(offset, &piece), "other bytes than the upstream's, at {offset}");
        offset += piece.len() as u64;
        piece.clear();
    }
    ensure!(offset == bytes, "{offset} bytes of {bytes}");
    Ok(())
}
