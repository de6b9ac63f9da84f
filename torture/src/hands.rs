//! Hands that meddle: they read, follow, cancel, retry and erase whatever came in lately.

use std::sync::Arc;

use http::Method;
use http_body_util::Full;
use serde_json::json;
use tokio::task::JoinSet;

use crate::chance::Chance;
use crate::ledger::Asked;
use crate::scene::Door;
use crate::verdict::Check;
use crate::wire::{Answer, JSON};
use crate::world::{Phase, World};

/// Meddles until the storm is over.
pub(crate) async fn hand(world: Arc<World>, number: usize) {
    let mut chance = world.chance.fork("hand", number);
    while world.phase() == Phase::Storm {
        let idle = chance.within(20, 160);
        world.rest(idle).await;
        if !world.until_up().await {
            return;
        }
        let Some(id) = draw(&world, &mut chance) else { continue };
        match chance.within(0, 100) {
            0..35 => cancel(&world, &id).await,
            35..60 => retry(&world, &id, chance.happens(30)).await,
            60..70 => erase(&world, &id, chance.happens(50)).await,
            70..85 => follow(&world, &id).await,
            _ => read(&world, &id).await,
        }
    }
}

/// Cancels what upstreams are busy with in queues with limits, and returns with the first answer:
/// the server is killed then, when the slots of the others are about to be given back.
pub(crate) async fn ambush(world: &Arc<World>) {
    let ids: Vec<String> = {
        let (ledger, life) = (world.ledger(), world.life());
        let recent = &ledger.calls[ledger.calls.len().saturating_sub(RECENT)..];
        let busy = recent.iter().filter(|call| {
            call.life == life && call.ended.is_none() && call.door.promise().concurrency.is_some()
        });
        busy.map(|call| call.task.clone()).take(AMBUSHED).collect()
    };
    let mut cancels = JoinSet::new();
    for id in ids {
        let world = world.clone();
        cancels.spawn(async move { cancel(&world, &id).await });
    }
    cancels.join_next().await;
    // The others are still being answered, or never will be.
    cancels.detach_all();
}

/// One of the tasks that came in lately. Strict lanes are left alone: their
/// order is what is watched.
fn draw(world: &World, chance: &mut Chance) -> Option<String> {
    let ledger = world.ledger();
    let recent = &ledger.recent[ledger.recent.len().saturating_sub(RECENT)..];
    if recent.is_empty() {
        return None;
    }
    let id = chance.pick(recent);
    let is_strict = ledger.intent_of(id).is_none_or(|intent| intent.door == Door::Strict);
    (!is_strict).then(|| id.clone())
}

async fn cancel(world: &World, id: &str) {
    {
        let now = world.now();
        let mut ledger = world.ledger();
        ledger.counts.cancels += 1;
        if let Some(task) = ledger.tasks.get_mut(id) {
            task.cancel = task.cancel.max(Asked::Sent);
            task.touch(now);
        }
    }
    let known = world.version_of(id);
    let target = format!("/v1/tasks/{id}/cancel");
    let Some(answer) = world.http.post(&target, &json!({})).await.answer() else { return };
    if answer.status == 200 {
        let document = answer.json();
        world.note_read(id, known, &document);
        if document["status"] == "canceled"
            && let Some(task) = world.ledger().tasks.get_mut(id)
        {
            task.cancel = Asked::Done;
        }
        let mut ledger = world.ledger();
        // Another hand may have retried it before the answer was written.
        let was_retried = ledger.tasks.get(id).is_some_and(|task| task.retries_sent > 0);
        let is_over = document["terminal"] == true || was_retried;
        ledger.verdict.note(Check::Hands, Some(id), is_over, || {
            format!("a cancel was answered, and the task is not over: {}", answer.shown())
        });
    } else {
        expect(world, id, &answer, &[409]);
    }
}

