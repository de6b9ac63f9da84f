//! How much later a piece of an answer comes through Relais than from its upstream itself.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use hdrhistogram::Histogram;
use serde_json::json;
use tokio::sync::oneshot;

use super::Effort;
use super::reader::Reader;
use super::upstream::{PIECE, Upstream, now_us, stamp_of};
use crate::Bench;
use crate::http::{get, post};
use crate::report::{Goal, Report, histogram, median, quantile_ms};

/// Answers that begin in a second: what is measured is their coming, and not how fast tasks are accepted.
const BEGIN_PER_SECOND: u32 = 200;
/// What is added to the way of a piece, at most.
const ADDED_MS_MAX: f64 = 5.0;

/// Measures readers of the upstream itself and readers of as many answers through Relais, one after the other in
/// each run: both see the same machine.
pub(super) async fn measure(
    bench: &Bench,
    effort: &Effort,
    upstream: &Upstream,
    report: &mut Report,
) -> anyhow::Result<()> {
    let [mut bare, mut started, mut resumed, mut added] = [const { Vec::new() }; 4];
    for run in 0..bench.runs {
        let direct = p99("the upstream itself", &directly(effort, upstream).await?);
        let relais = bench.fresh(&format!("live-{run}"), &configuration(effort, upstream)).await?;
        let through = through(effort, &relais.address).await?;
        relais.kill().await?;
        let [from_start, again] = through;
        let (from_start, again) = (p99("read from the start", &from_start), p99("read on", &again));
        added.push(from_start.max(again) - direct);
        bare.push(direct);
        started.push(from_start);
        resumed.push(again);
    }
    let more = json!({
        "answers": effort.answers, "readers": 2 * effort.answers, "pieces": effort.pieces,
        "every_ms": effort.every_ms, "bytes": PIECE,
    });
    for (name, values, goal) in [
        ("live, delay of a piece, p99: the upstream itself", bare, Goal::None),
        ("live, delay of a piece, p99: read from the start", started, Goal::None),
        ("live, delay of a piece, p99: read on", resumed, Goal::None),
        ("live, delay added to a piece, p99", added, Goal::AtMost(ADDED_MS_MAX)),
    ] {
        report.note(name, median(values), "ms", &goal, &more);
    }
    Ok(())
}

/// The figure; how it is spread is told besides.
fn p99(who: &str, delays: &Histogram<u64>) -> f64 {
    let [half, most, all] = [0.5, 0.9, 1.0].map(|part| quantile_ms(delays, part));
    let (figure, count) = (quantile_ms(delays, 0.99), delays.len());
    eprintln!(
        "  {who}: {count} pieces, p50 {half:.2} ms, p90 {most:.2}, p99 {figure:.2}, most {all:.2}"
    );
    figure
}

/// A route whose answers all come at once.
fn configuration(effort: &Effort, upstream: &Upstream) -> String {
    let (address, answers) = (&upstream.address, effort.answers);
    format!(
        "[queue.live]\nconcurrency = {answers}\n\n[upstream.\"http://{address}\"]\nconcurrency = {answers}\n\n\
         [[route]]\npath = \"/{{*rest}}\"\nqueue = \"live\"\nupstream = \"http://{address}\"\nmode = \"auto\"\nwait = \"55s\"\n"
    )
}

fn path(effort: &Effort) -> String {
    format!("/stamped/{}/{}", effort.pieces, effort.every_ms)
}

/// How long after the first an answer begins. So their pieces are spread over the time between two of one.
fn turn(number: usize) -> Duration {
    Duration::from_secs(1) * u32::try_from(number).unwrap_or(u32::MAX) / BEGIN_PER_SECOND
}

/// From when on all answers come at once: pieces count that were sent since.
fn all_have_begun(effort: &Effort) -> u64 {
    let last = turn(effort.answers) + Duration::from_secs(1);
    now_us() + u64::try_from(last.as_micros()).unwrap_or(u64::MAX)
}

/// As many connections to the upstream itself as readers through Relais.
async fn directly(effort: &Effort, upstream: &Upstream) -> anyhow::Result<Histogram<u64>> {
    let request = Arc::new(post(&path(effort), "", b""));
    let since = all_have_begun(effort);
    let readers = (0..2 * effort.answers).map(|number| {
        let (request, address) = (request.clone(), upstream.address.clone());
        let turn = turn(number / 2);
        tokio::spawn(async move {
            tokio::time::sleep(turn).await;
            let mut reader = Reader::open(&address, &request).await?;
            let mut told = Told { since, ..Told::default() };
            told.read(&mut reader, None).await?;
            Ok::<_, anyhow::Error>(told.delays)
        })
    });
    let mut all = histogram();
    for delays in try_join_all(readers).await? {
        add(&mut all, &delays?);
    }
    Ok(all)
}

