//! Internal tasks: stored and run like all others, and apart from those of clients.

use relais_core::{Command, Purpose, Status};

use super::fixture::*;
use super::world::World;
use crate::*;

fn internal() -> TaskBuilder {
    task().purpose(Purpose::Internal)
}

/// What the tenant `default` is shown.
fn shown() -> Filter {
    Filter { tenant: Some(tenant("default")), limit: 10, ..Filter::default() }
}

/// No list, count or log of a tenant has an internal task, and no step of its clients finds one. The
/// engine finds it by its id, and among all.
pub async fn an_internal_task_is_in_no_list_count_or_log(world: World) {
    let label = ("k".to_owned(), "v".to_owned());
    let alone = world.accept(internal().queue("own").label("k", "v")).await;
    let hidden = world.accept(internal().label("k", "v")).await;
    let plain = world.accept(task().label("k", "v")).await;
    world.start_one(&from("mail").limit(1).purpose(Purpose::Internal)).await;
    let listed = async |filter| {
        let page = world.store.list(filter).await.expect("the store works");
        page.tasks.iter().map(|task| task.spec.id).collect::<Vec<_>>()
    };
    assert_eq!(listed(shown()).await, [plain]);
    assert_eq!(listed(Filter { label: Some(label.clone()), ..shown() }).await, [plain]);
    for status in Status::ALL {
        let is_queued = status == Status::Queued;
        let filter = Filter { status: Some(status), queue: Some(queue("mail")), ..shown() };
        assert_eq!(listed(filter).await.len(), usize::from(is_queued), "{status:?}");
    }
    let running = Filter { tenant: None, status: Some(Status::Running), ..shown() };
    assert_eq!(listed(running).await, [hidden], "the engine finds it");

    let stats = world.stats("mail", 0).await;
    assert_eq!((stats.live(), stats.scheduled, stats.leases), (1, 0, 0));
    let of = Queues::Of { tenant: tenant("default"), after: None, limit: 9 };
    for which in [Queues::All, of] {
        let queues = world.store.queues(which).await.expect("the store works");
        assert_eq!(queues, std::slice::from_ref(&stats));
    }
    let figures = world.store.figures().await.expect("the store works");
    assert_eq!(figures.waiting.len(), 1, "{:?}", figures.waiting);

    let told = async |tasks: Vec<_>, label| {
        let tenant = tenant("default");
        let query = EventQuery::Store { tenant, tasks, label, after: 0, limit: 10 };
        let events = world.store.events(query).await.expect("the store works");
        events.iter().map(|logged| logged.entry.task).collect::<Vec<_>>()
    };
    assert_eq!(told(Vec::new(), None).await, [plain]);
    assert_eq!(told(Vec::new(), Some(label)).await, [plain]);
    assert_eq!(told(vec![alone, plain], None).await, [plain]);

    let cancel = World::stepping(alone, Command::Cancel, 1);
    let of_tenant = StepOf { tenant: Some(tenant("default")), ..cancel };
    assert_eq!(world.try_step_of(of_tenant).await.err(), Some(Rejected::NotFound));
    world.step(alone, Command::Cancel, 1).await;
    assert_eq!(world.read(alone).await.life.status(), Status::Canceled);
    assert!(listed(Filter { status: Some(Status::Canceled), ..shown() }).await.is_empty());
}

/// Internal tasks take nothing of what a queue, a tenant or a source may hold.
pub async fn an_internal_task_takes_no_capacity(world: World) {
    world.accept_many(3, &internal()).await;
    let one = || task().queue_capacity(1).tenant_capacity(1);
    let only = world.accept(one()).await;
    let full = async || world.try_accept(one()).await.err();
    assert_eq!(full().await, Some(Rejected::QueueFull));
    world.accept(internal()).await;
    world.step(only, Command::Cancel, 1).await;
    world.accept(one().queue("other")).await;
    assert_eq!(full().await, Some(Rejected::TenantFull));
}

/// In a queue of the same name internal tasks have slots, places and lanes of their own, and a claim
/// of one purpose never starts a task of the other.
pub async fn internal_tasks_wait_apart(world: World) {
    let hidden = world.accept_many(2, &internal().lane("a")).await;
    let accept = task().lane("a").build(world.id());
    let plain = accept.task.spec.id;
    let taken = world.commit(Commit::Accept(Box::new(accept))).await;
    let Ok(Committed::Accepted { place, .. }) = taken else { panic!("{taken:?}") };
    assert_eq!(place, Place::default(), "nobody is before it");
    let pools = world.store.pools(Some((tenant("default"), queue("mail")))).await;
    let mut purposes: Vec<_> = pools.expect("it works").iter().map(|pool| pool.purpose).collect();
    purposes.sort();
    assert_eq!(purposes, [Purpose::Client, Purpose::Internal]);
    let one_at_a_time = relais_core::Policy { concurrency: Some(1), ..policy() };
    let clients = from("mail").policy(&one_at_a_time);
    let own = clients.clone().purpose(Purpose::Internal);
    let (first, nonce) = world.start_one(&own).await;
    assert_eq!((first, world.started(&clients).await), (hidden[0], vec![plain]));
    assert!(world.started(&own).await.is_empty() && world.started(&clients).await.is_empty());
    world.set("mail", QueueChange::Pause).await;
    world.step(hidden[0], Command::succeed(nonce), 1).await;
    assert_eq!(world.started(&own).await, [hidden[1]], "the pause is that of the clients' queue");
}
