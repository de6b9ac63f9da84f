//! Bodies: every byte comes back, and what a step drops is gone.

use std::sync::Arc;

use bytes::Bytes;
use relais_core::{
    BodyKind, Cause, Command, Credentials, Effect, Failure, FailureCode, Gone, Refused, Reply,
    State, TaskId, limits,
};

use super::fixture::*;
use super::world::World;
use crate::*;

/// Bytes without a pattern that could hide a piece out of place.
fn noise(len: usize) -> Bytes {
    let mut state = len as u64 ^ 0x9e37_79b9_7f4a_7c15;
    let next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56).to_le_bytes()[0]
    };
    std::iter::repeat_with(next).take(len).collect::<Vec<u8>>().into()
}

/// Spools `bytes` in chunks of `chunk` bytes.
async fn spooled(world: &World, bytes: &Bytes, chunk: usize) -> Data {
    let mut spool = world.store.spool().await.expect("the store works");
    assert!(spool.is_empty());
    for piece in bytes.chunks(chunk) {
        spool.write(Bytes::copy_from_slice(piece)).await.expect("the store works");
    }
    assert_eq!(spool.len(), bytes.len() as u64);
    spool.finish().await.expect("the store works")
}

/// P52: bodies of every length and content come back exactly, with their heads.
pub async fn every_byte_comes_back(world: World) {
    let edge = limits::INLINE_BODY_BYTES_MAX;
    let mut corpus = vec![
        Bytes::new(),
        Bytes::from_static(b"\0"),
        Bytes::from_static(b"a\0b\0"),
        Bytes::from_static(b"\xff\xfe\xed\xa0\x80 broken UTF-8 \xc3"),
        Bytes::from_static(b"\r\n\r\n'; drop table tasks; --"),
    ];
    corpus.extend([edge - 1, edge].map(noise));
    for bytes in corpus {
        let head = Bytes::from_static(b"\0head\xff");
        let body = Body { head: head.clone(), data: Data::Inline(bytes.clone()) };
        let id = world.accept(task().input(body)).await;
        let stored = world.try_body(id, BodyKind::Input).await.expect("it was stored");
        assert_eq!((stored.head.clone(), stored.len), (head, bytes.len() as u64));
        assert_eq!(stored.bytes(edge).await.expect("it is whole"), bytes);
    }
}

/// A spool keeps what is small inside, and spills what is larger: at the limit exactly.
pub async fn a_spool_spills_beyond_the_limit(world: World) {
    let edge = limits::INLINE_BODY_BYTES_MAX;
    for (len, chunk) in [(0, 1), (1, 1), (edge, 1_000), (edge + 1, 65_537), (1 << 20, 8_191)] {
        let bytes = noise(len);
        let data = spooled(&world, &bytes, chunk).await;
        assert_eq!(data.len(), len as u64);
        assert_eq!(matches!(data, Data::Inline(_)), len <= edge, "{len} bytes");
        if let Data::Spilled { crc, .. } = &data {
            assert_eq!(*crc, crc32fast::hash(&bytes));
        }
        let id = world.accept(task().input(Body { head: Bytes::new(), data })).await;
        let stored = world.try_body(id, BodyKind::Input).await.expect("it was stored");
        assert_eq!(stored.len, len as u64);
        assert_eq!(stored.bytes(len).await.expect("it is whole"), bytes, "{len} bytes");
    }
}

/// A spilled body is read from any offset, in pieces of any size, empty only at its end.
pub async fn a_spilled_body_is_read_in_pieces(world: World) {
    let bytes = noise(200_000);
    let data = spooled(&world, &bytes, 60_000).await;
    let id = world.accept(task().input(Body { head: Bytes::new(), data })).await;
    let stored = world.try_body(id, BodyKind::Input).await.expect("it was stored");
    let BodySource::Reader(reader) = stored.data else { panic!("it is too long to be inline") };
    for (offset, max) in
        [(0, 1), (0, 200_000), (65_535, 3), (199_999, 10), (200_000, 10), (900_000, 1)]
    {
        let piece = reader.read_at(offset, max).await.expect("the store works");
        let from = usize::try_from(offset).expect("small").min(bytes.len());
        let longest = &bytes[from..bytes.len().min(from + max)];
        assert!(longest.starts_with(&piece), "at {offset}");
        assert_eq!(piece.is_empty(), longest.is_empty(), "at {offset}");
    }
}

