//! Damage that is found while the store is in use, or looked for.

use relais_core::{BodyKind, Command, Grants, Joined, Order, Policy, SessionOp, TaskId, Timestamp};
use relais_store::conformance::World;
use relais_store::conformance::fixture::{at, from, inline, policy, task, tenant};
use relais_store::{
    Commit, EventQuery, Filter, Health, SessionCapacity, SessionOf, Store as _, StoreError,
};
use relais_store_sqlite::SqliteStore;

use crate::{file_in, new_folder, world_in};

#[tokio::test]
async fn a_task_that_cannot_be_read_harms_no_other() {
    let folder = new_folder();
    let (world, store) = world_in(&folder);
    let bad = world.accept(task()).await;
    let good = world.accept(task()).await;
    store.close().await;
    drop((world, store));
    let conn = rusqlite::Connection::open(file_in(&folder)).expect("it opens");
    conn.execute("update task set life = x'0909' where n = 1", []).expect("it works");
    drop(conn);

    let (world, store) = world_in(&folder);
    assert_eq!(store.health(), Health::Ready);
    let cancel = |id| Commit::Step(Box::new(World::stepping(id, Command::Cancel, 1)));
    let (first, second) =
        tokio::join!(store.commit(vec![cancel(bad)]), store.commit(vec![cancel(good)]),);
    let Err(StoreError::Corrupt(text)) = first else { panic!("it was read: {first:?}") };
    assert!(text.contains("format 9"), "{text}");
    assert!(second.is_ok(), "its neighbour is served");
    assert_eq!(store.health(), Health::Ready, "it says nothing about the rest");
    let report = SqliteStore::check(&file_in(&folder), true).expect("it is a store");
    let named = format!("{bad}: of a task: it has format 9");
    assert!(report.damaged.iter().any(|damage| damage.contains(&named)), "{report:?}");
    let conn = rusqlite::Connection::open(file_in(&folder)).expect("it opens");
    let life: Vec<u8> = conn
        .query_row("select life from task where n = 1", [], |row| row.get(0))
        .expect("it is there");
    assert_eq!(life, [9, 9], "what a newer Relais wrote is left to it");
    assert!(report.problems.is_empty() && !report.is_sound(), "it harms no other: {report:?}");
    world.accept(task().id(TaskId::from_u128(77))).await;
}

#[tokio::test]
async fn a_session_that_cannot_be_read_is_none_and_harms_nothing() {
    for damage in ["update session set data = x'0909'", "update session set ends_at = 7"] {
        let folder = new_folder();
        let (world, store) = world_in(&folder);
        let joined = |world: &World| Joined::new(world.id(), Grants::default(), at(99));
        let commit = |mac, op| {
            let (source, capacity) = (None, SessionCapacity::default());
            let of = SessionOf { id_mac: [mac; 32], op, source, capacity, now: at(1) };
            Commit::Session(Box::new(of))
        };
        let begin = commit(1, SessionOp::Begin(joined(&world)));
        world.commit(begin).await.expect("it is taken");
        store.close().await;
        drop((world, store));
        let conn = rusqlite::Connection::open(file_in(&folder)).expect("it opens");
        conn.execute(damage, []).expect("it works");
        drop(conn);

        let report = SqliteStore::check(&file_in(&folder), true).expect("it is a store");
        assert!(report.damaged.iter().any(|named| named.contains("a session")), "{report:?}");
        assert!(report.problems.is_empty(), "{report:?}");
        let (world, store) = world_in(&folder);
        let read = store.session([1; 32]).await.expect("the store works");
        assert_eq!(read.is_none(), damage.contains("0909"));
        let forgotten = world.commit(commit(1, SessionOp::Forget(world.id()))).await;
        assert!(forgotten.is_ok(), "{forgotten:?}");
        let begun = world.commit(commit(2, SessionOp::Begin(joined(&world)))).await;
        assert!(begun.is_ok(), "{begun:?}");
        assert_eq!(store.health(), Health::Ready, "it says nothing about the rest");
        store.close().await;
    }
}

#[tokio::test]
async fn an_early_result_without_its_row_is_named() {
    for loss in ["delete from early", "delete from body where key % 8 = 4"] {
        let folder = new_folder();
        let (world, store) = world_in(&folder);
        let id = world.accept(task()).await;
        let (_, nonce) = world.start_one(&from("mail")).await;
        let early = (BodyKind::Early, inline("early"));
        world.step_with(id, Command::StoreEarly { nonce, id: 7 }, early, 1).await;
        store.close().await;
        let conn = rusqlite::Connection::open(file_in(&folder)).expect("it opens");
        conn.execute(loss, []).expect("it works");
        let report = SqliteStore::check(&file_in(&folder), true).expect("it is a store");
        let named = format!("{id} is stored with another early result");
        assert!(report.problems.iter().any(|it| it.contains(&named)), "{loss}: {report:?}");
    }
}

