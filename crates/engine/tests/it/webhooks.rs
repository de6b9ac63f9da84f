//! Webhooks: each delivery is made once, tried until it arrives, and bounded by its endpoint alone.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use relais_api::Exchange;
use relais_core::limits::{NODE_ALIVE_FOR, NODE_BEAT_EVERY};
use relais_core::webhook::{MadeIn, Secret};
use relais_core::{
    Command, DeliveryId, Endpoint, EndpointId, EndpointOp, EventData, EventKind, Filter, Guard,
    Standing, State, Status, Task, Topic,
};
use relais_engine::seal::SealKey;
use relais_engine::{Config, LOOK_EVERY};
use relais_store::{
    Commit, Deliveries, Delivery, Endpoints, EventQuery, MemoryStore, StepOf, Store,
};

use crate::receiver::{Answer, FAILED, Message, Receiver, TAKEN};
use crate::world::{World, for_workers, policy, tenant};

const DAY: Duration = Duration::from_secs(24 * 3_600);
const SECRET: &[u8] = b"a secret of an endpoint";

fn config() -> Config {
    let seal_key = Some(SealKey::new([7; 32]));
    let outward = Guard::new(vec!["127.0.0.1".parse().unwrap()]);
    Config { template: Some(policy()), seal_key, outward, ..Config::default() }
}

async fn new_world() -> World {
    World::with(config()).await
}

async fn node(store: &Arc<dyn Store>, seed: u64) -> World {
    World::on(store.clone(), config(), seed).await
}

/// An endpoint of the tenant, told how tasks end and what becomes of other endpoints.
async fn subscribe(world: &World, url: &str) -> EndpointId {
    let id = world.engine.draw_endpoint();
    let sealed = world.engine.seal_for(id, SECRET).unwrap();
    let endpoint = Endpoint {
        id,
        tenant: tenant(),
        made_in: MadeIn::Api,
        url: url.to_owned(),
        description: None,
        filter: Filter::default(),
        secrets: vec![Secret { sealed, until: None }],
        created_at: world.engine.now(),
        updated_at: world.engine.now(),
        standing: Standing::SOUND,
        dropped: Vec::new(),
    };
    change(world, id, EndpointOp::Create(Box::new(endpoint))).await;
    id
}

async fn change(world: &World, id: EndpointId, op: EndpointOp) {
    world.engine.change_endpoint(&tenant(), id, op).await.unwrap();
}

/// A task that is over at once.
async fn canceled(world: &World) -> Task {
    let task = world.submit(for_workers()).await;
    world.engine.cancel(&tenant(), task.spec.id).await.unwrap().changed.task
}

async fn standing(world: &World, id: EndpointId) -> Standing {
    let found = world.engine.endpoints(Endpoints::One(id)).await.unwrap();
    found[0].endpoint.standing
}

async fn to(world: &World, endpoint: EndpointId) -> Vec<Delivery> {
    let all = Deliveries::To { endpoint, before: None, limit: 10_000 };
    world.store.deliveries(all).await.unwrap()
}

fn id_of(message: &Message) -> DeliveryId {
    message.id.parse().unwrap()
}

/// The records of the attempts of a delivery that ended so.
async fn records(world: &World, id: DeliveryId) -> Vec<Exchange> {
    let query = EventQuery::Task { id: id.task(), after: 0, limit: 500 };
    let entries = world.engine.events(query).await.unwrap();
    let record = |data: EventData| match data {
        EventData::AttemptFailed { failure, .. } => failure.problem,
        EventData::Succeeded { result, .. } => result,
        _ => None,
    };
    let records = entries.into_iter().filter_map(|logged| record(logged.entry.data));
    records.map(|record| serde_json::from_slice(&record).unwrap()).collect()
}

/// Waits until so many attempts of a delivery have failed.
async fn failed(world: &World, id: DeliveryId, count: u32) {
    until(async || {
        let task = world.engine.task(id.task()).await.unwrap().unwrap();
        task.life.failures >= count && task.life.status() != Status::Running
    })
    .await;
}

/// Waits for what no event tells of a task that is shown to nobody.
async fn until(is_so: impl AsyncFn() -> bool) {
    let waited = async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waited).await.expect("it comes to that");
}

