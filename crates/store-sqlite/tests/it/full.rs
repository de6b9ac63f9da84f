//! A disk that is full: what is new is refused, what is there goes on, and it ends by itself.

use std::fs;
use std::sync::Mutex;

use relais_core::{Command, Grants, Holder, Joined, SessionOp, Timestamp};
use relais_store::conformance::World;
use relais_store::conformance::fixture::{at, erasing, from, inline, ms, task, upstream};
use relais_store::{
    Beat, Claim, Commit, FORMAT, Health, SessionCapacity, SessionOf, Store as _, StoreError,
};
use relais_store_sqlite::{Options, SqliteStore};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::{assert_sound, file_in, new_folder, world_in};

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
        let step = World::stepping(claimed.task().spec.id, succeed, 1);
        let (settled, accepted) = tokio::join!(
            store.commit(vec![Commit::Step(Box::new(step))]),
            store.commit(vec![world.accepting(large())]),
        );
        assert!(matches!(settled.as_deref(), Ok([Ok(_)])), "{settled:?}");
        assert!(matches!(accepted, Err(StoreError::Full)), "{accepted:?}");
    }
    assert_eq!(store.health(), Health::Full);
    // Sessions are new, too: one that begins is refused, and one that is there is changed.
    let session = |mac: u32, op| {
        let mut id_mac = [0; 32];
        id_mac[..4].copy_from_slice(&mac.to_be_bytes());
        let any = SessionCapacity { per_task: u64::MAX, ..SessionCapacity::default() };
        let of = SessionOf { id_mac, op, source: None, capacity: any, now: at(1) };
        Commit::Session(Box::new(of))
    };
    let begin = |mac| {
        let joined = Joined::new(ids[0], Grants::default(), at(99));
        session(mac, SessionOp::Begin(joined))
    };
    let mut macs = 0..100_000;
    let refused = loop {
        let some = macs.by_ref().take(100).map(begin).collect();
        if let Err(error) = store.commit(some).await {
            break error;
        }
    };
    assert_eq!(refused, StoreError::Full);
    let (begun, forgotten) = tokio::join!(
        store.commit((200_000..200_100).map(begin).collect()),
        store.commit(vec![session(0, SessionOp::ForgetAll)]),
    );
    assert!(matches!(begun, Err(StoreError::Full)), "{begun:?}");
    assert!(matches!(forgotten.as_deref(), Ok([Ok(_)])), "{forgotten:?}");

    // Room is made, and used without a restart.
    for claimed in &started {
        world.commit(erasing(claimed.task().spec.id)).await.expect("it is over");
    }
    world.accept(large()).await;
    assert_eq!(store.health(), Health::Ready);
    store.close().await;
    assert_sound(&file_in(&folder));
}

/// The sign of life of a process that began on a full disk is not stored: after its death the attempts that
/// it ran were left to the ends of their leases.
#[tokio::test]
async fn what_a_node_held_that_began_on_a_full_disk_is_found() {
    let folder = new_folder();
    let options =
        Options { pages_max: Some(400), ..Options::new(file_in(&folder), Timestamp::from_ms(0)) };
    let store = SqliteStore::open(&options).expect("it opens");
    let world = World::from(store.clone());
    let large = || task().runner(upstream(true)).input(inline(vec![1; 60_000]));
    while store.commit(vec![world.accepting(large())]).await.is_ok() {}
    let beat = |node| Beat { node, format: FORMAT, now: at(1), alive_for: ms(100) };
    assert_eq!(store.beat(beat(7)).await.expect("it is taken").living, 1);
    let claim = world.claiming(&from("mail").run_by(&upstream(true)).limit(1));
    let claim = Claim { holder: Holder::Relais { epoch: 7 }, ..claim };
    assert_eq!(store.claim(claim).await.expect("there is room for it").started.len(), 1);
    store.close().await;
    drop((world, store));

    let store = SqliteStore::open(&options).expect("it opens");
    assert_eq!(store.beat(beat(8)).await.expect("it is taken").dead, [7]);
}

#[tokio::test]
async fn room_is_held_back_from_the_first_byte() {
    // The reserve came with the first 16 MiB of the log: bodies in files had filled the disk long
    // before, and no outcome could be written.
    let folder = new_folder();
    let store = crate::open_in(&folder);
    let reserve = folder.path().join("relais.db.reserve");
    assert!(fs::metadata(reserve).expect("it is there").len() >= 1 << 20);
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

/// What the store said of its room, in order. Its writer is a thread of its own, so that this
/// is the log of the process.
static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Listener;

impl Subscriber for Listener {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Text);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Text;

impl Visit for Text {
    fn record_debug(&mut self, _: &Field, value: &dyn std::fmt::Debug) {
        let text = format!("{value:?}");
        if text.contains("on the disk again") || text.contains("disk is full") {
            SAID.lock().expect("nothing panics while it is held").push(text);
        }
    }
}

/// Only in a process of its own, whose log it reads: it is started by the test below.
#[tokio::test]
async fn takes_new_tasks_into_free_pages() {
    if std::env::var_os(ALONE).is_none() {
        return;
    }
    let folder = new_folder();
    let (world, store) = world_in(&folder);
    let large = task().input(inline(vec![1; 60_000]));
    for id in world.accept_many(20, &large).await {
        world.step(id, Command::Cancel, 1).await;
        world.commit(erasing(id)).await.expect("it is over");
    }
    store.close().await;
    drop((world, store));
    // Nothing can be held back: for the store that is a disk without room.
    let reserve = folder.path().join("relais.db.reserve");
    fs::remove_file(&reserve).expect("it is ours");
    fs::create_dir(&reserve).expect("it is ours");

    tracing::subscriber::set_global_default(Listener).expect("it is the first");
    let (world, _store) = world_in(&folder);
    for _ in 0..3 {
        world.accept(task()).await;
    }
    let said = SAID.lock().expect("nothing panics while it is held").clone();
    assert_eq!(said.len(), 2, "full at the start, and room once: {said:#?}");
}

/// Says that the process of [`takes_new_tasks_into_free_pages`] is its own.
const ALONE: &str = "RELAIS_TEST_ALONE";

#[test]
fn a_full_disk_with_free_pages_is_not_full_and_free_in_turn() {
    // Each new task had the disk full and, once it was stored, free again: a line of the log each.
    let mut command = std::process::Command::new(std::env::current_exe().expect("it runs"));
    command.args(["--exact", "full::takes_new_tasks_into_free_pages"]).env(ALONE, "1");
    assert!(command.status().expect("it starts").success());
}
