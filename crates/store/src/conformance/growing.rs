//! Answers that grow: whoever watches a task sees them, and what is committed says how they end.

use bytes::Bytes;
use relais_core::{
    BodyKind, Cause, Command, Failure, FailureCode, Gone, ResultVersion, TaskId, limits,
};

use super::fixture::*;
use super::world::World;
use crate::*;

/// Begins an answer of the attempt that runs.
async fn shown(world: &World, id: TaskId) -> Box<dyn Spool> {
    let version = world.read(id).await.life.result_version();
    let mut spool = world.store.spool().await.expect("the store works");
    let head = Bytes::from_static(b"head");
    spool.show(ShownAs { task: id, version, head, announced_len: Some(9) });
    spool
}

/// Settles with what the spool has: a success, or a failure that is the outcome or is tried again.
async fn settle(world: &World, id: TaskId, nonce: u128, spool: &mut dyn Spool, how: Option<bool>) {
    let data = spool.finish().await.expect("the store works");
    let command = match how {
        None => Command::succeed(nonce),
        Some(retryable) => {
            let mut failure = Failure::new(FailureCode::UpstreamError, None);
            failure.has_result = true;
            let cause = Cause::Error;
            Command::Fail { nonce, cause, failure, retryable, retry_after: None, jitter: 0.0 }
        }
    };
    let body = Body { head: Bytes::from_static(b"head"), data };
    let bodies = vec![(BodyKind::Result, body)];
    let step = StepOf { bodies, ..World::stepping(id, command, 9) };
    world.try_step_of(step).await.expect("the lease holds");
}

/// A reader on another handle reads each byte as soon as it was written, at its own pace, from the
/// memory of the writer, from its file, and once it is the result.
pub async fn an_answer_is_read_while_it_grows(world: World) {
    for len in [12, limits::INLINE_BODY_BYTES_MAX + 700_000] {
        let id = world.accept(task()).await;
        let mut early = world.other.watch_answer(id);
        assert!(early.current().is_none(), "it has not begun");
        let (_, nonce) = world.start_one(&from("mail")).await;
        let mut spool = shown(&world, id).await;
        early.changed().await;
        let mut late = world.other.watch_answer(id);
        let answer = late.current().expect("it is shown");
        let first = ResultVersion { run: 1, attempt: 1, is_other: false };
        assert_eq!((answer.version, &answer.head[..]), (first, &b"head"[..]));
        assert_eq!((answer.announced_len, answer.growth()), (Some(9), Growth::Growing(0)));
        let mut growth = answer.follow();
        let piece = Bytes::from(vec![7; len / 4]);
        let mut read = 0;
        for count in 1..=4 {
            spool.write(piece.clone()).await.expect("the store works");
            growth.changed().await.expect("it is told");
            let so_far = (piece.len() * count) as u64;
            assert_eq!(*growth.borrow_and_update(), Growth::Growing(so_far));
            let bytes = answer.body.read_at(read, 4).await.expect("it is there");
            assert_eq!(bytes, piece.slice(..bytes.len().min(4)), "its own pace");
            read += bytes.len() as u64;
        }
        settle(&world, id, nonce, &mut *spool, None).await;
        drop(spool);
        assert!(answer.over().await);
        let whole = early.current().expect("it stays for who watches");
        assert_eq!(whole.growth(), Growth::Committed(len as u64 / 4 * 4));
        let last = whole.body.read_at(len as u64 / 4 * 4 - 1, 9).await.expect("it is readable");
        assert_eq!(last, Bytes::from_static(&[7]));
        drop((early, late, answer, whole));
        assert!(world.other.watch_answer(id).current().is_none(), "nothing is left of it");
    }
}

/// However an attempt ends but by its answer, that answer is broken off; the next one is shown in its
/// place.
pub async fn an_answer_that_is_no_outcome_is_broken_off(world: World) {
    type End = fn(u128) -> Command;
    let ends: [(End, i64); 7] = [
        (fail, 9),
        (give_up, 9),
        (|nonce| Command::Release { nonce }, 9),
        (|nonce| Command::Crash { nonce, gone: Gone::Died, jitter: 0.0 }, 9),
        (|_| Command::Cancel, 9),
        (|_| TICK, 60_000),
        (|_| TICK, 86_400_000),
    ];
    for (end, now) in ends {
        let id = world.accept(task().queue("own")).await;
        let (_, nonce) = world.start_one(&from("own")).await;
        let mut watched = world.other.watch_answer(id);
        let mut spool = shown(&world, id).await;
        spool.write(Bytes::from_static(b"half")).await.expect("the store works");
        let answer = watched.current().expect("it is shown");
        world.step(id, heartbeat(nonce, 30_000), 2).await;
        assert_eq!(answer.growth(), Growth::Growing(4), "a sign of life ends nothing");
        world.step(id, end(nonce), now).await;
        let task = world.read(id).await;
        assert!(!answer.over().await, "{task:?}");
        spool.write(Bytes::from_static(b"more")).await.expect("it is written all the same");
        assert_eq!(answer.growth(), Growth::Broken, "for good");
        world.try_step(id, Command::Cancel, now).await.ok();
    }
    // One whose outcome is tried again is not the result either.
    let id = world.accept(task()).await;
    let (_, nonce) = world.start_one(&from("mail")).await;
    let mut watched = world.store.watch_answer(id);
    let mut spool = shown(&world, id).await;
    let answer = watched.current().expect("it is shown");
    settle(&world, id, nonce, &mut *spool, Some(true)).await;
    assert!(!answer.over().await);
    let (_, nonce) = world.start_one(&from("mail").at(50)).await;
    let mut spool = shown(&world, id).await;
    watched.changed().await;
    let answer = watched.current().expect("the next one");
    assert_eq!(answer.version, ResultVersion { run: 1, attempt: 2, is_other: false });
    // The last one is, whatever it says.
    settle(&world, id, nonce, &mut *spool, Some(false)).await;
    assert!(answer.over().await);
}

/// A spool that is dropped before it was whole breaks its answer; after that, only what is committed
/// says what becomes of it.
pub async fn an_answer_ends_with_its_spool_unless_it_is_whole(world: World) {
    let id = world.accept(task()).await;
    world.start_one(&from("mail")).await;
    let mut watched = world.store.watch_answer(id);
    drop(shown(&world, id).await);
    let answer = watched.current().expect("it was shown");
    assert_eq!(answer.growth(), Growth::Broken);
    let mut spool = shown(&world, id).await;
    spool.write(Bytes::from_static(b"whole")).await.expect("the store works");
    spool.finish().await.expect("the store works");
    drop(spool);
    let answer = watched.current().expect("it was shown");
    assert_eq!(answer.growth(), Growth::Growing(5));
    world.step(id, Command::Cancel, 3).await;
    assert_eq!(answer.growth(), Growth::Broken);
    // Unless whoever has it says that it will not be the outcome.
    let id = world.accept(task()).await;
    world.start_one(&from("mail")).await;
    let mut watched = world.other.watch_answer(id);
    let mut spool = shown(&world, id).await;
    spool.finish().await.expect("the store works");
    spool.break_off();
    assert_eq!(watched.current().expect("it was shown").growth(), Growth::Broken);
}
