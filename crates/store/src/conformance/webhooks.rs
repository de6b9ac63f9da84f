//! Endpoints of webhooks: what waits for them is written with what it tells, and becomes a task once.

pub mod setting;

use std::sync::Arc;

use relais_core::{
    Command, DeliveryId, Endpoint, EndpointChange, EndpointId, EndpointOp, EventData, EventKind,
    Filter as Taken, Heard, News, OwnWebhook, Progress, Purpose, Reply, Status, TaskId, Topic,
    limits,
};

use super::fixture::*;
use super::world::World;
use crate::*;
use setting::*;

pub async fn nobody_who_subscribed_is_nothing_written(world: World) {
    create(&world, Endpoint { tenant: tenant("other"), ..endpoint(1) }).await;
    let accepted = world.commit(world.accepting(task())).await;
    let Ok(Committed::Accepted { changed, .. }) = accepted else { panic!("{accepted:?}") };
    assert!(changed.told.is_empty());
    let of = Deliveries::Of { task: changed.task.spec.id, before: None, limit: 9 };
    assert!(world.store.deliveries(of).await.expect("the store works").is_empty());
    assert!(world.store.waited_for().await.expect("the store works").is_empty());
}

/// Filters of kind and queue, and tenants, are kept apart; internal tasks are told of to nobody.
pub async fn an_entry_waits_for_each_endpoint_that_takes_it(world: World) {
    let all = create(&world, endpoint(1)).await;
    let accepted = create(&world, taking(2, &[ACCEPTED])).await;
    let of_queue = |number, name| {
        let filter = Taken { queues: vec![queue(name)], ..endpoint(number).filter };
        Endpoint { filter, ..endpoint(number) }
    };
    let mail = create(&world, of_queue(3, "mail")).await;
    let other_queue = create(&world, of_queue(4, "imports")).await;
    let other = create(&world, Endpoint { tenant: tenant("other"), ..endpoint(5) }).await;
    let id = world.accept(task()).await;
    world.accept(task().purpose(Purpose::Internal)).await;
    world.step(id, Command::Cancel, 1).await;
    for (endpoint, expected) in [
        (all, &["accepted", "canceled"][..]),
        (accepted, &["accepted"]),
        (mail, &["accepted", "canceled"]),
        (other_queue, &[]),
        (other, &[]),
    ] {
        assert_eq!(words(&world, endpoint).await, expected, "{endpoint}");
        assert_eq!(waiting(&world, endpoint).await, expected.len() as u64);
    }
    let waited_for = world.other.waited_for().await.expect("the store works");
    assert_eq!(waited_for, [all, accepted, mail]);
}

/// Whatever appends an entry says for whom a delivery waits since.
pub async fn a_claim_and_a_settle_are_told_in_the_same_commit(world: World) {
    let all = create(&world, endpoint(1)).await;
    let ended = create(&world, taking(2, &[ENDED])).await;
    let id = world.accept(task()).await;
    let claims = world.claim(&from("mail")).await;
    assert_eq!(claims.started[0].changed.told, [all]);
    let step = world.step(id, Command::succeed(claims.started[0].nonce), 2).await;
    assert_eq!(step.changed.told, [all, ended]);
    let told = to(&world, ended).await;
    let [Delivery { told: Some(Told::Entry(entry)), is_waiting: true, .. }] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!((told[0].id.pos, told[0].at, entry.task), (step.changed.pos, at(2), id));
    // A heartbeat appends nothing.
    let other = world.accept(task()).await;
    let (_, nonce) = world.start_one(&from("mail")).await;
    assert!(world.step(other, heartbeat(nonce, 90), 3).await.changed.told.is_empty());
}

pub async fn a_tasks_own_webhook_is_told_of_it_alone(world: World) {
    let id = world.accept(task().webhook(own(7))).await;
    let plain = world.accept(task()).await;
    for id in [id, plain] {
        world.step(id, Command::Cancel, 1).await;
    }
    let told = to(&world, own(7).endpoint).await;
    assert_eq!(words(&world, own(7).endpoint).await, ["canceled"]);
    assert_eq!((&told[0].own, &told[0].tenant), (&Some(own(7)), &tenant("default")));
    let next = world.store.next_deliveries(own(7).endpoint, 9).await.expect("the store works");
    let next = next.expect("it waits");
    assert_eq!(
        (next.tenant, next.since, next.places),
        (tenant("default"), at(1), vec![told[0].id.pos])
    );
    assert_eq!(deliver(&world, own(7).endpoint).await, told[0].id);
}

