//! Lists, logs, counts and places.

use relais_core::lane::free_at;
use relais_core::{Command, EventKind, Policy, Progress, QueueName, Rate, Runner, Status, TaskId};

use super::fixture::*;
use super::world::World;
use crate::*;

/// The ids of all pages of a list, and the number of pages.
async fn listed(world: &World, filter: &Filter) -> Vec<TaskId> {
    let (mut filter, mut ids) = (filter.clone(), Vec::new());
    loop {
        let page = world.store.list(filter.clone()).await.expect("the store works");
        assert!(page.tasks.len() <= filter.limit);
        ids.extend(page.tasks.iter().map(|task| task.spec.id));
        match page.next {
            Some(next) => filter.after = Some(next),
            None => return ids,
        }
    }
}

fn all() -> Filter {
    Filter { limit: 3, ..Filter::default() }
}

/// A list goes from the newest to the oldest, page by page, and misses and repeats nothing.
pub async fn a_list_goes_from_the_newest_to_the_oldest(world: World) {
    assert!(listed(&world, &all()).await.is_empty());
    let mut ids = world.accept_many(10, &task()).await;
    ids.reverse();
    for limit in [1, 3, 5, 10, 100] {
        assert_eq!(listed(&world, &Filter { limit, ..all() }).await, ids, "by {limit}");
    }
}

/// A page goes on where the one before it ended, although its last task was erased in between.
pub async fn a_cursor_outlives_its_task(world: World) {
    let ids = world.accept_many(5, &task()).await;
    let page = world.store.list(Filter { limit: 2, ..all() }).await.expect("the store works");
    let next = page.next.expect("more follow");
    assert_eq!(next, ids[3]);
    world.step(next, Command::Cancel, 1).await;
    world.commit(erasing(next)).await.expect("it is terminal");
    world.accept(task()).await;
    let rest = Filter { after: Some(next), ..all() };
    assert_eq!(listed(&world, &rest).await, [ids[2], ids[1], ids[0]]);
}

/// Each member of a filter narrows, alone and with the others.
pub async fn every_filter_narrows(world: World) {
    let plain = world.accept(task()).await;
    let other_queue = world.accept(task().queue("other")).await;
    let in_lane = world.accept(task().lane("a")).await;
    let labeled = world.accept(task().lane("a").label("k", "v").label("k2", "v2")).await;
    let almost = world.accept(task().label("k", "v2").label("k2", "v")).await;
    let theirs = world.accept(task().tenant("other").label("k", "v").lane("a")).await;
    world.step(in_lane, Command::Cancel, 1).await;
    let ours = Filter { tenant: Some(tenant("default")), ..all() };
    let label = |key: &str, value: &str| Some((key.to_owned(), value.to_owned()));
    let cases = [
        (ours.clone(), vec![almost, labeled, in_lane, other_queue, plain]),
        (Filter { tenant: Some(tenant("other")), ..all() }, vec![theirs]),
        (Filter { tenant: Some(tenant("nobody")), ..all() }, vec![]),
        (Filter { queue: Some(queue("other")), ..ours.clone() }, vec![other_queue]),
        (Filter { status: Some(Status::Canceled), ..ours.clone() }, vec![in_lane]),
        (Filter { status: Some(Status::Succeeded), ..ours.clone() }, vec![]),
        (Filter { label: label("k", "v"), ..ours.clone() }, vec![labeled]),
        (Filter { label: label("k2", "v2"), ..all() }, vec![labeled]),
        (Filter { label: label("k", "v"), ..all() }, vec![theirs, labeled]),
        (Filter { lane: Some(lane("a")), ..ours.clone() }, vec![labeled, in_lane]),
        (
            Filter {
                lane: Some(lane("a")),
                status: Some(Status::Queued),
                queue: Some(queue("mail")),
                label: label("k", "v"),
                ..ours.clone()
            },
            vec![labeled],
        ),
    ];
    for (filter, expected) in cases {
        assert_eq!(listed(&world, &filter).await, expected, "{filter:?}");
        let one_by_one = Filter { limit: 1, ..filter.clone() };
        assert_eq!(listed(&world, &one_by_one).await, expected, "{filter:?}");
    }
}

