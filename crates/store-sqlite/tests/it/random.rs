//! Random lives: the same as the reference's, and with every count right on disk.

use std::sync::Arc;

use relais_core::{Command, Holder, Order, Policy, Runner, TaskId, Timestamp};
use relais_store::conformance::World;
use relais_store::conformance::fixture::{TaskBuilder, at, from, give_up, policy, task, upstream};
use relais_store::conformance::random::{Dice, compare};
use relais_store::{Claim, Claims, MemoryStore, Store as _};
use relais_store_sqlite::{Options, SqliteStore};

use crate::{assert_sound, file_in, new_folder};

#[tokio::test]
async fn counts_on_disk_equal_a_recount_after_random_lives() {
    for seed in 100..108 {
        let folder = new_folder();
        let mut options = Options::new(file_in(&folder), Timestamp::from_ms(0));
        if seed % 2 == 0 {
            // What is not kept in mind must be read as it was written.
            options.tasks_kept = 2;
        }
        let store = SqliteStore::open(&options).expect("it opens");
        let world = World::from(store.clone());
        compare(&world, &World::from(MemoryStore::new()), seed).await;
        assert_sound(&file_in(&folder));
        store.close().await;
        assert_sound(&file_in(&folder));
    }
}

/// A policy that may change from claim to claim.
fn any_policy(dice: &mut Dice) -> Policy {
    Policy {
        order: dice.pick(&[Order::Fair, Order::Strict]),
        concurrency_per_lane: dice.pick(&[None, Some(1), Some(3)]),
        ..policy()
    }
}

fn any_runner(dice: &mut Dice) -> Runner {
    if dice.roll(2) == 0 { Runner::Workers } else { upstream(true) }
}

fn any_task(dice: &mut Dice, now: i64) -> TaskBuilder {
    let later = i64::try_from(dice.roll(3) * dice.roll(40)).expect("small");
    let task = task()
        .created_at(now)
        .run_at(now + later)
        .priority(i8::try_from(dice.roll(21)).expect("small") - 10)
        .runner(any_runner(dice));
    match dice.roll(3) {
        0 => task,
        _ => task.lane(dice.pick(&["a", "b"])),
    }
}

#[tokio::test]
async fn a_queue_that_changes_its_order_again_and_again_starts_what_the_reference_starts() {
    for seed in 0..12 {
        let folder = new_folder();
        let (world, store) = crate::world_in(&folder);
        let reference = World::from(MemoryStore::new());
        let mut dice = Dice::new(seed);
        let mut held: Vec<(TaskId, u128)> = Vec::new();
        let mut ids: Vec<TaskId> = Vec::new();
        for now in 0..300 {
            match dice.roll(6) {
                0..3 => {
                    let id = world.id();
                    let new = any_task(&mut dice, now).id(id);
                    world.accept(new.clone()).await;
                    reference.accept(new).await;
                    ids.push(id);
                }
                3 if !held.is_empty() => {
                    let end = held.len() as u64;
                    let (id, nonce) =
                        held.swap_remove(usize::try_from(dice.roll(end)).expect("an index"));
                    let command = dice.pick(&[0, 1, 2]);
                    let command = || match command {
                        0 => Command::succeed(nonce),
                        1 => Command::Release { nonce },
                        _ => give_up(nonce),
                    };
                    let mine =
                        world.try_step(id, command(), now).await.map(|step| step.changed.task);
                    let theirs =
                        reference.try_step(id, command(), now).await.map(|step| step.changed.task);
                    assert_eq!(mine, theirs);
                }
                4 if dice.roll(4) == 0 && !ids.is_empty() => {
                    let id = dice.pick(&ids);
                    let mine = world
                        .try_step(id, Command::Cancel, now)
                        .await
                        .map(|step| step.changed.task);
                    let theirs = reference.try_step(id, Command::Cancel, now).await;
                    assert_eq!(mine, theirs.map(|step| step.changed.task));
                }
                _ => {
                    let runner = any_runner(&mut dice);
                    let claim = Claim {
                        pool: from("mail").run_by(&runner).pool,
                        policy: Arc::new(any_policy(&mut dice)),
                        holder: Holder::Relais { epoch: 1 },
                        nonces: (0..dice.roll(4)).map(|_| world.nonce()).collect(),
                        held: Arc::default(),
                        now: at(now),
                    };
                    let mine = store.claim(claim.clone()).await.expect("it works");
                    let theirs = reference.store.claim(claim).await.expect("it works");
                    assert_eq!(told(&mine), told(&theirs), "seed {seed} at {now}");
                    held.extend(mine.started.iter().map(|one| (one.task().spec.id, one.nonce)));
                }
            }
        }
        assert_sound(&file_in(&folder));
    }
}

fn told(claims: &Claims) -> (Vec<TaskId>, bool, Option<Timestamp>) {
    let ids = claims.started.iter().map(|claimed| claimed.task().spec.id).collect();
    (ids, claims.more, claims.next_at)
}
