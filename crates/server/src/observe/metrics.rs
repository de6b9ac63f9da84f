//! All metrics, with their units and meanings. Counted where things happen; written here.
//!
//! Labels are bounded: of the queues the first, or those that hold most, are told each for
//! itself, and the others of a tenant together as `(others)`, which is no name of a queue.
//! Nothing here walks tasks.

mod text;

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use relais_api::Code;
use relais_core::limits::{METRIC_QUEUES_MAX, METRIC_QUEUES_PER_TENANT_MAX};
use relais_core::{FailureCode, Status, TenantName, Timestamp};
use relais_engine::measure::tally::{Histogram, Tally};
use relais_engine::{Engine, EngineError, document};
use relais_store::{Disk, Health, QueueStats, Queues, Waiting};

pub(crate) use self::text::Format;
use self::text::Writer;
use crate::connection::tls::Certificates;

/// The label of the queues that are told together.
const OTHERS: &str = "(others)";

/// What the server counts; the engine counts for itself.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    refused: Mutex<BTreeMap<&'static str, u64>>,
    followers: AtomicI64,
    websockets_closed: Mutex<BTreeMap<u16, u64>>,
}

impl Metrics {
    /// Counts a request that was refused.
    pub(crate) fn refused(&self, code: &'static Code) {
        let mut refused = self.refused.lock().expect("nothing panics while it is held");
        *refused.entry(code.code).or_default() += 1;
    }

    /// Counts a WebSocket that has ended, by the code of the close.
    pub(crate) fn websocket_closed(&self, code: u16) {
        let mut closed = self.websockets_closed.lock().expect("nothing panics while it is held");
        *closed.entry(code).or_default() += 1;
    }

    /// Counts a follower that came (1) or went (-1).
    pub(crate) fn followers(&self, change: i64) {
        self.followers.fetch_add(change, Ordering::Relaxed);
    }

    /// All metrics that may be seen: those of one tenant, or with `None` of all and of the process, which
    /// has so many `websockets` open.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn text(
        &self,
        engine: &Engine,
        certificates: &Certificates,
        websockets: usize,
        tenant: Option<TenantName>,
        format: Format,
    ) -> Result<String, EngineError> {
        let which = match tenant.clone() {
            Some(tenant) => Queues::Of { tenant, after: None, limit: usize::MAX },
            None => Queues::All,
        };
        let (queues, figures) = (engine.queues(which).await?, engine.figures().await?);
        let mut out = Writer::new(format);
        of_this_server(engine, &mut out);
        if tenant.is_none() {
            self.of_process(engine, websockets, &mut out);
            of_certificates(certificates, &mut out);
            of_upstreams(engine, &mut out);
            of_disk(figures.disk, &mut out);
            out.gauge("sessions", "Sessions of browsers that are kept");
            out.sample(&[], figures.sessions);
        }
        of_tallies(&engine.meters().tallies(tenant.as_ref()), &mut out);
        of_queues(&told(queues, figures.waiting), engine.now(), &mut out);
        Ok(out.finish())
    }

    fn of_process(&self, engine: &Engine, websockets: usize, out: &mut Writer) {
        let meters = engine.meters();
        for (name, help, counter) in [
            ("tasks_attached", "Requests attached by their idempotency key", &meters.attached),
            ("tasks_erased", "Tasks erased, by hand or by time", &meters.erased),
            ("tasks_expired", "Tasks erased because their retention ended", &meters.expired),
            ("settles_stale", "Settles refused because the lease was over", &meters.stale_settles),
        ] {
            out.counter(name, help);
            out.sample(&[], counter.load(Ordering::Relaxed));
        }
        out.gauge("followers", "Event streams and watches of WebSockets that are open");
        out.sample(&[], self.followers.load(Ordering::Relaxed));
        out.gauge("websockets", "WebSockets that are open");
        out.sample(&[], websockets);
        out.counter("websockets_closed", "WebSockets that ended, by code");
        for (code, count) in
            self.websockets_closed.lock().expect("nothing panics while it is held").iter()
        {
            out.sample(&[("code", &code.to_string())], count);
        }
        out.counter("requests_refused", "Requests answered with a problem, by code");
        for (code, count) in self.refused.lock().expect("nothing panics while it is held").iter() {
            out.sample(&[("code", code)], count);
        }
    }
}

