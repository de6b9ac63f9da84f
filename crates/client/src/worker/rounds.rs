//! The loop of a worker: lease, run, settle and lease again.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use relais_api::codes::TASK_CANCELED;
use relais_api::lease::Outcome as Word;
use relais_api::{Lease, LeaseRequest, Settle, SettleRequest, Span};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::backoff::Backoff;
use crate::error::{Error, is_transient};
use crate::limits;
use crate::work::{LeaseNext, SettleItem, SettleResponse};
use crate::worker::Worker;
use crate::worker::attempt::{self, Ending, Finished};
use crate::worker::beats::Beats;
use crate::worker::handler::{Handler, LeasedTask};
use crate::worker::reporter::Stop;

/// What a worker did, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Attempts recorded as successes.
    pub succeeded: u64,
    /// Attempts recorded as failures.
    pub failed: u64,
    /// Tasks given back.
    pub released: u64,
    /// Attempts of tasks that were canceled meanwhile.
    pub canceled: u64,
    /// Attempts whose outcome was not recorded for another reason: mostly, the lease was over.
    pub dropped: u64,
}

type Leasing = Pin<Box<dyn Future<Output = Result<Vec<Lease>, Error>> + Send>>;
type Settling = Pin<Box<dyn Future<Output = (Vec<Ending>, Result<SettleResponse, Error>)> + Send>>;

pub(crate) struct Rounds<H> {
    worker: Worker,
    handler: Arc<H>,
    beats: Beats,
    running: JoinSet<Finished>,
    done: VecDeque<Ending>,
    leasing: Option<Leasing>,
    settling: Option<Settling>,
    /// Places kept for what the calls under way may bring.
    reserved_by_lease: usize,
    reserved_by_settle: usize,
    lease_pace: Backoff,
    settle_pace: Backoff,
    leased_at: Instant,
    /// `None` while working; when running attempts are told to stop, once draining.
    tell_at: Option<Instant>,
    is_told: bool,
    refused: Option<Error>,
    ended: Ended,
}

impl<H: Handler> Rounds<H> {
    pub(crate) fn new(worker: Worker, handler: Arc<H>, beats: Beats) -> Self {
        let pace = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
        Self {
            worker,
            handler,
            beats,
            running: JoinSet::new(),
            done: VecDeque::new(),
            leasing: None,
            settling: None,
            reserved_by_lease: 0,
            reserved_by_settle: 0,
            lease_pace: pace.clone(),
            settle_pace: pace,
            leased_at: Instant::now(),
            tell_at: None,
            is_told: false,
            refused: None,
            ended: Ended::default(),
        }
    }

