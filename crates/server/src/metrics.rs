//! All metrics, with their units and meanings. Counted where things happen; written here.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;
use relais_api::Code;
use relais_core::Status;
use relais_store::{Health, QueueStats};

use crate::app::App;

/// What the server counts; the engine counts for itself.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    refused: Mutex<BTreeMap<&'static str, u64>>,
    followers: AtomicI64,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CodeLabel {
    code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ListenerLabel {
    listener: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct QueueLabel {
    tenant: String,
    queue: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StatusLabel {
    tenant: String,
    queue: String,
    status: &'static str,
}

impl Metrics {
    /// Counts a request that was refused.
    pub(crate) fn refused(&self, code: &'static Code) {
        let mut refused = self.refused.lock().expect("nothing panics while it is held");
        *refused.entry(code.code).or_default() += 1;
    }

    /// Counts a follower that came (1) or went (-1).
    pub(crate) fn followers(&self, change: i64) {
        self.followers.fetch_add(change, Ordering::Relaxed);
    }
}

/// All metrics in the text format of OpenMetrics.
#[must_use]
pub(crate) fn text(app: &App, queues: &[QueueStats]) -> String {
    let mut registry = Registry::with_prefix("relais");
    of_engine(app, &mut registry);
    of_server(app, &mut registry);
    of_queues(queues, &mut registry);
    let mut out = String::new();
    text::encode(&mut out, &registry).expect("a string takes every byte");
    out
}

fn of_engine(app: &App, registry: &mut Registry) {
    let meters = app.engine.meters();
    let counters: [(&str, &str, &AtomicU64); 10] = [
        ("tasks_accepted", "Tasks accepted", &meters.accepted),
        ("tasks_attached", "Requests attached by their idempotency key", &meters.attached),
        ("attempts_started", "Attempts started", &meters.started),
        ("attempts_failed", "Attempts that failed", &meters.attempts_failed),
        ("runs_succeeded", "Runs that succeeded", &meters.succeeded),
        ("runs_failed", "Runs that failed", &meters.failed),
        ("runs_canceled", "Runs that were canceled", &meters.canceled),
        ("tasks_erased", "Tasks erased, by hand or by time", &meters.erased),
        ("tasks_expired", "Tasks erased because their retention ended", &meters.expired),
        ("settles_stale", "Settles refused because the lease was over", &meters.stale_settles),
    ];
    for (name, help, counter) in counters {
        registry.register(name, help, ConstCounter::new(counter.load(Ordering::Relaxed)));
    }
    let is_ready = i64::from(app.engine.health() == Health::Ready);
    registry.register("store_ready", "1 if the store takes new tasks", ConstGauge::new(is_ready));
    let is_draining = i64::from(app.engine.is_draining());
    registry.register("draining", "1 if the server is stopping", ConstGauge::new(is_draining));
}

fn of_server(app: &App, registry: &mut Registry) {
    let followers = app.metrics.followers.load(Ordering::Relaxed);
    registry.register("followers", "Event streams that are open", ConstGauge::new(followers));
    let refused = Family::<CodeLabel, Counter>::default();
    for (code, count) in app.metrics.refused.lock().expect("nothing panics while it is held").iter()
    {
        refused.get_or_create(&CodeLabel { code }).inc_by(*count);
    }
    let ends = Family::<ListenerLabel, Gauge>::default();
    let certificates = &app.certificates;
    for (listener, held) in [("public", &certificates.public), ("admin", &certificates.admin)] {
        if let Some(certificate) = held {
            let end = certificate.not_after().as_ms().div_euclid(1_000);
            ends.get_or_create(&ListenerLabel { listener }).set(end);
        }
    }
    let help = "When the certificate of a listener ends, in seconds since 1970";
    registry.register("certificate_end_seconds", help, ends);
    registry.register("requests_refused", "Requests answered with a problem, by code", refused);
}

fn of_queues(queues: &[QueueStats], registry: &mut Registry) {
    let tasks = Family::<StatusLabel, Gauge>::default();
    let scheduled = Family::<QueueLabel, Gauge>::default();
    let leases = Family::<QueueLabel, Gauge>::default();
    let paused = Family::<QueueLabel, Gauge>::default();
    let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    for stats in queues {
        let (tenant, queue) = (stats.tenant.to_string(), stats.queue.to_string());
        for (status, count) in Status::ALL.iter().zip(stats.counts) {
            let status = status.as_str();
            let label = StatusLabel { tenant: tenant.clone(), queue: queue.clone(), status };
            tasks.get_or_create(&label).set(whole(count));
        }
        let label = QueueLabel { tenant, queue };
        scheduled.get_or_create(&label).set(whole(stats.scheduled));
        leases.get_or_create(&label).set(whole(stats.leases));
        paused.get_or_create(&label).set(i64::from(stats.is_paused));
    }
    registry.register("queue_tasks", "Tasks kept, by status", tasks);
    registry.register("queue_scheduled", "Queued tasks whose moment has not come", scheduled);
    registry.register("queue_leases", "Slots in use", leases);
    registry.register("queue_paused", "1 if the queue is paused", paused);
}