/// What whoever sees anything may know.
fn of_this_server(engine: &Engine, out: &mut Writer) {
    out.gauge("build_info", "The version that runs, always 1");
    out.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    out.gauge("store_ready", "1 if the store takes new tasks");
    out.sample(&[], i64::from(engine.health() == Health::Ready));
    out.gauge("draining", "1 if the server is stopping");
    out.sample(&[], i64::from(engine.is_draining()));
}

fn of_certificates(certificates: &Certificates, out: &mut Writer) {
    out.gauge("certificate_end_seconds", "When the certificate of a listener ends, since 1970");
    for (listener, held) in [("public", &certificates.public), ("admin", &certificates.admin)] {
        if let Some(certificate) = held {
            let end = certificate.not_after().as_ms().div_euclid(1_000);
            out.sample(&[("listener", listener)], end);
        }
    }
}

fn of_upstreams(engine: &Engine, out: &mut Writer) {
    out.gauge("upstream_paused", "1 while an upstream is left alone as it asked");
    for (upstream, is_paused) in engine.upstream_pauses() {
        out.sample(&[("upstream", &upstream)], u64::from(is_paused));
    }
}

fn of_disk(disk: Option<Disk>, out: &mut Writer) {
    let Some(disk) = disk else { return };
    out.gauge("disk_free_bytes", "Free for the store on its file system");
    out.sample(&[], disk.free);
    out.gauge("store_size_bytes", "The database and its log, without large bodies");
    out.sample(&[], disk.used);
}

/// A family: its name, its help, and its value.
type Row<'a, T, V> = (&'a str, &'a str, fn(&T) -> V);
/// A tenant, a queue of it or none, and what happened there.
type Told = (TenantName, Option<relais_core::QueueName>, Tally);

fn of_tallies(tallies: &[Told], out: &mut Writer) {
    let counts: [Row<Tally, u64>; 5] = [
        ("tasks_accepted", "Tasks accepted", |tally| tally.accepted),
        ("attempts_started", "Attempts started", |tally| tally.started),
        ("runs_succeeded", "Runs that succeeded", |tally| tally.succeeded),
        ("runs_canceled", "Runs that were canceled", |tally| tally.canceled),
        ("runs_abandoned", "Of them, those that all had left", |tally| tally.abandoned),
    ];
    for (name, help, count) in counts {
        out.counter(name, help);
        for (tenant, queue, tally) in tallies {
            out.sample(&labels(tenant, queue.as_ref()), count(tally));
        }
    }
    by_code(tallies, "attempts_failed", "Attempts that failed, by code", out, |tally| {
        &tally.attempts_failed
    });
    by_code(tallies, "runs_failed", "Runs that failed, by code", out, |tally| &tally.failed);
    spreads(
        tallies,
        "wait_duration_seconds",
        "From when a task might run to its first start",
        out,
        |tally| &tally.wait,
    );
    spreads(
        tallies,
        "attempt_duration_seconds",
        "From an attempt's start to its end",
        out,
        |tally| &tally.run,
    );
}

fn by_code(
    tallies: &[Told],
    name: &str,
    help: &str,
    out: &mut Writer,
    counts: impl Fn(&Tally) -> &HashMap<FailureCode, u64>,
) {
    out.counter(name, help);
    for (tenant, queue, tally) in tallies {
        let [tenant, queue] = labels(tenant, queue.as_ref());
        // A worker's own code is none of these: it would be a label without a bound.
        for code in FailureCode::ALL {
            if let Some(count) = counts(tally).get(&code) {
                out.sample(&[tenant, queue, ("code", document::code_of(code).code)], count);
            }
        }
    }
}

fn spreads(
    tallies: &[Told],
    name: &str,
    help: &str,
    out: &mut Writer,
    spread: impl Fn(&Tally) -> &Histogram,
) {
    out.histogram(name, help);
    for (tenant, queue, tally) in tallies {
        out.spread(&labels(tenant, queue.as_ref()), spread(tally));
    }
}

