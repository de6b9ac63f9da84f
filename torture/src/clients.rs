//! The load: clients that hand in, each at its own pace, all of them bounded.

use std::sync::Arc;

use crate::chance::Chance;
use crate::ledger::Intent;
use crate::scene::{Door, PROMISES};
use crate::script::Script;
use crate::submit::{hand_in, hand_in_batch, intent, repeat};
use crate::verdict::Check;
use crate::wire::JSON;
use crate::world::{Phase, World};

/// Hands in one thing after the other until the storm is over.
pub(crate) async fn client(world: Arc<World>, number: usize) {
    let mut chance = world.chance.fork("client", number);
    while world.phase() == Phase::Storm && world.ledger().intents.len() < INTENTS_MAX {
        if chance.happens(4) && has_room(&world, Door::Work) {
            batch(&world, &mut chance).await;
        } else {
            single(&world, &mut chance).await;
        }
        let thinking = chance.within(10, 120);
        world.rest(thinking).await;
    }
}

async fn single(world: &World, chance: &mut Chance) {
    let intent = draw(world, chance);
    let name = world.draw_name(intent.door.promise().queue);
    let has_key = chance.happens(55);
    let key = has_key.then(|| format!("key-{name}"));
    let intent = Intent { key, ..intent };
    if has_key && chance.happens(10) {
        // Two at the same moment, with one key.
        let (first, second) = tokio::join!(hand_in(world, &name, intent.clone(), None), async {
            repeat_soon(world, &name).await
        });
        _ = (first, second);
        return;
    }
    let Some(id) = hand_in(world, &name, intent, None).await else { return };
    if chance.happens(20) {
        read_at_once(world, &id).await;
    }
    if has_key && chance.happens(15) {
        repeat(world, &name).await;
    }
}

/// Sends the same again as soon as it has been sent once.
async fn repeat_soon(world: &World, name: &str) {
    for _ in 0..50 {
        tokio::task::yield_now().await;
        if world.ledger().intents.contains_key(name) {
            break;
        }
    }
    if world.ledger().intents.contains_key(name) {
        repeat(world, name).await;
    }
}

/// What was answered is there for every reader, and at once.
async fn read_at_once(world: &World, id: &str) {
    let known = world.version_of(id);
    let target = format!("/v1/tasks/{id}");
    let Some(answer) = world.http.get(&target, JSON).await.answer() else { return };
    if answer.status == 200 {
        world.note_read(id, known, &answer.json());
    }
    let mut ledger = world.ledger();
    let was_erased =
        ledger.tasks.get(id).is_some_and(|task| task.erase != crate::ledger::Asked::No);
    let is_there = answer.status == 200 || was_erased;
    ledger.verdict.note(Check::There, Some(id), is_there, || {
        format!("read right after its 202, it was answered {}", answer.shown())
    });
}

/// Looks from time to time how far each queue is behind.
pub(crate) async fn gauge(world: Arc<World>) {
    while world.phase() == Phase::Storm {
        for promise in &PROMISES {
            let target = format!("/v1/queues/{}", promise.queue);
            if let Some(answer) = world.http.get(&target, JSON).await.answer() {
                let queued = answer.json()["counts"]["queued"].as_u64().unwrap_or(0);
                world.ledger().backlog.insert(promise.door, queued);
            }
        }
        world.rest(250).await;
    }
}

/// Whether a queue keeps up: what waits too long only meets its deadline.
fn has_room(world: &World, door: Door) -> bool {
    world.ledger().backlog.get(&door).is_none_or(|queued| *queued < BACKLOG_MAX)
}

/// What to hand in next.
fn draw(world: &World, chance: &mut Chance) -> Intent {
    use Door::{Auto, Lanes, Once, Safe, Twice, Work};
    use Script::{Broken, Drop, Flaky, Ok, Slow};
    let (door, script) = chance.weighted(&[
        ((Once, Ok), 12),
        ((Once, Slow), 8),
        ((Once, Flaky), 6),
        ((Once, Drop), 4),
        ((Once, Broken), 3),
        ((Twice, Ok), 4),
        ((Twice, Drop), 4),
        ((Twice, Flaky), 3),
        ((Twice, Broken), 2),
        ((Safe, Ok), 5),
        ((Safe, Slow), 5),
        ((Lanes, Slow), 10),
        ((Auto, Ok), 5),
        ((Auto, Slow), 6),
        ((Work, Ok), 26),
    ]);
    let (door, script) = if has_room(world, door) { (door, script) } else { (Twice, Ok) };
    let mut drawn = intent(door, script);
    if door == Work && chance.happens(4) {
        drawn.deadline_ms = chance.within(500, 3_000);
    }
    if door == Safe {
        drawn.method = if chance.happens(50) { "GET" } else { "PUT" };
    }
    if drawn.method != "GET" && door != Work {
        let large = chance.happens(3);
        let (low, high) = if large { (70_000, 200_000) } else { (0, 2_000) };
        drawn.len = usize::try_from(chance.within(low, high)).unwrap_or(0);
    }
    let lanes = door.promise().lanes as u64;
    if lanes > 0 {
        drawn.lane = usize::try_from(chance.within(0, lanes)).ok();
    }
    // The hand-over counts its patience from the upload on: a delayed task is never direct.
    if door != Auto && chance.happens(15) {
        drawn.delay_ms = chance.within(200, 3_000);
    }
    drawn
}

async fn batch(world: &World, chance: &mut Chance) {
    let count = chance.within(3, 15);
    let key = format!("key-{}", world.draw_name("batch"));
    let mut names = Vec::new();
    for _ in 0..count {
        let name = world.draw_name("work");
        let mut item = intent(Door::Work, Script::Ok);
        item.key = Some(format!("{key} {}", names.len()));
        item.lane = usize::try_from(chance.within(0, 6)).ok();
        if chance.happens(15) {
            item.delay_ms = chance.within(200, 3_000);
        }
        world.ledger().intents.insert(name.clone(), item);
        names.push(name);
    }
    hand_in_batch(world, &names, &key).await;
}

/// Hands one strict lane's tasks in, one by one: each only after the one before was answered, so
/// that everybody agrees on their order.
pub(crate) async fn strict_client(world: Arc<World>, lane: usize) {
    let mut chance = world.chance.fork("strict", lane);
    while world.phase() == Phase::Storm {
        let name = world.draw_name("strict");
        let script = if chance.happens(50) { Script::Slow } else { Script::Ok };
        let mut next = intent(Door::Strict, script);
        next.key = Some(format!("key-{name}"));
        next.lane = Some(lane);
        next.len = usize::try_from(chance.within(0, 500)).unwrap_or(0);
        if hand_in(&world, &name, next, None).await.is_some() {
            world.ledger().strict.entry(lane).or_default().push(name);
        } else {
            // Whether it is a task now is not known, so its place in the order is not either: the
            // storm is over, or the server does not come back.
            world.rest(500).await;
        }
        let thinking = chance.within(80, 320);
        world.rest(thinking).await;
    }
}

/// So that a very long run ends with a ledger that fits the memory.
const INTENTS_MAX: usize = 3_000_000;
/// Tasks that may wait in one queue.
const BACKLOG_MAX: u64 = 100;
