//! Workers of every kind: good ones, and those that vanish, settle late, twice, or not at all.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::chance::Chance;
use crate::clock::{SECOND, pause_ms};
use crate::ledger::{Lease, Outcome};
use crate::scene::LEASE_MS;
use crate::settle::settle;
use crate::verdict::Check;
use crate::wire::Reply;
use crate::world::{Phase, World};

/// Leases and settles until everybody goes home.
pub(crate) async fn worker(world: Arc<World>, number: usize) {
    let mut chance = world.chance.fork("worker", number);
    // What a worker leaves behind goes on without it; so many of these at once.
    let loose = Arc::new(Semaphore::new(LOOSE_MAX));
    while world.phase() != Phase::Over {
        if !world.until_up().await {
            return;
        }
        let max = chance.within(1, 5);
        for held in lease(&world, max, 300, number).await {
            let habit = draw(&world, &mut chance, &held);
            let (world, mut own) = (world.clone(), chance.fork(&held.token, 0));
            let Ok(place) = loose.clone().acquire_owned().await else { return };
            tokio::spawn(async move {
                work(&world, &held, habit, &mut own).await;
                drop(place);
            });
        }
    }
}

/// A lease in a worker's hands.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) token: String,
    pub(crate) task: String,
    pub(crate) attempt: u64,
}

/// What a worker does with a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Habit {
    /// Works a little, and settles.
    Good,
    /// Works longer, reports, leaves checkpoints, and settles.
    Careful,
    /// Is never heard of again.
    Vanishing,
    /// Settles when somebody else has the task.
    Late,
    /// Settles, then settles otherwise.
    Double,
    /// Fails.
    Failing,
    /// Gives it back.
    Releasing,
}

fn draw(world: &World, chance: &mut Chance, held: &Held) -> Habit {
    if world.phase() != Phase::Storm {
        return Habit::Good;
    }
    let habit = chance.weighted(&[
        (Habit::Good, 50),
        (Habit::Careful, 18),
        (Habit::Vanishing, 6),
        (Habit::Late, 9),
        (Habit::Double, 8),
        (Habit::Failing, 6),
        (Habit::Releasing, 3),
    ]);
    // A late worker needs somebody to be overtaken by, who holds the task for a while.
    if held.attempt > 1 && habit == Habit::Good { Habit::Careful } else { habit }
}