fn labels<'a>(
    tenant: &'a TenantName,
    queue: Option<&'a relais_core::QueueName>,
) -> [(&'static str, &'a str); 2] {
    let queue = queue.map_or(OTHERS, |queue| queue.as_str());
    [("tenant", tenant.as_str()), ("queue", queue)]
}

/// How a queue, or the others of a tenant together, stand.
struct Standing {
    tenant: TenantName,
    queue: String,
    counts: [u64; 6],
    scheduled: u64,
    leases: u64,
    paused: u64,
    /// Since when its oldest task waits that could start.
    since: Option<Timestamp>,
}

impl Standing {
    fn of(stats: QueueStats, since: Option<Timestamp>) -> Self {
        let (queue, paused) = (stats.queue.to_string(), u64::from(stats.is_paused));
        let QueueStats { tenant, counts, scheduled, leases, .. } = stats;
        Self { tenant, queue, counts, scheduled, leases, paused, since }
    }

    fn add(&mut self, other: &Self) {
        for (sum, count) in self.counts.iter_mut().zip(other.counts) {
            *sum += count;
        }
        self.scheduled += other.scheduled;
        self.leases += other.leases;
        self.paused += other.paused;
        self.since = self.since.into_iter().chain(other.since).min();
    }
}

/// The queues that hold most tasks which are not over, then most of all, and the others
/// of each tenant together.
fn told(mut queues: Vec<QueueStats>, waiting: Vec<Waiting>) -> Vec<Standing> {
    let size = |stats: &QueueStats| {
        let live = stats.counts[..3].iter().sum::<u64>();
        Reverse((live, stats.counts.iter().sum::<u64>()))
    };
    queues.sort_by(|one, other| {
        let name = |stats: &QueueStats| (stats.tenant.clone(), stats.queue.clone());
        size(one).cmp(&size(other)).then_with(|| name(one).cmp(&name(other)))
    });
    let since = waiting.into_iter().map(|one| ((one.tenant, one.queue), one.since));
    let since: HashMap<_, _> = since.collect();
    let mut told: Vec<Standing> = Vec::new();
    let mut named: HashMap<TenantName, usize> = HashMap::new();
    let mut others: BTreeMap<TenantName, Standing> = BTreeMap::new();
    for stats in queues {
        let since = since.get(&(stats.tenant.clone(), stats.queue.clone())).copied();
        let standing = Standing::of(stats, since);
        let of_tenant = named.entry(standing.tenant.clone()).or_default();
        if told.len() < METRIC_QUEUES_MAX && *of_tenant < METRIC_QUEUES_PER_TENANT_MAX {
            *of_tenant += 1;
            told.push(standing);
        } else if let Some(sum) = others.get_mut(&standing.tenant) {
            sum.add(&standing);
        } else {
            let queue = OTHERS.to_owned();
            others.insert(standing.tenant.clone(), Standing { queue, ..standing });
        }
    }
    told.extend(others.into_values());
    told
}

fn of_queues(queues: &[Standing], now: Timestamp, out: &mut Writer) {
    out.gauge("queue_tasks", "Tasks kept, by status");
    for standing in queues {
        let (tenant, queue) = (standing.tenant.as_str(), standing.queue.as_str());
        for (status, count) in Status::ALL.iter().zip(standing.counts) {
            let status = ("status", status.as_str());
            out.sample(&[("tenant", tenant), ("queue", queue), status], count);
        }
    }
    let gauges: [Row<Standing, u64>; 3] = [
        ("queue_scheduled", "Queued tasks whose moment has not come", |one| one.scheduled),
        ("queue_leases", "Slots in use", |one| one.leases),
        ("queue_paused", "1 if the queue is paused; of the others how many are", |one| one.paused),
    ];
    for (name, help, value) in gauges {
        out.gauge(name, help);
        for standing in queues {
            let labels = [("tenant", standing.tenant.as_str()), ("queue", &standing.queue)];
            out.sample(&labels, value(standing));
        }
    }
    let help = "How long the oldest task waits that could start; 0 if there is none";
    out.gauge("queue_oldest_seconds", help);
    for standing in queues {
        let labels = [("tenant", standing.tenant.as_str()), ("queue", &standing.queue)];
        let age = standing.since.map_or(Duration::ZERO, |since| now.since(since));
        out.sample(&labels, age.as_secs_f64());
    }
}