/// Issue 11: two engines over one memory store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_engines_over_one_store_make_each_delivery_once() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let (one, two) = (node(&store, 1).await, node(&store, 2).await);
    let mut receiver = Receiver::taking().await;
    let endpoint = subscribe(&one, &receiver.url).await;
    let mut tasks = BTreeSet::new();
    for count in 0..60 {
        let world = if count % 2 == 0 { &one } else { &two };
        tasks.insert(canceled(world).await.spec.id.to_string());
    }
    let (mut ids, mut told) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..60 {
        let message = receiver.next().await;
        one.until(id_of(&message).task(), EventKind::Succeeded).await;
        assert!(ids.insert(message.id.clone()), "{} came twice", message.id);
        told.insert(message.json()["data"]["task"].as_str().unwrap().to_owned());
    }
    assert_eq!(told, tasks);
    for world in [&one, &two] {
        world.clock.advance(NODE_BEAT_EVERY);
    }
    assert!(receiver.rest().is_empty());
    for delivery in to(&one, endpoint).await {
        let task = one.engine.task(delivery.id.task()).await.unwrap().unwrap();
        assert_eq!((task.life.attempt, task.life.status()), (1, Status::Succeeded));
    }
}

/// A receiver knows a repeat by its id, and an old message by its time.
#[tokio::test]
async fn what_did_not_arrive_is_sent_again_under_its_id() {
    let world = new_world().await;
    let mut receiver = Receiver::start(|number| if number == 0 { FAILED } else { TAKEN }).await;
    let endpoint = subscribe(&world, &receiver.url).await;
    let task = canceled(&world).await;
    let first = receiver.next().await;
    let id = id_of(&first);
    world.until(id.task(), EventKind::AttemptFailed).await;
    assert!(matches!(
        standing(&world, endpoint).await,
        Standing::Active { failing_since: Some(_) }
    ));
    world.clock.advance(Duration::from_secs(5));
    let second = receiver.next().await;
    world.until(id.task(), EventKind::Succeeded).await;
    assert_eq!((&second.id, &second.body), (&first.id, &first.body));
    assert_eq!(second.timestamp, first.timestamp + 5);
    assert!(first.is_signed_by(SECRET) && second.is_signed_by(SECRET));
    assert!(first.signature != second.signature && !first.is_signed_by(b"another"));
    assert_eq!(first.kind(), "task.canceled");
    let data = &first.json()["data"];
    assert_eq!((&data["task"], &data["seq"]), (&task.spec.id.to_string().into(), &2.into()));
    assert_eq!(data["data"]["reason"], "requested");
    assert_eq!(first.path, "/hook?key=secret");
    assert_eq!(standing(&world, endpoint).await, Standing::SOUND);
    let [failed, taken] = &records(&world, id).await[..] else { panic!("two attempts") };
    assert_eq!((failed.status, &failed.body), (Some(500), &None));
    assert_eq!((taken.status, &taken.body), (Some(204), &None));
    assert_eq!(failed.request["webhook-id"], first.id);
    // A query may hold secrets.
    assert!(failed.url.ends_with("/hook?…") && !format!("{failed:?}").contains("key=secret"));
}

/// P74: a redirect is a visible failure, and nobody is sent what was meant for another.
#[tokio::test]
async fn a_redirect_is_a_visible_failure() {
    let world = new_world().await;
    let mut elsewhere = Receiver::taking().await;
    let head =
        format!("HTTP/1.1 307 There\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", elsewhere.url);
    let head: &'static str = head.leak();
    let mut receiver = Receiver::start(move |_| Answer::Say(head)).await;
    subscribe(&world, &receiver.url).await;
    canceled(&world).await;
    let id = id_of(&receiver.next().await);
    let task = world.until(id.task(), EventKind::AttemptFailed).await;
    let failure = &task.life.last_failure.as_ref().unwrap().failure;
    assert_eq!(failure.upstream_status, Some(307));
    assert!(failure.detail.as_ref().unwrap().contains("redirect"), "{failure:?}");
    assert_eq!(records(&world, id).await[0].status, Some(307));
    assert!(elsewhere.rest().is_empty());
}