async fn retry(world: &World, id: &str, from_start: bool) {
    {
        let now = world.now();
        let mut ledger = world.ledger();
        ledger.counts.retries += 1;
        if let Some(task) = ledger.tasks.get_mut(id) {
            task.retries_sent += 1;
            task.touch(now);
            if from_start {
                // Whatever was kept may be forgotten from here on.
                task.checkpoint_kept = 0;
            }
        }
    }
    let known = world.version_of(id);
    let target = format!("/v1/tasks/{id}/retry");
    let document = if from_start { json!({"from": "start"}) } else { json!({}) };
    let Some(answer) = world.http.post(&target, &document).await.answer() else { return };
    match answer.status {
        202 => {
            world.note_read(id, known, &answer.json());
            if let Some(task) = world.ledger().tasks.get_mut(id) {
                task.retries_done += 1;
            }
        }
        200 => world.note_read(id, known, &answer.json()),
        _ => expect(world, id, &answer, &[409]),
    }
}

async fn erase(world: &World, id: &str, and_cancel: bool) {
    {
        let now = world.now();
        let mut ledger = world.ledger();
        ledger.counts.erasures += 1;
        if let Some(task) = ledger.tasks.get_mut(id) {
            task.erase = task.erase.max(Asked::Sent);
            if and_cancel {
                task.cancel = task.cancel.max(Asked::Sent);
            }
            task.touch(now);
        }
    }
    let more = if and_cancel { "?cancel=true" } else { "" };
    let Some(answer) = world.http.delete(&format!("/v1/tasks/{id}{more}")).await.answer() else {
        return;
    };
    if answer.status == 204 {
        if let Some(task) = world.ledger().tasks.get_mut(id) {
            task.erase = Asked::Done;
        }
    } else {
        expect(world, id, &answer, &[409]);
    }
}

async fn read(world: &World, id: &str) {
    let known = world.version_of(id);
    let Some(answer) = world.http.get(&format!("/v1/tasks/{id}"), JSON).await.answer() else {
        return;
    };
    if answer.status == 200 {
        world.note_read(id, known, &answer.json());
    } else {
        expect(world, id, &answer, &[]);
    }
}

/// A long poll: the first newer version, or nothing new.
async fn follow(world: &World, id: &str) {
    let known = world.version_of(id);
    let Some(first) = world.http.get(&format!("/v1/tasks/{id}"), JSON).await.answer() else {
        return;
    };
    if first.status != 200 {
        return expect(world, id, &first, &[]);
    }
    world.note_read(id, known, &first.json());
    let known = world.version_of(id);
    let request = world
        .http
        .request(Method::GET, &format!("/v1/tasks/{id}"))
        .header("accept", JSON)
        .header("prefer", "wait=1")
        .header("if-none-match", first.field("etag"));
    let request = request.body(Full::default()).expect("a plain request");
    let Some(answer) = world.http.send(request).await.answer() else { return };
    match answer.status {
        200 => world.note_read(id, known, &answer.json()),
        304 => {}
        _ => expect(world, id, &answer, &[]),
    }
}

/// Notes an answer that is neither one of `allowed` nor that of a task that is gone for a reason.
fn expect(world: &World, id: &str, answer: &Answer, allowed: &[u16]) {
    let is_limit = matches!(answer.status, 429 | 503);
    let mut ledger = world.ledger();
    let may_be_gone = ledger.tasks.get(id).is_some_and(|task| task.erase != Asked::No);
    let is_gone = matches!(answer.status, 404 | 410);
    let is_fine = allowed.contains(&answer.status) || is_limit || (is_gone && may_be_gone);
    let check = if is_gone { Check::There } else { Check::Answers };
    ledger.verdict.note(check, Some(id), is_fine, || format!("it was answered {}", answer.shown()));
}

/// How many are ambushed at once: each may keep its slot until its lease ends.
const AMBUSHED: usize = 4;
/// How far back hands reach.
const RECENT: usize = 120;