/// The delays of those who read from the start, and of those who read on.
async fn through(effort: &Effort, address: &str) -> anyhow::Result<[Histogram<u64>; 2]> {
    let request = Arc::new(post(&path(effort), "", b""));
    let since = all_have_begun(effort);
    let answers = (0..effort.answers).map(|number| {
        let (request, address) = (request.clone(), address.to_owned());
        let turn = turn(number);
        // Somewhere in the first half of it, and in the middle of a piece.
        let cut = number % (effort.pieces / 2).max(1) * PIECE + PIECE / 3;
        tokio::spawn(async move {
            tokio::time::sleep(turn).await;
            one_answer(&address, &request, cut, since).await
        })
    });
    let mut all = [histogram(), histogram()];
    for answer in try_join_all(answers).await? {
        for (all, delays) in all.iter_mut().zip(answer?) {
            add(all, &delays);
        }
    }
    Ok(all)
}

/// Reads one answer from the start, as its caller, and beside that as somebody who leaves and comes back.
async fn one_answer(
    address: &str,
    request: &[u8],
    cut: usize,
    since: u64,
) -> anyhow::Result<[Vec<u64>; 2]> {
    let mut caller = Reader::open(address, request).await?;
    caller.ensure_status("200")?;
    let link = caller.field("operation-location")?;
    let target = link.splitn(4, '/').nth(3).context("no path")?;
    let (path, ticket) = target.split_once('?').context("no ticket")?;
    let result = format!("/{path}/result?{ticket}&live");
    let version = caller.field("relais-result-version")?.to_owned();
    let (told, is_there) = oneshot::channel();
    let other = async {
        let mut first = Told::default();
        let mut reader = Reader::open(address, &get(&result, "")).await?;
        reader.ensure_status("200")?;
        first.read(&mut reader, Some(cut)).await?;
        drop(reader);
        let at = first.bytes.len();
        let again = format!("{result}&after={at}&attempt={version}");
        let mut reader = Reader::open(address, &get(&again, "")).await?;
        reader.ensure_status("200")?;
        ensure!(reader.field("relais-offset")? == at.to_string(), "{}", reader.head);
        let mut told = Told { bytes: first.bytes, delays: Vec::new(), since };
        told.read(&mut reader, None).await?;
        let bytes: Told = is_there.await.context("its caller failed")?;
        ensure!(told.bytes == bytes.bytes, "two readers were told two things");
        Ok([bytes.delays, told.delays])
    };
    let own = async {
        let mut own = Told { since, ..Told::default() };
        own.read(&mut caller, None).await?;
        // Whoever waits for it failed, and says so.
        let _ = told.send(own);
        Ok(())
    };
    let (delays, ()) = tokio::try_join!(other, own)?;
    Ok(delays)
}

/// What a reader was told.
#[derive(Default)]
struct Told {
    bytes: Vec<u8>,
    /// Of each piece that was sent while it read, microseconds…
    delays: Vec<u64>,
    /// …and since all answers come.
    since: u64,
}

impl Told {
    /// Reads an answer to its end, or until it has `cut` bytes and more.
    async fn read(&mut self, reader: &mut Reader, cut: Option<usize>) -> anyhow::Result<()> {
        let began = now_us();
        while cut.is_none_or(|cut| self.bytes.len() < cut) {
            let had = self.bytes.len() / PIECE;
            if !reader.more(&mut self.bytes).await? {
                ensure!(cut.is_none(), "an answer ended too early");
                ensure!(self.bytes.len().is_multiple_of(PIECE), "an answer ended in mid-piece");
                return Ok(());
            }
            let now = now_us();
            for piece in self.bytes.chunks_exact(PIECE).skip(had) {
                let sent = stamp_of(piece)?;
                // What was there before it came tells nothing of the way.
                if sent >= began.max(self.since) {
                    self.delays.push(now.saturating_sub(sent));
                }
            }
        }
        Ok(())
    }
}

fn add(all: &mut Histogram<u64>, delays: &[u64]) {
    for delay in delays {
        all.saturating_record(*delay);
    }
}
