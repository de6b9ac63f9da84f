//! An engine to play with: memory store, manual clock, seeded chance, an
//! upstream that does as told.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use relais_core::{
    BodyKind, EventKind, Grants, Policy, Priority, Purpose, QueueName, RetryPolicy, Runner, Task,
    TaskId, TenantName, Timestamp,
};
use relais_engine::{
    Access, Calling, Config, Context, Engine, ManualClock, Presented, RequestHead, SeededChance,
    Sight, Submission, Submitted,
};
use relais_store::{Claimed, Data, EventQuery, MemoryStore, Queues, Store};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// When tests begin.
pub(crate) const START: Timestamp = Timestamp::from_ms(1_700_000_000_000);

pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) store: Arc<dyn Store>,
}

pub(crate) fn tenant() -> TenantName {
    "default".parse().unwrap()
}

pub(crate) fn queue(name: &str) -> QueueName {
    name.parse().unwrap()
}

pub(crate) fn policy() -> Policy {
    let retry = RetryPolicy { max_attempts: 3, ..RetryPolicy::default() };
    Policy { retry, lease: Duration::from_secs(30), ..Policy::default() }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Config { template: Some(policy()), ..Config::default() }).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        Self::on(Arc::new(MemoryStore::new()), config, 1).await
    }

    pub(crate) async fn on(store: Arc<dyn Store>, config: Config, seed: u64) -> Self {
        Self::on_at(store, config, seed, START).await
    }

    /// On a machine whose clock shows `now`.
    pub(crate) async fn on_at(
        store: Arc<dyn Store>,
        config: Config,
        seed: u64,
        now: Timestamp,
    ) -> Self {
        let clock = Arc::new(ManualClock::at(now));
        let chance = Arc::new(SeededChance::new(seed));
        let engine = Engine::start(config, store.clone(), clock.clone(), chance).await.unwrap();
        Self { engine, clock, store }
    }

    pub(crate) async fn submit(&self, submission: Submission) -> Task {
        let id = self.engine.draw_id();
        match self.engine.submit(id, submission).await.unwrap() {
            Submitted::New(task, _) => task,
            Submitted::Attached { .. } => panic!("a new task was expected"),
        }
    }

    /// Waits for an event of this kind, and answers the task then.
    pub(crate) async fn until(&self, id: TaskId, kind: EventKind) -> Task {
        let mut follower = self.engine.follow(id);
        let mut seen = 0;
        loop {
            let query = EventQuery::Task { id, after: seen, limit: 500 };
            for logged in self.engine.events(query).await.unwrap() {
                seen = logged.entry.seq;
                if logged.entry.data.kind() == kind {
                    return self.engine.task(id).await.unwrap().unwrap();
                }
            }
            let patience = Duration::from_secs(20);
            let heard = tokio::time::timeout(patience, follower.after(seen)).await;
            heard.unwrap_or_else(|_| panic!("no {kind:?} after event {seen}"));
        }
    }

    pub(crate) async fn kinds(&self, id: TaskId) -> Vec<EventKind> {
        let query = EventQuery::Task { id, after: 0, limit: 500 };
        let events = self.engine.events(query).await.unwrap();
        events.into_iter().map(|logged| logged.entry.data.kind()).collect()
    }

    pub(crate) async fn result(&self, id: TaskId) -> Bytes {
        let body = self.engine.body(id, BodyKind::Result).await.unwrap().expect("a result");
        body.bytes(1 << 20).await.unwrap()
    }

    /// Leases one task of the queue `work`.
    pub(crate) async fn lease(&self, wait: Duration) -> Vec<Claimed> {
        self.engine.lease(&tenant(), &queue("work"), "w", 1, wait).await.unwrap()
    }

    /// Slots in use over all queues.
    pub(crate) async fn leases(&self) -> u64 {
        self.engine.queues(Queues::All).await.unwrap().iter().map(|stats| stats.leases).sum()
    }
}