/// P74: 410 disables, which the others learn; what comes then is kept, and sent when somebody resumes it.
#[tokio::test]
async fn a_receiver_that_is_gone_disables_its_endpoint() {
    let world = new_world().await;
    const GONE: Answer = Answer::Say("HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n");
    let mut gone = Receiver::start(|number| if number == 0 { GONE } else { TAKEN }).await;
    let mut other = Receiver::taking().await;
    let endpoint = subscribe(&world, &gone.url).await;
    subscribe(&world, &other.url).await;
    canceled(&world).await;
    let id = id_of(&gone.next().await);
    world.until(id.task(), EventKind::Failed).await;
    let mut kinds = [other.next().await, other.next().await];
    kinds.sort_by_key(Message::kind);
    assert_eq!(kinds.each_ref().map(Message::kind), ["task.canceled", "webhook.disabled"]);
    assert_eq!(kinds[1].json()["data"]["webhook"], endpoint.to_string());
    assert!(matches!(standing(&world, endpoint).await, Standing::Disabled { .. }));
    let later = canceled(&world).await;
    assert_eq!(other.next().await.kind(), "task.canceled");
    assert!(gone.rest().is_empty());
    change(&world, endpoint, EndpointOp::Resume).await;
    let message = gone.next().await;
    assert_eq!(message.json()["data"]["task"], later.spec.id.to_string());
}

/// By time, not by count; the clock of the machine has nothing to do with it.
#[tokio::test]
async fn an_endpoint_that_fails_for_a_day_is_held() {
    let world = new_world().await;
    let mut failing = Receiver::start(|_| FAILED).await;
    let mut other = Receiver::taking().await;
    let endpoint = subscribe(&world, &failing.url).await;
    subscribe(&world, &other.url).await;
    canceled(&world).await;
    let first = id_of(&failing.next().await);
    other.next().await;
    world.until(first.task(), EventKind::AttemptFailed).await;
    // What waits for a moment is tried at once.
    world.clock.set_by(25 * 3_600_000);
    world.clock.advance(LOOK_EVERY);
    failed(&world, first, 2).await;
    let active = standing(&world, endpoint).await;
    assert!(active.is_active(), "the clock was set by more than a day: {active:?}");
    world.clock.advance(DAY);
    failed(&world, first, 3).await;
    let held = other.next().await;
    assert_eq!(held.kind(), "webhook.held");
    assert_eq!(held.json()["data"]["webhook"], endpoint.to_string());
    assert!(held.json()["data"]["failing_since"].is_string(), "{held:?}");
    assert!(matches!(standing(&world, endpoint).await, Standing::Held { .. }));
    // What was made for it, and is tried in vain, waits with the others again.
    world.clock.advance(Duration::from_secs(11 * 3_600));
    until(async || world.engine.task(first.task()).await.unwrap().is_none()).await;
    assert!(to(&world, endpoint).await.iter().all(|delivery| delivery.is_waiting));
}

/// A receiver that hangs takes its time and nobody else's.
#[tokio::test]
async fn a_receiver_that_hangs_is_given_twenty_seconds_and_delays_no_other() {
    let world = new_world().await;
    let mut hangs = Receiver::start(|_| Answer::Hang).await;
    let mut other = Receiver::taking().await;
    subscribe(&world, &hangs.url).await;
    subscribe(&world, &other.url).await;
    for _ in 0..50 {
        canceled(&world).await;
    }
    for _ in 0..50 {
        other.next().await;
    }
    let id = id_of(&hangs.next().await);
    world.clock.advance(Duration::from_secs(20));
    world.until(id.task(), EventKind::AttemptFailed).await;
    let record = records(&world, id).await.remove(0);
    assert_eq!(record.error.as_deref(), Some("no answer came in time"));
    assert_eq!((record.status, record.took.as_ms()), (None, 20_000));
}