/// Leases up to `max` tasks, waiting up to `wait_ms` for the first.
pub(crate) async fn lease(world: &World, max: u64, wait_ms: u64, number: usize) -> Vec<Held> {
    let asked = world.now();
    let document =
        json!({"max": max, "wait": format!("{wait_ms}ms"), "worker": format!("judge-{number}")});
    let answer = match world.http.post("/v1/queues/work/leases", &document).await {
        Reply::Answer(answer) => answer,
        Reply::Lost => return Vec::new(),
        Reply::NotSent => {
            pause_ms(20).await;
            return Vec::new();
        }
    };
    let got = world.now();
    let document = answer.json();
    let leases = document["leases"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut ledger = world.ledger();
    let is_fine = answer.status == 200 || matches!(answer.status, 429 | 503);
    ledger.verdict.note(Check::Answers, None, is_fine, || format!("lease: {}", answer.shown()));
    let mut held = Vec::new();
    for lease in leases {
        let text = |member: &str| lease[member].as_str().unwrap_or_default().to_owned();
        let one = Held {
            token: text("token"),
            task: text("task"),
            attempt: lease["attempt"].as_u64().unwrap_or(0),
        };
        ledger.counts.leases += 1;
        ledger.meet(lease["input"]["name"].as_str().unwrap_or_default(), &one.task);
        check_lease(&mut ledger, lease, &one);
        let latest = ledger.latest_attempt.entry(one.task.clone()).or_default();
        *latest = (*latest).max(one.attempt);
        let entry = Lease {
            task: one.task.clone(),
            attempt: one.attempt,
            lane: text("lane"),
            got,
            live_until: asked + LEASE_MS * SECOND / 1_000,
            settles: Vec::new(),
        };
        ledger.leases.insert(one.token.clone(), entry);
        held.push(one);
    }
    held
}

fn check_lease(ledger: &mut crate::ledger::Ledger, lease: &Value, held: &Held) {
    let is_known = ledger.leases.contains_key(&held.token);
    ledger.verdict.note(Check::Leases, Some(&held.task), !is_known, || {
        format!("attempt {} was leased under a token that was given before", held.attempt)
    });
    let name = lease["input"]["name"].as_str().unwrap_or_default();
    let is_named = ledger.intents.contains_key(name);
    ledger.verdict.note(Check::Inputs, Some(&held.task), is_named, || {
        format!("a worker was given an input that nobody handed in: {}", lease["input"])
    });
    let kept = ledger.tasks.get(&held.task).map_or(0, |task| task.checkpoint_kept);
    let given = lease["checkpoint"]["n"].as_u64().unwrap_or(0);
    if kept > 0 {
        ledger.verdict.note(Check::Checkpoints, Some(&held.task), given >= kept, || {
            format!("checkpoint {kept} was stored, attempt {} was given {given}", held.attempt)
        });
    }
}

async fn work(world: &World, held: &Held, habit: Habit, chance: &mut Chance) {
    let salt = chance.bits() >> 16;
    match habit {
        Habit::Good => {
            pause_ms(chance.within(0, 60)).await;
            settle(world, held, Outcome::Succeed(salt)).await;
        }
        Habit::Careful => {
            for step in 0..chance.within(2, 5) {
                pause_ms(chance.within(80, 250)).await;
                heartbeat(world, held, step, chance.happens(50)).await;
            }
            // Not all get to the end; whoever comes next begins at the checkpoint.
            match chance.within(0, 10) {
                0..2 if world.phase() == Phase::Storm => {}
                2..4 => settle(world, held, Outcome::Fail { retryable: true }).await,
                _ => settle(world, held, Outcome::Succeed(salt)).await,
            }
        }
        Habit::Vanishing => {}
        Habit::Late => {
            if !until_overtaken(world, held).await {
                // Nobody took the task in time: settle all the same, and see.
                pause_ms(chance.within(0, 100)).await;
            }
            settle(world, held, Outcome::Succeed(salt)).await;
        }
        Habit::Double => {
            pause_ms(chance.within(0, 60)).await;
            settle(world, held, Outcome::Succeed(salt)).await;
            pause_ms(chance.within(0, 200)).await;
            let other = if chance.happens(50) {
                Outcome::Succeed(salt + 1)
            } else {
                Outcome::Fail { retryable: chance.happens(50) }
            };
            settle(world, held, other).await;
        }
        Habit::Failing => {
            pause_ms(chance.within(0, 60)).await;
            settle(world, held, Outcome::Fail { retryable: chance.happens(60) }).await;
        }
        Habit::Releasing => {
            pause_ms(chance.within(0, 60)).await;
            settle(world, held, Outcome::Release).await;
        }
    }
}

/// Waits until somebody else was given the task, not much longer than the lease lasts.
async fn until_overtaken(world: &World, held: &Held) -> bool {
    let until = world.now() + 3 * LEASE_MS * SECOND / 1_000;
    while world.now() < until && world.phase() != Phase::Over {
        if world.ledger().latest_attempt.get(&held.task).is_some_and(|last| *last > held.attempt) {
            return true;
        }
        pause_ms(15).await;
    }
    false
}

async fn heartbeat(world: &World, held: &Held, step: u64, with_checkpoint: bool) {
    let sent = world.now();
    let mut item = json!({
        "token": held.token,
        "progress": {"done": step, "total": 5, "message": format!("step {step}")},
    });
    let mut number = 0;
    if with_checkpoint {
        let mut ledger = world.ledger();
        if let Some(task) = ledger.tasks.get_mut(&held.task) {
            task.checkpoint_sent += 1;
            number = task.checkpoint_sent;
        }
        item["checkpoint"] = json!({"n": number});
    }
    let document = json!({"items": [item]});
    let Some(answer) = world.http.post("/v1/leases/heartbeat", &document).await.answer() else {
        return;
    };
    let document = answer.json();
    let said = &document["items"][0];
    let mut ledger = world.ledger();
    let is_fine = answer.status == 200 && matches!(said["status"].as_u64(), Some(200 | 409));
    ledger.verdict.note(Check::Answers, Some(&held.task), is_fine || answer.status == 503, || {
        format!("heartbeat: {}", answer.shown())
    });
    if said["status"] == 200 {
        ledger.counts.heartbeats += 1;
        if let Some(lease) = ledger.leases.get_mut(&held.token) {
            lease.live_until = lease.live_until.max(sent + LEASE_MS * SECOND / 1_000);
        }
        if let Some(task) = ledger.tasks.get_mut(&held.task)
            && task.touched.is_none()
        {
            task.checkpoint_kept = task.checkpoint_kept.max(number);
        }
    }
}

/// Leases of one worker that are being worked on at once.
const LOOSE_MAX: usize = 24;