/// The answer of an upstream is read while it still comes in: from memory and
/// from where it spills to.
pub async fn a_growing_spool_is_read_as_it_grows(world: World) {
    let bytes = noise(150_000);
    let mut spool = world.store.spool().await.expect("the store works");
    let reader = spool.reader();
    let read_from = async |offset: usize| {
        let mut all = Vec::new();
        loop {
            let at = (offset + all.len()) as u64;
            let piece = reader.read_at(at, 40_000).await.expect("the store works");
            if piece.is_empty() {
                break all;
            }
            all.extend_from_slice(&piece);
        }
    };
    assert!(read_from(0).await.is_empty());
    let mut written = 0;
    for len in [10, 50_000, 20_000, 1, 79_989] {
        spool.write(bytes.slice(written..written + len)).await.expect("the store works");
        assert_eq!(read_from(written).await, bytes[written..written + len]);
        written += len;
        assert_eq!(read_from(0).await, bytes[..written]);
    }
    let data = spool.finish().await.expect("the store works");
    assert_eq!(read_from(0).await, bytes, "the reader outlives the spool");
    let id = world.accept(task().input(Body { head: Bytes::new(), data })).await;
    assert_eq!(read_from(100).await, bytes[100..]);
    assert_eq!(world.body(id, BodyKind::Input).await, bytes);
}

/// A reader that is held stays readable although the task is erased.
pub async fn a_reader_outlives_its_task(world: World) {
    let bytes = noise(100_000);
    let data = spooled(&world, &bytes, 100_000).await;
    let id = world.accept(task().input(Body { head: Bytes::new(), data })).await;
    let stored = world.try_body(id, BodyKind::Input).await.expect("it was stored");
    world.step(id, Command::Cancel, 1).await;
    world.commit(erasing(id)).await.expect("it is terminal");
    assert!(world.try_body(id, BodyKind::Input).await.is_none());
    assert_eq!(stored.bytes(100_000).await.expect("it is held"), bytes);
}

/// A spool that is given up leaves nothing, and disturbs nobody.
pub async fn a_spool_that_is_given_up_leaves_nothing(world: World) {
    for len in [10, 100_000] {
        let mut spool = world.store.spool().await.expect("the store works");
        spool.write(noise(len)).await.expect("the store works");
        drop(spool);
    }
    let bytes = noise(100_000);
    let data = spooled(&world, &bytes, 100_000).await;
    let id = world.accept(task().input(Body { head: Bytes::new(), data })).await;
    assert_eq!(world.body(id, BodyKind::Input).await, bytes);
}

/// A spilled body of a refused commit is refused with it; the store goes on.
pub async fn a_spilled_body_of_a_refused_commit_is_not_stored(world: World) {
    let id = world.accept(task()).await;
    let data = spooled(&world, &noise(100_000), 100_000).await;
    let bodies = vec![(BodyKind::Result, Body { head: Bytes::new(), data })];
    let step = StepOf { bodies, ..World::stepping(id, Command::succeed(1), 1) };
    world.try_step_of(step).await.expect_err("the fence is nobody's");
    assert!(world.try_body(id, BodyKind::Result).await.is_none());
    let data = spooled(&world, &noise(100_001), 100_000).await;
    let full = task().queue_capacity(0).input(Body { head: Bytes::new(), data });
    world.try_accept(full).await.expect_err("the queue is full");
    world.accept(task()).await;
}

/// P56: credentials are gone with success and with cancellation, and kept for a retry otherwise.
pub async fn credentials_are_erased_on_success_and_on_cancel(world: World) {
    type End = fn(u128) -> Command;
    let ends: [(End, bool); 4] =
        [(Command::succeed, false), (|_| Command::Cancel, false), (fail, true), (give_up, true)];
    for (end, is_kept) in ends {
        let id = world.accept(task().queue("own").sealed("secret")).await;
        let (_, nonce) = world.start_one(&from("own").at(100).limit(1)).await;
        world.step(id, end(nonce), 101).await;
        let task = world.read(id).await;
        assert_eq!(task.life.credentials == Credentials::Sealed, is_kept, "{task:?}");
        let stored = world.try_body(id, BodyKind::Sealed).await;
        assert_eq!(stored.is_some(), is_kept, "{task:?}");
        world.try_step(id, Command::Cancel, 102).await.ok();
    }
}

