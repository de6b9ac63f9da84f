//! Sessions of browsers: what they are is decided by the rules, and a store keeps them.

use std::sync::Arc;

use relais_core::{
    Command, Destination, Grants, Joined, Mark, Navigation, Session, SessionOp, SessionReply,
    Source, TaskId, limits,
};

use super::fixture::*;
use super::world::World;
use crate::*;

const MAC: [u8; 32] = [7; 32];
const THERE: Navigation = Navigation { address: [9; 32], caller: Some([10; 32]) };
const ANY: SessionCapacity =
    SessionCapacity { in_all: u64::MAX, per_task: u64::MAX, per_source: u64::MAX };

fn joined(task: TaskId, until: i64) -> Joined {
    Joined::new(task, Grants { read: true, ..Grants::default() }, at(until))
}

fn changing(id_mac: [u8; 32], op: SessionOp, now: i64) -> SessionOf {
    SessionOf { id_mac, op, source: None, capacity: ANY, now: at(now) }
}

async fn change(world: &World, id_mac: [u8; 32], op: SessionOp, now: i64) -> SessionReply {
    let changed = world.commit(Commit::Session(Box::new(changing(id_mac, op, now)))).await;
    let Ok(Committed::Session(reply)) = changed else { panic!("not changed: {changed:?}") };
    reply
}

async fn read(store: &Arc<dyn Store>, id_mac: [u8; 32]) -> Option<Session> {
    store.session(id_mac).await.expect("the store works")
}

/// What was changed is there, by another handle too, and nothing else is.
pub async fn a_session_is_kept_as_it_was_changed(world: World) {
    let (one, two) = (world.id(), world.id());
    let of_request = Joined { navigation: Some(THERE), ..joined(one, 50) };
    let reply = change(&world, MAC, SessionOp::Begin(of_request.clone()), 1).await;
    assert_eq!(reply, SessionReply::Joined { ends_at: at(50) });
    change(&world, MAC, SessionOp::Join(joined(two, 90)), 2).await;
    let expected = Session {
        created_at: at(1),
        tasks: vec![of_request.clone(), joined(two, 90)],
        is_seen: true,
    };
    assert_eq!(read(&world.other, MAC).await, Some(expected));
    assert_eq!(read(&world.store, [8; 32]).await, None);

    let open = SessionOp::GoOn { task: one, to: Destination::OwnAddress };
    assert_eq!(change(&world, MAC, open, 3).await, SessionReply::Done);
    let kept = read(&world.store, MAC).await.expect("it is kept");
    let until = at(3).plus(limits::RETURN_WITHIN);
    assert_eq!(kept.tasks[0].mark, Mark::Open { until });
    let used = SessionOp::UseMark(THERE);
    assert_eq!(change(&world, MAC, used.clone(), 4).await, SessionReply::Attached(one));
    assert_eq!(change(&world, MAC, used, 5).await, SessionReply::Nothing);

    assert_eq!(change(&world, MAC, SessionOp::Forget(one), 6).await, SessionReply::Done);
    assert_eq!(read(&world.store, MAC).await.expect("it is kept").tasks, [joined(two, 90)]);
    assert_eq!(change(&world, MAC, SessionOp::Forget(two), 6).await, SessionReply::Done);
    assert_eq!(read(&world.store, MAC).await, None);
}

/// Two tabs that hand in at once, by two nodes: each task is in the session afterwards, and a mark is
/// used by one of them.
pub async fn two_tabs_and_two_nodes_lose_nothing(world: World) {
    let ids: Vec<TaskId> = (0..40).map(|_| world.id()).collect();
    let first = Joined {
        navigation: Some(THERE),
        mark: Mark::Open { until: at(90) },
        ..joined(world.id(), 99)
    };
    change(&world, MAC, SessionOp::Begin(first), 1).await;
    let send = |store: &Arc<dyn Store>, op: SessionOp| {
        let (store, commit) = (store.clone(), Commit::Session(Box::new(changing(MAC, op, 2))));
        tokio::spawn(async move { store.commit(vec![commit]).await.expect("it works").remove(0) })
    };
    let mut running = Vec::new();
    for (n, id) in ids.iter().enumerate() {
        let store = if n % 2 == 0 { &world.store } else { &world.other };
        running.push(send(store, SessionOp::Join(joined(*id, 99))));
        running.push(send(store, SessionOp::UseMark(THERE)));
    }
    let mut attached = 0;
    for answer in running {
        match answer.await.expect("nothing panics") {
            Ok(Committed::Session(SessionReply::Attached(_))) => attached += 1,
            answer => assert!(matches!(answer, Ok(Committed::Session(_))), "{answer:?}"),
        }
    }
    let session = read(&world.store, MAC).await.expect("it is kept");
    assert!(ids.iter().all(|id| session.task(*id).is_some()), "{session:?}");
    assert_eq!((attached, session.tasks.len()), (1, 41));
}

/// What is over is known by the store: a task that is terminal, or gone.
pub async fn a_full_session_asks_which_of_its_tasks_are_over(world: World) {
    let mut ids = Vec::new();
    for _ in 0..limits::SESSION_TASKS_MAX {
        let id = world.accept(task()).await;
        change(&world, MAC, SessionOp::Begin(joined(id, 99)), 1).await;
        ids.push(id);
    }
    let join = async || {
        let id = world.accept(task()).await;
        change(&world, MAC, SessionOp::Join(joined(id, 99)), 2).await;
        let session = read(&world.store, MAC).await.expect("it is kept");
        assert_eq!(session.tasks.len(), limits::SESSION_TASKS_MAX);
        session
    };
    for terminal in [3, 5] {
        world.step(ids[terminal], Command::Cancel, 1).await;
    }
    world.commit(erasing(ids[5])).await.expect("it is terminal");
    for leaves in [3, 5, 0] {
        let session = join().await;
        assert!(session.task(ids[leaves]).is_none(), "{leaves} stayed: {session:?}");
    }
    let session = read(&world.store, MAC).await.expect("it is kept");
    assert_eq!(session.tasks[0].task, ids[1], "the others stay, in their order");
}