/// A list by status shows all that have it, whatever stands beside them and in however many queues.
pub async fn a_list_by_status_is_whole_among_many_queues_and_many_others(world: World) {
    let names: Vec<String> = (0..70).map(|n| format!("q{n}")).collect();
    let mut ids: [Vec<TaskId>; 4] = Default::default();
    for name in &names {
        let of = || task().queue(name);
        let (canceled, failed) = (world.accept(of()).await, world.accept(of()).await);
        world.step(canceled, Command::Cancel, 1).await;
        let (_, nonce) = world.start_one(&from(name).limit(1)).await;
        world.step(failed, give_up(nonce), 1).await;
        world.accept(of().tenant("other")).await;
        let running = world.accept(of()).await;
        world.start_one(&from(name).limit(1)).await;
        let queued = world.accept(of()).await;
        for (of, id) in ids.iter_mut().zip([canceled, failed, running, queued]) {
            of.insert(0, id);
        }
    }
    let statuses = [Status::Canceled, Status::Failed, Status::Running, Status::Queued];
    for (status, expected) in statuses.into_iter().zip(ids) {
        let tenant = Some(tenant("default"));
        let filter = Filter { tenant, status: Some(status), limit: 9, ..Filter::default() };
        assert_eq!(listed(&world, &filter).await, expected, "{status:?}");
        let filter = Filter { queue: Some(queue("q7")), ..filter };
        assert_eq!(listed(&world, &filter).await, [expected[62]], "{status:?} of one queue");
    }
}

/// P71: a log is read on from any number; the numbers rise and never come twice.
pub async fn a_log_is_read_on_from_any_number(world: World) {
    let id = world.accept(task()).await;
    let (_, nonce) = world.start_one(&from("mail")).await;
    for done in 1..=5 {
        let progress = Some(Progress { done: Some(done), ..Progress::default() });
        let until = at(60_000);
        let report = Command::Report { nonce, until, progress, output: None, checkpoint: false };
        world.step(id, report, i64::try_from(done).expect("small")).await;
    }
    world.step(id, Command::succeed(nonce), 9).await;
    let all = world.log(id).await;
    assert_eq!(all.first().map(|entry| entry.data.kind()), Some(EventKind::Accepted));
    assert_eq!(all.last().map(|entry| entry.data.kind()), Some(EventKind::Succeeded));
    assert_eq!(all.last().map(|entry| entry.seq), Some(8));
    // A `progressed` that a later one follows may be thinned; nothing else may.
    let kept: Vec<u64> = all.iter().map(|entry| entry.seq).collect();
    assert!(kept.is_sorted_by(|a, b| a < b) && [1, 2, 7, 8].iter().all(|seq| kept.contains(seq)));
    for after in 0..=9 {
        for limit in [1, 3, 100] {
            let query = EventQuery::Task { id, after, limit };
            let events = world.store.events(query).await.expect("the store works");
            let expected = all.iter().filter(|entry| entry.seq > after).take(limit);
            assert!(events.iter().map(|logged| &logged.entry).eq(expected), "after {after}");
            assert!(events.is_sorted_by(|a, b| a.pos < b.pos));
        }
    }
    let query = EventQuery::Task { id: world.id(), after: 0, limit: 10 };
    assert!(world.store.events(query).await.expect("the store works").is_empty());
}

/// Reads the store-wide log to its end, a few events at a time.
async fn followed(world: &World, name: &str, tasks: &[TaskId], label: Option<&str>) -> Vec<Logged> {
    let (mut after, mut events) = (0, Vec::new());
    loop {
        let query = EventQuery::Store {
            tenant: tenant(name),
            tasks: tasks.to_vec(),
            label: label.map(|value| ("k".to_owned(), value.to_owned())),
            after,
            limit: 2,
        };
        let page = world.store.events(query).await.expect("the store works");
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { return events };
        after = last.pos;
        events.extend(page);
    }
}