/// A task for workers of the queue `work`.
pub(crate) fn for_workers() -> Submission {
    Submission {
        tenant: tenant(),
        purpose: Purpose::Client,
        queue: queue("work"),
        lane: None,
        priority: Priority::default(),
        labels: Vec::new(),
        runner: Runner::Workers,
        run_at: None,
        deadline: None,
        retention: None,
        content_type: Some("application/json".to_owned()),
        head: RequestHead {
            method: "POST".to_owned(),
            target: "/".to_owned(),
            ..RequestHead::default()
        },
        request: None,
        input: Data::Inline(Bytes::from_static(b"{}")),
        secrets: Vec::new(),
        checkpoint: None,
        idempotency: None,
        context: Context {
            calling: None,
            presented: Presented {
                called_as: "http://relais.test".to_owned(),
                called_target: "/".to_owned(),
            },
            sight: Sight { access: Access::Ticket, grants: Grants::default() },
        },
        source: None,
        grace: None,
        webhook: None,
        is_attended: false,
    }
}

/// A request for an upstream.
pub(crate) fn for_upstream(upstream: &Upstream, method: &str, repeatable: bool) -> Submission {
    let mut submission = for_workers();
    submission.queue = queue("push");
    submission.runner = Runner::Upstream { origin: upstream.origin.as_str().into(), repeatable };
    submission.head.method = method.to_owned();
    submission.head.target = "/work?x=1".to_owned();
    submission.context.calling = Some(Calling {
        upstream: upstream.origin.clone(),
        host: None,
        idempotency_key: None,
        traceparent: String::new(),
        forwarded: String::new(),
        may_report: false,
    });
    submission
}

/// An upstream whose connections the test answers by hand.
pub(crate) struct Upstream {
    listener: TcpListener,
    pub(crate) origin: String,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        Self { listener, origin }
    }

    /// The next call, read whole.
    pub(crate) async fn next(&self) -> Call {
        let patience = Duration::from_secs(20);
        let accepted = tokio::time::timeout(patience, self.listener.accept()).await;
        let (stream, _) = accepted.expect("a call was expected").unwrap();
        Call::read(stream).await
    }

    /// Answers the next call and closes its connection.
    pub(crate) async fn answer(&self, status_line: &str, fields: &str, body: &str) -> Call {
        let mut call = self.next().await;
        let text = format!(
            "HTTP/1.1 {status_line}\r\nContent-Length: {}\r\nConnection: close\r\n{fields}\r\n{body}",
            body.len()
        );
        call.stream.write_all(text.as_bytes()).await.unwrap();
        call
    }
}

/// A call that an upstream got.
pub(crate) struct Call {
    pub(crate) stream: TcpStream,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Call {
    /// Reads the next call of a connection.
    async fn read(mut stream: TcpStream) -> Self {
        let mut raw = Vec::new();
        let head_end = loop {
            if let Some(end) = raw.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            assert!(stream.read_buf(&mut raw).await.unwrap() > 0, "the call broke off");
        };
        let head = String::from_utf8(raw[..head_end].to_vec()).unwrap();
        let length = field(&head, "content-length").map_or(0, |text| text.parse().unwrap());
        while raw.len() < head_end + length {
            assert!(stream.read_buf(&mut raw).await.unwrap() > 0, "the call broke off");
        }
        Self { stream, head, body: raw.split_off(head_end) }
    }

    /// Answers, and keeps the connection for the next call.
    pub(crate) async fn answer_and_stay(&mut self, fields: &str, body: &str) {
        let len = body.len();
        let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n{fields}\r\n{body}");
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// The next call on the same connection.
    pub(crate) async fn next(self) -> Self {
        let patience = Duration::from_secs(20);
        let read = tokio::time::timeout(patience, Self::read(self.stream)).await;
        read.expect("a call on the same connection was expected")
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }

    /// Waits until the caller hangs up.
    pub(crate) async fn until_closed(&mut self) {
        let mut rest = Vec::new();
        let read = self.stream.read_to_end(&mut rest);
        let closed = tokio::time::timeout(Duration::from_secs(20), read).await;
        drop(closed.expect("the caller should have hung up"));
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// A configuration with one handler.
pub(crate) fn with_handler(handler: Arc<dyn relais_engine::Handler>) -> Config {
    let handlers = HashMap::from([(queue("inline"), handler)]);
    Config { template: Some(policy()), handlers, ..Config::default() }
}
