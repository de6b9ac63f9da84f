//! A disk that is full: what is new is refused, what is there goes on, and it ends by itself.

use relais_core::{Command, Timestamp};
use relais_store::conformance::World;
use relais_store::conformance::fixture::{from, inline, task};
use relais_store::{Commit, Health, Store as _, StoreError};
use relais_store_sqlite::{Options, SqliteStore};

use crate::{assert_sound, file_in, new_folder};

#[tokio::test]
async fn a_full_store_refuses_what_is_new_and_recovers() {
    let folder = new_folder();
    let options =
        Options { pages_max: Some(400), ..Options::new(file_in(&folder), Timestamp::from_ms(0)) };
    let store = SqliteStore::open(&options).expect("it opens");
    let world = World::from(store.clone());
    // Of one source, whose share is right although some of its writes fail.
    let large = || task().input(inline(vec![1; 60_000])).source(1, u64::MAX);
    let mut ids = Vec::new();
    let refused = loop {
        let accept = large().build(world.id());
        let id = accept.task.spec.id;
        match store.commit(vec![Commit::Accept(Box::new(accept))]).await {
            Ok(_) => ids.push(id),
            Err(error) => break error,
        }
    };
    assert_eq!(refused, StoreError::Full);
    assert_eq!(store.health(), Health::Full);
    assert!(ids.len() > 10, "{} were accepted", ids.len());

    // Outcomes are still recorded, also beside accepts that are refused.
    let started = world.claim(&from("mail").limit(5)).await.started;
    assert_eq!(started.len(), 5);
    for claimed in &started {
        let succeed = Command::succeed(claimed.nonce);
        let step = World::stepping(claimed.task.spec.id, succeed, 1);
        let (settled, accepted) = tokio::join!(
            store.commit(vec![Commit::Step(Box::new(step))]),
            store.commit(vec![world.accepting(large())]),
        );
        assert!(matches!(settled.as_deref(), Ok([Ok(_)])), "{settled:?}");
        assert!(matches!(accepted, Err(StoreError::Full)), "{accepted:?}");
    }
    assert_eq!(store.health(), Health::Full);

    // Room is made, and used without a restart.
    for claimed in &started {
        world.commit(Commit::Erase { id: claimed.task.spec.id }).await.expect("it is over");
    }
    world.accept(large()).await;
    assert_eq!(store.health(), Health::Ready);
    store.close().await;
    assert_sound(&file_in(&folder));
}

#[tokio::test]
async fn room_is_held_back_from_the_first_byte() {
    // The reserve came with the first 16 MiB of the log: bodies in files had filled the disk long before,
    // and no outcome could be written.
    let folder = new_folder();
    let store = crate::open_in(&folder);
    let reserve = folder.path().join("relais.db.reserve");
    assert!(std::fs::metadata(reserve).expect("it is there").len() >= 1 << 20);
    assert!(store.has_room_for(1 << 20));
    assert_eq!(store.health(), Health::Ready);
    assert!(!store.has_room_for(u64::MAX), "more than any disk has");
    assert_eq!(store.health(), Health::Ready, "room for others is seen at once");
}

#[tokio::test]
async fn one_that_does_not_fit_harms_none_that_do() {
    let folder = new_folder();
    let options =
        Options { pages_max: Some(400), ..Options::new(file_in(&folder), Timestamp::from_ms(0)) };
    let store = SqliteStore::open(&options).expect("it opens");
    let world = World::from(store.clone());
    let id = world.accept(task()).await;
    let (_, nonce) = world.start_one(&from("mail")).await;
    let bodies = |count: usize| {
        let accept = || world.accepting(task().input(inline(vec![1; 60_000])));
        (0..count).map(|_| accept()).collect::<Vec<_>>()
    };
    let step = World::stepping(id, Command::succeed(nonce), 1);
    let (too_much, settled) =
        tokio::join!(store.commit(bodies(40)), store.commit(vec![Commit::Step(Box::new(step))]),);
    assert!(matches!(too_much, Err(StoreError::Full)), "{too_much:?}");
    assert!(matches!(settled.as_deref(), Ok([Ok(_)])), "{settled:?}");
    store.commit(bodies(1)).await.expect("one fits");
    assert_eq!(store.health(), Health::Ready);
    assert_sound(&file_in(&folder));
}