/// The store-wide log shows a tenant its own events in commit order, with the numbers of each task.
pub async fn the_log_of_the_store_shows_a_tenant_its_own(world: World) {
    let mine = world.accept(task().tenant("one").label("k", "v")).await;
    let theirs = world.accept_many(5, &task().tenant("two").label("k", "v")).await;
    let second = world.accept(task().tenant("one").label("k", "w")).await;
    world.step(mine, Command::Cancel, 1).await;
    world.step(theirs[0], Command::Cancel, 1).await;
    world.step(second, Command::Cancel, 2).await;
    let facts = |events: &[Logged]| -> Vec<(TaskId, u64)> {
        assert!(events.is_sorted_by(|a, b| a.pos < b.pos));
        events.iter().map(|logged| (logged.entry.task, logged.entry.seq)).collect()
    };
    let own = followed(&world, "one", &[], None).await;
    assert_eq!(facts(&own), [(mine, 1), (second, 1), (mine, 2), (second, 2)]);
    assert_eq!(followed(&world, "two", &[], None).await.len(), 6);
    assert!(followed(&world, "nobody", &[], None).await.is_empty());
    let of = followed(&world, "one", &[second], None).await;
    assert_eq!(facts(&of), [(second, 1), (second, 2)]);
    let both = followed(&world, "one", &[second, mine, theirs[0]], None).await;
    assert_eq!(both, own, "a task of another tenant shows nothing");
    let labeled = followed(&world, "one", &[], Some("v")).await;
    assert_eq!(facts(&labeled), [(mine, 1), (mine, 2)]);
    assert!(followed(&world, "one", &[second], Some("v")).await.is_empty());
    for logged in own {
        let id = logged.entry.task;
        let query = EventQuery::Task { id, after: logged.entry.seq - 1, limit: 1 };
        assert_eq!(world.store.events(query).await.expect("the store works"), [logged]);
    }
}

/// A few events among thousands of others are found: an empty answer means that nothing follows.
pub async fn events_among_thousands_of_others_are_found(world: World) {
    let rare = world.accept(task().tenant("one").label("k", "v")).await;
    for name in ["one", "two"] {
        let commits = (0..1_500).map(|_| world.accepting(task().tenant(name))).collect();
        world.commit_all(commits).await;
    }
    world.step(rare, Command::Cancel, 1).await;
    assert_eq!(followed(&world, "one", &[], Some("v")).await.len(), 2);
    assert_eq!(followed(&world, "one", &[rare], None).await.len(), 2);
}

/// The counts of a queue are those of its tasks, through a whole life.
pub async fn the_counts_of_a_queue_follow_its_tasks(world: World) {
    world.accept_many(2, &task()).await;
    let later = world.accept(task().run_at(1_000)).await;
    world.accept(task().tenant("other")).await;
    let stats = world.stats("mail", 0).await;
    assert_eq!((stats.counts, stats.scheduled, stats.leases), ([3, 0, 0, 0, 0, 0], 1, 0));
    assert!(!stats.is_paused && stats.policy.is_none());
    let (first, nonce) = world.start_one(&from("mail").limit(1)).await;
    let stats = world.stats("mail", 1).await;
    assert_eq!((stats.counts, stats.scheduled, stats.leases), ([2, 1, 0, 0, 0, 0], 1, 1));
    world.step(first, Command::Defer { nonce, until: at(50_000), callback: 3 }, 2).await;
    let stats = world.stats("mail", 2).await;
    assert_eq!((stats.counts, stats.leases), ([2, 0, 1, 0, 0, 0], 0));
    world.step(first, Command::succeed(3), 3).await;
    world.step(later, Command::Cancel, 4).await;
    let (second, nonce) = world.start_one(&from("mail").limit(1)).await;
    world.step(second, fail(nonce), 5).await;
    let stats = world.stats("mail", 5).await;
    assert_eq!((stats.counts, stats.scheduled), ([1, 0, 0, 1, 0, 1], 1), "it is tried again at 15");
    assert_eq!(world.stats("mail", 15).await.scheduled, 0);
    let (_, nonce) = world.start_one(&from("mail").at(15)).await;
    world.step(second, give_up(nonce), 16).await;
    world.commit(erasing(later)).await.expect("it is terminal");
    let stats = world.stats("mail", 16).await;
    assert_eq!((stats.counts, stats.scheduled, stats.leases), ([0, 0, 0, 1, 1, 0], 0, 0));
}