    pub(crate) async fn run(mut self, stop: impl Future<Output = ()>) -> Result<Ended, Error> {
        tokio::pin!(stop);
        loop {
            self.begin_calls();
            if self.tell_at.is_some() && self.is_idle() {
                return self.refused.map_or(Ok(self.ended), Err);
            }
            let tell_at = self.tell_at.filter(|_| !self.is_told);
            tokio::select! {
                () = &mut stop, if self.tell_at.is_none() => self.drain(),
                answer = maybe(&mut self.leasing) => self.leased(answer),
                (batch, answer) = maybe(&mut self.settling) => self.settled(batch, answer),
                Some(finished) = self.running.join_next() => {
                    self.finished(finished);
                    // Whoever ended at the same time is settled in the same call.
                    while let Some(finished) = self.running.try_join_next() {
                        self.finished(finished);
                    }
                }
                () = sleep_until(tell_at.unwrap_or_else(Instant::now)), if tell_at.is_some() => {
                    self.is_told = true;
                    self.beats.stop_all(Stop::Draining);
                }
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.running.is_empty()
            && self.done.is_empty()
            && self.leasing.is_none()
            && self.settling.is_none()
    }

    /// Places for more tasks.
    fn free(&self) -> usize {
        // While settles do not go through, what waits for them counts: the memory is bounded.
        let stuck = if self.settle_pace.failures() > 0 { self.done.len() } else { 0 };
        let taken = self.running.len() + self.reserved_by_lease + self.reserved_by_settle + stuck;
        self.worker.concurrency.saturating_sub(taken)
    }

    fn begin_calls(&mut self) {
        if self.settling.is_none() && !self.done.is_empty() {
            self.begin_settle(Duration::ZERO);
        }
        if self.leasing.is_none() && self.tell_at.is_none() && self.free() > 0 {
            self.begin_lease(Duration::ZERO);
        }
    }

    fn begin_lease(&mut self, delay: Duration) {
        let max = self.free();
        self.reserved_by_lease = max;
        self.leased_at = Instant::now() + delay;
        let client = self.worker.client.clone();
        let queue = self.worker.queue.clone();
        let request = LeaseRequest {
            max: u32::try_from(max).ok(),
            wait: Some(Span::from_ms(ms(self.worker.lease_wait))),
            worker: self.worker.name.clone(),
        };
        self.leasing = Some(Box::pin(async move {
            tokio::time::sleep(delay).await;
            client.lease(&queue, &request).await
        }));
    }

    fn leased(&mut self, answer: Result<Vec<Lease>, Error>) {
        self.leasing = None;
        self.reserved_by_lease = 0;
        match answer {
            Ok(leases) if !leases.is_empty() => {
                self.lease_pace.succeeded();
                self.start(leases);
            }
            // A server that does not wait must not be asked in a busy loop.
            Ok(_) if self.leased_at.elapsed() < self.worker.lease_wait / 2 => {
                let delay = self.lease_pace.failed(None);
                self.lease_later(delay);
            }
            Ok(_) => self.lease_pace.succeeded(),
            Err(error) if error.is_transient() => {
                let delay = self.lease_pace.failed(error.retry_after());
                tracing::warn!(%error, ?delay, "could not lease");
                self.lease_later(delay);
            }
            Err(error) => self.give_up(error),
        }
    }

    fn lease_later(&mut self, delay: Duration) {
        if self.tell_at.is_none() && self.free() > 0 {
            self.begin_lease(delay);
        }
    }

    fn start(&mut self, leases: Vec<Lease>) {
        for lease in leases {
            if self.tell_at.is_some() {
                // Nobody began it, so nothing is lost by giving it back.
                let settle = Settle::new(lease.token, Word::Release);
                self.done.push_back(Ending { task: lease.task, settle, stop: None });
                continue;
            }
            let slot = self.beats.add(&lease.token, lease.heartbeat_every.as_duration());
            let client = self.worker.client.clone();
            let task = LeasedTask::new(client.clone(), lease);
            let handler = self.handler.clone();
            self.running.spawn(attempt::run(handler, client, task, slot, self.worker.stop_grace));
        }
    }

    fn finished(&mut self, finished: Result<Finished, tokio::task::JoinError>) {
        match finished {
            Ok(Finished::Ended(ending)) => self.done.push_back(*ending),
            Ok(Finished::Lost(token)) => {
                self.beats.remove(&token);
                self.ended.dropped += 1;
            }
            Err(error) => tracing::error!(%error, "an attempt ended without an outcome"),
        }
    }

    fn begin_settle(&mut self, delay: Duration) {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < limits::BATCH_MAX && bytes < SETTLE_BYTES_MAX {
            let Some(ending) = self.done.pop_front() else { break };
            let settle = &ending.settle;
            bytes += settle.result.as_ref().map_or(0, |result| result.as_bytes().len());
            bytes += settle.result_base64.as_ref().map_or(0, String::len);
            batch.push(ending);
        }
        let free = if self.tell_at.is_none() { self.free() } else { 0 };
        self.reserved_by_settle = free;
        let lease_next = (free > 0).then(|| LeaseNext {
            queue: self.worker.queue.clone(),
            max: u32::try_from(free).ok(),
            worker: self.worker.name.clone(),
        });
        let client = self.worker.client.clone();
        self.settling = Some(Box::pin(async move {
            tokio::time::sleep(delay).await;
            let items = batch.iter().map(|ending| ending.settle.clone().into()).collect();
            let answer = client.settle(&SettleRequest { items, lease_next }).await;
            (batch, answer)
        }));
    }

    fn settled(&mut self, batch: Vec<Ending>, answer: Result<SettleResponse, Error>) {
        self.settling = None;
        self.reserved_by_settle = 0;
        match answer {
            Ok(answer) => {
                let mut again = Vec::new();
                for (ending, item) in batch.into_iter().zip(answer.items) {
                    again.extend(self.recorded(ending, item));
                }
                if again.is_empty() {
                    self.settle_pace.succeeded();
                } else {
                    self.done.extend(again);
                    let delay = self.settle_pace.failed(None);
                    self.begin_settle(delay);
                }
                self.start(answer.leases);
            }
            Err(error) if error.is_transient() && !self.may_give_up() => {
                let delay = self.settle_pace.failed(error.retry_after());
                tracing::warn!(%error, ?delay, "could not settle");
                self.done.extend(batch);
                self.begin_settle(delay);
            }
            Err(error) => {
                for ending in batch {
                    self.beats.remove(&ending.settle.token);
                    self.ended.dropped += 1;
                }
                self.give_up(error);
            }
        }
    }

    /// Takes the answer to one settle; gives back what is to be settled once more.
    fn recorded(&mut self, ending: Ending, item: SettleItem) -> Option<Ending> {
        let Ending { task, settle, stop } = &ending;
        // Its slot is free, and what it gives back may be of a lease that is over by now.
        let was_told = *stop == Some(Stop::Canceled);
        let code = item.problem.as_ref().map_or("", |problem| problem.code.as_str());
        match item.status {
            200 if !item.canceled => match settle.outcome {
                Word::Succeed => self.ended.succeeded += 1,
                Word::Fail => self.ended.failed += 1,
                Word::Release => self.ended.released += 1,
            },
            200 | 404 | 409 | 410 if was_told || item.canceled || code == TASK_CANCELED.code => {
                if !was_told {
                    tracing::warn!(task.id = %task, "the task was canceled before it was done");
                }
                self.ended.canceled += 1;
            }
            200 | 404 | 409 | 410 => {
                tracing::warn!(
                    task.id = %task, code, "the lease was over: the outcome is not recorded"
                );
                self.ended.dropped += 1;
            }
            status if is_transient(status) || status >= 500 => return Some(ending),
            _ if settle.outcome == Word::Succeed => {
                let detail = item.problem.and_then(|problem| problem.detail).unwrap_or_default();
                let settle = attempt::refused(&settle.token, &detail);
                return Some(Ending { settle, ..ending });
            }
            status => {
                tracing::error!(task.id = %task, status, code, "an outcome was refused");
                self.ended.dropped += 1;
            }
        }
        self.beats.remove(&settle.token);
        None
    }

    /// Whether a worker that should stop has tried to settle often enough.
    fn may_give_up(&self) -> bool {
        self.tell_at.is_some() && self.settle_pace.failures() >= DRAIN_SETTLES_MAX
    }

    fn give_up(&mut self, error: Error) {
        self.refused.get_or_insert(error);
        if self.tell_at.is_none() {
            self.drain();
        }
    }

    /// Takes nothing new from now on.
    fn drain(&mut self) {
        self.tell_at = Some(Instant::now() + self.worker.drain_for);
        if let Some(leasing) = self.leasing.take() {
            // An answer may be on its way already: what it holds is given back, not lost.
            self.leasing = Some(Box::pin(async move {
                tokio::time::timeout(LAST_LEASES, leasing).await.unwrap_or(Ok(Vec::new()))
            }));
        }
    }
}

/// Resolves with the call's answer; never without a call.
async fn maybe<T>(call: &mut Option<Pin<Box<dyn Future<Output = T> + Send>>>) -> T {
    match call {
        Some(call) => call.await,
        None => std::future::pending().await,
    }
}

fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Bytes of results after which a batch of settles is full.
const SETTLE_BYTES_MAX: usize = 8 << 20;
/// Calls to settle that fail in a row before a worker that should stop gives up.
const DRAIN_SETTLES_MAX: u32 = 3;
/// How long a worker that should stop waits for leases that may be on their way.
const LAST_LEASES: Duration = Duration::from_millis(250);
