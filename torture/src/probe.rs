//! Whether all slots are free: as many tasks as a queue may run are started,
//! and all must run at once.
//!
//! A leaked slot is not seen by reading a count of Relais; it is seen by what does not start.

use futures_util::future::join_all;

use crate::clock::SECOND;
use crate::ledger::Outcome;
use crate::scene::Door;
use crate::script::Script;
use crate::settle::settle;
use crate::submit::{Group, hand_in, intent};
use crate::upstream::Upstreams;
use crate::verdict::Check;
use crate::workers::{Held, lease};
use crate::world::World;

/// Probes every queue with limits, each lane at least once.
pub(crate) async fn probe(world: &World, upstreams: &Upstreams) {
    pushed(world, upstreams, Door::Lanes, &[0, 0, 1, 1, 2, 2]).await;
    pushed(world, upstreams, Door::Lanes, &[2, 2, 3, 3, 4, 4]).await;
    pushed(world, upstreams, Door::Safe, &[0; 8]).await;
    pushed(world, upstreams, Door::Strict, &[0, 1, 2]).await;
    // As many as a lane may run, in as many lanes as the queue may run.
    let full = |lanes: [usize; 4], rest: usize| {
        let mut places = lanes.repeat(5);
        places.extend([rest; 4]);
        places
    };
    leased(world, &full([0, 1, 2, 3], 4)).await;
    leased(world, &full([2, 3, 4, 5], 0)).await;
}

/// Starts one task of each lane named, and sees whether all reach the upstream at once.
async fn pushed(world: &World, upstreams: &Upstreams, door: Door, lanes: &[usize]) {
    let promise = door.promise();
    let group = Group { name: world.draw_name("group"), size: lanes.len() };
    let calls = lanes.iter().map(|lane| {
        let name = world.draw_name(promise.queue);
        let mut one = intent(door, Script::Hold);
        one.lane = (promise.lanes > 0).then_some(*lane);
        one.key = Some(format!("key-{name}"));
        if door == Door::Safe {
            one.method = "PUT";
        }
        let group = group.clone();
        async move { hand_in(world, &name, one, Some(&group)).await }
    });
    let ids: Vec<Option<String>> = join_all(calls).await;
    let until = world.now() + 6 * SECOND;
    while upstreams.most_of(&group.name) < lanes.len() && world.now() < until {
        crate::clock::pause_ms(20).await;
    }
    let most = upstreams.most_of(&group.name);
    let shown = ids.iter().flatten().next().map(String::as_str);
    world.ledger().verdict.note(Check::Slots, shown, most == lanes.len(), || {
        format!(
            "after the storm only {most} of {} tasks of the queue {} ran at once (lanes {lanes:?}), \
             although its limits allow them all",
            lanes.len(),
            promise.queue
        )
    });
}

/// Hands in one task for each lane named, and sees whether all can be leased at once.
async fn leased(world: &World, lanes: &[usize]) {
    let submits = lanes.iter().map(|lane| {
        let name = world.draw_name("work");
        let mut one = intent(Door::Work, Script::Ok);
        one.lane = Some(*lane);
        one.key = Some(format!("key-{name}"));
        async move { hand_in(world, &name, one, None).await }
    });
    let ids: Vec<Option<String>> = join_all(submits).await;
    let mut held: Vec<Held> = Vec::new();
    let until = world.now() + 3 * SECOND;
    let mut first_asked = None;
    while held.len() < lanes.len() && world.now() < until {
        first_asked.get_or_insert(world.now());
        let max = (lanes.len() - held.len()) as u64;
        held.extend(lease(world, max, 200, 99).await);
        // What was leased first must still be held when the last is.
        if first_asked.is_some_and(|asked| world.now() > asked + 3 * SECOND / 2) {
            break;
        }
    }
    let count = held.len();
    let shown = ids.iter().flatten().next().map(String::as_str);
    world.ledger().verdict.note(Check::Slots, shown, count == lanes.len(), || {
        format!(
            "after the storm only {count} of {} tasks of the queue work could be leased at once \
             (lanes {lanes:?}), although its limits allow them all",
            lanes.len()
        )
    });
    join_all(held.iter().map(|held| settle(world, held, Outcome::Succeed(1)))).await;
}