/// The settings of a queue are kept beside its counts, and belong to one tenant.
pub async fn the_settings_of_a_queue_are_kept(world: World) {
    let put = Policy { concurrency: Some(3), ..policy() };
    world.set("mail", QueueChange::Pause).await;
    world.set("mail", QueueChange::Policy(Some(Box::new(put.clone())))).await;
    world.accept(task().tenant("other")).await;
    let stats = world.stats("mail", 0).await;
    assert!(stats.is_paused);
    assert_eq!(stats.policy, Some(put));
    assert_eq!(stats.counts, [0; 6]);
    let queues = world.store.queues(Queues::All).await.expect("the store works");
    let mut names: Vec<(String, QueueName)> =
        queues.iter().map(|stats| (stats.tenant.to_string(), stats.queue.clone())).collect();
    names.sort();
    let mail = queue("mail");
    assert_eq!(names, [("default".to_owned(), mail.clone()), ("other".to_owned(), mail)]);
    let theirs = queues.iter().find(|stats| stats.tenant == tenant("other")).expect("it exists");
    assert!(!theirs.is_paused && theirs.policy.is_none());
    world.set("mail", QueueChange::Resume).await;
    world.set("mail", QueueChange::Policy(None)).await;
    let stats = world.stats("mail", 0).await;
    assert!(!stats.is_paused && stats.policy.is_none());
}

