//! Damage that is found while the store is in use, or looked for.

use relais_core::{Command, TaskId};
use relais_store::conformance::World;
use relais_store::conformance::fixture::{from, task};
use relais_store::{Health, Store as _, StoreError};
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
    let cancel = |id| relais_store::Commit::Step(Box::new(World::stepping(id, Command::Cancel, 1)));
    let (first, second) =
        tokio::join!(store.commit(vec![cancel(bad)]), store.commit(vec![cancel(good)]),);
    let Err(StoreError::Corrupt(text)) = first else { panic!("it was read: {first:?}") };
    assert!(text.contains("layout 9"), "{text}");
    assert!(second.is_ok(), "its neighbour is served");
    assert!(matches!(store.health(), Health::Corrupt(_)));
    let report = SqliteStore::check(&file_in(&folder), true).expect("it is a store");
    assert!(report.problems.iter().any(|problem| problem.contains("layout 9")), "{report:?}");
    world.accept(task().id(TaskId::from_u128(77))).await;
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
        let is_found = report.problems.iter().any(|problem| problem.contains(expected));
        assert!(is_found, "{damage}: {:?}", report.problems);
    }
}
