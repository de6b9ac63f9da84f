//! A whole server on real sockets, an upstream that does what the test says, and clients that see
//! every byte. Nothing here waits for time to pass: whatever is waited for is an event.

pub(crate) mod browser;
mod client;
mod gate;
mod upstream;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use relais_core::{Policy, TaskId, Timestamp};
use relais_engine::seal::SealKey;
use relais_engine::{Chance as _, Config, Engine, ManualClock, SeededChance};
use relais_server::config::{Mode, Route, ServerConfig};
use relais_server::{App, Door};
use relais_store::{MemoryStore, SessionCapacity, Store};
use tokio::net::TcpListener;

pub(crate) use client::{Client, Reply, reply_of};
pub(crate) use gate::Gate;
pub(crate) use upstream::{Upstream, UpstreamCall};

/// When tests begin.
pub(crate) const START: Timestamp = Timestamp::from_ms(1_700_000_000_000);
/// Longest time a test waits for what must happen at once: it only bounds tests that fail.
pub(crate) const SOON: Duration = Duration::from_secs(20);
/// More patience than any test has.
pub(crate) const LONG: Duration = Duration::from_secs(50);

/// A server with an upstream behind it.
pub(crate) struct House {
    pub(crate) app: Arc<App>,
    pub(crate) door: Arc<Door>,
    pub(crate) engine: Engine,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) address: SocketAddr,
    /// Where administration is.
    pub(crate) admin: SocketAddr,
    pub(crate) upstream: Upstream,
    pub(crate) serving: tokio::task::JoinHandle<()>,
}

/// What a house is built of.
pub(crate) struct Plan {
    pub(crate) server: ServerConfig,
    pub(crate) policy: Policy,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) upstream: Upstream,
    pub(crate) via: String,
    /// What its chance is drawn from: nodes of one store have others.
    pub(crate) seed: u64,
    pub(crate) session_capacity: SessionCapacity,
}

impl Plan {
    /// One catch-all route in this mode, with much patience.
    pub(crate) async fn with(mode: Mode) -> Self {
        let upstream = Upstream::start().await;
        let [template, _] = Route::everything_to(&upstream.url().parse().unwrap());
        let route = Route {
            methods: Vec::new(),
            mode,
            wait: LONG,
            queue: "work".parse().unwrap(),
            ..template
        };
        let mut server = ServerConfig::on_loopback();
        server.routes = vec![route];
        Self {
            server,
            policy: Policy::default(),
            store: Arc::new(MemoryStore::new()),
            upstream,
            via: "relais-test".to_owned(),
            seed: 7,
            session_capacity: SessionCapacity::default(),
        }
    }

    /// The first route.
    pub(crate) fn route(&mut self) -> &mut Route {
        &mut self.server.routes[0]
    }

    pub(crate) async fn build(self) -> House {
        let clock = Arc::new(ManualClock::at(START));
        let chance = Arc::new(SeededChance::new(self.seed));
        let mut config = Config {
            seal_key: Some(SealKey::new([7; 32])),
            via: self.via,
            template: Some(self.policy),
            session_capacity: self.session_capacity,
            ..Config::default()
        };
        config.drain_for = Duration::from_millis(1);
        assert!(chance.bits() > 0, "the seed draws");
        let engine = Engine::start(config, self.store, clock.clone(), chance).await.unwrap();
        let app = App::new(self.server, engine.clone()).await.unwrap();
        let public = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let admin_listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = public.local_addr().unwrap();
        let admin = admin_listener.local_addr().unwrap();
        let door = Door::new(app.clone()).unwrap();
        let serving = tokio::spawn(relais_server::serve(door.clone(), public, admin_listener));
        House { app, door, engine, clock, address, admin, upstream: self.upstream, serving }
    }
}

impl House {
    /// One catch-all route in this mode.
    pub(crate) async fn with(mode: Mode) -> Self {
        Plan::with(mode).await.build().await
    }

    /// A new connection.
    pub(crate) async fn connect(&self) -> Client {
        Client::connect(self.address).await
    }

    /// Sends one request on a new connection.
    pub(crate) async fn send(&self, request: &str) -> Client {
        let mut client = self.connect().await;
        client.send(request).await;
        client
    }

    /// Sends one request, and reads its whole answer.
    pub(crate) async fn call(&self, request: &str) -> Reply {
        self.send(request).await.reply().await
    }

    /// Resolves when a task is over.
    pub(crate) async fn over(&self, id: TaskId) -> relais_core::Task {
        let mut follower = self.engine.follow(id);
        loop {
            let task = self.engine.task(id).await.unwrap().unwrap();
            if task.life.status().is_terminal() {
                return task;
            }
            tokio::time::timeout(SOON, follower.after(task.life.version)).await.unwrap();
        }
    }

    /// Resolves when the store has a task, which it then answers.
    pub(crate) async fn a_task(&self) -> relais_core::Task {
        let mut changes = self.engine.follow_all();
        loop {
            let filter = relais_store::Filter { limit: 1, ..relais_store::Filter::default() };
            if let Some(task) = self.engine.list(filter).await.unwrap().tasks.pop() {
                return task;
            }
            tokio::time::timeout(SOON, changes.changed()).await.unwrap().unwrap();
        }
    }
}
