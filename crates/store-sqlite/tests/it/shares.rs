//! What sources hold of a queue: kept over a restart, and free for tasks that have none.

use relais_core::Command;
use relais_store::Rejected;
use relais_store::conformance::World;
use relais_store::conformance::fixture::{TaskBuilder, erasing, from, task};
use relais_store_sqlite::SqliteStore;

use crate::{assert_sound, file_in, new_folder, world_in};

/// Rows of the table of shares.
fn rows(folder: &tempfile::TempDir) -> i64 {
    let conn = rusqlite::Connection::open(file_in(folder)).expect("it opens");
    conn.query_row("select count(*) from source", [], |row| row.get(0)).expect("it works")
}

#[tokio::test]
async fn a_restart_does_not_forget_what_sources_hold() {
    let folder = new_folder();
    let one = task().source(1, 2);
    let full = Some(Rejected::SourceFull { capacity: 2 });
    let (world, store) = world_in(&folder);
    let first = world.accept(one.clone()).await;
    world.accept(one.clone()).await;
    world.accept(task().source(2, 2)).await;
    store.close().await;
    drop((world, store));
    assert_sound(&file_in(&folder));
    assert_eq!(rows(&folder), 2);

    let (world, store) = world_in(&folder);
    // The ids of the first life are not drawn again.
    let next = |n: u128| one.clone().id(relais_core::TaskId::from_u128(n << 100));
    assert_eq!(world.try_accept(next(1)).await.err(), full);
    world.step(first, Command::Cancel, 1).await;
    world.accept(next(2)).await;
    assert_eq!(world.try_accept(next(3)).await.err(), full);
    world.step(first, Command::Retry { from_start: false }, 2).await;
    assert_sound(&file_in(&folder));
    for started in world.claim(&from("mail").at(3)).await.started {
        world.step(started.task().spec.id, Command::succeed(started.nonce), 4).await;
    }
    store.close().await;
    drop((world, store));
    assert_sound(&file_in(&folder));
    assert_eq!(rows(&folder), 0, "who holds nothing is forgotten");

    let (world, store) = world_in(&folder);
    world.accept(next(4)).await;
    world.accept(next(5)).await;
    assert_eq!(world.try_accept(next(6)).await.err(), full);
    store.close().await;
}

/// The steps of a life, from an accept to its erasure.
async fn steps_of(task: TaskBuilder, world: &World, store: &SqliteStore) -> i64 {
    let before = store.effort().await.expect("it is open");
    let id = world.accept(task).await;
    let (_, nonce) = world.start_one(&from("mail").limit(1)).await;
    world.step(id, Command::succeed(nonce), 1).await;
    world.commit(erasing(id)).await.expect("it is over");
    store.effort().await.expect("it is open") - before
}

#[tokio::test]
async fn a_task_without_a_source_costs_no_step_more() {
    let folder = new_folder();
    let (world, store) = world_in(&folder);
    world.accept_many(100, &task().queue("other")).await;
    let alone = steps_of(task(), &world, &store).await;
    let counted = steps_of(task().source(1, 9), &world, &store).await;
    assert!(alone < counted, "{alone} steps without a source, {counted} with one");
    for source in 0..100 {
        world.accept(task().queue("other").source(source, 9)).await;
    }
    assert_eq!(alone, steps_of(task(), &world, &store).await, "what others hold costs nothing");
}
