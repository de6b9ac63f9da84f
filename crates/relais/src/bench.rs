//! Measuring a server as a user would: durable accepts, whole life cycles, waiting times.
//!
//! Closed loops over HTTP, with the client that everybody has. What is counted is proved: each 202
//! is looked up again by its id once the load is over. Not here: comparisons with other programs,
//! which the repository's own bench makes.

mod accept;
mod figures;
mod latency;
mod meter;
mod target;
mod work;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use relais_client::{Client, Deadline, RawJson, Span, SubmitRequest};

pub(crate) use figures::{Figures, Rate, Waiting};
pub(crate) use target::OwnServer;

use meter::Meter;

/// What is measured, and how hard.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Who is asked.
    pub(crate) client: Client,
    /// The queue that everything goes into.
    pub(crate) queue: String,
    /// Requests at a time.
    pub(crate) connections: usize,
    /// Workers that lease and settle.
    pub(crate) workers: usize,
    /// When a measurement ends.
    pub(crate) until: Until,
    /// Bytes of each input.
    pub(crate) body_bytes: usize,
}

/// When a measurement ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// After this long.
    Elapsed(Duration),
    /// After so many tasks.
    Tasks(u64),
}

/// Measures everything, one thing after the other.
///
/// # Errors
/// When the server refuses something, or cannot be reached.
pub(crate) async fn measure(plan: Plan) -> anyhow::Result<Figures> {
    let request = Arc::new(request(&plan)?);
    let plan = Arc::new(plan);
    let meter = Meter::start("accepts", plan.until, ACCEPTS_MAX);
    let accepts = accept::load(&plan, &request, &meter).await?;
    let accepted = accepts.rate;
    let mut proof = accept::found_again(&plan, accepts.ids, "found again").await?;

    let meter = Meter::start("settles", Until::Tasks(accepted.count), ACCEPTS_MAX);
    let settled = work::clear(&plan, &meter).await?;

    let meter = Meter::start("life cycles", plan.until, ACCEPTS_MAX);
    let (cycles, ids) = work::cycles(&plan, &request, &meter).await?;
    proof.add(accept::found_again(&plan, ids, "found again").await?);

    let meter = Meter::start("latency", plan.until, PACED_MAX);
    let (to_202, to_result, ids) = latency::measure(&plan, &request, &meter).await?;
    proof.add(accept::found_again(&plan, ids, "found again").await?);
    let waiting = [accepts.waiting, to_202, to_result];
    Ok(Figures { accepted, settled, cycles, waiting, proof })
}

/// A task that does not stay for long, whatever happens to the bench.
fn request(plan: &Plan) -> anyhow::Result<SubmitRequest> {
    let text = "x".repeat(plan.body_bytes.saturating_sub(QUOTES));
    Ok(SubmitRequest {
        queue: plan.queue.clone(),
        input: Some(RawJson::from_value(&text).context("text is JSON")?),
        deadline: Some(Deadline::After(GIVEN_UP_AFTER)),
        retention: Some(KEPT_FOR),
        ..SubmitRequest::default()
    })
}

/// Most tasks of one measurement: their ids are kept until they are looked up.
pub(crate) const ACCEPTS_MAX: u64 = 1_000_000;
/// Most tasks that are measured one at a time.
const PACED_MAX: u64 = 1_000;
/// The input is a JSON text: its quotes count.
const QUOTES: usize = 2;
/// How long a finished task of a bench is kept: long enough to be looked up.
pub(crate) const KEPT_FOR: Span = Span::from_ms(10 * 60_000);
/// After this long a task that an interrupted bench left behind fails by itself.
const GIVEN_UP_AFTER: Span = Span::from_ms(30 * 60_000);