/// A checkpoint is kept from attempt to attempt, replaced by the next, and gone at the end.
pub async fn a_checkpoint_is_kept_until_the_task_succeeds(world: World) {
    let id = world.accept(task()).await;
    assert!(world.try_body(id, BodyKind::Checkpoint).await.is_none());
    let report = |nonce| Command::Report {
        nonce,
        until: at(60_000),
        progress: None,
        output: None,
        checkpoint: true,
    };
    let checkpoint = |text: &'static str| (BodyKind::Checkpoint, inline(text));
    let (_, nonce) = world.start_one(&from("mail")).await;
    world.step_with(id, report(nonce), checkpoint("line 1"), 1).await;
    world.step_with(id, report(nonce), checkpoint("line 2"), 2).await;
    world.step(id, fail(nonce), 3).await;
    let claims = world.claim(&from("mail").at(20)).await;
    let resumed = &claims.started[0];
    let brought = resumed.bodies.iter().find(|(kind, _)| *kind == BodyKind::Checkpoint);
    let (_, body) = brought.expect("it was reported");
    assert_eq!(body.bytes(100).await.expect("it is whole"), "line 2");
    assert!(resumed.task().life.has_checkpoint);
    let stepped = world.step(id, Command::succeed(resumed.nonce), 21).await;
    assert!(!stepped.changed.task.life.has_checkpoint);
    assert!(world.try_body(id, BodyKind::Checkpoint).await.is_none());
    assert_eq!(world.body(id, BodyKind::Input).await, "input");
}

/// A retry by hand resumes from the checkpoint unless it is told to forget it.
pub async fn a_retry_from_the_start_forgets_the_checkpoint(world: World) {
    for from_start in [false, true] {
        let id = world.accept(task().checkpoint("half")).await;
        world.step(id, Command::Cancel, 1).await;
        assert_eq!(world.body(id, BodyKind::Checkpoint).await, "half");
        world.step(id, Command::Retry { from_start }, 2).await;
        let kept = world.try_body(id, BodyKind::Checkpoint).await;
        assert_eq!(kept.is_none(), from_start);
    }
}

/// Ends the attempt of a task with an answer as its failure.
async fn fail_with_answer(world: &World, id: TaskId, nonce: u128, retryable: bool, now: i64) {
    let mut failure = Failure::new(FailureCode::UpstreamError, None);
    failure.has_result = true;
    let (cause, retry_after, jitter) = (Cause::Error, None, 0.0);
    let command = Command::Fail { nonce, cause, failure, retryable, retry_after, jitter };
    world.step_with(id, command, (BodyKind::Result, inline("502")), now).await;
}

/// The answer of the last attempt is the result; that of one which is tried again is dropped.
pub async fn the_answer_of_a_failed_attempt_is_kept_if_it_is_the_last(world: World) {
    let id = world.accept(task()).await;
    let (_, nonce) = world.start_one(&from("mail")).await;
    fail_with_answer(&world, id, nonce, true, 1).await;
    assert!(world.try_body(id, BodyKind::Result).await.is_none(), "it is tried again");
    let (_, nonce) = world.start_one(&from("mail").at(50)).await;
    fail_with_answer(&world, id, nonce, false, 51).await;
    assert_eq!(world.body(id, BodyKind::Result).await, "502");
    world.step(id, Command::Retry { from_start: false }, 52).await;
    assert!(world.try_body(id, BodyKind::Result).await.is_none(), "a new run has no result yet");
}

/// The step by which the holder of a lease stores a result before its settle.
fn storing_early(id: TaskId, nonce: u128, early: u128, data: Data) -> StepOf {
    let body = Body { head: Bytes::from_static(b"early"), data };
    let command = Command::StoreEarly { nonce, id: early };
    StepOf { bodies: vec![(BodyKind::Early, body)], ..World::stepping(id, command, 1) }
}

/// The settle by which an early result becomes the result.
fn settling_with(id: TaskId, nonce: u128, early: u128, stored: StoredBody) -> StepOf {
    let command = Command::Succeed { nonce, result: None, message: None, early: Some(early) };
    let body = Body { head: Bytes::from_static(b"head"), data: Data::Early { id: early, stored } };
    StepOf { bodies: vec![(BodyKind::Result, body)], ..World::stepping(id, command, 2) }
}

