//! Who watches: what idle WebSockets cost, how soon all of them have an event, and how soon a settle is seen by
//! whoever waits for that task.
//!
//! Not here: what a page shows and how soon, which is measured in browsers.

mod ends;
mod idle;
mod settles;

use clap::Args;

use crate::Bench;
use crate::peers::room_for;
use crate::report::Report;

/// Memory of the server that an idle connection may take.
const KIB_EACH_MAX: f64 = 3.0;

/// How much is measured; less of it tries the measurement, not Relais.
#[derive(Debug, Args)]
pub(crate) struct Effort {
    /// WebSockets that are idle, and then have one event. A server takes 18,000 connections by default, and
    /// whoever publishes needs one.
    #[arg(long, default_value_t = 17_900, value_parser = clap::value_parser!(u32).range(2..))]
    sockets: u32,
    /// Seconds of idleness; each socket is pinged every 30.
    #[arg(long, default_value_t = 60)]
    idle_seconds: u64,
    /// Tasks that are settled, each watched by a connection of its own.
    #[arg(long, default_value_t = 15_000, value_parser = clap::value_parser!(u32).range(1..))]
    tasks: u32,
    /// Tasks that are settled in a second.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..))]
    per_second: u32,
    /// Tasks that are settled by one call.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..1_000))]
    batch: u32,
}

/// Measures all of it.
///
/// # Errors
/// Where Relais fails, where somebody does not learn what they watch, or where this machine does not allow so many
/// connections.
pub(crate) async fn measure(bench: &Bench, effort: &Effort) -> anyhow::Result<String> {
    room_for(effort.sockets.max(effort.tasks) as usize)?;
    let mut report = Report::default();
    if bench.wants("idle") {
        idle::measure(bench, effort, &mut report).await?;
    }
    if bench.wants("settles") {
        settles::measure(bench, effort, &mut report).await?;
    }
    Ok(report.table())
}
