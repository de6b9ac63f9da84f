//! Endpoints with defaults, and what waits for them.

use relais_core::webhook::{MadeIn, Secret};
use relais_core::{
    DeliveryId, Endpoint, EndpointId, EndpointOp, EventKind, Filter as Taken, OwnWebhook, Purpose,
    Runner, Standing, Topic, Topics,
};

use super::super::fixture::*;
use super::super::world::World;
use crate::*;

/// An endpoint of the tenant `default` that takes all that is told of tasks.
#[must_use]
pub fn endpoint(number: u64) -> Endpoint {
    let topics = Topic::all().filter(|topic| topic.is_of_task()).collect();
    Endpoint {
        id: EndpointId::kept(number),
        tenant: tenant("default"),
        made_in: MadeIn::Api,
        url: format!("https://example.com/{number}"),
        description: None,
        filter: Taken { topics, queues: Vec::new() },
        secrets: vec![Secret { sealed: "sealed".into(), until: None }],
        created_at: at(0),
        updated_at: at(0),
        standing: Standing::SOUND,
        dropped: Vec::new(),
    }
}

pub(in crate::conformance) fn taking(number: u64, topics: &[Topic]) -> Endpoint {
    let filter = Taken { topics: topics.iter().copied().collect(), queues: Vec::new() };
    Endpoint { filter, ..endpoint(number) }
}

pub(super) const ENDED: Topic = Topic::Task(EventKind::Succeeded);
pub(super) const ACCEPTED: Topic = Topic::Task(EventKind::Accepted);

pub(in crate::conformance) fn changing(id: EndpointId, op: EndpointOp, now: i64) -> Commit {
    Commit::Endpoint(Box::new(EndpointOf { id, tenant: None, op, now: at(now) }))
}

pub(in crate::conformance) async fn change(
    world: &World,
    id: EndpointId,
    op: EndpointOp,
    now: i64,
) -> EndpointDone {
    let changed = world.commit(changing(id, op, now)).await;
    let Ok(Committed::Endpoint(done)) = changed else { panic!("not changed: {changed:?}") };
    *done
}

/// It comes into being.
pub async fn create(world: &World, endpoint: Endpoint) -> EndpointId {
    let id = endpoint.id;
    change(world, id, EndpointOp::Create(Box::new(endpoint)), 0).await;
    id
}

pub(in crate::conformance) async fn row(world: &World, id: EndpointId) -> EndpointRow {
    let rows = world.other.endpoints(Endpoints::One(id)).await.expect("the store works");
    rows.into_iter().next().expect("it is there")
}

pub(in crate::conformance) async fn waiting(world: &World, id: EndpointId) -> u64 {
    let next = world.store.next_deliveries(id, usize::MAX).await.expect("the store works");
    let waiting = next.map_or(0, |next| next.places.len() as u64);
    if !id.is_own() {
        assert_eq!(row(world, id).await.waiting, waiting, "the count is right");
    }
    waiting
}

pub(in crate::conformance) async fn to(world: &World, endpoint: EndpointId) -> Vec<Delivery> {
    let all = Deliveries::To { endpoint, before: None, limit: 1_000 };
    let mut told = world.other.deliveries(all).await.expect("the store works");
    told.reverse();
    told
}

/// What an endpoint is told, in order, in a word each.
pub(in crate::conformance) async fn words(world: &World, endpoint: EndpointId) -> Vec<String> {
    let word = |delivery: Delivery| match delivery.told {
        Some(Told::Entry(entry)) => entry.data.kind().as_str().to_owned(),
        Some(Told::News(news)) => format!("{news:?}"),
        None => "nothing".to_owned(),
    };
    to(world, endpoint).await.into_iter().map(word).collect()
}

/// The internal task of a delivery.
pub(in crate::conformance) fn delivery(id: DeliveryId) -> TaskBuilder {
    let task = task().purpose(Purpose::Internal).queue("webhooks").runner(Runner::Delivery);
    task.lane(&id.endpoint.to_string()).id(id.task())
}

pub(in crate::conformance) fn making(id: DeliveryId) -> Commit {
    Commit::Accept(Box::new(delivery(id).build(id.task())))
}

pub(in crate::conformance) async fn make(world: &World, id: DeliveryId) {
    let made = world.commit(making(id)).await;
    assert!(matches!(made, Ok(Committed::Accepted { .. })), "{made:?}");
}

pub(in crate::conformance) fn of_deliveries() -> Ask {
    from("webhooks").purpose(Purpose::Internal).run_by(&Runner::Delivery)
}

/// The first delivery to an endpoint, made into a task and taken to its end.
pub(in crate::conformance) async fn deliver(world: &World, endpoint: EndpointId) -> DeliveryId {
    let next = world.store.next_deliveries(endpoint, 1).await.expect("the store works");
    let id = DeliveryId { endpoint, pos: next.expect("something waits").places[0] };
    make(world, id).await;
    assert_eq!(world.run(&of_deliveries()).await, id.task());
    id
}

pub(in crate::conformance) fn own(hash: u64) -> OwnWebhook {
    let url = "https://example.com/own".to_owned();
    OwnWebhook { endpoint: EndpointId::own(hash), url, topics: Topics::default() }
}