/// A queue is read by its name, and the queues of a tenant page by page, without those of others.
pub async fn a_queue_is_read_by_its_name(world: World) {
    for (of, name) in [("one", "a"), ("two", "a"), ("one", "c"), ("one", "b"), ("onetwo", "d")] {
        world.accept(task().tenant(of).queue(name)).await;
    }
    world.start_one(&from("a").tenant("two")).await;
    let read = async |of: &str, name: &str| {
        world.store.queue(tenant(of), queue(name)).await.expect("the store works")
    };
    assert_eq!(read("two", "a").await.map(|stats| (stats.counts[1], stats.leases)), Some((1, 1)));
    assert_eq!(read("one", "a").await.map(|stats| (stats.counts[0], stats.leases)), Some((1, 0)));
    assert_eq!((read("two", "b").await, read("nobody", "a").await), (None, None));
    let names = async |of: &str, after: Option<&str>, limit| {
        let which = Queues::Of { tenant: tenant(of), after: after.map(queue), limit };
        let queues = world.store.queues(which).await.expect("the store works");
        assert!(queues.iter().all(|stats| stats.tenant == tenant(of)));
        queues.into_iter().map(|stats| stats.queue.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names("one", None, 2).await, ["a", "b"]);
    assert_eq!(names("one", Some("b"), 2).await, ["c"]);
    assert_eq!(names("one", Some("aa"), 9).await, ["b", "c"]);
    assert!(names("nobody", None, 9).await.is_empty());
    let all = world.store.queues(Queues::All).await.expect("the store works");
    assert_eq!(all.len(), 5);
}

/// The place of a task is the number of those that start before it in its lane.
pub async fn a_place_counts_those_ahead_in_the_lane(world: World) {
    let first = world.accept(task().lane("a")).await;
    let second = world.accept(task().lane("a")).await;
    world.accept_many(5, &task().lane("b")).await;
    let last = world.accept(task().lane("a").priority(-5)).await;
    let urgent = world.accept(task().lane("a").priority(5)).await;
    let inline = world.accept(task().queue("other").lane("a").runner(Runner::Inline)).await;
    let ahead = async |id| {
        let place = world.store.place(id).await.expect("the store works");
        place.map(|place| place.ahead)
    };
    for (id, expected) in [(urgent, 0), (first, 1), (second, 2), (last, 3), (inline, 0)] {
        assert_eq!(ahead(id).await, Some(expected));
    }
    let (id, nonce) = world.start_one(&from("mail").limit(1)).await;
    assert_eq!((id, ahead(id).await), (urgent, None), "it does not wait");
    assert_eq!(ahead(last).await, Some(2));
    world.step(urgent, Command::succeed(nonce), 1).await;
    world.step(first, Command::Cancel, 1).await;
    assert_eq!((ahead(urgent).await, ahead(first).await), (None, None));
    assert_eq!(ahead(last).await, Some(1));
    assert_eq!(ahead(world.id()).await, None);
}

/// A place says what holds the queue and the lane of the task: enough to tell how long it waits.
pub async fn a_place_says_how_its_queue_stands(world: World) {
    let rate = Rate { count: 2, period: ms(1_000) };
    let policy = Policy { rate: Some(rate), ..policy() };
    let claim = from("mail").policy(&policy);
    world.accept_many(2, &task().lane("a")).await;
    world.accept(task().lane("b")).await;
    world.accept(task().queue("other").lane("b")).await;
    let waiting = world.accept(task().lane("b").priority(-5)).await;
    let place =
        async || world.store.place(waiting).await.expect("the store works").expect("it waits");
    assert_eq!(place().await, Place { ahead: 1, ..Place::default() });
    assert_eq!(world.started(&claim).await.len(), 2);
    world.set("mail", QueueChange::Pause).await;
    let now = place().await;
    assert_eq!((now.ahead, now.queue_leases, now.lane_leases), (0, 2, 1));
    assert!(now.is_paused && !now.is_held);
    let bucket = now.bucket.expect("two tokens were taken");
    assert_eq!((bucket.available(rate, at(0)), bucket.next_at(rate, at(0))), (0, at(500)));
}

/// A place says how the rate of the task's lane stands, whoever runs the task, and also when the
/// lane was empty meanwhile.
pub async fn a_place_says_how_the_rate_of_its_lane_stands(world: World) {
    let rate = Rate { count: 2, period: ms(60_000) };
    let paced = from("mail").policy(&Policy { rate_per_lane: Some(rate), ..policy() });
    let first = world.accept(task().lane("a")).await;
    let place = async |id| world.store.place(id).await.expect("the store works").expect("it waits");
    assert_eq!(place(first).await.lane_full_at, None, "nothing has started");
    let (_, nonce) = world.start_one(&paced).await;
    world.step(first, Command::succeed(nonce), 1).await;
    for runner in [Runner::Workers, Runner::Inline] {
        let accept = task().lane("a").runner(runner).build(world.id());
        let id = accept.task.spec.id;
        let taken = world.commit(Commit::Accept(Box::new(accept))).await;
        let Ok(Committed::Accepted { place: told, .. }) = taken else { panic!("{taken:?}") };
        assert_eq!(free_at(told.lane_full_at, rate, at(1)), Some(at(30_000)));
        assert_eq!(place(id).await, told);
    }
    let beside = world.accept(task().lane("b")).await;
    assert_eq!(place(beside).await.lane_full_at, None, "each lane has its own");
}

/// Whoever is accepted is told the place that a look a moment later finds.
pub async fn an_accept_tells_the_place(world: World) {
    world.accept_many(3, &task().lane("a")).await;
    world.start_one(&from("mail").limit(1)).await;
    let accept = task().lane("a").build(world.id());
    let id = accept.task.spec.id;
    let taken = world.commit(Commit::Accept(Box::new(accept))).await;
    let Ok(Committed::Accepted { place, .. }) = taken else { panic!("{taken:?}") };
    assert_eq!((place.ahead, place.queue_leases, place.lane_leases), (2, 1, 1));
    assert_eq!(world.store.place(id).await.expect("the store works"), Some(place));
}

/// Since when a queue has kept a task waiting is known of each queue with a task that might start.
pub async fn a_queue_says_since_when_its_oldest_task_waits(world: World) {
    let waiting = async |now| {
        // Scheduled tasks become ready when somebody looks.
        world.due(now).await;
        let figures = world.store.figures().await.expect("the store works");
        let one = |one: Waiting| (one.tenant.to_string(), one.queue.to_string(), one.since);
        let mut waiting: Vec<_> = figures.waiting.into_iter().map(one).collect();
        waiting.sort();
        waiting
    };
    let of = |tenant: &str, name: &str, since| (tenant.to_owned(), name.to_owned(), at(since));
    assert!(waiting(0).await.is_empty());
    world.accept(task().run_at(100)).await;
    assert!(waiting(99).await.is_empty(), "its moment has not come");
    world.accept(task().lane("a").run_at(40)).await;
    let inline = world.accept(task().runner(Runner::Inline).run_at(20)).await;
    world.accept(task().tenant("other").run_at(30)).await;
    let theirs = of("other", "mail", 30);
    assert_eq!(waiting(100).await, [of("default", "mail", 20), theirs.clone()]);
    world.step(inline, Command::Cancel, 100).await;
    assert_eq!(waiting(100).await, [of("default", "mail", 40), theirs.clone()]);
    world.start_one(&from("mail").limit(1).at(100)).await;
    assert_eq!(waiting(100).await, [of("default", "mail", 100), theirs.clone()]);
    world.start_one(&from("mail").limit(1).at(100)).await;
    assert_eq!(waiting(100).await, [theirs], "the others run");
}
