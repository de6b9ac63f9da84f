//! Followers: they read a task's stream while it is written, are cut off by each kill, and resume.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;

use crate::chance::Chance;
use crate::clock::{Moment, SECOND, pause_ms};
use crate::ledger::Follow;
use crate::world::{Phase, World};

/// Follows one task after the other until the storm is over.
pub(crate) async fn follower(world: Arc<World>, number: usize) {
    let mut chance = world.chance.fork("follower", number);
    while world.phase() == Phase::Storm {
        let idle = chance.within(20, 200);
        world.rest(idle).await;
        let Some(task) = draw(&world, &mut chance) else { continue };
        let seen = follow(&world, &task).await;
        let mut ledger = world.ledger();
        if ledger.follows.len() < FOLLOWS_MAX {
            ledger.counts.followed += seen.len() as u64;
            ledger.follows.push(Follow { task, seen });
        }
    }
}

/// One of the youngest tasks, which most likely are not over yet.
fn draw(world: &World, chance: &mut Chance) -> Option<String> {
    let ledger = world.ledger();
    let recent = &ledger.recent[ledger.recent.len().saturating_sub(RECENT)..];
    (!recent.is_empty()).then(|| chance.pick(recent).clone())
}

/// Reads the events of a task until its log is over, or for a while.
async fn follow(world: &World, id: &str) -> Vec<(u64, String)> {
    let until = world.now() + FOLLOW_SECONDS * SECOND;
    let mut seen: Vec<(u64, String)> = Vec::new();
    while world.now() < until && world.until_up().await {
        let mut request = world
            .http
            .request(Method::GET, &format!("/v1/tasks/{id}/events"))
            .header("accept", "text/event-stream");
        if let Some((last, _)) = seen.last() {
            request = request.header("last-event-id", *last);
        }
        let request = request.body(Full::default()).expect("a plain request");
        match world.http.open(request).await {
            Some(response) if response.status() == 200 => {
                read(world, response.into_body(), until, &mut seen).await;
            }
            // The log is over and read, or the task is gone.
            Some(_) => break,
            None => pause_ms(20).await,
        }
    }
    seen
}

/// Reads a stream until it ends, however it does.
async fn read(
    world: &World,
    mut body: hyper::body::Incoming,
    until: Moment,
    seen: &mut Vec<(u64, String)>,
) {
    let mut text = Vec::new();
    loop {
        let left = Duration::from_micros(until.saturating_sub(world.now()));
        let Ok(Some(Ok(frame))) = tokio::time::timeout(left, body.frame()).await else { return };
        let Ok(data) = frame.into_data() else { return };
        text.extend_from_slice(&data);
        while let Some(end) = text.windows(2).position(|pair| pair == b"\n\n") {
            let block: Vec<u8> = text.drain(..end + 2).collect();
            seen.extend(
                event_of(&String::from_utf8_lossy(&block)).map(|(seq, kind, _)| (seq, kind)),
            );
        }
        if text.len() > BLOCK_BYTES_MAX {
            return;
        }
    }
}

/// The event of one block of a stream, if it has an id.
pub(crate) fn event_of(block: &str) -> Option<(u64, String, Value)> {
    let field =
        |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let seq = field("id")?.trim().parse().ok()?;
    let kind = field("event")?.trim().to_owned();
    let data = serde_json::from_str(field("data")?).ok()?;
    Some((seq, kind, data))
}

const FOLLOW_SECONDS: u64 = 8;
const FOLLOWS_MAX: usize = 100_000;
const RECENT: usize = 40;
const BLOCK_BYTES_MAX: usize = 1 << 20;