/// A result that a worker stored before its settle was known to one process only: a settle that came
/// to another one, or after a restart, did not find it.
pub async fn an_early_result_becomes_the_result_on_another_node(world: World) {
    for len in [10, 100_000] {
        let bytes = noise(len);
        let id = world.accept(task()).await;
        let (_, nonce) = world.start_one(&from("mail")).await;
        // The second takes the place of the first.
        for (early, data) in [
            (7, spooled(&world, &noise(90_000), 1_000).await),
            (8, spooled(&world, &bytes, 1_000).await),
        ] {
            let stored = world.try_step_of(storing_early(id, nonce, early, data)).await;
            assert!(stored.expect("the lease holds").changed.entries.is_empty());
        }
        let other = world.other.body(id, BodyKind::Early).await.expect("the store works");
        let stored = other.expect("it was stored");
        assert_eq!((&stored.head[..], stored.len), (&b"early"[..], len as u64));
        let refused = world.try_step_of(settling_with(id, nonce, 7, stored.clone())).await;
        assert_eq!(refused.err(), Some(Rejected::Refused(Refused::NoSuchResult)));
        let settle = settling_with(id, nonce, 8, stored.clone());
        let settles = vec![Commit::Step(Box::new(settle.clone())), Commit::Step(Box::new(settle))];
        let answers = world.other.commit(settles).await.expect("the store works");
        let replies = answers.into_iter().map(|answer| match answer {
            Ok(Committed::Stepped(stepped)) => stepped.reply,
            answer => panic!("it was not taken: {answer:?}"),
        });
        assert_eq!(replies.collect::<Vec<_>>(), [Reply::Done, Reply::Replayed]);
        assert_eq!(world.body(id, BodyKind::Result).await, bytes);
        let head = world.try_body(id, BodyKind::Result).await.map(|body| body.head);
        assert_eq!(head, Some(Bytes::from_static(b"head")));
        assert!(world.try_body(id, BodyKind::Early).await.is_none());
        assert_eq!(stored.bytes(len).await.expect("it is held"), bytes);
    }
}

/// An early result ends with its lease, however that ends, and no other lease finds it.
pub async fn an_early_result_ends_with_its_lease(world: World) {
    type End = fn(u128) -> Command;
    let ends: [(End, i64); 9] = [
        (Command::succeed, 9),
        (fail, 9),
        (give_up, 9),
        (|nonce| Command::Release { nonce }, 9),
        (|nonce| Command::Crash { nonce, gone: Gone::Died, jitter: 0.0 }, 9),
        (|nonce| Command::Defer { nonce, until: at(99_000), callback: nonce ^ 1 }, 9),
        (|_| Command::Cancel, 9),
        (|_| TICK, 60_000),
        (|_| TICK, 86_400_000),
    ];
    for (end, now) in ends {
        let id = world.accept(task().queue("own")).await;
        let (_, nonce) = world.start_one(&from("own").limit(1)).await;
        let data = spooled(&world, &noise(100_000), 100_000).await;
        world.try_step_of(storing_early(id, nonce, 7, data)).await.expect("the lease holds");
        world.step(id, heartbeat(nonce, 30_000), 2).await;
        assert!(world.try_body(id, BodyKind::Early).await.is_some(), "a sign of life ends nothing");
        world.step(id, end(nonce), now).await;
        let task = world.read(id).await;
        assert_eq!(task.life.early(), None, "{task:?}");
        assert!(world.try_body(id, BodyKind::Early).await.is_none(), "{task:?}");
        let data = spooled(&world, &noise(100_000), 100_000).await;
        let late = world.try_step_of(storing_early(id, nonce, 8, data)).await;
        assert!(matches!(late, Err(Rejected::Refused(_))), "{late:?}");
        assert!(world.try_body(id, BodyKind::Early).await.is_none());
        world.try_step(id, Command::Cancel, now).await.ok();
    }
}