/// A thousand wait for a dead endpoint: a few were tried, and now and then one is.
#[tokio::test]
async fn what_waits_for_a_dead_endpoint_costs_nothing() {
    let world = new_world().await;
    let mut dead = Receiver::start(|_| Answer::Reset).await;
    let endpoint = subscribe(&world, &dead.url).await;
    canceled(&world).await;
    let first = id_of(&dead.next().await);
    world.until(first.task(), EventKind::AttemptFailed).await;
    for _ in 0..1_000 {
        canceled(&world).await;
    }
    assert_eq!(to(&world, endpoint).await.iter().filter(|it| !it.is_waiting).count(), 1);
    world.clock.advance(Duration::from_secs(5));
    let mut seen = BTreeSet::new();
    while seen.len() < 2 {
        seen.insert(dead.next().await.id);
    }
    assert!(to(&world, endpoint).await.iter().filter(|it| !it.is_waiting).count() <= 2);
}

/// 200 and then a gigabyte: it was taken, and nobody reads it.
#[tokio::test]
async fn an_answer_without_end_is_an_answer() {
    let world = new_world().await;
    const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n";
    let mut receiver = Receiver::start(|_| Answer::Flood(HEAD)).await;
    subscribe(&world, &receiver.url).await;
    canceled(&world).await;
    let id = id_of(&receiver.next().await);
    world.until(id.task(), EventKind::Succeeded).await;
    assert_eq!(records(&world, id).await[0].status, Some(200));
}

/// kill -9 between the event and its delivery: the row says what is owed.
#[tokio::test]
async fn what_was_owed_before_a_start_is_delivered_after_it() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let before = node(&store, 1).await;
    let mut receiver = Receiver::taking().await;
    let endpoint = subscribe(&before, &receiver.url).await;
    let task = before.submit(for_workers()).await;
    before.engine.drain().await;
    // Stored, and nobody acted on it.
    let step = StepOf {
        id: task.spec.id,
        tenant: None,
        command: Command::Cancel,
        policy: Arc::default(),
        bodies: Vec::new(),
        now: before.engine.now(),
    };
    store.commit(vec![Commit::Step(Box::new(step))]).await.unwrap().remove(0).unwrap();
    assert_eq!(to(&before, endpoint).await.len(), 1);
    let after = node(&store, 2).await;
    let message = receiver.next().await;
    assert_eq!(message.json()["data"]["task"], task.spec.id.to_string());
    after.until(id_of(&message).task(), EventKind::Succeeded).await;
}

/// kill -9 between a delivery and its record: it is sent once more, under the same id.
#[tokio::test]
async fn a_delivery_whose_record_is_lost_is_sent_again_under_its_id() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let (dead, alive) = (node(&store, 1).await, node(&store, 2).await);
    let hang_once = |number| if number == 0 { Answer::Hang } else { TAKEN };
    let mut receiver = Receiver::start(hang_once).await;
    subscribe(&dead, &receiver.url).await;
    canceled(&dead).await;
    let first = receiver.next().await;
    alive.clock.advance(NODE_ALIVE_FOR);
    alive.until(id_of(&first).task(), EventKind::AttemptFailed).await;
    alive.clock.advance(Duration::from_secs(5));
    let second = receiver.next().await;
    assert_eq!(second.id, first.id);
    alive.until(id_of(&first).task(), EventKind::Succeeded).await;
}

/// An endpoint that is removed with rows that wait, and one that is on its way.
#[tokio::test]
async fn an_endpoint_that_is_removed_gets_nothing_more() {
    let world = new_world().await;
    let mut receiver = Receiver::start(|_| FAILED).await;
    let endpoint = subscribe(&world, &receiver.url).await;
    for _ in 0..20 {
        canceled(&world).await;
    }
    let id = id_of(&receiver.next().await);
    world.until(id.task(), EventKind::AttemptFailed).await;
    change(&world, endpoint, EndpointOp::Remove).await;
    until(async || world.store.waited_for().await.unwrap().is_empty()).await;
    receiver.rest();
    world.clock.advance(Duration::from_secs(60));
    let task = world.until(id.task(), EventKind::Canceled).await;
    assert!(matches!(task.life.state, State::Canceled { holder: None, .. }), "{task:?}");
    assert!(receiver.rest().iter().all(|message| message.id != id.to_string()));
}

