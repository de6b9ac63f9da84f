//! How fast the store is: accepts by many submitters at once, and whole lives in batches.
//!
//! `cargo run --release -p relais-store-sqlite --example cycles [SECONDS [PART]]` prints one line
//! per measurement; PART (as `accept-64` or `cycle-256-1`) leaves the others out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use relais_core::{
    BodyKind, Command, Credentials, Holder, Policy, Priority, Runner, Spec, Task, TaskId,
    Timestamp, accept,
};
use relais_store::{
    Accept, Body, Claim, Claimed, Commit, Committed, Data, Pool, Rejected, StepOf, Store as _,
};
use relais_store_sqlite::{Options, SqliteStore};

/// What a submission carries.
const BODY_BYTES: usize = 200;

static LAST_ID: AtomicU64 = AtomicU64::new(0);

#[tokio::main]
async fn main() {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(3);
    let span = Duration::from_secs(seconds);
    let part = std::env::args().nth(2);
    let is_wanted = |name: String| part.as_ref().is_none_or(|part| *part == name);
    for submitters in [1, 64, 256] {
        if is_wanted(format!("accept-{submitters}")) {
            accepts(submitters, span).await;
        }
    }
    for batch in [1, 32, 256] {
        for workers in [1, 4] {
            if is_wanted(format!("cycle-{batch}-{workers}")) {
                cycles(batch, workers, span).await;
            }
        }
    }
}

/// Many submitters, each of which waits for its own accept before the next.
async fn accepts(submitters: usize, span: Duration) {
    let folder = tempfile::tempdir_in(".").expect("a folder");
    let store = open(&folder);
    let meter = Meter::start();
    let end = Instant::now() + span;
    let submit = |at: usize| {
        let store = store.clone();
        async move {
            let mut waits = Vec::new();
            while Instant::now() < end {
                let begun = Instant::now();
                let done = store.commit(vec![submission(at)]).await.expect("the store works");
                assert!(matches!(done[..], [Ok(Committed::Accepted { .. })]), "accepted");
                waits.push(begun.elapsed());
            }
            waits
        }
    };
    let tasks: Vec<_> = (0..submitters).map(|at| tokio::spawn(submit(at))).collect();
    let mut waits = Vec::new();
    for task in tasks {
        waits.extend(task.await.expect("no panic"));
    }
    assert!(!waits.is_empty(), "there was time for one");
    waits.sort_unstable();
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize];
    println!(
        "accept, {submitters:3} submitters: {}, p50 {:?} p99 {:?} max {:?}",
        meter.read(waits.len()),
        at(0.5),
        at(0.99),
        at(1.0),
    );
    store.close().await;
}

/// Accept, claim, succeed, each step for a whole batch in one durable write.
async fn cycles(batch: usize, workers: usize, span: Duration) {
    let folder = tempfile::tempdir_in(".").expect("a folder");
    let store = open(&folder);
    let meter = Meter::start();
    let end = Instant::now() + span;
    let done = Arc::new(AtomicU64::new(0));
    let slowest = Arc::new(AtomicU64::new(0));
    let work = |at: usize| {
        let (store, done, slowest) = (store.clone(), done.clone(), slowest.clone());
        async move {
            while Instant::now() < end {
                let submissions = (0..batch).map(|_| submission(at)).collect();
                all(&timed(&slowest, store.commit(submissions)).await);
                let claims = timed(&slowest, store.claim(claim(batch))).await;
                let count = claims.started.len() as u64;
                let outcomes = claims.started.iter().map(success).collect();
                all(&timed(&slowest, store.commit(outcomes)).await);
                done.fetch_add(count, Ordering::Relaxed);
            }
        }
    };
    let tasks: Vec<_> = (0..workers).map(|at| tokio::spawn(work(at))).collect();
    for task in tasks {
        task.await.expect("no panic");
    }
    let done = usize::try_from(done.load(Ordering::Relaxed)).expect("a count");
    println!(
        "cycle, batches of {batch:3} by {workers}: {}, slowest write {:?}",
        meter.read(done),
        Duration::from_micros(slowest.load(Ordering::Relaxed)),
    );
    store.close().await;
}