/// Early results take room that nobody has paid for yet: they are bounded, and a settle makes room.
pub async fn early_results_are_bounded_per_tenant_and_in_all(world: World) {
    let most = limits::UPLOADS_PER_TENANT_MAX;
    let tenants = ["a", "b", "c", "d", "e"];
    let mut held = Vec::new();
    for name in tenants {
        let new = |_| world.accepting(task().tenant(name));
        world.commit_all((0..=most).map(new).collect()).await;
        let claims = world.claim(&from("mail").tenant(name).limit(most + 1)).await;
        let held_by = |claimed: &Claimed| (claimed.task().spec.id, claimed.nonce);
        held.push(claims.started.iter().map(held_by).collect::<Vec<_>>());
    }
    let store = |(id, nonce): &(TaskId, u128)| {
        let step = storing_early(*id, *nonce, 7, Data::Inline(Bytes::from_static(b"x")));
        Commit::Step(Box::new(step))
    };
    for of_tenant in &held[..limits::UPLOADS_MAX / most] {
        let stored = world.commit_all(of_tenant[..most].iter().map(store).collect()).await;
        assert!(stored.iter().all(Result::is_ok), "{stored:?}");
        let over = world.commit(store(&of_tenant[most])).await;
        assert_eq!(over.err(), Some(Rejected::TenantEarlyFull));
        assert!(world.try_body(of_tenant[most].0, BodyKind::Early).await.is_none());
    }
    let last = held.last().expect("there are several");
    assert_eq!(world.commit(store(&last[0])).await.err(), Some(Rejected::EarlyFull));
    let (id, nonce) = held[0][0];
    world.commit(store(&(id, nonce))).await.expect("it takes its own place");
    world.step(id, Command::succeed(nonce), 3).await;
    world.commit(store(&last[0])).await.expect("there is room");
}

/// Bodies are read while others are written.
pub async fn bodies_are_read_beside_writes(world: World) {
    let bytes = noise(1 << 20);
    let data = spooled(&world, &bytes, 1 << 16).await;
    let id = world.accept(task().input(Body { head: Bytes::new(), data })).await;
    let store: Arc<dyn Store> = world.store.clone();
    let reading = tokio::spawn(async move {
        let stored = store.body(id, BodyKind::Input).await.expect("the store works");
        stored.expect("it was stored").bytes(1 << 20).await.expect("it is whole")
    });
    world.accept_many(20, &task()).await;
    assert_eq!(reading.await.expect("nothing panics"), bytes);
}

/// One body that could not be read kept its whole queue from being claimed, for ever.
pub async fn a_damaged_body_ends_its_task_and_no_other(world: World) {
    let (bad, good) = (world.accept(task()).await, world.accept(task()).await);
    world.damage(bad, BodyKind::Input);
    let claims = world.claim(&from("mail").limit(1)).await;
    let started: Vec<_> = claims.started.iter().map(|claimed| claimed.task().spec.id).collect();
    assert_eq!(started, [good], "the queue goes on");
    let [spoiled] = &claims.spoiled[..] else { panic!("one is told: {:?}", claims.spoiled) };
    assert_eq!(spoiled.task, world.read(bad).await);
    let State::Failed { failure, holder: None, .. } = &spoiled.task.life.state else {
        panic!("it did not end: {:?}", spoiled.task.life.state)
    };
    assert_eq!(failure.code, FailureCode::BodyDamaged);
    assert_eq!(spoiled.task.life.attempt, 0, "nothing was begun");
    assert_eq!(world.log(bad).await.last(), spoiled.entries.last());
    assert!(matches!(spoiled.effects[..], [Effect::Wake { .. }]), "{:?}", spoiled.effects);
    assert!(world.claim(&from("mail").limit(9)).await.spoiled.is_empty(), "it is over");
    // By hand it may be tried again, and ends the same way.
    world.step(bad, Command::Retry { from_start: true }, 5).await;
    assert_eq!(world.claim(&from("mail").at(5).limit(9)).await.spoiled.len(), 1);
}

/// What came out and cannot be read is told apart from a store that is damaged.
pub async fn a_damaged_result_is_an_error_of_its_own(world: World) {
    let id = world.accept(task()).await;
    let (_, nonce) = world.start_one(&from("mail").limit(1)).await;
    let result = (BodyKind::Result, inline("done"));
    world.step_with(id, Command::succeed(nonce), result, 5).await;
    world.damage(id, BodyKind::Result);
    let read = world.store.body(id, BodyKind::Result).await;
    assert!(matches!(read, Err(StoreError::BodyDamaged(_))), "{read:?}");
    assert_eq!(world.store.health(), Health::Ready, "the rest is as it should be");
}