/// Two nodes that make the same delivery make one task.
pub async fn a_delivery_becomes_a_task_once(world: World) {
    let all = create(&world, endpoint(1)).await;
    let count = 40;
    for _ in 0..count {
        world.accept(task()).await;
    }
    let places = |store: &Arc<dyn Store>| {
        let store = store.clone();
        async move { store.next_deliveries(all, 1_000).await.expect("it works").expect("many wait") }
    };
    let (here, there) = (places(&world.store).await, places(&world.other).await);
    assert_eq!((here.places.len(), &here), (count, &there));
    let send = |store: &Arc<dyn Store>| {
        let ids = here.places.iter().map(|pos| DeliveryId { endpoint: all, pos: *pos });
        let (store, commits) = (store.clone(), ids.map(making).collect());
        tokio::spawn(async move { store.commit(commits).await.expect("the store works") })
    };
    let (one, two) = (send(&world.store), send(&world.other));
    let (mut made, mut attached) = (0, 0);
    for answer in one.await.expect("no panic").into_iter().chain(two.await.expect("no panic")) {
        match answer {
            Ok(Committed::Accepted { .. }) => made += 1,
            Ok(Committed::Attached { same: true, exists: true, .. }) => attached += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((made, attached, waiting(&world, all).await), (count, count, 0));
    let started = world.claim(&of_deliveries().limit(1_000)).await.started;
    assert_eq!(started.len(), count);
    assert!(started.iter().all(|claimed| claimed.bodies.iter().all(|(_, body)| body.len == 5)));
    let nothing = DeliveryId { endpoint: all, pos: 999_999 };
    assert_eq!(world.commit(making(nothing)).await.err(), Some(Rejected::NotWaiting));
}

pub async fn what_waits_for_an_endpoint_that_is_held_waits_on(world: World) {
    let all = create(&world, endpoint(1)).await;
    world.accept(task()).await;
    let held = change(&world, all, EndpointOp::Hold, 5).await;
    assert_eq!(held.step.endpoint.map(|it| it.standing.is_active()), Some(false));
    let id = to(&world, all).await[0].id;
    assert_eq!(world.commit(making(id)).await.err(), Some(Rejected::NotWaiting));
    world.accept(task()).await;
    assert_eq!(waiting(&world, all).await, 2, "what comes is kept");
    let resumed = change(&world, all, EndpointOp::Resume, 6).await;
    assert_eq!(resumed.told, [all]);
    deliver(&world, all).await;
    let of_other =
        EndpointOf { id: all, tenant: Some(tenant("other")), op: EndpointOp::Hold, now: at(7) };
    let refused = world.commit(Commit::Endpoint(Box::new(of_other))).await.err();
    assert!(matches!(refused, Some(Rejected::NoSuchEndpoint(_))), "{refused:?}");
    let description = Some(Some("ours".to_owned()));
    let op = EndpointOp::Change(EndpointChange { description, ..EndpointChange::default() });
    change(&world, all, op, 8).await;
    let kept = row(&world, all).await.endpoint;
    assert_eq!((kept.description.as_deref(), kept.updated_at), (Some("ours"), at(8)));
}

pub async fn what_becomes_of_an_endpoint_is_told_to_the_others(world: World) {
    let [one, two, three] = [1, 2, 3].map(|number| {
        let filter = Taken { queues: vec![queue("nothing")], ..Taken::default() };
        Endpoint { filter, ..endpoint(number) }
    });
    let deaf = Endpoint { filter: taking(4, &[ENDED]).filter, ..endpoint(4) };
    let other = Endpoint { tenant: tenant("other"), ..endpoint(5) };
    for endpoint in [&one, &two, &three, &deaf, &other] {
        create(&world, endpoint.clone()).await;
    }
    let gone = EndpointOp::Heard { heard: Heard::Gone, hold_after: ms(10) };
    let done = change(&world, one.id, gone, 5).await;
    assert_eq!(done.told, [two.id, three.id]);
    let news = format!("{:?}", News::Disabled { endpoint: one.id });
    for (endpoint, expected) in [(&one, 0), (&two, 1), (&three, 1), (&deaf, 0), (&other, 0)] {
        assert_eq!(words(&world, endpoint.id).await, vec![news.clone(); expected]);
    }
    // It has a place that no entry has, and one that comes later has a later one.
    let pos = to(&world, two.id).await[0].id.pos;
    let accepted = world.commit(world.accepting(task())).await;
    let Ok(Committed::Accepted { changed, .. }) = accepted else { panic!("{accepted:?}") };
    assert!(pos < changed.pos);
    deliver(&world, three.id).await;
}

/// A task that was delivered, one whose delivery runs, and one that waits: an erasure leaves the one word.
pub async fn an_erased_task_has_nothing_more_to_tell_than_that(world: World) {
    let all = create(&world, taking(1, &[ACCEPTED, ENDED, Topic::Erased])).await;
    let own = OwnWebhook { topics: [ACCEPTED, Topic::Erased].into_iter().collect(), ..own(7) };
    let id = world.accept(task().webhook(own.clone())).await;
    let done = deliver(&world, all).await;
    let (_, nonce) = world.start_one(&from("mail")).await;
    world.step(id, Command::succeed(nonce), 1).await;
    let runs = to(&world, all).await[1].id;
    make(&world, runs).await;
    let (started, delivering) = world.start_one(&of_deliveries()).await;
    assert_eq!((started, waiting(&world, own.endpoint).await), (runs.task(), 1));
    let why = Erasure::Asked { now: at(9) };
    let erased = world.commit(Commit::Erase { id, why }).await;
    let Ok(Committed::Erased(_, told)) = erased else { panic!("{erased:?}") };
    assert_eq!(told, [own.endpoint, all]);
    let word = format!("{:?}", News::Erased { task: id });
    let withdrawn = format!("{:?}", News::Withdrawn);
    assert_eq!(words(&world, all).await, [withdrawn, word.clone()]);
    assert_eq!(words(&world, own.endpoint).await, [word]);
    let last = to(&world, own.endpoint).await.remove(0);
    assert_eq!((last.own, last.at), (Some(own), at(9)));
    assert_eq!(world.try_read(done.task()).await, None, "what was answered is forgotten");
    assert_eq!(world.read(runs.task()).await.life.status(), Status::Running);
    let reply = world.step(runs.task(), give_up(delivering), 10).await.reply;
    assert_eq!((reply, waiting(&world, all).await), (Reply::Done, 1));
    deliver(&world, all).await;
}

/// The end of the retention takes nothing away from who waits, but the result; it is no news of its own.
pub async fn what_waits_outlives_the_retention_of_its_task(world: World) {
    let all = create(&world, taking(1, &[ACCEPTED, ENDED])).await;
    let id = world.accept(task().webhook(own(7))).await;
    let (_, nonce) = world.start_one(&from("mail")).await;
    let (result, message, early) = (Some("[1]".into()), Some("{}".into()), None);
    world.step(id, Command::Succeed { nonce, result, message, early }, 1).await;
    make(&world, to(&world, all).await[0].id).await;
    world.start_one(&of_deliveries()).await;
    let expired = world.commit(Commit::Erase { id, why: Erasure::Expired }).await;
    let Ok(Committed::Erased(_, told)) = expired else { panic!("{expired:?}") };
    assert!(told.is_empty());
    let outlived = |delivery: &Delivery| {
        let Some(Told::News(News::Entry { task, seq, data, .. })) = &delivery.told else {
            panic!("{delivery:?}")
        };
        assert_eq!(*task, id);
        (*seq, data.clone())
    };
    let to_all: Vec<_> = to(&world, all).await.iter().map(outlived).collect();
    let ended = EventData::Succeeded { result: None, message: Some("{}".into()) };
    assert_eq!(to_all.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(to_all[1].1, ended);
    let to_own = to(&world, own(7).endpoint).await;
    assert_eq!((outlived(&to_own[0]).1, &to_own[0].own), (ended, &Some(own(7))));
    deliver(&world, own(7).endpoint).await;
    assert_eq!(waiting(&world, all).await, 1);
}

pub async fn an_endpoint_that_is_removed_leaves_what_waited_to_be_dropped(world: World) {
    let all = create(&world, endpoint(1)).await;
    let ids = [world.accept(task()).await, world.accept(task()).await];
    let made = to(&world, all).await[0].id;
    make(&world, made).await;
    let removed = change(&world, all, EndpointOp::Remove, 5).await;
    assert_eq!((removed.step.endpoint, removed.told), (None, vec![all]));
    assert!(world.store.endpoints(Endpoints::All).await.expect("it works").is_empty());
    let waits = to(&world, all).await[1].id;
    assert_eq!(world.commit(making(waits)).await.err(), Some(Rejected::NotWaiting));
    world.step(ids[0], Command::Cancel, 6).await;
    assert_eq!(to(&world, all).await.len(), 2, "nobody is told any more");
    let (until, now) = (relais_core::Timestamp::MAX, at(7));
    let dropped = world.commit(Commit::Drop(DropDeliveries { endpoint: all, until, now })).await;
    assert!(
        matches!(dropped, Ok(Committed::Dropped(1, ref told)) if told.is_empty()),
        "{dropped:?}"
    );
    assert!(world.store.waited_for().await.expect("it works").is_empty());
    assert_eq!(to(&world, all).await.len(), 1, "the one that is a task runs to its end");
    world.run(&of_deliveries()).await;
}

pub async fn what_waited_for_too_long_is_dropped_and_told_of(world: World) {
    let all = create(&world, endpoint(1)).await;
    let watches = create(&world, taking(2, &[Topic::Dropped])).await;
    for created_at in [10, 20, 30] {
        world.accept(task().created_at(created_at)).await;
    }
    let drop = |until| DropDeliveries { endpoint: all, until: at(until), now: at(100) };
    let dropped = world.commit(Commit::Drop(drop(9))).await;
    assert!(matches!(dropped, Ok(Committed::Dropped(0, _))), "{dropped:?}");
    let places: Vec<_> = to(&world, all).await.iter().map(|delivery| delivery.id.pos).collect();
    let dropped = world.commit(Commit::Drop(drop(20))).await;
    let Ok(Committed::Dropped(2, told)) = dropped else { panic!("{dropped:?}") };
    assert_eq!((told, waiting(&world, all).await), (vec![watches], 1));
    let [range] = row(&world, all).await.endpoint.dropped[..] else { panic!("one range") };
    assert_eq!((range.first, range.last, range.count), (places[0], places[1], 2));
    let news = format!("{:?}", News::Dropped { endpoint: all, count: 1 });
    assert_eq!(words(&world, watches).await, [news], "told once in a while");
}

/// A hundred thousand wait, and not one more.
pub async fn beyond_what_may_wait_the_oldest_is_dropped(world: World) {
    let progressed = Topic::Task(EventKind::Progressed);
    let all = create(&world, taking(1, &[progressed])).await;
    let watches = create(&world, taking(2, &[Topic::Dropped])).await;
    let max = limits::DELIVERIES_WAITING_MAX;
    let per_task = 8_000;
    let report = |nonce, done| {
        let progress = Some(Progress { done: Some(done), ..Progress::default() });
        let (until, output, checkpoint) = (at(60_000), None, false);
        Command::Report { nonce, until, progress, output, checkpoint }
    };
    let mut reported = 0;
    while reported < max + 2 {
        let id = world.accept(task()).await;
        let (_, nonce) = world.start_one(&from("mail").limit(1)).await;
        let count = per_task.min(max + 2 - reported);
        let step = |done| Commit::Step(Box::new(World::stepping(id, report(nonce, done), 1)));
        let steps: Vec<_> = (0..count).map(step).collect();
        for part in steps.chunks(1_000) {
            world.commit_all(part.to_vec()).await;
        }
        reported += count;
    }
    assert_eq!(waiting(&world, all).await, max);
    assert_eq!(row(&world, all).await.endpoint.dropped_count(), 2);
    assert_eq!(waiting(&world, watches).await, 1);
}

pub async fn deliveries_are_listed_page_by_page(world: World) {
    let endpoints = [create(&world, endpoint(1)).await, create(&world, endpoint(2)).await];
    let id = world
        .accept(task().webhook(OwnWebhook { topics: [ACCEPTED].into_iter().collect(), ..own(7) }))
        .await;
    world.accept(task()).await;
    world.step(id, Command::Cancel, 1).await;
    let page = async |which| {
        let page = world.other.deliveries(which).await.expect("the store works");
        page.into_iter().map(|delivery| delivery.id).collect::<Vec<_>>()
    };
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let next = page(Deliveries::Of { task: id, before, limit: 2 }).await;
        before = next.last().copied();
        if next.is_empty() {
            break;
        }
        all.extend(next);
    }
    let to_one = page(Deliveries::To { endpoint: endpoints[0], before: None, limit: 2 }).await;
    let [last, second] = to_one[..] else { panic!("{to_one:?}") };
    let rest = Deliveries::To { endpoint: endpoints[0], before: Some(second.pos), limit: 2 };
    let [first] = page(rest).await[..] else { panic!("a page of one") };
    let of = |pos, endpoint| DeliveryId { endpoint, pos };
    let [one, two] = endpoints;
    let (end, begin, own) = (last.pos, first.pos, own(7).endpoint);
    let expected = [of(end, two), of(end, one), of(begin, two), of(begin, one), of(begin, own)];
    assert_eq!(all, expected);
    assert_eq!(page(Deliveries::One(last)).await, [last]);
    let nobody = Deliveries::Of { task: TaskId::from_u128(1), before: None, limit: 9 };
    assert!(page(nobody).await.is_empty());
}

pub async fn a_delivery_is_listed_as_long_as_its_task(world: World) {
    let all = create(&world, endpoint(1)).await;
    world.accept(task()).await;
    let id = deliver(&world, all).await;
    assert!(!to(&world, all).await[0].is_waiting);
    world.commit(Commit::Erase { id: id.task(), why: Erasure::Expired }).await.expect("it is over");
    assert!(to(&world, all).await.is_empty());
    assert_eq!(world.commit(making(id)).await.err(), Some(Rejected::NotWaiting));
}

pub async fn a_tenant_has_a_bounded_number_of_endpoints(world: World) {
    let max = limits::ENDPOINTS_MAX as u64;
    for number in 1..=max {
        create(&world, endpoint(number)).await;
    }
    let creating =
        |endpoint: Endpoint| changing(endpoint.id, EndpointOp::Create(Box::new(endpoint)), 1);
    let full = world.commit(creating(endpoint(max + 1))).await.err();
    assert_eq!(full, Some(Rejected::EndpointsFull));
    let again = world.commit(creating(endpoint(max))).await;
    assert!(matches!(again, Ok(Committed::Endpoint(_))), "{again:?}");
    world
        .commit(creating(Endpoint { tenant: tenant("other"), ..endpoint(max + 2) }))
        .await
        .expect("another tenant has room");
    let of = Endpoints::Of(tenant("default"));
    assert_eq!(world.store.endpoints(of).await.expect("it works").len() as u64, max);
    assert_eq!(
        world.store.endpoints(Endpoints::All).await.expect("it works").len() as u64,
        max + 1
    );
    change(&world, EndpointId::kept(1), EndpointOp::Remove, 2).await;
    world.commit(creating(endpoint(max + 1))).await.expect("there is room again");
}

/// An endpoint that is held gets back what was made for it, and could not be sent.
pub async fn a_delivery_that_is_let_wait_is_as_before(world: World) {
    let all = create(&world, endpoint(1)).await;
    world.accept(task()).await;
    let before = to(&world, all).await;
    let id = before[0].id;
    let let_wait = async || world.commit(Commit::LetWait(id)).await;
    assert_eq!(let_wait().await.err(), Some(Rejected::NotFound), "it waits");
    make(&world, id).await;
    let (_, nonce) = world.start_one(&of_deliveries()).await;
    assert!(let_wait().await.is_err(), "it runs");
    assert_eq!(waiting(&world, all).await, 0);
    let stop = [Command::Cancel, Command::Free { nonce }];
    let stop = stop.map(|command| Commit::Step(Box::new(World::stepping(id.task(), command, 1))));
    let answers = world.commit_all([&stop[..], &[Commit::LetWait(id)]].concat()).await;
    assert!(matches!(answers[2], Ok(Committed::Put)), "{answers:?}");
    assert_eq!((to(&world, all).await, waiting(&world, all).await), (before, 1));
    assert_eq!(deliver(&world, all).await, id);
}

pub async fn a_delivery_that_arrived_is_made_again_by_hand(world: World) {
    let all = create(&world, endpoint(1)).await;
    let id = world.accept(task()).await;
    let delivered = deliver(&world, all).await;
    let again = world.step(delivered.task(), Command::Retry { from_start: false }, 5).await;
    assert_eq!((again.reply, again.changed.task.life.run), (Reply::Done, 2));
    assert_eq!(world.run(&of_deliveries().at(6)).await, delivered.task());
    let (_, nonce) = world.start_one(&from("mail")).await;
    world.step(id, Command::succeed(nonce), 7).await;
    let retry = World::stepping(id, Command::Retry { from_start: false }, 8);
    let refused = world.try_step_of(retry).await.err();
    assert_eq!(refused, Some(Rejected::Refused(relais_core::Refused::AlreadySucceeded)));
}