async fn timed<T>(
    slowest: &AtomicU64,
    write: impl Future<Output = Result<T, relais_store::StoreError>>,
) -> T {
    let begun = Instant::now();
    let written = write.await.expect("the store works");
    let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
    slowest.fetch_max(took, Ordering::Relaxed);
    written
}

fn all(answers: &[Result<Committed, Rejected>]) {
    assert!(answers.iter().all(Result::is_ok), "every commit is applied");
}

fn open(folder: &tempfile::TempDir) -> SqliteStore {
    let options = Options::new(folder.path().join("relais.db"), Timestamp::from_ms(0));
    SqliteStore::open(&options).expect("the store opens")
}

/// Time passes as submissions come: 32 in a millisecond.
fn now() -> Timestamp {
    let serial = LAST_ID.load(Ordering::Relaxed);
    Timestamp::from_ms(1_763_800_000_000 + i64::try_from(serial / 32).expect("a count"))
}

fn submission(lane: usize) -> Commit {
    let serial = LAST_ID.fetch_add(1, Ordering::Relaxed);
    // As a UUIDv7: time first, then what looks like chance.
    let chance = u128::from(serial.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let id = TaskId::from_u128(u128::from(serial / 32) << 80 | 0x7 << 76 | chance);
    let spec = Spec {
        id,
        tenant: "default".parse().expect("a name"),
        queue: "imports".parse().expect("a name"),
        lane: Some(format!("customer-{lane}").parse().expect("a name")),
        priority: Priority::default(),
        labels: Vec::new(),
        runner: Runner::Upstream { origin: "http://127.0.0.1:9000".into(), repeatable: true },
        created_at: now(),
        run_at: now(),
        deadline_after: Duration::from_secs(24 * 3600),
        retention: Duration::from_secs(7 * 24 * 3600),
        content_type: Some("application/json".to_owned()),
        input_bytes: BODY_BYTES as u64,
        context: Bytes::from_static(&[7; 80]),
        source: None,
        purpose: relais_core::Purpose::Client,
        request: None,
        grace: None,
        webhook: None,
    };
    let (task, entry) = accept(spec, Credentials::None, false);
    Commit::Accept(Box::new(Accept {
        task,
        entry,
        bodies: vec![(BodyKind::Input, body())],
        idempotency: None,
        queue_capacity: u64::MAX,
        tenant_capacity: u64::MAX,
        source_capacity: u64::MAX,
    }))
}

fn body() -> Body {
    Body {
        head: Bytes::from_static(b"content-type: application/json"),
        data: Data::Inline(Bytes::from_static(&[b'x'; BODY_BYTES])),
    }
}

fn claim(count: usize) -> Claim {
    let Commit::Accept(any) = submission(0) else { unreachable!("it is one") };
    Claim {
        pool: Pool::of(&any.task),
        policy: Arc::new(Policy::default()),
        holder: Holder::Relais { epoch: 1 },
        nonces: (0..count as u128).map(|nonce| nonce << 64 | 0x5eed).collect(),
        held: Arc::default(),
        now: now(),
    }
}

fn success(claimed: &Claimed) -> Commit {
    let Task { spec, .. } = claimed.task();
    Commit::Step(Box::new(StepOf {
        id: spec.id,
        tenant: None,
        command: Command::succeed(claimed.nonce),
        policy: Arc::new(Policy::default()),
        bodies: vec![(BodyKind::Result, body())],
        now: now(),
    }))
}

/// Time, and processor time of the whole process.
struct Meter {
    begun: Instant,
    ticks: u64,
}

impl Meter {
    fn start() -> Self {
        Self { begun: Instant::now(), ticks: ticks() }
    }

    fn read(&self, count: usize) -> String {
        let rate = count as f64 / self.begun.elapsed().as_secs_f64();
        // A tick is a hundredth of a second on every Linux there is.
        let cpu_us = (ticks() - self.ticks) as f64 * 10_000.0 / count.max(1) as f64;
        format!("{rate:7.0}/s, {cpu_us:5.1} µs of CPU each of {count}")
    }
}

fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    after_name.split_whitespace().skip(11).take(2).filter_map(|text| text.parse::<u64>().ok()).sum()
}