/// A tab that joins the session which another has ended does not revive it.
pub async fn a_session_that_is_gone_is_not_brought_back(world: World) {
    change(&world, MAC, SessionOp::Begin(joined(world.id(), 50)), 1).await;
    let late = SessionOp::Join(joined(world.id(), 99));
    assert_eq!(change(&world, MAC, late.clone(), 50).await, SessionReply::Nothing, "it has ended");
    assert_eq!(read(&world.store, MAC).await, None);
    change(&world, MAC, SessionOp::Begin(joined(world.id(), 99)), 51).await;
    assert_eq!(change(&world, MAC, SessionOp::ForgetAll, 52).await, SessionReply::Done);
    assert_eq!(change(&world, MAC, late, 53).await, SessionReply::Nothing);
    assert_eq!(read(&world.store, MAC).await, None);
}

/// There is room for as many as may be; one that ends makes room, and those that are there go on.
pub async fn sessions_are_bounded_in_all_and_by_the_task_they_began_with(world: World) {
    let (one, two) = (world.id(), world.id());
    let begin = async |mac: u8, task: TaskId| {
        let op = SessionOp::Begin(joined(task, 99));
        let capacity = SessionCapacity { in_all: 3, per_task: 2, ..ANY };
        let of = SessionOf { capacity, ..changing([mac; 32], op, 1) };
        world.commit(Commit::Session(Box::new(of))).await
    };
    for (mac, task, is_taken) in
        [(1, one, true), (2, one, true), (3, one, false), (3, two, true), (4, two, false)]
    {
        let answer = begin(mac, task).await;
        assert_eq!(answer.is_ok(), is_taken, "{mac}: {answer:?}");
        assert!(is_taken || answer.err() == Some(Rejected::SessionsFull), "{mac}");
    }
    assert!(begin(1, two).await.is_ok(), "what is there goes on");
    assert_eq!(read(&world.store, [4; 32]).await, None, "and what is refused is not");
    change(&world, [1; 32], SessionOp::ForgetAll, 2).await;
    assert!(begin(4, one).await.is_ok());
}

/// One network takes no room from the others, and whoever is on this machine has no share.
pub async fn sessions_are_bounded_by_the_source_they_began_from(world: World) {
    let begin = async |mac: u8, source: Option<u8>, until: i64| {
        let op = SessionOp::Begin(joined(world.id(), until));
        let capacity = SessionCapacity { per_source: 2, ..ANY };
        let source = source.map(|n| Source([n; 16]));
        let of = SessionOf { source, capacity, ..changing([mac; 32], op, 1) };
        world.commit(Commit::Session(Box::new(of))).await
    };
    for (mac, source) in [(1, Some(1)), (2, Some(1)), (3, Some(2)), (4, None), (5, None), (6, None)]
    {
        assert!(begin(mac, source, 99).await.is_ok(), "{mac}");
    }
    assert_eq!(begin(7, Some(1), 99).await.err(), Some(Rejected::SessionsFull));
    assert!(begin(7, Some(2), 50).await.is_ok());
    assert_eq!(begin(8, Some(2), 99).await.err(), Some(Rejected::SessionsFull));
    change(&world, [1; 32], SessionOp::ForgetAll, 2).await;
    assert!(begin(8, Some(1), 99).await.is_ok(), "one that was forgotten makes room");
    world.due(50).await;
    assert!(begin(9, Some(2), 99).await.is_ok(), "and one that has ended");
    let figures = world.other.figures().await.expect("the store works");
    assert_eq!(figures.sessions, 7);
}

/// A cookie that was thrown away keeps no room for long.
pub async fn a_session_whose_cookie_never_came_back_ends_early(world: World) {
    let hour = i64::try_from(limits::SESSION_UNSEEN_MAX.as_millis()).expect("an hour");
    for mac in [1, 2] {
        change(&world, [mac; 32], SessionOp::Begin(joined(world.id(), 9 * hour)), 0).await;
    }
    assert_eq!(change(&world, [2; 32], SessionOp::See, hour - 1).await, SessionReply::Done);
    world.due(hour).await;
    assert_eq!(read(&world.store, [1; 32]).await, None);
    assert!(read(&world.store, [2; 32]).await.expect("it is kept").is_seen);
    world.due(9 * hour).await;
    assert_eq!(read(&world.store, [2; 32]).await, None);
}

/// What has ended takes no room any more once time was looked at; what has not stays.
pub async fn sessions_that_have_ended_are_cleaned_up(world: World) {
    for n in 0..30 {
        let op = SessionOp::Begin(joined(world.id(), if n % 3 == 0 { 100 } else { 50 }));
        change(&world, [n; 32], op, 1).await;
    }
    world.due(49).await;
    assert!(read(&world.store, [1; 32]).await.is_some());
    world.due(50).await;
    for n in 0..30 {
        assert_eq!(read(&world.store, [n; 32]).await.is_some(), n % 3 == 0, "{n}");
    }
    let op = SessionOp::Begin(joined(world.id(), 99));
    let of =
        SessionOf { capacity: SessionCapacity { in_all: 11, ..ANY }, ..changing([99; 32], op, 51) };
    assert!(world.commit(Commit::Session(Box::new(of))).await.is_ok());
}