/// In the middle of retries another secret takes over, and for a while both sign.
#[tokio::test]
async fn a_rotation_in_mid_retry_signs_with_both() {
    let world = new_world().await;
    let mut receiver = Receiver::start(|_| FAILED).await;
    let endpoint = subscribe(&world, &receiver.url).await;
    canceled(&world).await;
    let message = receiver.next().await;
    let id = id_of(&message);
    assert!(message.is_signed_by(SECRET) && !message.is_signed_by(b"new"));
    world.until(id.task(), EventKind::AttemptFailed).await;
    let sealed = world.engine.seal_for(endpoint, b"new").unwrap();
    let overlap = Duration::from_secs(60);
    change(&world, endpoint, EndpointOp::Rotate { sealed, overlap }).await;
    world.clock.advance(Duration::from_secs(5));
    let message = receiver.next().await;
    assert!(message.is_signed_by(SECRET) && message.is_signed_by(b"new"));
    failed(&world, id, 2).await;
    world.clock.advance(Duration::from_secs(60));
    let message = receiver.next().await;
    assert!(!message.is_signed_by(SECRET) && message.is_signed_by(b"new"));
    assert_eq!(message.id, id.to_string());
}

/// What somebody wants forgotten is told by its id alone, and nothing of it that had waited.
#[tokio::test]
async fn an_erased_task_is_told_by_its_id_alone() {
    let world = new_world().await;
    let mut receiver = Receiver::taking().await;
    let endpoint = subscribe(&world, &receiver.url).await;
    change(&world, endpoint, EndpointOp::Hold).await;
    let task = canceled(&world).await;
    world.engine.erase(task.spec.id).await.unwrap();
    change(&world, endpoint, EndpointOp::Resume).await;
    let message = receiver.next().await;
    assert_eq!(message.kind(), "task.erased");
    let id = task.spec.id.to_string();
    assert_eq!(message.json()["data"], serde_json::json!({ "task": id }));
    world.until(id_of(&message).task(), EventKind::Succeeded).await;
    assert!(receiver.rest().is_empty());
}

/// A node that holds an endpoint for dead learns at once that another node was told otherwise.
#[tokio::test]
async fn what_one_node_is_told_of_an_endpoint_the_other_goes_by() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let (one, two) = (node(&store, 1).await, node(&store, 2).await);
    let mut receiver = Receiver::start(|number| if number == 0 { FAILED } else { TAKEN }).await;
    let endpoint = subscribe(&one, &receiver.url).await;
    canceled(&one).await;
    let first = id_of(&receiver.next().await);
    one.until(first.task(), EventKind::AttemptFailed).await;
    canceled(&one).await;
    // By the other node, and no time passes.
    change(&two, endpoint, EndpointOp::Resume).await;
    let message = receiver.next().await;
    assert_ne!(message.id, first.to_string());
}

/// P81: what a name leads to is judged when it is dialled; the delivery fails visibly.
#[tokio::test]
async fn an_address_that_is_not_let_through_is_a_visible_failure() {
    let world = World::with(Config { outward: Guard::default(), ..config() }).await;
    let mut receiver = Receiver::taking().await;
    let endpoint = subscribe(&world, &receiver.url).await;
    canceled(&world).await;
    until(async || !standing(&world, endpoint).await.eq(&Standing::SOUND)).await;
    let id = to(&world, endpoint).await[0].id;
    let error = records(&world, id).await.remove(0).error.unwrap();
    assert!(error.contains("not one that callers may have called"), "{error}");
    assert!(receiver.rest().is_empty());
}

/// Nothing is told of what Relais does for itself.
#[tokio::test]
async fn a_delivery_is_delivered_to_nobody() {
    let world = new_world().await;
    let mut receiver = Receiver::taking().await;
    let endpoint = subscribe(&world, &receiver.url).await;
    let filter = Filter { topics: Topic::all().collect(), queues: Vec::new() };
    let all = EndpointOp::Change(relais_core::EndpointChange {
        filter: Some(filter),
        ..relais_core::EndpointChange::default()
    });
    change(&world, endpoint, all).await;
    canceled(&world).await;
    for kind in ["task.accepted", "task.canceled"] {
        let message = receiver.next().await;
        assert_eq!(message.kind(), kind);
        world.until(id_of(&message).task(), EventKind::Succeeded).await;
    }
    assert!(receiver.rest().is_empty());
}