#[tokio::test]
async fn tasks_that_cannot_be_read_do_not_hold_up_their_queue() {
    // One row that could not be decoded made each claim of its queue fail, for ever.
    for order in [Order::Fair, Order::Strict] {
        let folder = new_folder();
        let (world, store) = world_in(&folder);
        let asked = from("mail").policy(&Policy { order, ..policy() });
        let begun = world.accept(task().lane("begun")).await;
        world.claim(&asked.clone().limit(1)).await;
        let next = world.accept(task().lane("a")).await;
        let later = world.accept(task().lane("b").run_at(50)).await;
        let good =
            [world.accept(task().lane("a")).await, world.accept(task().lane("b").run_at(60)).await];
        store.close().await;
        drop((world, store));
        let conn = rusqlite::Connection::open(file_in(&folder)).expect("it opens");
        conn.execute("update task set life = x'0909' where n in (1, 2)", []).expect("it works");
        conn.execute("update task set spec = x'0102' where n = 3", []).expect("it works");
        drop(conn);

        let (world, store) = world_in(&folder);
        assert_eq!(world.started(&asked.clone().at(99).limit(9)).await, good, "{order:?}");
        assert_eq!(store.health(), Health::Ready);
        // The one that had begun is met when its lease ends.
        let tick = Commit::Step(Box::new(World::stepping(
            begun,
            Command::Tick {
                here_since: Timestamp::EPOCH,
                open_since: Timestamp::EPOCH,
                jitter: 0.0,
            },
            100,
        )));
        assert!(matches!(store.commit(vec![tick]).await, Err(StoreError::Corrupt(_))));
        let mut aside = SqliteStore::set_aside_in(&file_in(&folder)).expect("it is a store");
        aside.sort_unstable();
        assert_eq!(aside, [begun, next, later], "nothing of them is lost");
        assert!(!world.due(i64::MAX - 1).await.tasks.contains(&next), "time does not meet it");
        let page = store.list(Filter { limit: 9, ..Filter::default() }).await.expect("it works");
        assert_eq!(page.tasks.len(), 2, "a page has those that can be read");
        assert_eq!(world.stats("mail", 100).await.leases, 2, "it holds no slot");

        store.close().await;
        drop((world, store));
        let (world, _store) = world_in(&folder);
        let new = world.accept(task().lane("a").id(TaskId::from_u128(77))).await;
        let other = if order == Order::Fair { Order::Strict } else { Order::Fair };
        let asked = from("mail").policy(&Policy { order: other, ..policy() });
        let started = world.started(&asked.at(200).limit(9)).await;
        assert_eq!(
            started.contains(&new),
            other == Order::Fair,
            "its lane is held in strict order"
        );
    }
}

/// One event that could not be read, and the store said of itself that it was damaged: no balancer sent it
/// anything more. Streams over many tasks had nothing to tell.
#[tokio::test]
async fn an_event_that_cannot_be_read_harms_no_other_log() {
    let folder = new_folder();
    let (world, store) = world_in(&folder);
    let bad = world.accept(task().label("k", "v")).await;
    let good = world.accept(task().label("k", "v")).await;
    for id in [bad, good] {
        world.step(id, Command::Cancel, 1).await;
    }
    let conn = rusqlite::Connection::open(file_in(&folder)).expect("it opens");
    conn.execute("update event set data = x'0909' where pos = 1", []).expect("it works");
    let of_task = |id| store.events(EventQuery::Task { id, after: 0, limit: 9 });
    assert!(matches!(of_task(bad).await, Err(StoreError::Corrupt(_))));
    assert_eq!(of_task(good).await.expect("it is whole").len(), 2);
    let label = Some(("k".to_owned(), "v".to_owned()));
    for (tasks, label) in [(vec![bad, good], None), (Vec::new(), label), (Vec::new(), None)] {
        let tenant = tenant("default");
        let query = EventQuery::Store { tenant, tasks, label, after: 0, limit: 2 };
        let told = store.events(query).await.expect("the others are told");
        let places: Vec<_> = told.iter().map(|event| event.pos).collect();
        assert_eq!(places, [2, 3], "as many as were asked for");
    }
    assert_eq!(store.health(), Health::Ready, "it says nothing about the rest");
    let report = SqliteStore::check(&file_in(&folder), true).expect("it is a store");
    assert!(report.damaged.iter().any(|damage| damage.contains("event 1")), "{report:?}");
}

#[tokio::test]
async fn a_deep_look_finds_what_is_wrong() {
    for (damage, expected) in [
        ("update queue set queued = queued + 1", "queue 1 counts"),
        ("update lane set leases = leases + 1", "lane 1 keeps"),
        ("update lane set rank = rank + 1", "lane 1 keeps"),
        ("update pool set next_at = 5", "pool 1 counts"),
        ("update source set live = 3", "queue 1 counts 3 of a source instead of 2"),
        ("delete from source", "queue 1 counts 0 of a source instead of 2"),
        ("insert into source values (1, zeroblob(16), 0)", "queue 1 counts 0 of a source"),
        ("update task set status = 3 where n = 1", "another status"),
        ("update task set due_at = 3 where n = 1", "another alarm"),
        ("update task set place = 77 where n = 2", "another place"),
        ("update event set prev = 1 where pos = 2", "event 2 follows another"),
        ("update event set leap = 1 where pos = 3", "event 3 follows another"),
        ("delete from event where pos = 3", "another log"),
        ("update body set data = x'00' where key = 8", "is not what was stored"),
        ("insert into body values (8000, 0, 0, null, x'', x'')", "body 8000 belongs to"),
        ("insert into label values (1, 'a', 'b', x'')", "a label belongs to"),
    ] {
        let folder = new_folder();
        let (world, store) = world_in(&folder);
        world.accept(task().source(1, 2)).await;
        world.accept(task().source(1, 2)).await;
        world.claim(&from("mail").limit(1)).await;
        store.close().await;
        let conn = rusqlite::Connection::open(file_in(&folder)).expect("it opens");
        conn.execute(damage, []).expect("it works");
        let report = SqliteStore::check(&file_in(&folder), true).expect("it is a store");
        let is_found = report.sentences().any(|problem| problem.contains(expected));
        assert!(is_found, "{damage}: {report:?}");
    }
}
