//! Answers while they come: what Relais adds to the way of a piece, what a large one costs in memory, and how
//! soon all are back after a restart.
//!
//! Not here: followers that stay (`followers`, `peers`).

mod delay;
mod large;
mod reader;
mod restart;
mod upstream;

use clap::Args;

use self::upstream::Upstream;
use crate::Bench;
use crate::report::Report;

/// How much is measured; less of it tries the measurement, not Relais.
#[derive(Debug, Args)]
pub(crate) struct Effort {
    /// Answers that come at once, each with a reader from its start and one that reads on.
    #[arg(long, default_value_t = 1_000)]
    answers: usize,
    /// Pieces of each answer.
    #[arg(long, default_value_t = 40)]
    pieces: usize,
    /// Milliseconds between two pieces of an answer.
    #[arg(long, default_value_t = 500)]
    every_ms: u64,
    /// MiB of the large answer.
    #[arg(long, default_value_t = 256)]
    large_mib: u64,
    /// Readers of the large answer, beside the caller itself.
    #[arg(long, default_value_t = 50)]
    readers: usize,
    /// Clients that come back after the restart.
    #[arg(long, default_value_t = 10_000)]
    clients: usize,
}

/// Measures all of it.
///
/// # Errors
/// Where Relais fails, or an answer is not what its upstream sent.
pub(crate) async fn measure(bench: &Bench, effort: &Effort) -> anyhow::Result<String> {
    let mut report = Report::default();
    let upstream = Upstream::start()?;
    if bench.wants("delay") {
        delay::measure(bench, effort, &upstream, &mut report).await?;
    }
    if bench.wants("memory") {
        large::measure(bench, effort, &upstream, &mut report).await?;
    }
    if bench.wants("restart") {
        restart::measure(bench, effort, &mut report).await?;
    }
    Ok(report.table())
}
